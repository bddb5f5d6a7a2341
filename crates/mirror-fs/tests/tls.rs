//! Only the peer gets in: real handshakes with certificates made here.

mod certificates;

use std::io::Cursor;
use std::path::Path;

use certificates::{authority, name, Folder, CLUSTER};
use mirror_fs::config::{certificate_name, FlowEncryption, TlsFiles};
use mirror_fs::tls::{agreed_on_plain, client_config, peer_is, server_config, server_name};
use rcgen::{date_time_ymd, CertificateParams};
use rustls::{ClientConnection, Connection, ServerConnection};

/// Hands what one side has to say to the other.
fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = Cursor::new(bytes);
    while (rest.position() as usize) < rest.get_ref().len() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A handshake of `a`, who dials and expects `expected`, with `b`. The answer is b's view of a.
fn meet(a: &TlsFiles, b: &TlsFiles, expected: &str) -> Result<Connection, String> {
    meet_with(a, b, expected, FlowEncryption::On, FlowEncryption::On)
}

fn meet_with(
    a: &TlsFiles, b: &TlsFiles, expected: &str, of_a: FlowEncryption, of_b: FlowEncryption,
) -> Result<Connection, String> {
    let client = client_config(a, of_a).map_err(|e| e.to_string())?;
    let server = server_config(b, of_b).map_err(|e| e.to_string())?;
    let to = server_name(expected, CLUSTER).map_err(|e| e.to_string())?;
    let mut dialled = Connection::from(ClientConnection::new(client, to).unwrap());
    let mut listening = Connection::from(ServerConnection::new(server).unwrap());
    for _ in 0..10 {
        carry(&mut dialled, &mut listening).map_err(|e| format!("server: {e}"))?;
        carry(&mut listening, &mut dialled).map_err(|e| format!("client: {e}"))?;
    }
    assert!(!listening.is_handshaking() && !dialled.is_handshaking());
    assert_eq!(listening.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    Ok(listening)
}

fn seen_as(listening: &Connection, node: &str) -> Result<(), String> {
    peer_is(listening.peer_certificates().unwrap(), &name(node)).map_err(|e| e.to_string())
}

#[test]
fn the_two_nodes_meet() {
    let (folder, ca) = (Folder::new("meet"), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let listening = meet(&a, &b, "b").unwrap();
    seen_as(&listening, "a").unwrap();
}

#[test]
fn nodes_that_differ_in_encryption_do_not_meet() {
    let (folder, ca) = (Folder::new("differ"), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let (on, off) = (FlowEncryption::On, FlowEncryption::Off);
    let listening = meet_with(&a, &b, "b", off, off).unwrap();
    seen_as(&listening, "a").unwrap();
    assert!(agreed_on_plain(&listening));
    assert!(!agreed_on_plain(&meet(&a, &b, "b").unwrap()));
    assert!(meet_with(&a, &b, "b", on, off).is_err());
    assert!(meet_with(&a, &b, "b", off, on).is_err());
}

#[test]
fn another_node_of_the_cluster_is_not_the_peer() {
    let (folder, ca) = (Folder::new("other"), authority());
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let c = folder.node("c", &[name("c")], &ca, &ca);
    // c dials b: the chain is good, the name is not that of the peer.
    let listening = meet(&c, &b, "b").unwrap();
    let text = seen_as(&listening, "a").unwrap_err();
    assert_eq!(
        text,
        "The peer should be a.9f0c.twofold, but its certificate is for c.9f0c.twofold."
    );
    // b dials a, c answers: refused in the handshake.
    let text = meet(&b, &c, "a").unwrap_err();
    assert!(text.starts_with("client: invalid peer certificate"), "{text}");
}

#[test]
fn the_same_node_name_in_another_cluster_is_not_the_peer() {
    let (folder, ca) = (Folder::new("cluster"), authority());
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let foreign = folder.node("a", &[certificate_name("a", "other")], &ca, &ca);
    let listening = meet(&foreign, &b, "b").unwrap();
    assert!(seen_as(&listening, "a").is_err());
}

#[test]
fn another_authority_is_refused_by_both_sides() {
    let (folder, ca, foreign) = (Folder::new("ca"), authority(), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let stranger = folder.node("b", &[name("b")], &foreign, &ca);
    let text = meet(&a, &stranger, "b").unwrap_err();
    assert!(text.starts_with("client: invalid peer certificate"), "{text}");
    let text = meet(&stranger, &a, "a").unwrap_err();
    assert!(text.starts_with("server: invalid peer certificate"), "{text}");
}

#[test]
fn an_expired_certificate_is_refused_by_both_sides() {
    let (folder, ca) = (Folder::new("expired"), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let mut params = CertificateParams::new(vec![name("b")]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let old = folder.issued("b", params, &ca, &ca);
    let text = meet(&a, &old, "b").unwrap_err();
    assert!(text.contains("expired"), "{text}");
    let text = meet(&old, &a, "a").unwrap_err();
    assert!(text.contains("expired"), "{text}");
}

#[test]
fn who_shows_no_certificate_is_refused() {
    let (folder, ca) = (Folder::new("none"), authority());
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let nobody = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let to = server_name("b", CLUSTER).unwrap();
    let mut dialled = Connection::from(ClientConnection::new(nobody.into(), to).unwrap());
    let mut listening =
        ServerConnection::new(server_config(&b, FlowEncryption::On).unwrap()).unwrap().into();
    carry(&mut dialled, &mut listening).unwrap();
    carry(&mut listening, &mut dialled).unwrap();
    let refused = carry(&mut dialled, &mut listening).unwrap_err();
    assert_eq!(refused, rustls::Error::NoCertificatesPresented);
    assert!(peer_is(&[], &name("a")).is_err());
}

#[test]
fn unusable_files_are_named() {
    let (folder, ca) = (Folder::new("files"), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let b = folder.node("b", &[name("b")], &ca, &ca);
    let shown = |path: &Path| path.display().to_string();
    let refused =
        |files: &TlsFiles| client_config(files, FlowEncryption::On).unwrap_err().to_string();
    let missing = TlsFiles { ca: folder.0.join("missing"), ..a.clone() };
    assert!(refused(&missing).starts_with(&shown(&missing.ca)));
    let no_pem = TlsFiles { cert: folder.write("text", "no certificate"), ..a.clone() };
    assert_eq!(refused(&no_pem), format!("{} holds no certificate.", shown(&no_pem.cert)));
    let other_key = TlsFiles { key: b.key.clone(), ..a.clone() };
    assert!(refused(&other_key).starts_with(&shown(&a.cert)), "{}", refused(&other_key));
    let no_key = TlsFiles { key: a.cert.clone(), ..a.clone() };
    assert!(refused(&no_key).starts_with(&shown(&a.cert)));
}
