//! Socket.IO packets as a browser reads them. The tests have their own reader, so that an error in the server's reader
//! cannot hide an error in its writer.

use serde_json::Value;

/// A Socket.IO packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// `0` connect, `1` disconnect, `2` event, `3` ack, `4` connect error, `5` and `6` binary.
    pub kind: char,
    pub namespace: String,
    pub id: Option<u64>,
    /// The JSON text at the end, which may be empty.
    pub json: String,
}

// === impl Packet ===

impl Packet {
    /// Reads the text after the `4` of an Engine.IO message. Returns `None` if it is not a packet.
    pub fn read(text: &str) -> Option<Self> {
        let kind = text.chars().next().filter(char::is_ascii_digit)?;
        let mut rest = &text[1..];
        let mut namespace = "/";
        if rest.starts_with('/') {
            let end = rest.find(',').unwrap_or(rest.len());
            namespace = &rest[..end];
            rest = rest[end..].trim_start_matches(',');
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let id = rest[..digits].parse().ok();
        Some(Self { kind, namespace: namespace.to_owned(), id, json: rest[digits..].to_owned() })
    }

    /// Whether it is an event of the dialect `nodevent` with a publication.
    pub fn is_publication(&self) -> bool {
        self.json.starts_with("[\"event\",")
    }

    /// The parsed JSON.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
