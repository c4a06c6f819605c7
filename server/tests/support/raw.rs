//! A WebSocket by hand: any bytes out, whole frames in. For what no client would do.

use super::http::{Io, Response};
use super::site::Site;
use super::wait::in_time;
use super::websocket::handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What fills the mask of every frame.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a close frame of this code (if it had one) and reason.
    Closed(Option<u16>, String),
    /// Without a word.
    Cut,
}

/// A WebSocket by hand.
pub struct Raw {
    stream: Box<dyn Io>,
    bytes: Vec<u8>,
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
        stream.write_all(&handshake(&site.address, query)).await.expect("the server takes a handshake");
        let answer = in_time("an answer to a handshake", Response::read(&mut stream, true)).await;
        let answer = answer.expect("an answer to a handshake");
        assert_eq!(answer.status, 101, "{}", answer.text());
        Self { stream, bytes: answer.body }
    }

    /// Opens it and reads the open packet.
    pub async fn opened(site: &Site) -> Self {
        let mut raw = Self::open(site, "").await;
        let open = raw.text().await;
        assert!(open.starts_with("0{"), "{open}");
        raw
    }

    /// Opens it and connects a namespace.
    pub async fn connected(site: &Site, namespace: &str) -> Self {
        let mut raw = Self::opened(site).await;
        raw.say(&format!("40{namespace},")).await;
        let answer = raw.text().await;
        assert!(answer.starts_with(&format!("40{namespace},")), "{answer}");
        raw
    }

    /// Sends bytes. What a server that has closed does not take is lost, as on any network.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Sends a text message.
    pub async fn say(&mut self, text: &str) {
        self.send(last(TEXT, text)).await;
    }

    /// The next frame. `None`: the connection has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        in_time("a frame", async {
            loop {
                if let Some((frame, length)) = whole(&self.bytes) {
                    self.bytes.drain(..length);
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

    /// The next text message; Engine.IO pings are answered on the way.
    pub async fn text(&mut self) -> String {
        loop {
            let frame = self.frame().await.expect("the connection is open");
            assert_eq!(frame.opcode, TEXT, "{frame:?}");
            let text = String::from_utf8(frame.payload).expect("text is UTF-8");
            if text != "2" {
                return text;
            }
            self.say("3").await;
        }
    }

    /// Reads to the end, which must come; what else comes before it is of no interest.
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
}

/// A masked frame that ends its message.
pub fn last(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x80 | opcode, payload.as_ref())
}

/// A masked frame that others are to follow.
pub fn first(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, payload.as_ref())
}

/// A masked close frame.
pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    last(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A masked frame, whatever its first byte is.
pub fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(first_byte, payload.len() as u64);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    out
}

/// The head of a masked frame that announces so many bytes.
pub fn head(first_byte: u8, length: u64) -> Vec<u8> {
    let mut out = vec![first_byte];
    match length {
        short @ 0..=125 => out.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}

/// The first frame of a server and its length, if it is whole.
fn whole(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xf0, 0x80, "a server sends whole messages without reserved bits");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (start, length) = match second {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?).into()),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((Frame { opcode: first & 0x0f, payload }, start + length))
}
