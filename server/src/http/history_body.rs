//! Responses with a history: sent piece by piece, and limited in what they hold while clients read them.
//!
//! A client that reads slowly holds the publications of its response. All responses together may hold [`MAX_BYTES`],
//! and the responses to one client [`MAX_BYTES_PER_ADDRESS`].

use crate::capability::HistoryRead;
use crate::client::Client;
use crate::history::Recovery;
use crate::publication::Publication;
use axum::body::{Body, Bytes};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

/// Maximum size of all responses that are being read. Bytes.
const MAX_BYTES: usize = 48 * 1024 * 1024;
/// Maximum size of the responses to one address. Bytes.
const MAX_BYTES_PER_ADDRESS: usize = MAX_BYTES / 2;
/// A response is sent in pieces of about this size. Bytes.
const PIECE: usize = 64 * 1024;

/// The responses that clients are reading.
#[derive(Debug, Default)]
pub(super) struct HistoryResponses(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    responses: usize,
    bytes: usize,
    by_address: HashMap<Client, usize>,
}

/// The place of one response in [`HistoryResponses`].
struct Place {
    all: Arc<HistoryResponses>,
    address: Client,
    bytes: usize,
}

/// The body of a response and its length in bytes.
pub(super) type SizedBody = (Body, usize);

// === impl HistoryResponses ===

impl HistoryResponses {
    /// The number of responses that clients are reading.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).responses
    }

    /// Makes the body `{"position", "idle_ms"?, "recovered", "publications"}`. `None`: the responses hold too much
    /// already. A client without any may always have one.
    pub(super) fn body(self: &Arc<Self>, address: IpAddr, read: HistoryRead) -> Option<SizedBody> {
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
        let place = self.hold(Client::of(address), length)?;
        let pieces =
            Pieces { head: Some(head), publications: publications.into_iter(), is_first: true, _place: place };
        Some((Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>))), length))
    }

    fn hold(self: &Arc<Self>, address: Client, bytes: usize) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = held.by_address.get(&address).copied().unwrap_or_default();
        let fits = held.bytes + bytes <= MAX_BYTES && of_address + bytes <= MAX_BYTES_PER_ADDRESS;
        if !fits && of_address > 0 {
            return None;
        }
        held.responses += 1;
        held.bytes += bytes;
        *held.by_address.entry(address).or_default() += bytes;
        Some(Place { all: Arc::clone(self), address, bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.responses -= 1;
        held.bytes -= self.bytes;
        let left = held.by_address.get_mut(&self.address).map(|bytes| {
            *bytes -= self.bytes;
            *bytes
        });
        if left == Some(0) {
            held.by_address.remove(&self.address);
        }
    }
}

/// The pieces of a body.
struct Pieces {
    head: Option<String>,
    publications: vec::IntoIter<Arc<Publication>>,
    is_first: bool,
    _place: Place,
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
    use axum::body::to_bytes;
    use nodevent_protocol::history::Position;
    use std::time::Duration;

    fn read(count: usize, size: usize) -> HistoryRead {
        let text = format!("{{\"message\":\"{}\"}}", "x".repeat(size));
        let publications = (0..count).map(|_| Publication::in_room("r", text.as_str(), None)).collect();
        let position = Some(Position { epoch: 1, offset: 7 });
        let recovery = Recovery { position, recovered: true, publications };
        HistoryRead { recovery, idle: Some(Duration::from_millis(1234)) }
    }

    #[tokio::test]
    async fn body_is_an_object_of_the_announced_length() {
        let responses = Arc::new(HistoryResponses::default());
        for (count, size) in [(0, 0), (1, 10), (3, 10), (3, PIECE), (500, 1000)] {
            let (body, length) = responses.body([127, 0, 0, 1].into(), read(count, size)).unwrap();
            let bytes = to_bytes(body, usize::MAX).await.unwrap();
            assert_eq!(bytes.len(), length);
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(body["publications"].as_array().unwrap().len(), count);
            assert_eq!(body["position"], "0000000000000001:7");
            assert_eq!(body["idle_ms"], 1234);
        }
        assert_eq!(responses.count(), 0);
        assert_eq!(responses.0.lock().unwrap().bytes, 0);
    }

    #[test]
    fn unread_responses_are_limited_and_each_address_may_have_one() {
        let responses = Arc::new(HistoryResponses::default());
        let large = || read(10, 1 << 20);
        let body = |host: u8| responses.body([10, 0, 0, host].into(), large());
        let of_one: Vec<_> = std::iter::from_fn(|| body(1)).collect();
        assert_eq!(of_one.len(), 2, "of 10 MB each");
        let others: Vec<_> = (2..20).map(|host| body(host).expect("the first response of an address")).collect();
        assert_eq!(responses.count(), 20);
        drop((of_one, others));
        assert!(body(1).is_some());
        assert_eq!(responses.count(), 0);
    }

    #[test]
    fn a_network_of_ipv6_has_one_share() {
        let responses = Arc::new(HistoryResponses::default());
        let body = |host: u16| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host);
            responses.body(address.into(), read(10, 1 << 20))
        };
        let of_network: Vec<_> = (0..20).filter_map(body).collect();
        assert_eq!(of_network.len(), 2, "of 10 MB each");
    }
}
