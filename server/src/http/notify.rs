//! `POST /api/<ns>/notify`: messages for the mailboxes of users, as `protocol/README.md` section 3 defines it.

use super::audit::{Audit, Outcome};
use super::{Http, PeerAddr, publish, reply};
use crate::clock::now_ms;
use crate::mailbox::{MAX_IDEMPOTENCY_KEY, Mailboxes, NewMessage, Stored};
use crate::namespace::Namespace;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use nodevent_protocol::mailbox::message_text;
use nodevent_protocol::topic::Topic;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The longest id of a user. Bytes.
pub(super) const MAX_USER_BYTES: usize = crate::token::MAX_USER_BYTES;
/// The longest name of an event. Bytes.
const MAX_EVENT_BYTES: usize = 255;
/// The longest time to live. Seconds: ten years.
const MAX_TTL: f64 = 10.0 * 365.0 * 24.0 * 3600.0;
/// Users whose messages are stored at a time.
const AT_A_TIME: usize = 64;
/// The hint for a body that is not understood.
const SHAPE: &str = r#"send {"user": "…", "event": "…", "message": …}, or `users` with a list"#;

/// A message to users.
#[derive(Debug)]
struct Notification<'a> {
    users: Vec<String>,
    event: String,
    /// The text of a JSON value.
    message: &'a str,
    ttl: Option<Duration>,
    key: Option<String>,
}

/// Why a body was rejected: the error and the fix.
#[derive(Debug, PartialEq)]
struct Invalid(String, &'static str);

/// Stores a message in the mailboxes of users.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    match notify(http, namespace, request).await {
        Ok(response) => response,
        Err(response) => {
            match response.status() {
                // They are counted where they are noticed.
                StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => {}
                StatusCode::SERVICE_UNAVAILABLE => drop(http.metrics.failed_publishes.fetch_add(1, Relaxed)),
                _ => drop(http.metrics.rejected_requests.fetch_add(1, Relaxed)),
            }
            *response
        }
    }
}

