//! The protocol `pakyow`: the messages of pakyow-realtime over a WebSocket.
//!
//! `README.md` section 15 defines them, and `vectors/pages.json` has an example of each.
//!
//! # Source
//! pakyow-realtime 0.11.

use crate::publication::raw_members;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The longest name of an action. Bytes.
const MAX_ACTION: usize = 128;
/// The longest id of a message that is repeated in its reply. Bytes of JSON.
const MAX_ID: usize = 256;
/// The longest name of a container or partial. Bytes.
const MAX_PART: usize = 128;
/// The parameters in which the application receives these names.
const PART_NAMES: [&str; 2] = ["socket_container", "socket_partial"];
/// How deep `input` may be nested.
const MAX_INPUT_DEPTH: usize = 16;

/// A message from a client.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// The JSON text of its id, for the reply.
    pub id: Box<str>,
    /// What it asks for.
    pub action: Action,
}

/// What a client asks for.
#[derive(Debug, PartialEq)]
pub enum Action {
    /// `ping`
    Ping,
    /// `call-route`
    Call(CallRoute),
    /// A handler of the application.
    Handler(Box<str>),
}

/// `{"action": "call-route", "uri": …, "method": …, "input": …, "container": …, "partial": …}`
#[derive(Debug, PartialEq)]
pub struct CallRoute {
    /// The method, in upper case.
    pub method: Box<str>,
    /// Path and query. Of a `GET` or `DELETE`, with the input.
    pub uri: Box<str>,
    /// The input of other methods, as a form.
    pub form: Option<Box<str>>,
    /// Whether a container or a partial is wanted. The input names it, and the body of the reply is one text.
    pub is_part: bool,
}

/// Why a message cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is not a JSON object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// It has no `id`.
    #[error("Expected message to contain key 'id'")]
    MissingId,
    /// Its `id` is too long.
    #[error("the id is longer than 256 bytes")]
    LongId,
    /// It has no `action`.
    #[error("Expected message to contain key 'action'")]
    MissingAction,
    /// Its `action` is not a text of 1 to 128 bytes.
    #[error("the action is not a text of 1 to 128 bytes")]
    BadAction,
    /// `uri` is missing, or not a text.
    #[error("`uri` is not a text")]
    BadUri,
    /// `method` is not a text.
    #[error("`method` is not a text")]
    BadMethod,
    /// `input` is not an object, or nested too deeply.
    #[error("`input` is not an object, or nested more than 16 deep")]
    BadInput,
    /// `container` or `partial` is not a name.
    #[error("`container` or `partial` is not a text of 1 to 128 bytes")]
    BadPart,
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    action: Option<Value>,
    #[serde(default)]
    uri: Option<Value>,
    #[serde(default)]
    method: Option<Value>,
    #[serde(default)]
    input: Option<Value>,
    #[serde(default)]
    container: Option<Value>,
    #[serde(default)]
    partial: Option<Value>,
}

// === impl Request ===

impl Request {
    /// Parses a message.
    ///
    /// # Errors
    /// [`RequestError`], and the JSON text of the message's id if it has one.
    pub fn parse(text: &str) -> Result<Self, (RequestError, Option<Box<str>>)> {
        // The parser would take an array for the members in their order.
        let object = Some(text).filter(|text| text.trim_start().starts_with('{'));
        let written: Option<Written<'_>> = object.and_then(|text| serde_json::from_str(text).ok());
        let written = written.ok_or((RequestError::NotAnObject, None))?;
        let id = written.id.map(RawValue::get).filter(|id| *id != "null");
        let id: Box<str> = id.ok_or((RequestError::MissingId, None))?.into();
        if id.len() > MAX_ID {
            return Err((RequestError::LongId, None));
        }
        match action_of(&written) {
            Ok(action) => Ok(Self { id, action }),
            Err(error) => Err((error, Some(id))),
        }
    }
}

