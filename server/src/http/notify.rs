//! `POST /api/<ns>/notify`: messages for the mailboxes of users, as `protocol/README.md` section 3 defines it.

use super::audit::{Audit, Outcome};
use super::{Http, PeerAddr, publish, reply};
use crate::authorize::Publisher;
use crate::clock::now_ms;
use crate::mailbox::{Mailboxes, NewMessage, Stored};
use crate::namespace::Namespace;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::future::join_all;
use nodevent_protocol::mailbox::message_text;
use nodevent_protocol::notification::{Invalid, Notification};
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Users whose messages are stored at a time.
const AT_A_TIME: usize = 64;
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
    let bad_request =
        |Invalid { error, hint }: Invalid| Box::new(reply::error(StatusCode::BAD_REQUEST, &error, hint));
    let mailboxes = mailboxes_of(http, namespace)?;
    let header = publish::idempotency_key(request.headers()).map_err(|()| bad_request(Invalid::key()))?;
    let client = PeerAddr::of(request.extensions());
    let body = publish::read_body(http, request, http.settings().max_publish_size).await?;
    let mut notification = Notification::parse(&body, http.settings().max_notified_users).map_err(|invalid| {
        let (namespace, reason) = (&*namespace.name, &invalid.error);
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
    notification.key = notification.key.or(header).map(|key| publisher.idempotency_key(&key));
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
    let (status, body) = store_all(http, namespace, &*mailboxes, &publisher, &notification, &text).await;
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
    publisher: &Publisher,
    notification: &Notification<'_>,
    text: &str,
) -> (StatusCode, Value) {
    let (ttl, idempotency_key) = (notification.ttl, notification.key.as_deref());
    let is_limited = publisher.is_limited_to_users();
    let mut ids: Vec<Option<String>> = Vec::with_capacity(notification.users.len());
    let (mut accepted, mut failure) = (0_usize, None);
    let metrics = &http.metrics;
    for users in notification.users.chunks(AT_A_TIME) {
        let stored = users
            .iter()
            .map(|user| NewMessage { user, text, ttl, idempotency_key, is_limited })
            .map(|new| async move { mailboxes.store(&new).await });
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
