//! A message for the mailboxes of users, as publishers send it: over HTTP, or from a process that stores it in Redis itself.
//! `protocol/README.md` section 11 defines it, and `vectors/mailboxes.json` has examples.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::time::Duration;

/// The longest id of a user. Bytes.
pub const MAX_USER_BYTES: usize = 255;
/// The longest name of an event. Bytes.
pub const MAX_EVENT_BYTES: usize = 255;
/// The longest idempotency key. Bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;
/// The longest time to live. Seconds: ten years.
const MAX_TTL: f64 = 10.0 * 365.0 * 24.0 * 3600.0;
/// The hint for a text that is not understood.
const SHAPE: &str = r#"send {"user": "…", "event": "…", "message": …}, or `users` with a list"#;

/// A message for users.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The users, each once.
    pub users: Vec<String>,
    /// The event.
    pub event: String,
    /// The text of a JSON value.
    pub message: &'a str,
    /// How long the message is kept at most.
    pub ttl: Option<Duration>,
    /// The same key stores once for each user.
    pub key: Option<String>,
}

/// Why a text is no notification.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Invalid {
    /// What is wrong, and where.
    pub error: String,
    /// What to do.
    pub hint: &'static str,
}

// === impl Invalid ===

impl Invalid {
    fn new(error: impl Into<String>, hint: &'static str) -> Self {
        Self { error: error.into(), hint }
    }

    /// An idempotency key that is too long, or empty.
    #[must_use]
    pub fn key() -> Self {
        let error = format!("`key` is not a string of 1 to {MAX_IDEMPOTENCY_KEY} bytes");
        Self::new(error, "send a text that is new for each message, such as a UUID")
    }
}

// === impl Notification ===

impl<'a> Notification<'a> {
    /// Parses the text of a JSON object.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(body: &'a [u8], max_users: usize) -> Result<Self, Invalid> {
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
        let wire: Wire<'_> = serde_json::from_slice(body).map_err(|error| {
            // Its own text may contain a part of the body.
            let (line, column) = (error.line(), error.column());
            let error = format!("the body is not a JSON object of a notification: line {line}, column {column}");
            Invalid::new(error, SHAPE)
        })?;
        let users = match (wire.user, wire.users) {
            (Some(user), None) => vec![user],
            (None, Some(Value::Array(users))) if users.is_empty() => {
                return Err(Invalid::new("`users` is empty", SHAPE));
            }
            (None, Some(Value::Array(users))) if users.len() > max_users => {
                let error = format!("`users` names more than {max_users} users");
                return Err(Invalid::new(error, "send several requests, or raise `limits: max_notified_users`"));
            }
            (None, Some(Value::Array(users))) => users,
            (None, Some(_)) => return Err(Invalid::new("`users` is not a list", SHAPE)),
            (Some(_), Some(_)) => return Err(Invalid::new("`user` and `users` are both written", SHAPE)),
            (None, None) => return Err(Invalid::new("`user` is missing", SHAPE)),
        };
        let mut names = Vec::with_capacity(users.len());
        for (index, user) in users.iter().enumerate() {
            let name = user_of(user).map_err(|problem| {
                let error =
                    if users.len() > 1 { format!("user {index} {problem}") } else { format!("the user {problem}") };
                Invalid::new(
                    error,
                    "send the id of the user as the `sub` of the user's token has it: a string or an integer",
                )
            })?;
            names.push(name);
        }
        // A user who is named twice receives the message once.
        let mut seen = HashSet::with_capacity(names.len());
        names.retain(|name| seen.insert(name.clone()));
        let event = match wire.event {
            Some(Value::String(event)) if (1..=MAX_EVENT_BYTES).contains(&event.len()) => event,
            None => return Err(Invalid::new("`event` is missing", SHAPE)),
            Some(_) => {
                let error = format!("`event` is not a string of 1 to {MAX_EVENT_BYTES} bytes");
                return Err(Invalid::new(error, SHAPE));
            }
        };
        let message = wire.message.map_or("null", RawValue::get);
        Ok(Self { users: names, event, message, ttl: ttl_of(wire.ttl)?, key: key_of(wire.key)? })
    }
}

/// The id of a user.
///
/// # Errors
/// What is wrong with it.
fn user_of(user: &Value) -> Result<String, String> {
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
    let invalid = || Invalid::new(error, "send the seconds for which the message is worth reading, or no `ttl`");
    seconds.map(|seconds| Some(Duration::from_secs_f64(seconds))).ok_or_else(invalid)
}

fn key_of(key: Option<Value>) -> Result<Option<String>, Invalid> {
    match key {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) => Ok(Some(key)),
        Some(_) => Err(Invalid::key()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        Notification::parse(body.as_bytes(), 3).unwrap_err().error
    }

    #[test]
    fn a_notification_names_one_user_or_several_by_strings_or_integers() {
        let one =
            Notification::parse(br#"{"user": 7, "event": "e", "message": [1, 2], "ttl": 1.5, "key": "k"}"#, 3)
                .unwrap();
        assert_eq!((&*one.users[0], &*one.event, one.message), ("7", "e", "[1, 2]"));
        assert_eq!((one.ttl, one.key.as_deref()), (Some(Duration::from_millis(1500)), Some("k")));
        let several = Notification::parse(br#"{"users": ["7", 7, "b"], "event": "e"}"#, 3).unwrap();
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