fn action_of(written: &Written<'_>) -> Result<Action, RequestError> {
    let action = match &written.action {
        None | Some(Value::Null) => return Err(RequestError::MissingAction),
        Some(Value::String(action)) if (1..=MAX_ACTION).contains(&action.len()) => action.as_str(),
        Some(_) => return Err(RequestError::BadAction),
    };
    match action {
        "ping" => Ok(Action::Ping),
        "call-route" | "call_route" => call_route(written).map(Action::Call),
        name => Ok(Action::Handler(name.into())),
    }
}

fn call_route(written: &Written<'_>) -> Result<CallRoute, RequestError> {
    let uri = written.uri.as_ref().and_then(Value::as_str).ok_or(RequestError::BadUri)?;
    let method = match &written.method {
        None | Some(Value::Null) => "GET".to_owned(),
        Some(Value::String(method)) => method.to_ascii_uppercase(),
        Some(_) => return Err(RequestError::BadMethod),
    };
    let mut input = match &written.input {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(input)) => input.clone(),
        Some(_) => return Err(RequestError::BadInput),
    };
    let mut is_part = false;
    for (name, part) in PART_NAMES.into_iter().zip([&written.container, &written.partial]) {
        // Only the member of the message names a part.
        input.remove(name);
        match part {
            None | Some(Value::Null) => {}
            Some(Value::String(part)) if (1..=MAX_PART).contains(&part.len()) => {
                input.insert(name.to_owned(), part.as_str().into());
                is_part = true;
            }
            Some(_) => return Err(RequestError::BadPart),
        }
    }
    let form = form(&input).ok_or(RequestError::BadInput)?;
    let (uri, form) = match method.as_str() {
        "GET" | "HEAD" | "DELETE" if form.is_empty() => (uri.to_owned(), None),
        "GET" | "HEAD" | "DELETE" => {
            let separator = if uri.contains('?') { '&' } else { '?' };
            (format!("{uri}{separator}{form}"), None)
        }
        _ => (uri.to_owned(), Some(form.into())),
    };
    Ok(CallRoute { method: method.into(), uri: uri.into(), form, is_part })
}

/// An object as a form, with the brackets of Rack: `a[b]=1&c[]=2`. `None`: it is nested too deeply.
fn form(input: &Map<String, Value>) -> Option<String> {
    let mut form = String::new();
    for (name, value) in input {
        let mut encoded = String::new();
        escape(&mut encoded, name);
        write_pairs(&mut form, &mut encoded, value, MAX_INPUT_DEPTH)?;
    }
    Some(form)
}

fn write_pairs(form: &mut String, name: &mut String, value: &Value, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let length = name.len();
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                name.push_str("%5B");
                escape(name, member);
                name.push_str("%5D");
                write_pairs(form, name, value, depth)?;
                name.truncate(length);
            }
            return Some(());
        }
        Value::Array(values) => {
            name.push_str("%5B%5D");
            for value in values {
                write_pairs(form, name, value, depth)?;
            }
            name.truncate(length);
            return Some(());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    match value {
        Value::Null | Value::Object(_) | Value::Array(_) => {}
        Value::Bool(value) => drop(write!(form, "{value}")),
        Value::Number(value) => drop(write!(form, "{value}")),
        Value::String(value) => escape(form, value),
    }
    Some(())
}

/// Percent-encodes everything but unreserved characters.
fn escape(into: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(byte)),
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

