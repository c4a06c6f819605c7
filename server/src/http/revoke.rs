//! `POST /api/<ns>/revoke`: ends connections of a user, or memberships, as `protocol/README.md` section 12 defines it.
//!
//! Publishers are authorized as for publishing. A publish key that is limited to rooms needs `revoke: true`. Pages never
//! revoke.

use super::audit::Audit;
use super::publish;
use super::{Http, PeerAddr, reply};
use crate::authorize::Publisher;
use crate::namespace::Namespace;
use crate::origin;
use crate::revocation::{Revocation, Target};
use crate::token::MAX_USER_BYTES;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use nodevent_protocol::room;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// The largest body. Bytes.
const MAX_BODY: usize = 8 * 1024;
/// How far `before` may be in the future: the difference between two clocks. Milliseconds.
const MAX_AHEAD_MS: u64 = 30_000;
/// A body that can be used.
const EXAMPLE: &str =
    r#"send {"user": "7"}, {"room": "Chat_7"} or both, and optionally "before", a time in seconds since 1970"#;

/// Revokes what the body names.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    match revoke(http, namespace, request).await {
        Ok(response) => response,
        Err(response) => {
            match response.status() {
                // `body` has counted them.
                StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => {}
                StatusCode::SERVICE_UNAVAILABLE => drop(http.metrics.failed_publishes.fetch_add(1, Relaxed)),
                _ => drop(http.metrics.rejected_requests.fetch_add(1, Relaxed)),
            }
            *response
        }
    }
}

async fn revoke(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Box<Response>> {
    if origin::is_from_page(request.headers()) {
        let (error, hint) = ("pages may not revoke", "revoke from a program");
        return Err(Box::new(reply::error(StatusCode::FORBIDDEN, error, hint)));
    }
    let publisher = publish::authorize(http, namespace, &request)?;
    if let Publisher::Key(key) = &publisher
        && !key.may_revoke
    {
        let client = PeerAddr::of(request.extensions());
        let (error, hint) =
            ("this publish key may not revoke", "write `revoke: true` for the key in `publish_keys`");
        tracing::warn!(namespace = &*namespace.name, %client, reason = error, "revocation rejected; {hint}");
        Audit::log_rejected_key(http, &namespace.name, client, error);
        return Err(Box::new(reply::error(StatusCode::FORBIDDEN, error, hint)));
    }
    let audit = Audit::new(http, namespace, &publisher, &request);
    let client = PeerAddr::of(request.extensions());
    let body = publish::read_body(http, request, MAX_BODY).await?;
    let now_ms = namespace.revocations.now_ms();
    let (target, before_ms) = parse(&body, namespace.limits.max_name_bytes, now_ms).map_err(|(error, hint)| {
        tracing::warn!(namespace = &*namespace.name, %client, reason = error, "revocation rejected");
        Box::new(reply::error(StatusCode::BAD_REQUEST, error, hint))
    })?;
    let Some(engine) = http.engines.get(namespace.id) else { return Err(Box::new(reply::busy())) };
    let revocation: Revocation = namespace.revocations.revocation(target, before_ms);
    let revoked = engine.revoke.revoke(&revocation).await;
    audit.log_revocation(&revocation, revoked.is_ok());
    match revoked {
        Ok(()) => {
            let before = before_ms as f64 / 1000.0;
            let body = json!({"revoked": true, "before": before}).to_string();
            Ok(reply::with_type(StatusCode::OK, "application/json", body))
        }
        Err(error) => {
            tracing::warn!(namespace = &*namespace.name, %client, %error, "revocation failed");
            let hint = "send it again when the engine is available; see /readyz";
            Err(Box::new(reply::error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), hint)))
        }
    }
}

/// Reads a body. Returns what is revoked, and the time. An unknown key is an error: a misspelt `room` must not revoke more.
fn parse(body: &[u8], max_room_name: usize, now_ms: u64) -> Result<(Target, u64), (&'static str, &'static str)> {
    let bad = |error| (error, EXAMPLE);
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("the body is not a JSON object"))?;
    if fields.keys().any(|key| !["user", "room", "before"].contains(&key.as_str())) {
        return Err(bad("the body has an unknown key"));
    }
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let user: Option<Box<str>> = match field("user") {
        None => None,
        Some(Value::String(user)) => Some(user.as_str().into()),
        Some(Value::Number(user)) if user.is_u64() => Some(user.to_string().into()),
        Some(_) => return Err(bad("`user` is neither text nor a whole number")),
    };
    if user.as_ref().is_some_and(|user| !(1..=MAX_USER_BYTES).contains(&user.len())) {
        return Err(bad("`user` is empty, or longer than 255 bytes"));
    }
    let room = field("room").map(|room| room::from_json(room, max_room_name).map(String::into_boxed_str));
    let room = room.transpose().map_err(|_| bad("`room` is not the name of a room"))?;
    if user.is_none() && room.is_none() {
        return Err(bad("neither `user` nor `room` is given"));
    }
    let before_ms = match field("before") {
        None => now_ms,
        Some(before) => {
            let seconds = before.as_f64().filter(|seconds| *seconds >= 0.0);
            (seconds.ok_or_else(|| bad("`before` is not a time in seconds"))? * 1000.0) as u64
        }
    };
    if before_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
        return Err(bad("`before` is in the future; a time in seconds is expected"));
    }
    Ok((Target { user, room }, before_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn bodies_of_the_vectors_are_read_as_they_say() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/revocations.json");
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let now_ms = vectors["now"].as_u64().unwrap();
        for vector in vectors["valid"].as_array().unwrap() {
            let text = |name: &str| vector[name].as_str().map(Into::into);
            let target = Target { user: text("user"), room: text("room") };
            let body = vector["body"].as_str().unwrap();
            assert_eq!(
                parse(body.as_bytes(), 20, now_ms),
                Ok((target, vector["before"].as_u64().unwrap())),
                "{body}"
            );
        }
        for body in vectors["invalid"].as_array().unwrap() {
            assert!(parse(body.as_str().unwrap().as_bytes(), 20, now_ms).is_err(), "{body}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for (body, error) in [
            ("", "the body is not a JSON object"),
            ("[]", "the body is not a JSON object"),
            ("{}", "neither `user` nor `room` is given"),
            (r#"{"user":null}"#, "neither `user` nor `room` is given"),
            (r#"{"user":"7","rooom":"r"}"#, "the body has an unknown key"),
            (r#"{"user":""}"#, "`user` is empty, or longer than 255 bytes"),
            (r#"{"user":true}"#, "`user` is neither text nor a whole number"),
            (r#"{"user":1.5}"#, "`user` is neither text nor a whole number"),
            (r#"{"room":""}"#, "`room` is not the name of a room"),
            (r#"{"room":"aaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "`room` is not the name of a room"),
            (r#"{"user":"7","before":"now"}"#, "`before` is not a time in seconds"),
            (r#"{"user":"7","before":-1}"#, "`before` is not a time in seconds"),
            (r#"{"user":"7","before":1700000000000}"#, "`before` is in the future; a time in seconds is expected"),
        ] {
            assert_eq!(parse(body.as_bytes(), 20, NOW).map_err(|(error, _)| error), Err(error), "{body}");
        }
    }
}
