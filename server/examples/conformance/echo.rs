//! The dialect of the echo application: what it hears comes back.
//!
//! Nothing in it reads an argument or an attachment: both go back as they came.

use nodevent_protocol::history::Position;
use nodevent_protocol::socket_io;
use nodevent_server::admission::Admission;
use nodevent_server::dialect::{Answer, Call, Dialect, Operations, Recovery};
use nodevent_server::frame::Frame;
use serde_json::Value;
use serde_json::value::RawValue;
use std::thread;
use std::time::Duration;

/// The dialect of the echo application.
pub(crate) struct Echo {
    /// Waited, by the whole shard, before the event `auth`, which nobody asked for.
    pub(crate) pause: Duration,
}

// === impl Echo ===

impl Dialect for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn admit(&self, _admission: &Admission, auth: Option<&str>) -> Result<(), String> {
        let auth: Value = auth.and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_default();
        match auth["refuse"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    fn welcome(&self, operations: &mut dyn Operations, auth: Option<&str>) {
        thread::sleep(self.pause);
        operations.emit(&format!("[\"auth\",{}]", auth.unwrap_or("{}")), &[]);
    }

    fn event(&self, operations: &mut dyn Operations, call: Call) {
        // The decoder has seen to it that this is a JSON array whose first element names the event.
        let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(&call.args) else { return };
        let name: String = serde_json::from_str(all[0].get()).unwrap_or_default();
        match (name.as_str(), call.id) {
            ("message", _) => operations.emit(&named("message-back", &all[1..]), &call.attachments),
            ("message-with-ack", Some(id)) => operations.acknowledge(id, &list(&all[1..]), &call.attachments),
            ("ask", _) => drop(operations.ask(&named("question", &all[1..]), &call.attachments)),
            _ => {}
        }
    }

    fn answered(&self, operations: &mut dyn Operations, answer: Answer) {
        let Ok(all) = serde_json::from_str::<Vec<&RawValue>>(&answer.args) else { return };
        operations.emit(&named("answer", &all), &answer.attachments);
    }

    fn joined(&self, _operations: &mut dyn Operations, _id: Option<u64>, _recovery: Option<Recovery>) {}

    fn frame(&self, namespace: &str, text: &str) -> Frame {
        event(namespace, &format!("[\"event\",{text}]"))
    }

    fn lost(&self, namespace: &str, _room: &str, _position: Position) -> Frame {
        event(namespace, "[\"lost\"]")
    }
}

fn event(namespace: &str, args: &str) -> Frame {
    let mut packet = String::from("4");
    socket_io::encode_event(&mut packet, namespace, None, args);
    Frame::text(&packet)
}

/// `["name", …]`, every argument as the browser wrote it.
fn named(name: &str, args: &[&RawValue]) -> String {
    let name = serde_json::Value::from(name).to_string();
    let all: Vec<&str> = std::iter::once(name.as_str()).chain(args.iter().map(|one| one.get())).collect();
    format!("[{}]", all.join(","))
}

/// `[…]`, every argument as the browser wrote it.
fn list(args: &[&RawValue]) -> String {
    let all: Vec<&str> = args.iter().map(|one| one.get()).collect();
    format!("[{}]", all.join(","))
}