async fn notify(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Box<Response>> {
    let publisher = publish::authorize(http, namespace, &request)?;
    let audit = Audit::new(http, namespace, &publisher, &request);
    let bad_request = |Invalid(error, hint): Invalid| Box::new(reply::error(StatusCode::BAD_REQUEST, &error, hint));
    let mailboxes = mailboxes_of(http, namespace)?;
    let header = publish::idempotency_key(request.headers()).map_err(|()| bad_request(bad_key()))?;
    let client = PeerAddr::of(request.extensions());
    let body = publish::read_body(http, request, http.settings.max_publish_size).await?;
    let mut notification = parse(&body, http.settings.max_notified_users).map_err(|invalid| {
        let (namespace, reason) = (&*namespace.name, &invalid.0);
        tracing::warn!(namespace, %client, reason, "notification rejected");
        bad_request(invalid)
    })?;
    if !notification.users.iter().all(|user| publisher.may_publish_to(Topic::User(user))) {
        return Err(Box::new(reply::error(
            StatusCode::FORBIDDEN,
            "this publish key may not notify one of these users",
            "add the user, or `\"*\"`, to `users` of the key in `publish_keys`, or send another key",
        )));
    }
    notification.key = notification.key.or(header);
    let text = message_text(&notification.event, notification.message, now_ms());
    let max = mailboxes.settings().max_message;
    if text.len() > max {
        http.metrics.count_oversized_publish();
        return Err(Box::new(reply::error(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the message is larger than {max} bytes"),
            "send less, or raise `limits: max_mailbox_message` and `mailbox: bytes`",
        )));
    }
    let (status, body) = store_all(http, namespace, &*mailboxes, &notification, &text).await;
    let outcome = if status == StatusCode::OK { Outcome::Published } else { Outcome::Failed };
    audit.log_notification(notification.users.len(), &notification.event, text.len(), outcome);
    let response = reply::with_type(status, "application/json", body.to_string());
    if status == StatusCode::OK { Ok(response) } else { Err(Box::new(response)) }
}

/// The mailboxes of a namespace.
///
/// # Errors
/// The response if it has none.
pub(super) fn mailboxes_of(http: &Http, namespace: &Namespace) -> Result<Arc<dyn Mailboxes>, Box<Response>> {
    let engine = http.engines.get(namespace.id).ok_or_else(|| Box::new(reply::busy()))?;
    engine.mailboxes.clone().ok_or_else(|| {
        Box::new(reply::error(
            StatusCode::NOT_FOUND,
            "this namespace has no mailboxes",
            "write `mailbox: on` below it in the configuration",
        ))
    })
}

/// Stores the message for one user after another, and stops after the first failure.
async fn store_all(
    http: &Http,
    namespace: &Namespace,
    mailboxes: &dyn Mailboxes,
    notification: &Notification<'_>,
    text: &str,
) -> (StatusCode, Value) {
    let (ttl, idempotency_key) = (notification.ttl, notification.key.as_deref());
    let mut ids: Vec<Option<String>> = Vec::with_capacity(notification.users.len());
    let (mut accepted, mut failure) = (0_usize, None);
    let metrics = &http.metrics;
    for users in notification.users.chunks(AT_A_TIME) {
        let stored = users
            .iter()
            .map(|user| async move { mailboxes.store(&NewMessage { user, text, ttl, idempotency_key }).await });
        for stored in join_all(stored).await {
            match stored {
                Ok(Stored::Stored { id, dropped }) => {
                    metrics.mailbox_messages.fetch_add(1, Relaxed);
                    metrics.mailbox_dropped.fetch_add(dropped, Relaxed);
                    accepted += 1;
                    ids.push(Some(id.to_string()));
                }
                Ok(Stored::Duplicate(id)) => {
                    accepted += 1;
                    ids.push(Some(id.to_string()));
                }
                Ok(Stored::Unknown) => {
                    metrics.mailbox_unknown_users.fetch_add(1, Relaxed);
                    ids.push(None);
                }
                Ok(Stored::Full) => {
                    metrics.mailbox_full.fetch_add(1, Relaxed);
                    ids.push(None);
                    failure.get_or_insert((
                        StatusCode::INSUFFICIENT_STORAGE,
                        "there is no place for another mailbox".to_owned(),
                        "raise `limits: max_mailboxes` or `limits: max_mailbox_memory`, or name only users who exist",
                    ));
                }
                Err(error) => {
                    tracing::warn!(namespace = &*namespace.name, %error, "a message was not stored");
                    ids.push(None);
                    failure.get_or_insert((
                        StatusCode::SERVICE_UNAVAILABLE,
                        format!("{} is unavailable", error.engine),
                        "send it again with the same key when the engine is available; see /readyz",
                    ));
                }
            }
        }
        if failure.is_some() {
            break;
        }
    }
    match failure {
        None => (StatusCode::OK, json!({"accepted": accepted, "ids": ids})),
        Some((status, error, hint)) => {
            (status, json!({"error": error, "hint": hint, "accepted": accepted, "ids": ids}))
        }
    }
}

/// Reads a notification.
fn parse(body: &[u8], max_users: usize) -> Result<Notification<'_>, Invalid> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(default)]
        user: Option<Value>,
        #[serde(default)]
        users: Option<Value>,
        #[serde(default)]
        event: Option<Value>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
        #[serde(default)]
        ttl: Option<Value>,
        #[serde(default)]
        key: Option<Value>,
    }
    let wire: Wire<'_> = serde_json::from_slice(body)
        .map_err(|error| Invalid(format!("the body is not a JSON object of a notification: {error}"), SHAPE))?;
    let users = match (wire.user, wire.users) {
        (Some(user), None) => vec![user],
        (None, Some(Value::Array(users))) if users.is_empty() => {
            return Err(Invalid("`users` is empty".into(), SHAPE));
        }
        (None, Some(Value::Array(users))) if users.len() > max_users => {
            let error = format!("`users` names more than {max_users} users");
            return Err(Invalid(error, "send several requests, or raise `limits: max_notified_users`"));
        }
        (None, Some(Value::Array(users))) => users,
        (None, Some(_)) => return Err(Invalid("`users` is not a list".into(), SHAPE)),
        (Some(_), Some(_)) => return Err(Invalid("`user` and `users` are both written".into(), SHAPE)),
        (None, None) => return Err(Invalid("`user` is missing".into(), SHAPE)),
    };
    let mut names = Vec::with_capacity(users.len());
    for (index, user) in users.iter().enumerate() {
        let name = user_of(user).map_err(|problem| {
            let error =
                if users.len() > 1 { format!("user {index} {problem}") } else { format!("the user {problem}") };
            Invalid(
                error,
                "send the id of the user as the `sub` of the user's token has it: a string or an integer",
            )
        })?;
        names.push(name);
    }
    // A user who is named twice receives the message once.
    let mut seen = std::collections::HashSet::with_capacity(names.len());
    names.retain(|name| seen.insert(name.clone()));
    let event = match wire.event {
        Some(Value::String(event)) if (1..=MAX_EVENT_BYTES).contains(&event.len()) => event,
        None => return Err(Invalid("`event` is missing".into(), SHAPE)),
        Some(_) => {
            let error = format!("`event` is not a string of 1 to {MAX_EVENT_BYTES} bytes");
            return Err(Invalid(error, SHAPE));
        }
    };
    let message = wire.message.map_or("null", RawValue::get);
    Ok(Notification { users: names, event, message, ttl: ttl_of(wire.ttl)?, key: key_of(wire.key)? })
}

