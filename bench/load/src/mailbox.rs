//! The messages of mailboxes: what arrived, its acknowledgement, and how long the server takes to confirm it.

use crate::clock::Nanos;
use crate::stamp::Stamp;
use crate::tally::Latencies;
use memchr::memmem;
use std::collections::VecDeque;

/// The acknowledgements of a run.
#[derive(Debug)]
pub(crate) struct MailboxTally {
    /// When acknowledgements were sent that are not confirmed, by connection. They are confirmed in order.
    sent: Vec<VecDeque<Nanos>>,
    pub(crate) acknowledged: u64,
    pub(crate) latency: Latencies,
}

// === impl MailboxTally ===

impl MailboxTally {
    pub(crate) fn new(connections: usize) -> anyhow::Result<Self> {
        Ok(Self { sent: vec![VecDeque::new(); connections], acknowledged: 0, latency: Latencies::new()? })
    }

    /// An acknowledgement was sent.
    pub(crate) fn acknowledges(&mut self, connection: usize, now: Nanos) {
        self.sent[connection].push_back(now);
    }

    /// Counts a confirmation, if the payload is one: `43<namespace>,<id>[null,{"removed":1,…`.
    pub(crate) fn count(&mut self, connection: usize, payload: &[u8], now: Nanos) {
        let Some(removed) = number_after(payload, br#"[null,{"removed":"#) else { return };
        if let Some(at) = self.sent[connection].pop_front() {
            self.acknowledged += removed;
            self.latency.record(now.saturating_sub(at));
        }
    }
}

/// Returns the packet that opens a mailbox.
pub(crate) fn open(namespace: &str) -> String {
    format!("42{namespace},1[\"mailbox\",{{}}]")
}

/// The stamps and ids of the messages in an event `mailbox`. `None`: the payload is not one.
pub(crate) fn messages<'a>(payload: &'a [u8], namespace: &str) -> Option<(Vec<Stamp>, Vec<&'a str>)> {
    let start = format!("42{namespace},[\"mailbox\",");
    let mut rest = payload.strip_prefix(start.as_bytes())?;
    let (mut stamps, mut ids) = (Vec::new(), Vec::new());
    const ID: &[u8] = br#""id":""#;
    while let Some(at) = memmem::find(rest, ID) {
        // The id follows the message.
        stamps.extend(Stamp::find(&rest[..at], &mut 0));
        let digits = &rest[at + ID.len()..];
        let end = memchr::memchr(b'"', digits)?;
        ids.push(std::str::from_utf8(&digits[..end]).ok()?);
        rest = &digits[end..];
    }
    Some((stamps, ids))
}

/// Returns the packet that acknowledges messages.
pub(crate) fn acknowledge(namespace: &str, ids: &[&str]) -> String {
    format!("42{namespace},2[\"acknowledge\",{}]", serde_json::json!({"ids": ids}))
}

fn number_after(payload: &[u8], mark: &[u8]) -> Option<u64> {
    let digits = &payload[memmem::find(payload, mark)? + mark.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_an_event_is_read_and_its_acknowledgement_is_counted() {
        let message = |number: u32, id: &str| {
            let stamp = Stamp { at: 5, number };
            let text = stamp.publication("user", "user-1", 120);
            // As the server stores it: without the target, and with its id at the end.
            let text = text.strip_prefix(r#"{"user":"user-1","#).unwrap().strip_suffix('}').unwrap().to_owned();
            format!(r#"{{{text},"sent":1,"id":"{id}"}}"#)
        };
        let event = format!(
            r#"42/n,["mailbox",{{"messages":[{},{}],"unread":2,"first":true,"last":true}}]"#,
            message(0, "71"),
            message(1, "72")
        );
        let (stamps, ids) = messages(event.as_bytes(), "/n").unwrap();
        assert_eq!(stamps, [Stamp { at: 5, number: 0 }, Stamp { at: 5, number: 1 }]);
        assert_eq!(acknowledge("/n", &ids), r#"42/n,2["acknowledge",{"ids":["71","72"]}]"#);
        assert!(messages(br#"42/n,["event",{"id":"7"}]"#, "/n").is_none());
        let mut tally = MailboxTally::new(1).unwrap();
        tally.acknowledges(0, 1_000_000);
        tally.count(0, br#"42/n,["acknowledged",{"ids":["71"],"unread":1}]"#, 2_000_000);
        tally.count(0, br#"43/n,2[null,{"removed":2,"unread":0}]"#, 3_000_000);
        assert_eq!(tally.acknowledged, 2);
        assert!((tally.latency.summary().max - 2.0).abs() < 0.01);
    }
}
