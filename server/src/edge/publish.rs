//! `POST /api/<ns>/emit`: publishing over HTTP, as `protocol/README.md` section 3 has it.

use super::{Edge, From, origin, reply};
use crate::admission::Publisher;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use nodevent_protocol::publication;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// Headers by which a proxy tells that the request is not its own.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The longest idempotency key. Bytes.
const MOST_KEY: usize = 255;

/// Publishes the publications of the body to the namespace of that number.
pub(super) async fn serve(edge: &Edge, number: u16, request: Request) -> Response {
    let response = match publish(edge, number, request).await {
        Ok(response) => return response,
        Err(response) => response,
    };
    edge.metrics.rejected_requests.fetch_add(1, Relaxed);
    response
}

async fn publish(edge: &Edge, number: u16, request: Request) -> Result<Response, Response> {
    let namespace = edge.namespaces.get(number);
    let headers = request.headers();
    match namespace.admission.publisher(bearer(headers), is_local(&request, edge)) {
        Publisher::Admitted => {}
        Publisher::WrongKey => {
            tracing::warn!(namespace = &*namespace.name, "a publish was refused: its key is missing or wrong");
            let mut response = reply::error(
                StatusCode::UNAUTHORIZED,
                "the publish key is missing or wrong",
                "send `Authorization: Bearer <publish_key>` with the key of this namespace's configuration",
            );
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Err(response);
        }
        Publisher::NotLocal => {
            tracing::warn!(
                namespace = &*namespace.name,
                "a publish was refused: it does not come from this machine, and there is no publish_key"
            );
            return Err(reply::error(
                StatusCode::FORBIDDEN,
                "without a publish key only this machine may publish, and not through a proxy",
                "set `publish_key` in this namespace's configuration and send it as `Authorization: Bearer`",
            ));
        }
    }
    let once = idempotency_key(headers).map_err(|()| {
        reply::error(
            StatusCode::BAD_REQUEST,
            "Idempotency-Key is empty, too long, or not plain ASCII",
            "send at most 255 characters that are new for each request, e.g. a UUID",
        )
    })?;
    let body = read(edge, request.into_body()).await?;
    let publications = publication::parse_many(&body).map_err(|(index, skipped)| {
        edge.metrics.count_invalid_publish(&skipped);
        tracing::warn!(namespace = &*namespace.name, reason = %skipped, "a publish was refused");
        let place = index.map_or(String::new(), |index| format!("publication {index}: "));
        reply::error(
            StatusCode::BAD_REQUEST,
            &format!("{place}{skipped}"),
            r#"send {"room": "…", "event": "…", "message": …} or an array of such objects"#,
        )
    })?;
    let engine = edge.engines.get(number);
    let mut positions = Vec::with_capacity(publications.len());
    for (accepted, publication) in publications.iter().enumerate() {
        let once = once.as_ref().map(|once| format!("{once}:{accepted}"));
        match engine.publish(publication, once.as_deref()).await {
            Ok(position) => positions.push(position.map(|position| position.to_string())),
            Err(error) => {
                tracing::warn!(namespace = &*namespace.name, %error, "a publish failed");
                let body = json!({
                    "error": error.to_string(),
                    "hint": "send what was not accepted again, once the engine is back; see /readyz",
                    "accepted": accepted,
                });
                return Err(reply::with_type(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "application/json",
                    body.to_string(),
                ));
            }
        }
    }
    let body = json!({"accepted": publications.len(), "positions": positions});
    Ok(reply::with_type(StatusCode::OK, "application/json", body.to_string()))
}

async fn read(edge: &Edge, body: Body) -> Result<bytes::Bytes, Response> {
    let most = edge.settings.max_publish;
    let body = Limited::new(body, most).collect();
    match tokio::time::timeout(edge.settings.request_timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            edge.metrics.count_oversized_publish();
            edge.metrics.oversized_requests.fetch_add(1, Relaxed);
            tracing::info!(most, "a publish was refused: its body is too large");
            Err(reply::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is larger than {most} bytes"),
                "send less at a time, or raise `limits: max_publish_size`",
            ))
        }
        Ok(Err(_)) => Err(reply::error(StatusCode::BAD_REQUEST, "the body broke off", "send it again")),
        Err(_) => Err(reply::too_slow(&edge.metrics)),
    }
}

/// The value of `Idempotency-Key`. `Err`: it is none that can be used.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.len() <= MOST_KEY);
    text.map(|text| Some(text.to_owned())).ok_or(())
}

/// The key of `Authorization: Bearer <key>`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Whether this machine itself asks: not a proxy on it for somebody else, and not a page of somebody else's in a
/// browser on it.
fn is_local(request: &Request, edge: &Edge) -> bool {
    let headers = request.headers();
    request.extensions().get::<From>().is_some_and(|from| from.address.is_loopback())
        && !FORWARDED.iter().any(|name| headers.contains_key(*name))
        && origin::asked_for_loopback(headers)
        && edge.settings.origins.admit(headers)
}
