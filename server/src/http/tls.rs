//! Certificates of the listeners, and their renewal.
//!
//! Owns the files: [`Certificate`] reads both, notices when they change, and keeps the pair that it has until the new one
//! is complete. Handshakes in progress and open connections keep the certificate with which they began.

use crate::config::listen::TlsFiles;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// Interval at which the files are read again. A renewal may take this long to be noticed.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

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

/// The certificate of a listener, which changes with its files.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// The contents that were read last, whether they were usable or not. Prevents that a broken pair is reported again.
    seen: Mutex<Contents>,
    provider: Arc<CryptoProvider>,
}

/// A digest of both files, or `None` for what cannot be read.
type Contents = [Option<[u8; 32]>; 2];

/// The result of reading the files again.
#[derive(Debug)]
pub(super) enum Reload {
    /// They are the same as before.
    Unchanged,
    /// The new pair is in use.
    Renewed,
}

// === impl Certificate ===

impl Certificate {
    /// Reads a certificate chain and its key.
    pub(super) fn open(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let seen = contents(files);
        let current = load(files, &provider)?;
        let (current, seen) = (RwLock::new(Arc::new(current)), Mutex::new(seen));
        Ok(Arc::new(Self { files: files.clone(), current, seen, provider }))
    }

    /// Accepts TLS with the certificate that is current when a handshake begins.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<tokio_rustls::TlsAcceptor, TlsError> {
        let unusable = |error: rustls::Error| {
            TlsError::Mismatch(self.files.cert.clone(), self.files.key.clone(), error.to_string())
        };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
    }

    /// Whether the files contain a pair that can be used. Changes nothing.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        load(&self.files, &self.provider).map(drop)
    }

    /// Uses what the files contain now, if it differs from what was read last. On an error the old pair stays in use.
    pub(super) fn reload(&self) -> Result<Reload, TlsError> {
        let now = contents(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return Ok(Reload::Unchanged);
        }
        *seen = now;
        let renewed = Arc::new(load(&self.files, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(Reload::Renewed)
    }

    /// Reads the files again at intervals and whenever `reload` changes, and logs what happened.
    pub(super) async fn watch(self: Arc<Self>, mut reload: watch::Receiver<()>) {
        loop {
            let is_requested = tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
                changed = reload.changed() => match changed {
                    Ok(()) => true,
                    // The server has stopped.
                    Err(_) => return,
                },
            };
            let certificate = Arc::clone(&self);
            let Ok(result) = tokio::task::spawn_blocking(move || certificate.reload()).await else { return };
            let file = self.files.cert.display();
            match result {
                Ok(Reload::Renewed) => tracing::info!(certificate = %file, "the renewed certificate is in use"),
                Ok(Reload::Unchanged) if is_requested => {
                    tracing::info!(certificate = %file, "the files of the certificate have not changed");
                }
                Ok(Reload::Unchanged) => {}
                Err(error) => {
                    tracing::error!("the old certificate stays in use, because the new one is not usable: {error}");
                }
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn contents(files: &TlsFiles) -> Contents {
    let digest = |path: &Path| std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into());
    [digest(&files.cert), digest(&files.key)]
}

/// Reads a certificate chain and its key, both PEM.
fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let (certificate, key) = (files.cert.as_path(), files.key.as_path());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::Certificate(certificate.into(), error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificate(certificate.into(), "it contains no certificate".into()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Key(key.into(), error.to_string()))?;
    CertifiedKey::from_der(chain, private, provider)
        .map_err(|error| TlsError::Mismatch(certificate.into(), key.into(), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pair {
        cert: String,
        key: String,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pair { cert: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn serving(certificate: &Certificate) -> Vec<u8> {
        certificate.current.read().unwrap().end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn a_broken_pair_is_reported_once_and_the_old_one_stays_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let write = |cert: &str, key: &str| {
            std::fs::write(&files.cert, cert).unwrap();
            std::fs::write(&files.key, key).unwrap();
        };
        let (old, new) = (pair(), pair());
        write(&old.cert, &old.key);
        let certificate = Certificate::open(&files).unwrap();
        let first = serving(&certificate);
        assert!(matches!(certificate.reload(), Ok(Reload::Unchanged)));
        for (cert, key) in [
            (new.cert.as_str(), old.key.as_str()),
            (old.cert.as_str(), new.key.as_str()),
            ("", new.key.as_str()),
            (new.cert.as_str(), ""),
            (new.cert.as_str(), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", new.key.as_str()),
            (&new.cert[..100], new.key.as_str()),
        ] {
            write(cert, key);
            assert!(certificate.reload().is_err(), "{cert}{key}");
            assert!(matches!(certificate.reload(), Ok(Reload::Unchanged)), "it is reported once");
            assert_eq!(serving(&certificate), first);
        }
        std::fs::remove_file(&files.key).unwrap();
        assert!(certificate.reload().is_err());
        assert_eq!(serving(&certificate), first);
        write(&new.cert, &new.key);
        assert!(matches!(certificate.reload(), Ok(Reload::Renewed)));
        assert_ne!(serving(&certificate), first);
    }
}
