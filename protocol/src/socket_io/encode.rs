//! Encodes the packets of the server. Each function appends text to `out`, without the `4` of Engine.IO.
//!
//! `args_json` is a JSON array; `namespace` begins with `/` and has no comma. Both come from the server itself.

use std::fmt::Write as _;

/// Appends a connect packet (`0`), with the connection's id in the namespace.
pub fn encode_connect(out: &mut String, namespace: &str, sid: &str) {
    head(out, '0', None, namespace, None);
    object(out, "sid", sid);
}

/// Appends a connect packet (`0`) with the id by which the client can be restored after a reconnect.
pub fn encode_connect_with_pid(out: &mut String, namespace: &str, sid: &str, pid: &str) {
    head(out, '0', None, namespace, None);
    out.push_str("{\"sid\":");
    string(out, sid);
    out.push_str(",\"pid\":");
    string(out, pid);
    out.push('}');
}

/// Appends the connect packet (`0`) of protocol 4, which has no data.
pub fn encode_connect_4(out: &mut String, namespace: &str) {
    head(out, '0', None, namespace, None);
}

/// Appends a disconnect packet (`1`).
pub fn encode_disconnect(out: &mut String, namespace: &str) {
    head(out, '1', None, namespace, None);
}

/// Appends an event (`2`), with an id if an ack is expected.
pub fn encode_event(out: &mut String, namespace: &str, id: Option<u64>, args_json: &str) {
    head(out, '2', None, namespace, id);
    out.push_str(args_json);
}

/// Appends the ack (`3`) of the event with that id.
pub fn encode_ack(out: &mut String, namespace: &str, id: u64, args_json: &str) {
    head(out, '3', None, namespace, Some(id));
    out.push_str(args_json);
}

/// Appends a connect error (`4`).
pub fn encode_connect_error(out: &mut String, namespace: &str, message: &str) {
    head(out, '4', None, namespace, None);
    object(out, "message", message);
}

/// Appends the error packet (`4`) of protocol 4, whose data is the message.
pub fn encode_error_4(out: &mut String, namespace: &str, message: &str) {
    head(out, '4', None, namespace, None);
    string(out, message);
}

/// Appends an event (`5`) that is followed by `attachments` binary messages.
pub fn encode_binary_event(
    out: &mut String,
    namespace: &str,
    id: Option<u64>,
    args_json: &str,
    attachments: usize,
) {
    head(out, '5', Some(attachments), namespace, id);
    out.push_str(args_json);
}

/// Appends an ack (`6`) that is followed by `attachments` binary messages.
pub fn encode_binary_ack(out: &mut String, namespace: &str, id: u64, args_json: &str, attachments: usize) {
    head(out, '6', Some(attachments), namespace, Some(id));
    out.push_str(args_json);
}

fn head(out: &mut String, kind: char, attachments: Option<usize>, namespace: &str, id: Option<u64>) {
    out.push(kind);
    // Writing to a string cannot fail.
    if let Some(attachments) = attachments {
        let _ = write!(out, "{attachments}-");
    }
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(id) = id {
        let _ = write!(out, "{id}");
    }
}

fn object(out: &mut String, name: &str, text: &str) {
    for part in ["{\"", name, "\":"] {
        out.push_str(part);
    }
    string(out, text);
    out.push('}');
}

/// Appends a JSON string.
fn string(out: &mut String, text: &str) {
    // Most are ids.
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        // Strings can always be encoded.
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}
