//! The application behind the server: it accepts real connections, records requests, and responds as a test says.

use super::wait::until;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How the application responds.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// With this status and body.
    Respond(u16, String),
    /// After a time.
    Slowly(Duration, String),
    /// With one byte of the body at a time, a pause before each.
    Dripping(Duration, String),
    /// With a redirect to this URL.
    Redirect(String),
    /// It reads and never responds.
    Never,
    /// It closes the connection at once.
    Close,
    /// With these bytes, whatever they are.
    Raw(String),
    /// In the first way if the request contains this text, otherwise in the second.
    If(&'static str, Box<Behaviour>, Box<Behaviour>),
}

/// A running application.
pub struct Application {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    behaviour: Arc<Mutex<Behaviour>>,
    serving: JoinHandle<()>,
}

// === impl Application ===

impl Application {
    /// Starts an application that says yes to everyone, as this user.
    pub async fn knows(user: &str) -> Self {
        Self::start(yes(user)).await
    }

    pub async fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, None).await
    }

    /// Starts an application with a self-signed certificate for `localhost`, which is returned as PEM.
    pub async fn start_with_tls(behaviour: Behaviour) -> (Self, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = config.expect("TLS versions").with_no_client_auth();
        let config = config.with_single_cert(vec![cert.der().clone()], key).expect("a certificate and its key");
        (Self::start_with(behaviour, Some(TlsAcceptor::from(Arc::new(config)))).await, cert.pem())
    }

    async fn start_with(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let host = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let url = format!("{host}:{}/live/visitor?app=secretquery", address.port());
        let (requests, behaviour) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(Mutex::new(behaviour)));
        let (recorded, responses) = (Arc::clone(&requests), Arc::clone(&behaviour));
        let serving = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (recorded, responses) = (Arc::clone(&recorded), Arc::clone(&responses));
                match tls.clone() {
                    None => drop(tokio::spawn(serve(stream, recorded, responses))),
                    // A client that does not trust the certificate ends the handshake.
                    Some(tls) => drop(tokio::spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, recorded, responses).await;
                        }
                    })),
                }
            }
        });
        Self { url, requests, behaviour, serving }
    }

    pub fn set(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// The requests so far, each with head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until it has received so many requests.
    pub async fn received(&self, count: usize) {
        until(&format!("{count} requests"), async || self.requests.lock().unwrap().len() >= count).await;
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A yes for this user.
pub fn yes(user: &str) -> Behaviour {
    Behaviour::Respond(200, serde_json::json!({"user": user}).to_string())
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: Arc<Mutex<Vec<String>>>,
    behaviour: Arc<Mutex<Behaviour>>,
) {
    while let Some(request) = read(&mut stream).await {
        let mut behaviour = behaviour.lock().unwrap().clone();
        while let Behaviour::If(text, yes, no) = behaviour {
            behaviour = if request.contains(text) { *yes } else { *no };
        }
        requests.lock().unwrap().push(request);
        let head = |status: u16, length: usize| {
            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
        };
        let written = match behaviour {
            Behaviour::Respond(status, body) => {
                stream.write_all(format!("{}{body}", head(status, body.len())).as_bytes()).await
            }
            Behaviour::Slowly(pause, body) => {
                tokio::time::sleep(pause).await;
                stream.write_all(format!("{}{body}", head(200, body.len())).as_bytes()).await
            }
            Behaviour::Dripping(pause, body) => {
                let mut result = stream.write_all(head(200, body.len()).as_bytes()).await;
                for byte in body.bytes() {
                    tokio::time::sleep(pause).await;
                    if result.is_ok() {
                        result = stream.write_all(&[byte]).await;
                    }
                }
                result
            }
            Behaviour::Redirect(to) => {
                let head = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await
            }
            Behaviour::Never => {
                std::future::pending::<()>().await;
                Ok(())
            }
            Behaviour::Close => return,
            Behaviour::Raw(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Behaviour::If(..) => return,
        };
        if written.is_err() {
            return;
        }
    }
}

/// Reads a request with its body.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    let (end, length) = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            break (end + 4, length.unwrap_or(0));
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
