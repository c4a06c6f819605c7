//! `/api/<ns>/hooks/dead-letters`: reads, resends and deletes the events of hooks that were given up.
//!
//! Publishers are authorized as for publishing, with a key that is not limited. Pages never come here: dead letters
//! contain users and messages.

use super::publish;
use super::query;
use super::{Http, reply};
use crate::authorize::Publisher;
use crate::hooks::{DeadLetters, Journal};
use crate::namespace::Namespace;
use crate::origin;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// The largest body. Bytes.
const MAX_BODY: usize = 64 * 1024;
/// Dead letters in one response.
const MAX_PAGE: usize = 100;
/// Bytes of their events in one response, unless the first is larger.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Dead letters that one request resends or deletes.
const MAX_CLEARED: usize = 1_000;
/// A body that can be used.
const EXAMPLE: &str = r#"send {"action": "resend", "ids": ["…"]}, or {"action": "delete", "all": true}"#;

/// What the body says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    action: Action,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Resend,
    Delete,
}

/// Serves `GET` and `POST`.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    match respond(http, namespace, request).await {
        Ok(response) => response,
        Err(response) => {
            if response.status() == StatusCode::BAD_REQUEST || response.status() == StatusCode::FORBIDDEN {
                http.metrics.rejected_requests.fetch_add(1, Relaxed);
            }
            *response
        }
    }
}

async fn respond(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Box<Response>> {
    let refuse = |status, error: &str, hint: &str| Box::new(reply::error(status, error, hint));
    if origin::is_from_page(request.headers()) {
        let (error, hint) = ("pages may not read dead letters", "use `nodevent hooks` or a program");
        return Err(refuse(StatusCode::FORBIDDEN, error, hint));
    }
    if let Publisher::Key(key) = publish::authorize(http, namespace, &request)?
        && key.limit.is_some()
    {
        let (error, hint) =
            ("this publish key is limited", "use a publish key without `rooms`, `users` and `broadcast`");
        return Err(refuse(StatusCode::FORBIDDEN, error, hint));
    }
    let journal = http.engines.get(namespace.id).and_then(|engine| engine.journal.clone());
    let Some(journal) = journal else {
        let hint = "write `hooks:` below the namespace";
        return Err(refuse(StatusCode::NOT_FOUND, "the namespace has no hooks", hint));
    };
    let body = match *request.method() {
        Method::POST => {
            let body = publish::read_body(http, request, MAX_BODY).await?;
            let body = parse(&body).map_err(|error| refuse(StatusCode::BAD_REQUEST, error, EXAMPLE))?;
            let cleared = clear(&*journal, &body).await;
            if body.action == Action::Resend
                && let Some(recorder) = &namespace.recorder
            {
                recorder.notify_appended();
            }
            cleared
        }
        _ => read(&*journal, request.uri().query()).await,
    };
    let body = body.map_err(|error| {
        tracing::warn!(namespace = &*namespace.name, %error, "hooks: dead letters unavailable");
        let hint = "send it again when the engine is available; see /readyz";
        refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), hint)
    })?;
    Ok(reply::with_type(StatusCode::OK, "application/json", body))
}

async fn read(journal: &dyn Journal, query: Option<&str>) -> Result<String, crate::outcome::Unavailable> {
    let after = query::decoded(query, "after").unwrap_or_default();
    // Ids are digits and hyphens, in hexadecimal for the memory engine. Nothing follows any other text.
    let is_id = after.len() <= 64 && after.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_id {
        return Ok(json!({"count": journal.dead_letters("", 1).await?.count, "dead_letters": []}).to_string());
    }
    let count = query::decoded(query, "count").and_then(|count| count.parse().ok()).unwrap_or(MAX_PAGE);
    let DeadLetters { count: all, letters } = journal.dead_letters(&after, count.clamp(1, MAX_PAGE)).await?;
    let mut bytes = 0;
    let page: Vec<Value> = letters
        .iter()
        .take_while(|letter| {
            let is_first = bytes == 0;
            bytes += letter.text.len();
            is_first || bytes <= MAX_PAGE_BYTES
        })
        .filter_map(|letter| {
            let event: Box<RawValue> = serde_json::from_str(&letter.text).ok()?;
            Some(json!({"id": letter.id, "reason": letter.reason, "event": event}))
        })
        .collect();
    Ok(json!({"count": all, "dead_letters": page}).to_string())
}

async fn clear(journal: &dyn Journal, body: &Body) -> Result<String, crate::outcome::Unavailable> {
    let is_resent = body.action == Action::Resend;
    let count = journal.clear_dead_letters(is_resent, &body.ids, MAX_CLEARED).await?;
    let left = journal.dead_letters("", 1).await?.count;
    let name = if is_resent { "resent" } else { "deleted" };
    Ok(json!({name: count, "count": left}).to_string())
}

/// Reads a body. Without ids it must say `all`, so that a misspelt key does not delete all of them.
fn parse(body: &[u8]) -> Result<Body, &'static str> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| "the body is not a JSON object with `action`, and `ids` or `all`")?;
    match (body.ids.len(), body.all) {
        (0, false) => Err("neither `ids` nor `all` is given"),
        (1.., true) => Err("both `ids` and `all` are given"),
        (count, _) if count > MAX_CLEARED => Err("there are more than 1000 ids"),
        _ if body.ids.iter().any(|id| id.len() > 64) => Err("an id is too long"),
        _ => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_which_dead_letters_it_means() {
        let all = Body { action: Action::Delete, ids: Vec::new(), all: true };
        assert_eq!(parse(br#"{"action":"delete","all":true}"#), Ok(all));
        let one = Body { action: Action::Resend, ids: vec!["1-0".to_owned()], all: false };
        assert_eq!(parse(br#"{"action":"resend","ids":["1-0"]}"#), Ok(one));
        for (body, error) in [
            ("", "the body is not a JSON object with `action`, and `ids` or `all`"),
            (r#"{"action":"keep","all":true}"#, "the body is not a JSON object with `action`, and `ids` or `all`"),
            (r#"{"action":"delete","al":true}"#, "the body is not a JSON object with `action`, and `ids` or `all`"),
            (r#"{"action":"delete"}"#, "neither `ids` nor `all` is given"),
            (r#"{"action":"delete","ids":[]}"#, "neither `ids` nor `all` is given"),
            (r#"{"action":"delete","ids":["1"],"all":true}"#, "both `ids` and `all` are given"),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(error), "{body}");
        }
        let ids = |count: usize| json!({"action": "delete", "ids": vec!["1-0"; count]}).to_string();
        assert!(parse(ids(MAX_CLEARED).as_bytes()).is_ok());
        assert_eq!(parse(ids(MAX_CLEARED + 1).as_bytes()), Err("there are more than 1000 ids"));
    }
}
