//! `POST /api/<ns>/emit`: publishing over HTTP, as `protocol/README.md` section 3 defines it.

use super::body::{self, BodyError};
use super::{Http, PeerAddr, query, reply};
use crate::authorize::PublishVerdict;
use crate::namespace::Namespace;
use crate::origin;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use nodevent_protocol::publication::{self, PublicationRef};
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// Headers with which a proxy says that the request is not its own.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The longest idempotency key. Bytes.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// Publishes the body to a namespace.
pub(super) async fn serve(http: &Http, namespace: &Namespace, request: Request) -> Response {
    match publish(http, namespace, request).await {
        Ok(response) => response,
        Err(response) => {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            *response
        }
    }
}

async fn publish(http: &Http, namespace: &Namespace, request: Request) -> Result<Response, Box<Response>> {
    authorize(http, namespace, &request)?;
    let idempotency_key = idempotency_key(request.headers()).map_err(|()| {
        reply::error(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key is empty, too long, or not plain ASCII",
            "send at most 255 characters that are new for each request, such as a UUID",
        )
    })?;
    let body = read_body(http, request).await?;
    let publications = parse(http, namespace, &body)?;
    publish_all(http, namespace, &publications, idempotency_key.as_deref()).await
}

fn authorize(http: &Http, namespace: &Namespace, request: &Request) -> Result<(), Box<Response>> {
    let namespace_name = &*namespace.name;
    match namespace.publish.authorize(query::bearer(request.headers()), is_local(request, http)) {
        PublishVerdict::Admit => Ok(()),
        PublishVerdict::WrongKey => {
            tracing::warn!(namespace = namespace_name, "publish rejected: its key is missing or wrong");
            let mut response = reply::error(
                StatusCode::UNAUTHORIZED,
                "the publish key is missing or wrong",
                "send `Authorization: Bearer <publish_key>` with the key of this namespace's configuration",
            );
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Err(Box::new(response))
        }
        PublishVerdict::NotLocal => {
            tracing::warn!(
                namespace = namespace_name,
                "publish rejected: it does not come from this machine, and there is no publish_key"
            );
            Err(Box::new(reply::error(
                StatusCode::FORBIDDEN,
                "without a publish key only this machine may publish, and not through a proxy",
                "set `publish_key` in this namespace's configuration and send it as `Authorization: Bearer`",
            )))
        }
    }
}

async fn read_body(http: &Http, request: Request) -> Result<Bytes, Box<Response>> {
    let max_bytes = http.settings.max_publish_size;
    body::read(http, request.into_body(), max_bytes).await.map_err(|error| {
        Box::new(match error {
            BodyError::TooLarge => {
                http.metrics.count_oversized_publish();
                reply::error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &format!("the body is larger than {max_bytes} bytes"),
                    "send less at a time, or raise `limits: max_publish_size`",
                )
            }
            BodyError::Timeout => reply::body_timeout(),
            BodyError::Incomplete => {
                reply::error(StatusCode::BAD_REQUEST, "request body ended early", "retry the request")
            }
        })
    })
}

/// Parses one publication or an array of them. All of them are checked before the first is published.
fn parse<'a>(http: &Http, namespace: &Namespace, body: &'a [u8]) -> Result<Vec<PublicationRef<'a>>, Box<Response>> {
    publication::parse_many(body).map_err(|(index, invalid)| {
        http.metrics.count_invalid_publish(&invalid);
        tracing::warn!(namespace = &*namespace.name, reason = %invalid, "publish rejected: invalid publication");
        let place = index.map_or(String::new(), |index| format!("publication {index}: "));
        Box::new(reply::error(
            StatusCode::BAD_REQUEST,
            &format!("{place}{invalid}"),
            r#"send {"room": "…", "event": "…", "message": …} or an array of such objects"#,
        ))
    })
}

/// Publishes in order, and stops at the first failure.
async fn publish_all(
    http: &Http,
    namespace: &Namespace,
    publications: &[PublicationRef<'_>],
    idempotency_key: Option<&str>,
) -> Result<Response, Box<Response>> {
    let Some(engine) = http.engines.get(namespace.id) else { return Err(Box::new(reply::busy())) };
    let mut positions = Vec::with_capacity(publications.len());
    for (accepted, publication) in publications.iter().enumerate() {
        let key = idempotency_key.map(|key| format!("{key}:{accepted}"));
        match engine.publish.publish(publication, key.as_deref()).await {
            Ok(position) => positions.push(position.map(|position| position.to_string())),
            Err(error) => {
                tracing::warn!(namespace = &*namespace.name, %error, "publish failed");
                let body = json!({
                    "error": error.to_string(),
                    "hint": "send what was not accepted again when the engine is available; see /readyz",
                    "accepted": accepted,
                });
                let (status, body) = (StatusCode::SERVICE_UNAVAILABLE, body.to_string());
                return Err(Box::new(reply::with_type(status, "application/json", body)));
            }
        }
    }
    let body = json!({"accepted": publications.len(), "positions": positions});
    Ok(reply::with_type(StatusCode::OK, "application/json", body.to_string()))
}

/// The value of `Idempotency-Key`. `Err`: it cannot be used.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MAX_IDEMPOTENCY_KEY);
    text.map(|text| Some(text.to_owned())).ok_or(())
}

/// Whether a program on this machine sent the request: not a proxy on it for a client elsewhere, and not a page of another
/// site in a browser on it.
fn is_local(request: &Request, http: &Http) -> bool {
    let headers = request.headers();
    PeerAddr::of(request.extensions()).is_loopback()
        && !FORWARDED.iter().any(|name| headers.contains_key(*name))
        && origin::host_is_loopback(headers)
        && http.settings.origins.admit(headers)
}
