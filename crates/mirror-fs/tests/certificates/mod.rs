//! Certificates made for a test, in a directory of its own.
#![allow(dead_code)] // each test file uses a part

use std::fs;
use std::path::PathBuf;

use mirror_fs::config::{certificate_name, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

pub const CLUSTER: &str = "9f0c";

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, format!("twofold {CLUSTER}"));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A directory of its own for each test, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("twofold-tls-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Files of a node whose certificate has these names, issued by `issuer`, that trusts
    /// `trusted`.
    pub fn node(
        &self, node: &str, names: &[String], issuer: &Authority, trusted: &Authority,
    ) -> TlsFiles {
        let params = CertificateParams::new(names).unwrap();
        self.issued(node, params, issuer, trusted)
    }

    pub fn issued(
        &self, node: &str, mut params: CertificateParams, issuer: &Authority, trusted: &Authority,
    ) -> TlsFiles {
        params.distinguished_name.push(DnType::CommonName, node);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        TlsFiles {
            ca: self.write(&format!("{node}-ca.crt"), &trusted.pem()),
            cert: self.write(&format!("{node}.crt"), &certificate.pem()),
            key: self.write(&format!("{node}.key"), &key.serialize_pem()),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn name(node: &str) -> String {
    certificate_name(node, CLUSTER)
}