/// The id of a user.
///
/// # Errors
/// What is wrong with it.
pub(super) fn user_of(user: &Value) -> Result<String, String> {
    let name = match user {
        Value::String(name) => name.clone(),
        Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return Err("is neither a string nor an integer".into()),
    };
    match name.len() {
        0 => Err("is empty".into()),
        length if length > MAX_USER_BYTES => Err(format!("is longer than {MAX_USER_BYTES} bytes")),
        _ if name.chars().any(char::is_control) => Err("contains a control character".into()),
        _ => Ok(name),
    }
}

fn ttl_of(ttl: Option<Value>) -> Result<Option<Duration>, Invalid> {
    let seconds = match ttl {
        None | Some(Value::Null) => return Ok(None),
        Some(ttl) => ttl.as_f64().filter(|seconds| (0.001..=MAX_TTL).contains(seconds)),
    };
    let error = "`ttl` is not a number of seconds between 0.001 and ten years";
    let invalid = || Invalid(error.into(), "send the seconds for which the message is worth reading, or no `ttl`");
    seconds.map(|seconds| Some(Duration::from_secs_f64(seconds))).ok_or_else(invalid)
}

fn bad_key() -> Invalid {
    let error = format!("`key` is not a string of 1 to {MAX_IDEMPOTENCY_KEY} bytes");
    Invalid(error, "send a text that is new for each message, such as a UUID")
}

fn key_of(key: Option<Value>) -> Result<Option<String>, Invalid> {
    match key {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) => Ok(Some(key)),
        Some(_) => Err(bad_key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        parse(body.as_bytes(), 3).unwrap_err().0
    }

    #[test]
    fn a_notification_names_one_user_or_several_by_strings_or_integers() {
        let one = parse(br#"{"user": 7, "event": "e", "message": [1, 2], "ttl": 1.5, "key": "k"}"#, 3).unwrap();
        assert_eq!((&*one.users[0], &*one.event, one.message), ("7", "e", "[1, 2]"));
        assert_eq!((one.ttl, one.key.as_deref()), (Some(Duration::from_millis(1500)), Some("k")));
        let several = parse(br#"{"users": ["7", 7, "b"], "event": "e"}"#, 3).unwrap();
        assert_eq!((several.users, several.message), (vec!["7".to_owned(), "b".to_owned()], "null"));
    }

    #[test]
    fn everything_else_is_rejected_with_its_reason() {
        let long = "x".repeat(256);
        for (body, reason) in [
            ("", "not a JSON object"),
            ("[]", "not a JSON object"),
            ("{}", "`user` is missing"),
            (r#"{"user": "a", "users": ["a"], "event": "e"}"#, "both written"),
            (r#"{"users": "a", "event": "e"}"#, "`users` is not a list"),
            (r#"{"users": [], "event": "e"}"#, "`users` is empty"),
            (r#"{"users": [1, 2, 3, 4], "event": "e"}"#, "more than 3 users"),
            (r#"{"user": "", "event": "e"}"#, "the user is empty"),
            (r#"{"user": 1.5, "event": "e"}"#, "the user is neither a string nor an integer"),
            (r#"{"user": {"id": 1}, "event": "e"}"#, "the user is neither a string nor an integer"),
            (r#"{"user": "a\u0000b", "event": "e"}"#, "the user contains a control character"),
            (r#"{"users": ["a", ""], "event": "e"}"#, "user 1 is empty"),
            (&format!(r#"{{"user": "{long}", "event": "e"}}"#), "the user is longer than 255 bytes"),
            (r#"{"user": "a"}"#, "`event` is missing"),
            (r#"{"user": "a", "event": 7}"#, "`event` is not a string"),
            (r#"{"user": "a", "event": ""}"#, "`event` is not a string"),
            (r#"{"user": "a", "event": "e", "ttl": 0}"#, "`ttl` is not a number of seconds"),
            (r#"{"user": "a", "event": "e", "ttl": "5m"}"#, "`ttl` is not a number of seconds"),
            (r#"{"user": "a", "event": "e", "ttl": 1e12}"#, "`ttl` is not a number of seconds"),
            (r#"{"user": "a", "event": "e", "key": ""}"#, "`key` is not a string"),
            (&format!(r#"{{"user": "a", "event": "e", "key": "{long}"}}"#), "`key` is not a string"),
            (r#"{"user": "a", "event": "e", "key": 7}"#, "`key` is not a string"),
        ] {
            let error = error(body);
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
