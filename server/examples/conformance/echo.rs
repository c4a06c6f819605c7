//! The dialect of the echo application: what it receives is sent back.
//!
//! It reads no argument or attachment: both go back as they came.

use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use nodevent_server::history::RequestId;
use nodevent_server::protocol::{JoinError, Joined};
use nodevent_server::protocols::socket_io::dialect::{Ack, ConnectRequest, Dialect, Event, Operations};
use serde_json::Value;
use serde_json::value::RawValue;
use std::thread;
use std::time::Duration;

/// The dialect of the echo application.
#[derive(Debug)]
pub(crate) struct EchoDialect {
    /// How long the whole shard pauses before the event `auth`, which was not requested.
    pub(crate) pause: Duration,
}

// === impl EchoDialect ===

impl Dialect for EchoDialect {
    fn connect(&self, request: &ConnectRequest) -> Result<(), String> {
        let auth: Value = request.auth().and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_default();
        match auth["refuse"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    fn connected(&self, operations: &mut dyn Operations, request: &ConnectRequest) {
        if !self.pause.is_zero() {
            operations.flush();
            thread::sleep(self.pause);
        }
        operations.emit(&format!("[\"auth\",{}]", request.auth().unwrap_or("{}")), &[]);
    }

    fn event(&self, operations: &mut dyn Operations, event: Event) {
        // The decoder guarantees a JSON array whose first element is the event's name.
        let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(&event.args) else { return };
        let name: String = serde_json::from_str(all[0].get()).unwrap_or_default();
        match (name.as_str(), event.ack_id) {
            ("message", _) => operations.emit(&named("message-back", &all[1..]), &event.attachments),
            ("message-with-ack", Some(id)) => operations.acknowledge(id, &list(&all[1..]), &event.attachments),
            ("ask", _) => drop(operations.emit_with_ack(&named("question", &all[1..]), &event.attachments)),
            _ => {}
        }
    }

    fn acknowledged(&self, operations: &mut dyn Operations, ack: Ack) {
        let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(&ack.args) else { return };
        operations.emit(&named("answer", &all), &ack.attachments);
    }

    fn joined(&self, _: &mut dyn Operations, _request: RequestId, _result: Result<Joined, JoinError>) {}

    fn write_publication(&self, packet: &mut String, text: &str) {
        packet.extend(["[\"event\",", text, "]"]);
    }

    fn gap(&self, _topic: Topic<'_>, _position: Position) -> String {
        "[\"lost\"]".to_owned()
    }
}

/// `["name", …]`, every argument as the client wrote it.
fn named(name: &str, args: &[&RawValue]) -> String {
    let name = serde_json::Value::from(name).to_string();
    let all: Vec<&str> = std::iter::once(name.as_str()).chain(args.iter().map(|one| one.get())).collect();
    format!("[{}]", all.join(","))
}

/// `[…]`, every argument as the client wrote it.
fn list(args: &[&RawValue]) -> String {
    let all: Vec<&str> = args.iter().map(|one| one.get()).collect();
    format!("[{}]", all.join(","))
}
