//! Responses with a history: sent piece by piece, and limited in what they hold while clients read them.
//!
//! A client that reads slowly holds the publications of its response, and its place among the connections.

use crate::address_limits::ConnectionPermit;
use crate::byte_budget::{ByteBudget, HeldBytes};
use crate::capability::HistoryRead;
use crate::client::Client;
use crate::history::Recovery;
use crate::publication::Publication;
use axum::body::{Body, Bytes};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::vec;

/// Maximum size of all responses that are being read, which clients share. Bytes.
const MAX_BYTES: usize = 48 * 1024 * 1024;
/// A response is sent in pieces of about this size. Bytes.
const PIECE: usize = 64 * 1024;

/// The responses that clients are reading.
#[derive(Debug)]
pub(super) struct HistoryResponses(Arc<ByteBudget>);

/// The body of a response and its length in bytes.
pub(super) type SizedBody = (Body, usize);

// === impl HistoryResponses ===

impl Default for HistoryResponses {
    fn default() -> Self {
        Self(Arc::new(ByteBudget::new(MAX_BYTES)))
    }
}

impl HistoryResponses {
    /// Makes the body `{"position", "idle_ms"?, "recovered", "publications"}`. `None`: the responses hold too much
    /// already. The response counts as a connection until the client has read it.
    pub(super) fn body(
        &self,
        client: Client,
        read: HistoryRead,
        permit: impl Into<Option<ConnectionPermit>>,
    ) -> Option<SizedBody> {
        let HistoryRead { recovery: Recovery { position, recovered, publications }, idle } = read;
        let mut head = "{\"position\":".to_owned();
        match position {
            Some(position) => drop(write!(head, "\"{position}\"")),
            None => head.push_str("null"),
        }
        if let Some(idle) = idle {
            let _ = write!(head, ",\"idle_ms\":{}", idle.as_millis());
        }
        let _ = write!(head, ",\"recovered\":{recovered},\"publications\":[");
        let texts: usize = publications.iter().map(|one| one.text.len()).sum();
        let length = head.len() + texts + publications.len().saturating_sub(1) + "]}".len();
        let held = self.0.hold(client, length)?;
        let pieces = Pieces {
            head: Some(head),
            publications: publications.into_iter(),
            is_first: true,
            _held: held,
            _permit: permit.into(),
        };
        Some((Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>))), length))
    }

    /// Makes a body of this text, which is held as the others are.
    pub(super) fn text(
        &self,
        client: Client,
        text: impl Into<Bytes>,
        permit: impl Into<Option<ConnectionPermit>>,
    ) -> Option<SizedBody> {
        let (bytes, permit) = (text.into(), permit.into());
        let length = bytes.len();
        let held = self.0.hold(client, length)?;
        let pieces = (0..length.div_ceil(PIECE)).map(move |index| {
            // Until the last piece is read.
            let _kept = (&held, &permit);
            let from = index * PIECE;
            Ok::<_, Infallible>(bytes.slice(from..bytes.len().min(from + PIECE)))
        });
        Some((Body::from_stream(futures_util::stream::iter(pieces)), length))
    }
}

/// The pieces of a body.
struct Pieces {
    head: Option<String>,
    publications: vec::IntoIter<Arc<Publication>>,
    is_first: bool,
    _held: HeldBytes,
    _permit: Option<ConnectionPermit>,
}

// === impl Pieces ===

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut piece = self.head.take()?;
        while piece.len() < PIECE {
            let Some(publication) = self.publications.next() else {
                piece.push_str("]}");
                return Some(piece.into());
            };
            if !std::mem::take(&mut self.is_first) {
                piece.push(',');
            }
            piece.push_str(&publication.text);
        }
        self.head = Some(String::new());
        Some(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address_limits::{AddressLimits, NoPlace, Settings};
    use axum::body::to_bytes;
    use nodevent_protocol::history::Position;
    use std::time::Duration;

    fn read(count: usize, size: usize) -> HistoryRead {
        let text = format!("{{\"message\":\"{}\"}}", "x".repeat(size));
        let publications = (0..count).map(|_| Publication::stored("r", text.as_str(), None)).collect();
        let position = Some(Position { epoch: 1, offset: 7 });
        let recovery = Recovery { position, recovered: true, publications };
        HistoryRead { recovery, idle: Some(Duration::from_millis(1234)) }
    }

    fn client(host: u8) -> Client {
        Client::of(std::net::IpAddr::from([10, 0, 0, host]))
    }

    #[tokio::test]
    async fn body_is_an_object_of_the_announced_length() {
        let responses = HistoryResponses::default();
        for (count, size) in [(0, 0), (1, 10), (3, 10), (3, PIECE), (500, 1000)] {
            let (body, length) = responses.body(client(1), read(count, size), None).unwrap();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            assert_eq!(bytes.len(), length);
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(body["publications"].as_array().unwrap().len(), count);
            assert_eq!(body["position"], "0000000000000001:7");
            assert_eq!(body["idle_ms"], 1234);
        }
        assert_eq!(responses.0.usage(), (0, 0));
    }

    #[test]
    fn unread_responses_are_limited_and_each_client_may_have_one() {
        let responses = HistoryResponses::default();
        let body = |host: u8| responses.body(client(host), read(10, 1 << 20), None);
        let of_one: Vec<_> = std::iter::from_fn(|| body(1)).collect();
        assert_eq!(of_one.len(), 2, "of 10 MB each");
        let others: Vec<_> = (2..20).map(|host| body(host).expect("the first response of a client")).collect();
        drop((of_one, others));
        assert!(body(1).is_some());
        assert_eq!(responses.0.usage(), (0, 0));
    }

    #[test]
    fn an_unread_response_counts_as_a_connection() {
        let settings = Settings { max_connections: 1, ..Settings::default() };
        let limits = Arc::new(AddressLimits::new(settings));
        let handshake = || limits.handshake([10, 0, 0, 1].into());
        let body = HistoryResponses::default().body(client(1), read(1, 1), handshake().unwrap());
        assert_eq!(handshake().unwrap_err(), NoPlace::Server);
        drop(body);
        assert!(handshake().is_ok());
    }
}
