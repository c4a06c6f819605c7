//! The address of a server, and the plain HTTP requests to it.

use super::http::{Io, Request, Response};
use super::wait::in_time;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpStream;

/// The address of a server.
#[derive(Clone)]
pub struct Site {
    /// `127.0.0.1:12345`.
    pub address: String,
    tls: Option<Arc<ClientConfig>>,
}

// === impl Site ===

impl Site {
    /// The server at a URL that the server itself reported.
    pub fn at(url: &str) -> Self {
        Self { address: url.strip_prefix("http://").expect("a plain URL").to_owned(), tls: None }
    }

    /// The server at `https://…`, with its certificate as the trusted root.
    pub fn with_tls(url: &str, certificate: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = url.strip_prefix("https://").expect("a TLS URL").to_owned();
        Self { address, tls: Some(Arc::new(config)) }
    }

    /// Opens a connection.
    pub async fn dial(&self) -> Box<dyn Io> {
        let tcp = in_time("a connection", TcpStream::connect(&self.address)).await.expect("the server listens");
        tcp.set_nodelay(true).expect("nodelay");
        let Some(config) = &self.tls else { return Box::new(tcp) };
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, tcp);
        Box::new(in_time("a TLS handshake", tls).await.expect("a TLS handshake"))
    }

    /// Sends a request on a new connection.
    pub async fn send(&self, request: &Request) -> Response {
        let mut stream = self.dial().await;
        let what = format!("a response to {} {}", request.method, request.path);
        in_time(&what, request.exchange(&mut stream, &self.address)).await.expect("a response")
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(&Request::get(path)).await
    }

    /// Publishes `body` unchanged, e.g. one publication or an array of them.
    pub async fn publish(&self, namespace: &str, body: impl Into<Vec<u8>>) -> Response {
        self.send(&Request::post(&format!("/api{namespace}/emit"), body)).await
    }

    /// Publishes one publication, which the server must accept.
    pub async fn emit(&self, namespace: &str, room: &str, event: &str, message: impl Into<Value>) {
        let publication = json!({"room": room, "event": event, "message": message.into()});
        let response = self.publish(namespace, publication.to_string()).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}
