//! The dialect `nodevent`: `join`, `leave` and `event`, as `protocol/README.md` section 4 has them.

use super::{Call, Dialect, JoinRefused, Operations, Recovery};
use crate::admission::Admission;
use crate::frame::Frame;
use nodevent_protocol::history::Position;
use nodevent_protocol::{room, socket_io};
use serde_json::{Value, json};

/// The dialect `nodevent`.
#[derive(Debug, Default)]
pub struct NodEvent;

// === impl NodEvent ===

impl Dialect for NodEvent {
    fn name(&self) -> &'static str {
        "nodevent"
    }

    fn admit(&self, _admission: &Admission, _auth: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    fn event(&self, operations: &mut dyn Operations, call: Call) {
        // The decoder has seen to it that this is a JSON array whose first element names the event.
        let Ok(Value::Array(mut args)) = serde_json::from_str(&call.args) else { return };
        let data = if args.len() > 1 { args.swap_remove(1) } else { Value::Null };
        match args[0].as_str() {
            Some("join") => {
                if let Err(refusal) = join(operations, &data, call.id) {
                    let answer = Value::from(vec![Value::from(refusal), Value::Bool(false)]).to_string();
                    acknowledge(operations, call.id, &answer);
                }
            }
            Some("leave") => {
                let answer = match leave(operations, &data) {
                    Ok(()) => "[null]".to_owned(),
                    Err(refusal) => Value::from(vec![refusal]).to_string(),
                };
                acknowledge(operations, call.id, &answer);
            }
            _ => {}
        }
    }

    fn joined(&self, operations: &mut dyn Operations, id: Option<u64>, recovery: Option<Recovery>) {
        let answer = match recovery {
            None => "[null,true]".to_owned(),
            Some(Recovery { position, recovered }) => {
                let position = position.map_or(Value::Null, |position| position.to_string().into());
                json!([null, true, {"position": position, "recovered": recovered}]).to_string()
            }
        };
        acknowledge(operations, id, &answer);
    }

    fn frame(&self, namespace: &str, text: &str) -> Frame {
        let mut args = String::with_capacity(text.len() + 12);
        args.push_str("[\"event\",");
        args.push_str(text);
        args.push(']');
        let packet = event_packet(namespace, &args);
        Frame::publication(&packet, packet.len() - text.len() - 1, text.len())
    }

    fn lost(&self, namespace: &str, room: &str, position: Position) -> Frame {
        let args = json!(["lost", {"room": room, "position": position.to_string()}]).to_string();
        Frame::text(&event_packet(namespace, &args))
    }
}

fn event_packet(namespace: &str, args: &str) -> String {
    let mut packet = String::with_capacity(args.len() + namespace.len() + 4);
    packet.push('4');
    socket_io::encode_event(&mut packet, namespace, None, args);
    packet
}

/// `join {room, key?, since?}`. The refusal's text goes to the browser.
fn join(operations: &mut dyn Operations, data: &Value, id: Option<u64>) -> Result<(), &'static str> {
    let refused = |operations: &mut dyn Operations, text| {
        operations.refused_join(text);
        Err(text)
    };
    let Ok(room) = room_of(operations, data.get("room")) else {
        return refused(operations, "Bad room");
    };
    if let Err(refusal) = operations.admission().room(&room, data.get("key")) {
        return refused(operations, refusal.as_str());
    }
    // A position that is no text is one that nobody gave out.
    let since = data.get("since").filter(|since| !since.is_null()).map(|since| since.as_str().unwrap_or_default());
    operations.join(&room, since, id).map_err(JoinRefused::as_str)
}

/// `leave {room}`, or `leave "room"` as the old server understood it. N-46, N-47.
fn leave(operations: &mut dyn Operations, data: &Value) -> Result<(), &'static str> {
    let named = if data.is_object() { data.get("room") } else { Some(data) };
    let room = room_of(operations, named).map_err(|()| "Bad room")?;
    operations.leave(&room);
    Ok(())
}

fn room_of(operations: &dyn Operations, named: Option<&Value>) -> Result<String, ()> {
    let most = operations.longest_room();
    room::from_json(named.unwrap_or(&Value::Null), most).map_err(|_| ())
}

fn acknowledge(operations: &mut dyn Operations, id: Option<u64>, args: &str) {
    if let Some(id) = id {
        operations.acknowledge(id, args, &[]);
    }
}
