//! The WebSocket transport of a [`Browser`](super::Browser), on a maintained client library.
//!
//! It exists apart from [`super::raw`] because a library shows that a conforming client of independent origin works
//! with the server, and it fails on everything that such a client rejects.

use super::http::{Io, Response};
use super::site::Site;
use super::wait::in_time;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// A WebSocket to a server.
pub struct WebSocket {
    stream: WebSocketStream<Box<dyn Io>>,
    /// The close frame of the server.
    pub close_frame: Option<CloseFrame>,
    /// Pings of the WebSocket layer that have arrived. The next read or write sends their pongs.
    pub pings: usize,
}

// === impl WebSocket ===

impl WebSocket {
    /// Opens `/socket.io/` with further query parameters and headers.
    ///
    /// # Errors
    /// The server responded with another status than 101.
    pub async fn open(site: &Site, query: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        Self::open_path(site, &format!("/socket.io/?EIO=4&transport=websocket{query}"), headers).await
    }

    /// Opens any path, with further headers.
    ///
    /// # Errors
    /// The server responded with another status than 101.
    pub async fn open_path(site: &Site, path: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let url = format!("ws://{}{path}", site.address);
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            let name = name.parse::<HeaderName>().expect("a header's name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header's value"));
        }
        let opening = tokio_tungstenite::client_async(request, site.dial().await);
        match in_time("a WebSocket handshake", opening).await {
            Ok((stream, _)) => Ok(Self { stream, close_frame: None, pings: 0 }),
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

    /// Sends text messages, in as few writes as the socket accepts.
    pub async fn send(&mut self, packets: &[&str]) {
        for packet in packets {
            let fed = self.stream.feed(Message::text(*packet)).await;
            fed.expect("the server accepts a packet");
        }
        self.stream.flush().await.expect("the server accepts packets");
    }

    /// Sends a text message. `None`: the server has closed.
    pub async fn try_send(&mut self, packet: &str) -> Option<()> {
        self.stream.send(Message::text(packet)).await.ok()
    }

    /// Returns the next text message, or `None` if the server has closed.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => self.close_frame = frame,
                Ok(Message::Binary(_)) => panic!("an unexpected binary message"),
                Ok(Message::Ping(_)) => self.pings += 1,
                Ok(Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => {
                    eprintln!("the WebSocket ended: {error}");
                    return None;
                }
            }
        }
    }

    /// Closes the WebSocket, and waits until the server has closed it too.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
        in_time("the server closes too", async { while self.next().await.is_some() {} }).await;
    }
}
