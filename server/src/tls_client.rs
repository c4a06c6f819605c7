//! TLS for connections that the server and its commands open: the certificates that they trust, and the ones that they
//! show.
//!
//! It does not know the peers.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Returns the settings for TLS. `ca` replaces the certificates of the system; `client` is a certificate chain and its
/// key. All files are PEM.
///
/// # Errors
/// Returns a message that names the file.
pub fn config(ca: Option<&Path>, client: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
            }
        }
        // Certificates that cannot be parsed are skipped. Without any, the handshake reports an unknown issuer.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((cert, key)) = client else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    builder
        .with_client_auth_cert(certificates(cert)?, private)
        .map_err(|error| format!("{}: {error}", cert.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error: rustls_pki_types::pem::Error| format!("{}: {error}", file.display());
    let all: Vec<_> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(unreadable)?;
    if all.is_empty() {
        return Err(format!("{}: there is no certificate in it", file.display()));
    }
    Ok(all)
}
