//! Certificates of the listeners.

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a listener cannot use TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate cannot be read.
    #[error("the certificate {0} cannot be read: {1}")]
    Certificate(PathBuf, String),
    /// The key cannot be read.
    #[error("the key {0} cannot be read: {1}")]
    Key(PathBuf, String),
    /// The key belongs to another certificate.
    #[error("the key {1} does not match the certificate {0}: {2}")]
    Mismatch(PathBuf, PathBuf, String),
}

/// Reads a certificate chain and its key, both PEM.
pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::Certificate(certificate.into(), error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificate(certificate.into(), "it contains no certificate".into()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.into(), error.to_string()))?;
    let mismatch = |error: rustls::Error| TlsError::Mismatch(certificate.into(), key.into(), error.to_string());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}
