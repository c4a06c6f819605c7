//! The transport WebSocket: on a client that others have written, and, for what no client would do, by hand.

use super::http::{Io, Request, Response};
use super::site::Site;
use super::wait::in_time;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A WebSocket to a server.
pub struct WebSocket {
    stream: WebSocketStream<Box<dyn Io>>,
    /// What the server said when it closed.
    pub farewell: Option<CloseFrame>,
}

// === impl WebSocket ===

impl WebSocket {
    /// Opens `/socket.io/` with that query and these headers.
    ///
    /// # Errors
    /// The server answered something else than 101.
    pub async fn open(site: &Site, query: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let url = format!("ws://{}/socket.io/?EIO=4&transport=websocket{query}", site.address);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name = name.parse::<HeaderName>().expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        let opening = tokio_tungstenite::client_async(request, site.dial().await);
        match in_time("a WebSocket handshake", opening).await {
            Ok((stream, _)) => Ok(Self { stream, farewell: None }),
            Err(Error::Http(response)) => Err(Response {
                status: response.status().as_u16(),
                headers: response
                    .headers()
                    .iter()
                    .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                    .collect(),
                body: response.into_body().unwrap_or_default(),
            }),
            Err(error) => panic!("the WebSocket handshake failed: {error}"),
        }
    }

    /// Sends Engine.IO packets, in as few writes as the socket takes.
    pub async fn send(&mut self, packets: &[&str]) {
        for packet in packets {
            let fed = self.stream.feed(Message::text(*packet)).await;
            fed.expect("the server takes a packet");
        }
        self.stream.flush().await.expect("the server takes packets");
    }

    /// The next Engine.IO packet. `None`: the server has closed.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => self.farewell = frame,
                Ok(Message::Binary(_)) => panic!("a binary message, where none is expected"),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => {
                    eprintln!("the WebSocket ended: {error}");
                    return None;
                }
            }
        }
    }

    /// Closes it, and waits until the server has done so too.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
        in_time("the server closes too", async { while self.next().await.is_some() {} }).await;
    }
}

/// The bytes of a WebSocket handshake, to be sent by hand; `query` begins with `&` or is empty.
pub fn handshake(address: &str, query: &str) -> Vec<u8> {
    Request::get(&format!("/socket.io/?EIO=4&transport=websocket{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .encode(address)
}

/// The bytes of a short text frame as a browser sends it: masked, here with zeros.
pub fn frame(text: &str) -> Vec<u8> {
    let mut bytes = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length @ 0..=125) => bytes.push(0x80 | length),
        _ => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(text.len()).expect("a short frame").to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    bytes
}

/// Reads the text frames of a server by hand.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

// === impl Reader ===

impl Reader {
    /// Reads on behind the answer to a handshake.
    pub fn after(response: &Response) -> Self {
        Self { bytes: response.body.clone() }
    }

    /// The text of the next frame. `None`: the server closes, or is gone.
    pub async fn next(&mut self, stream: &mut impl Io) -> Option<String> {
        loop {
            if let Some((text, length)) = self.whole() {
                self.bytes.drain(..length);
                return text;
            }
            if !matches!(stream.read_buf(&mut self.bytes).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The text of the first frame, if it is whole and a text, and the length of the frame.
    fn whole(&self) -> Option<(Option<String>, usize)> {
        let (head, length) = match *self.bytes.get(1)? {
            126 => (4, u16::from_be_bytes(self.bytes.get(2..4)?.try_into().ok()?).into()),
            127 => (10, u64::from_be_bytes(self.bytes.get(2..10)?.try_into().ok()?) as usize),
            length => (2, usize::from(length)),
        };
        let text = self.bytes.get(head..head + length)?;
        let is_text = self.bytes[0] == 0x81;
        Some((is_text.then(|| String::from_utf8_lossy(text).into_owned()), head + length))
    }
}
