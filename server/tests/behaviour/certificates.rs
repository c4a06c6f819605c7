//! Renewal of certificates while the server runs.

use crate::support::wait::{in_time, until};
use crate::support::{Browser, Program, Site, Transport};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use std::path::Path;

const CONFIGURATION: &str =
    "bind: 127.0.0.1\nport: 0\nssl: {cert: cert.pem, key: key.pem}\n/nodevent: {open: true, history: off}\n";

struct Pair {
    cert: String,
    key: String,
    der: CertificateDer<'static>,
}

fn pair() -> Pair {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair { cert: cert.pem(), key: signing_key.serialize_pem(), der: cert.der().clone() }
}

fn write(folder: &Path, cert: &str, key: &str) {
    std::fs::write(folder.join("cert.pem"), cert).unwrap();
    std::fs::write(folder.join("key.pem"), key).unwrap();
}

/// Whether a new connection gets this certificate.
async fn serves(url: &str, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(url.strip_prefix("https://").unwrap()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let handshake = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp);
    in_time("a handshake", handshake).await.is_ok()
}

/// The files are replaced one after the other, as `certbot` and `cp` do. The server notices it by itself, and a browser
/// that is connected stays so.
#[tokio::test]
async fn renewed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    write(folder.path(), &old.cert, &old.key);
    let program = Program::serve(folder.path(), CONFIGURATION).await;
    let url = program.listening().await[0].clone();
    let mut browser =
        Browser::connect(&Site::with_tls(&url, old.der.clone()), "/nodevent", Transport::WebSocket).await;
    browser.join("r").await;
    write(folder.path(), &new.cert, &new.key);
    program.logs("the renewed certificate is in use").await;
    assert!(serves(&url, &new.der).await && !serves(&url, &old.der).await);
    browser.join("s").await;
}

/// Kubernetes and ACME clients replace a symbolic link to a folder, so that both files change at once.
#[tokio::test]
async fn renewal_by_a_symbolic_link_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    for (name, pair) in [("old", &old), ("new", &new)] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        write(&folder.path().join(name), &pair.cert, &pair.key);
    }
    let link = |name: &str| {
        std::os::unix::fs::symlink(name, folder.path().join("next")).unwrap();
        std::fs::rename(folder.path().join("next"), folder.path().join("live")).unwrap();
    };
    link("old");
    let text = CONFIGURATION.replace("cert.pem", "live/cert.pem").replace("key.pem", "live/key.pem");
    let program = Program::serve(folder.path(), &text).await;
    let url = program.listening().await[0].clone();
    assert!(serves(&url, &old.der).await);
    link("new");
    until("the new certificate is served", async || serves(&url, &new.der).await).await;
}

#[tokio::test]
async fn sighup_reloads_certificates_and_never_ends_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    write(folder.path(), &old.cert, &old.key);
    let program = Program::serve(folder.path(), CONFIGURATION).await;
    let url = program.listening().await[0].clone();
    program.signal(Signal::HUP);
    program.logs("the files of the certificate have not changed").await;
    write(folder.path(), &new.cert, &new.key);
    program.signal(Signal::HUP);
    until("the new certificate is served", async || serves(&url, &new.der).await).await;
    // Without a certificate the configuration alone is read again.
    let folder = tempfile::tempdir().unwrap();
    let plain = Program::serve(folder.path(), "bind: 127.0.0.1\nport: 0\n/nodevent: {open: true}\n").await;
    plain.signal(Signal::HUP);
    plain.logs("the configuration was read again").await;
    assert_eq!(plain.site().await.get("/healthz").await.status, 200);
}

/// A key without its certificate, half a file, no file: the server keeps the old pair and logs why, once. It uses the
/// next pair that is complete.
#[tokio::test]
async fn broken_renewal_keeps_the_old_certificate_and_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    write(folder.path(), &old.cert, &old.key);
    let program = Program::serve(folder.path(), CONFIGURATION).await;
    let url = program.listening().await[0].clone();
    let half = &new.cert[..new.cert.len() / 2];
    for (cert, key, reason) in [
        (new.cert.as_str(), old.key.as_str(), "does not match the certificate"),
        (half, new.key.as_str(), "cert.pem cannot be read"),
        ("", new.key.as_str(), "contains no certificate"),
        (new.cert.as_str(), "not a key", "key.pem cannot be read"),
    ] {
        write(folder.path(), cert, key);
        program.signal(Signal::HUP);
        program.logs(reason).await;
        assert!(serves(&url, &old.der).await, "{reason}");
    }
    for line in
        program.log().iter().filter(|line| line.contains("cannot be read") || line.contains("does not match"))
    {
        assert!(line.contains("the old certificate stays in use"), "{line}");
        assert!(!line.contains("PRIVATE KEY") && !line.contains("not a key"), "{line}");
    }
    write(folder.path(), &new.cert, &new.key);
    until("the new certificate is served", async || serves(&url, &new.der).await).await;
}