/// A reply whose body is one text.
#[must_use]
pub fn reply(id: Option<&str>, status: u16, body: &str) -> String {
    format!(r#"{{"id":{},"status":{status},"headers":{{}},"body":{}}}"#, id.unwrap_or("null"), Value::from(body))
}

/// The reply to a call: the body is a list with one text. `headers` is the text of a JSON object.
#[must_use]
pub fn call_reply(id: &str, status: u16, headers: &str, body: &str) -> String {
    let body = Value::from(body);
    format!(r#"{{"id":{id},"status":{status},"headers":{headers},"body":[{body}]}}"#)
}

/// The reply to a call of which a part was wanted: the body is one text.
#[must_use]
pub fn part_reply(id: &str, status: u16, headers: &str, body: &str) -> String {
    let body = Value::from(body);
    format!(r#"{{"id":{id},"status":{status},"headers":{headers},"body":{body}}}"#)
}

/// The reply of a handler of the application: its JSON object with the message's id. `None`: it is not an object.
#[must_use]
pub fn handler_reply(id: &str, object: &str) -> Option<String> {
    let object = Some(object).filter(|object| object.trim_start().starts_with('{'))?;
    let mut members: Map<String, Value> = serde_json::from_str(object).ok()?;
    members.insert("id".to_owned(), serde_json::from_str(id).ok()?);
    Some(Value::Object(members).to_string())
}

/// What a page receives: `{"payload": …, "channel": …}`. The event of the publication is the channel.
#[must_use]
pub fn message(publication: &str) -> String {
    let members = raw_members(publication).unwrap_or_default();
    let raw = |name: &str| members.get(name).map_or("null", |raw| raw.get());
    format!(r#"{{"payload":{},"channel":{}}}"#, raw("message"), raw("event"))
}

/// The notice that messages of a channel are missing and cannot be recovered.
#[must_use]
pub fn gap(channel: &str) -> String {
    json!({"gap": channel}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> Value {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/pages.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn messages_mean_what_the_vectors_say() {
        // P-19, P-22, P-25
        for vector in vectors()["messages"].as_array().unwrap() {
            let text = vector["text"].as_str().unwrap();
            let parsed = match Request::parse(text) {
                Ok(Request { id, action }) => {
                    let id: Value = serde_json::from_str(&id).unwrap();
                    match action {
                        Action::Ping => json!({"id": id, "ping": true}),
                        Action::Handler(name) => json!({"id": id, "handler": name}),
                        Action::Call(CallRoute { method, uri, form, is_part }) => {
                            let mut means = json!({"id": id, "method": method, "uri": uri, "form": form});
                            if is_part {
                                means["part"] = true.into();
                            }
                            means
                        }
                    }
                }
                Err((error, id)) => {
                    let id: Option<Value> = id.map(|id| serde_json::from_str(&id).unwrap());
                    json!({"id": id, "error": error.to_string()})
                }
            };
            assert_eq!(parsed, vector["means"], "{text}");
        }
    }

    #[test]
    fn any_message_is_passed_on_as_it_was_published() {
        // P-07, P-09, P-35
        for message in ["{\"foo\":\"bar\"}", "\"text\"", "1.50", "[1]", "null", "{\"key\":1,\"__propagated\":true}"]
        {
            let text = format!(r#"{{"room":"pakyow:chan1","event":"chan1","message":{message}}}"#);
            assert_eq!(super::message(&text), format!(r#"{{"payload":{message},"channel":"chan1"}}"#));
        }
    }

    #[test]
    fn the_id_of_a_reply_is_that_of_the_message() {
        assert_eq!(reply(Some("\"a\""), 200, "pong"), r#"{"id":"a","status":200,"headers":{},"body":"pong"}"#);
        let replied = handler_reply("7", r#"{"id":1,"status":201}"#).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&replied).unwrap(), json!({"id": 7, "status": 201}));
        assert_eq!(handler_reply("7", "[1]"), None);
        let called = call_reply("[1]", 404, "{\"x\":\"y\"}", "<\"");
        let called: Value = serde_json::from_str(&called).unwrap();
        assert_eq!(called, json!({"id": [1], "status": 404, "headers": {"x": "y"}, "body": ["<\""]}));
        // P-22
        let part: Value = serde_json::from_str(&part_reply("[1]", 404, "{\"x\":\"y\"}", "<\"")).unwrap();
        assert_eq!(part, json!({"id": [1], "status": 404, "headers": {"x": "y"}, "body": "<\""}));
    }

    #[test]
    fn deep_input_is_an_error_and_not_a_recursion() {
        let input = format!("{}1{}", "{\"a\":".repeat(20), "}".repeat(20));
        let text = format!(r#"{{"id":1,"action":"call-route","uri":"/","input":{input}}}"#);
        assert_eq!(Request::parse(&text), Err((RequestError::BadInput, Some("1".into()))));
        let text = format!("{{\"id\":1,\"action\":{}", "[".repeat(100_000));
        assert_eq!(Request::parse(&text), Err((RequestError::NotAnObject, None)));
    }
}
