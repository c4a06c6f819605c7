//! The dialect `nodevent`: `join`, `leave` and `event`, as `protocol/README.md` section 4 has them.

use super::{Call, Dialect, JoinRefused, Operations};
use crate::frame::Frame;
use crate::namespace::Namespace;
use nodevent_protocol::emission::Emission;
use nodevent_protocol::{room, socket_io};
use serde_json::Value;

/// The dialect `nodevent`.
#[derive(Debug, Default)]
pub struct NodEvent;

// === impl NodEvent ===

impl Dialect for NodEvent {
    fn admit(&self, _namespace: &Namespace, _auth: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    fn event(&self, operations: &mut dyn Operations, call: Call) {
        // The decoder has seen to it that this is a JSON array whose first element names the event.
        let Ok(Value::Array(mut args)) = serde_json::from_str(&call.args) else { return };
        let data = if args.len() > 1 { args.swap_remove(1) } else { Value::Null };
        match args[0].as_str() {
            Some("join") => {
                let answer = match join(operations, &data) {
                    Ok(()) => "[null,true]".to_owned(),
                    Err(refusal) => Value::from(vec![Value::from(refusal), Value::Bool(false)]).to_string(),
                };
                acknowledge(operations, call.id, &answer);
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

    fn frame(&self, namespace: &str, emission: &Emission<'_>) -> Frame {
        let mut args = String::with_capacity(emission.text.len() + 12);
        args.push_str("[\"event\",");
        args.push_str(emission.text);
        args.push(']');
        let mut packet = String::with_capacity(args.len() + namespace.len() + 4);
        packet.push('4');
        socket_io::encode_event(&mut packet, namespace, None, &args);
        Frame::text(&packet)
    }
}

/// `join {room, key?}`. The refusal's text goes to the browser.
fn join(operations: &mut dyn Operations, data: &Value) -> Result<(), String> {
    let refused = |operations: &mut dyn Operations, text: String| {
        operations.count_refused_join();
        Err(text)
    };
    let Ok(room) = room_of(operations, data.get("room")) else {
        return refused(operations, "Bad room".into());
    };
    if let Err(refusal) = operations.namespace().admission.room(&room, data.get("key")) {
        return refused(operations, refusal.as_str().into());
    }
    operations.join(&room).map_err(|refused: JoinRefused| refused.to_string())
}

/// `leave {room}`, or `leave "room"` as the old server understood it. N-46, N-47.
fn leave(operations: &mut dyn Operations, data: &Value) -> Result<(), &'static str> {
    let named = if data.is_object() { data.get("room") } else { Some(data) };
    let room = room_of(operations, named).map_err(|()| "Bad room")?;
    operations.leave(&room);
    Ok(())
}

fn room_of(operations: &dyn Operations, named: Option<&Value>) -> Result<String, ()> {
    let most = operations.namespace().limits.name;
    room::from_json(named.unwrap_or(&Value::Null), most).map_err(|_| ())
}

fn acknowledge(operations: &mut dyn Operations, id: Option<u64>, args: &str) {
    if let Some(id) = id {
        operations.acknowledge(id, args, &[]);
    }
}
