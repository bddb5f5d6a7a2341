//! Who may talk to this engine: mutual TLS 1.3 inside the cluster's own authority.
//!
//! Two things must hold for a peer: its chain ends in our CA, and the certificate carries the name
//! we expect, `NODE.CLUSTER.twofold`. The first alone would let any node of the cluster pose as the
//! peer. As client both are checked in the handshake. As server the handshake checks the chain, and
//! the caller checks the name with [`peer_is`] *before the first byte of the peer is believed*.
//!
//! There is no resumption of sessions: every connection shows its certificate again.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{ring, CryptoProvider};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::config::{certificate_name, FlowEncryption, TlsFiles};

/// What the two nodes agree on in the handshake (ALPN): whether what follows it is encrypted.
/// Nodes that are set up differently do not meet.
const ENCRYPTED: &[u8] = b"twofold";
const PLAIN: &[u8] = b"twofold-plain";

/// Why TLS cannot be set up, or a peer is not who it should be: one sentence for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// How the listening side is set up.
pub fn server_config(
    files: &TlsFiles, encryption: FlowEncryption,
) -> Result<Arc<ServerConfig>, TlsError> {
    let identity = Identity::load(files)?;
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots, provider.clone())
        .build()
        .map_err(|e| unusable(&files.ca, &e))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| TlsError(format!("TLS 1.3 is not available: {e}.")))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)
        .map_err(|e| unusable(&files.cert, &e))?;
    config.send_tls13_tickets = 0;
    config.enable_secret_extraction = true; // for `records`
    config.alpn_protocols = vec![protocol(encryption).to_vec()];
    Ok(Arc::new(config))
}

/// How the dialling side is set up.
pub fn client_config(
    files: &TlsFiles, encryption: FlowEncryption,
) -> Result<Arc<ClientConfig>, TlsError> {
    let identity = Identity::load(files)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| TlsError(format!("TLS 1.3 is not available: {e}.")))?
        .with_root_certificates(identity.roots)
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(|e| unusable(&files.cert, &e))?;
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_secret_extraction = true; // for `records`
    config.alpn_protocols = vec![protocol(encryption).to_vec()];
    Ok(Arc::new(config))
}

fn protocol(encryption: FlowEncryption) -> &'static [u8] {
    match encryption {
        FlowEncryption::On => ENCRYPTED,
        FlowEncryption::Off => PLAIN,
    }
}

/// Whether both have agreed to go on without encryption.
pub fn agreed_on_plain(tls: &rustls::CommonState) -> bool {
    tls.alpn_protocol() == Some(PLAIN)
}

/// A failed handshake in words, where the nodes differ in `flow_encryption`.
pub fn handshake_failed(error: io::Error) -> io::Error {
    let differ = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()).is_some_and(|e| {
        let told = rustls::AlertDescription::NoApplicationProtocol;
        matches!(e, rustls::Error::NoApplicationProtocol)
            || matches!(e, rustls::Error::AlertReceived(alert) if *alert == told)
    });
    match differ {
        true => io::Error::other(
            "the other node has another `flow_encryption`, or another version of Twofold; give \
             both the same",
        ),
        false => error,
    }
}

/// The name by which the dialling side asks for `node`.
pub fn server_name(node: &str, cluster: &str) -> Result<ServerName<'static>, TlsError> {
    let name = certificate_name(node, cluster);
    ServerName::try_from(name.clone())
        .map_err(|_| TlsError(format!("{name:?} cannot be the name of a certificate.")))
}

/// Whether the certificates shown in the handshake (the peer's own first) carry `name`. The chain
/// has been checked by the handshake.
pub fn peer_is(certificates: &[CertificateDer<'_>], name: &str) -> Result<(), TlsError> {
    let Some(own) = certificates.first() else {
        return Err(TlsError("The peer has shown no certificate.".into()));
    };
    let expected = ServerName::try_from(name)
        .map_err(|_| TlsError(format!("{name:?} cannot be the name of a certificate.")))?;
    let certificate = webpki::EndEntityCert::try_from(own)
        .map_err(|e| TlsError(format!("The peer's certificate cannot be read: {e}.")))?;
    if certificate.verify_is_valid_for_subject_name(&expected).is_ok() {
        return Ok(());
    }
    let shown: Vec<&str> = certificate.valid_dns_names().collect();
    let shown = if shown.is_empty() { "no name".into() } else { shown.join(", ") };
    Err(TlsError(format!("The peer should be {name}, but its certificate is for {shown}.")))
}

/// Ring, with the cheaper of the two AES suites first: bulk data passes through it.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn load(files: &TlsFiles) -> Result<Identity, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.ca)? {
            roots.add(certificate).map_err(|e| unusable(&files.ca, &e))?;
        }
        let chain = certificates(&files.cert)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unusable(&files.key, &e))?;
        Ok(Identity { roots: Arc::new(roots), chain, key })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(path, &e))?;
    match found.is_empty() {
        true => Err(TlsError(format!("{} holds no certificate.", path.display()))),
        false => Ok(found),
    }
}

fn unusable(path: &Path, why: &dyn fmt::Display) -> TlsError {
    TlsError(format!("{} cannot be used for TLS: {why}.", path.display()))
}
