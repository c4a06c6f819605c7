//! HTTP/1.1 by hand, so that a test can send what a conforming client would not.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// A connection to a server, plain or TLS.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

// === impl Request ===

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", path) }
    }

    /// Adds a header. A `Host` header replaces the default one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the request on `stream`, which stays open, and reads the response.
    ///
    /// # Errors
    /// The connection broke, or the response is not HTTP.
    pub async fn exchange(&self, stream: &mut impl Io, host: &str) -> io::Result<Response> {
        stream.write_all(&self.encode(host)).await?;
        // TLS may hold some bytes back if the task has used up its budget.
        stream.flush().await?;
        Response::read(stream, self.method == "HEAD").await
    }

    /// The bytes of the request.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        if !named {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || self.method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

// === impl Response ===

impl Response {
    /// Reads a response from `stream`; with `bodiless` it has no body, whatever its headers announce.
    ///
    /// # Errors
    /// The connection broke, or the response is not HTTP.
    pub async fn read(stream: &mut impl Io, bodiless: bool) -> io::Result<Self> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad("no status line"))?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut response = Self { status, headers, body: bytes.split_off(end + 4) };
        if bodiless || status == 204 || status == 304 || status < 200 {
            return Ok(response);
        }
        let length = response.header("content-length").and_then(|length| length.parse::<usize>().ok());
        let length = length.ok_or_else(|| bad("no content-length"))?;
        while response.body.len() < length {
            if stream.read_buf(&mut response.body).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(response)
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(one, _)| one.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("the body is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}
