//! A WebSocket by hand: it sends any bytes and receives whole frames.
//!
//! It exists apart from [`super::websocket`] because a maintained client library cannot violate the protocol: it sends
//! no unmasked, oversized or half a frame, and it hides where one frame ends and the next begins.

pub use super::frames::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close, first, frame, head, last};
use super::http::{Io, Request, Response};
use super::site::Site;
use super::wait::in_time;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server sent a close frame with this code (if any) and reason.
    Closed(Option<u16>, String),
    /// The connection ended without a close frame.
    Cut,
}

/// A WebSocket by hand.
pub struct Raw {
    stream: Box<dyn Io>,
    /// What has arrived and was not returned yet.
    bytes: BytesMut,
}

// === impl Frame ===

impl Frame {
    pub fn text(text: &str) -> Self {
        Self { opcode: TEXT, payload: text.as_bytes().to_vec() }
    }

    fn end(&self) -> End {
        let code = self.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = String::from_utf8(self.payload.get(2..).unwrap_or_default().to_vec());
        End::Closed(code, reason.expect("the reason is UTF-8"))
    }
}

// === impl Raw ===

impl Raw {
    /// Opens `/socket.io/`; `query` begins with `&` or is empty.
    pub async fn open(site: &Site, query: &str) -> Self {
        let mut stream = site.dial().await;
        stream.write_all(&handshake(&site.address, query)).await.expect("the server accepts a handshake");
        Self::after_handshake(stream).await
    }

    /// Reads the response to a handshake that the caller has sent on `stream`.
    pub async fn after_handshake(mut stream: Box<dyn Io>) -> Self {
        let response = in_time("a response to a handshake", Response::read(&mut stream, true)).await;
        let response = response.expect("a response to a handshake");
        assert_eq!(response.status, 101, "{}", response.text());
        Self { stream, bytes: response.body.as_slice().into() }
    }

    /// Opens a WebSocket with this request. Returns the response too.
    pub async fn respond(site: &Site, request: &Request) -> (Response, Self) {
        let mut stream = site.dial().await;
        stream.write_all(&request.encode(&site.address)).await.expect("the server accepts a handshake");
        let response = in_time("a response to a handshake", Response::read(&mut stream, true)).await;
        let response = response.expect("a response to a handshake");
        assert_eq!(response.status, 101, "{}", response.text());
        let bytes = response.body.as_slice().into();
        (response, Self { stream, bytes })
    }

    /// Does the same, and returns `None` if the server refused.
    pub async fn try_after_handshake(mut stream: Box<dyn Io>) -> Option<Self> {
        let response = Response::read(&mut stream, true).await.ok()?;
        (response.status == 101).then_some(Self { stream, bytes: response.body.as_slice().into() })
    }

    /// Opens a connection and reads the open packet.
    pub async fn opened(site: &Site) -> Self {
        let mut raw = Self::open(site, "").await;
        let open = raw.text().await;
        assert!(open.starts_with("0{"), "{open}");
        raw
    }

    /// Opens a connection and enters a namespace.
    pub async fn connected(site: &Site, namespace: &str) -> Self {
        let mut raw = Self::opened(site).await;
        raw.send_text(&format!("40{namespace},")).await;
        let reply = raw.text().await;
        assert!(reply.starts_with(&format!("40{namespace},")), "{reply}");
        raw
    }

    /// Sends bytes. Bytes to a server that has closed the connection are lost, as on any network.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Sends bytes. `None`: the server has closed the connection.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Option<()> {
        self.stream.write_all(bytes.as_ref()).await.ok()
    }

    /// Sends a text message.
    pub async fn send_text(&mut self, text: &str) {
        self.send(last(TEXT, text)).await;
    }

    /// Returns the next frame, or `None` if the connection ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        in_time("a frame", async {
            loop {
                if let Some((frame, length)) = parse(&self.bytes) {
                    self.bytes.advance(length);
                    return Some(frame);
                }
                if !matches!(self.stream.read_buf(&mut self.bytes).await, Ok(1..)) {
                    assert!(self.bytes.is_empty(), "the connection ended within a frame");
                    return None;
                }
            }
        })
        .await
    }

    /// Returns the next frame, and whether it is compressed.
    pub async fn deflated_frame(&mut self) -> (bool, Frame) {
        in_time("a frame", async {
            loop {
                if let Some((bits, frame, length)) = parse_any(&self.bytes) {
                    self.bytes.advance(length);
                    assert_eq!(bits & !DEFLATED, 0, "a server sends whole messages without other reserved bits");
                    return (bits != 0, frame);
                }
                let read = self.stream.read_buf(&mut self.bytes).await;
                assert!(matches!(read, Ok(1..)), "the connection has ended");
            }
        })
        .await
    }

    /// Returns whether another frame has arrived together with the last one.
    pub fn has_frame(&self) -> bool {
        parse(&self.bytes).is_some()
    }

    /// Returns the next text message, and answers Engine.IO pings before it.
    pub async fn text(&mut self) -> String {
        loop {
            let frame = self.frame().await.expect("the connection is open");
            assert_eq!(frame.opcode, TEXT, "{frame:?}");
            let text = String::from_utf8(frame.payload).expect("text is UTF-8");
            if text != "2" {
                return text;
            }
            self.send_text("3").await;
        }
    }

    /// Returns the next text message as [`Raw::text`] does, or `None` if the connection ended.
    pub async fn try_text(&mut self) -> Option<String> {
        loop {
            let frame = self.frame().await.filter(|frame| frame.opcode == TEXT)?;
            if frame.payload != b"2" {
                return String::from_utf8(frame.payload).ok();
            }
            self.send_text("3").await;
        }
    }

    /// Reads until the connection ends, ignoring everything but a close frame.
    pub async fn ended(&mut self) -> End {
        while let Some(frame) = self.frame().await {
            if frame.opcode == CLOSE {
                let end = frame.end();
                assert_eq!(self.frame().await, None, "nothing follows a close frame");
                return end;
            }
        }
        End::Cut
    }

    /// Discards everything until the connection ends, which may be within a frame.
    pub async fn drain(mut self) {
        in_time("the end of the connection", async {
            while matches!(self.stream.read_buf(&mut self.bytes).await, Ok(1..)) {
                self.bytes.clear();
            }
        })
        .await;
    }
}

/// The bytes of a WebSocket handshake; `query` begins with `&` or is empty.
pub fn handshake(address: &str, query: &str) -> Vec<u8> {
    handshake_request(query).encode(address)
}

/// A WebSocket handshake as a request; `query` begins with `&` or is empty.
pub fn handshake_request(query: &str) -> Request {
    Request::get(&format!("/socket.io/?EIO=4&transport=websocket{query}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The bit of a message that is compressed.
pub const DEFLATED: u8 = 0x40;

/// Returns the first frame of a server and its length if it is complete.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (bits, frame, length) = parse_any(bytes)?;
    assert_eq!(bits, 0, "a server sends whole messages without reserved bits");
    Some((frame, length))
}

/// Returns the reserved bits of a frame too.
fn parse_any(bytes: &[u8]) -> Option<(u8, Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0x80, 0x80, "a server sends whole messages");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (start, length) = match second {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((first & 0x70, Frame { opcode: first & 0x0f, payload }, start + length))
}
