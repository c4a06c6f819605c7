//! `POST /notifications/<channel>`: a source of the dialect `notifications`. The body is the text, and is not parsed.

use super::audit::{Audit, Outcome};
use super::query::percent_decode;
use super::{Endpoint, Http, PeerAddr, ResponseFuture, publish, reply};
use crate::config::notifications::Notifications;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use nodevent_protocol::notifications::publication;
use nodevent_protocol::targets;
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

/// The beginning of the path.
const PREFIX: &str = "/notifications/";

/// The endpoint of one namespace.
pub struct NotificationsSource {
    namespace: u16,
    channels: HashSet<String>,
}

// === impl NotificationsSource ===

impl NotificationsSource {
    /// The endpoint of the namespace with this id.
    pub fn new(namespace: u16, settings: &Notifications) -> Self {
        Self { namespace, channels: settings.channels.iter().cloned().collect() }
    }

    async fn respond(&self, http: &Http, request: Request) -> Result<Response, Box<Response>> {
        if request.method() != Method::POST {
            return Err(Box::new(reply::method_not_allowed("POST")));
        }
        let namespace = http.namespaces.get(self.namespace);
        let channel = percent_decode(request.uri().path().strip_prefix(PREFIX).unwrap_or_default()).into_owned();
        let publisher = publish::authorize(http, namespace, &request)?;
        if !self.channels.contains(&channel) {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            return Err(Box::new(reply::error(
                StatusCode::NOT_FOUND,
                "there is no such channel",
                "list it under `notifications: channels` of its namespace",
            )));
        }
        let audit = Audit::new(http, namespace, &publisher, &request);
        let client = PeerAddr::of(request.extensions());
        let body = publish::read_body(http, request, http.settings().max_publish_size).await?;
        let text = publication(&channel, &String::from_utf8_lossy(&body));
        let publications = targets::parse_many(text.as_bytes()).map_err(|(_, invalid)| {
            http.metrics.count_invalid_publish(&invalid);
            Box::new(reply::error(StatusCode::BAD_REQUEST, &invalid.to_string(), "send a shorter text"))
        })?;
        publish::check_targets(&publisher, &publications).inspect_err(|_| {
            http.metrics.rejected_requests.fetch_add(1, Relaxed);
            audit.log(&publications, Outcome::Rejected);
        })?;
        let published = publish::publish_all(http, namespace, &publications, None, &publisher, client).await;
        audit.log(&publications, if published.is_ok() { Outcome::Published } else { Outcome::Failed });
        published.inspect_err(|_| {
            http.metrics.failed_publishes.fetch_add(1, Relaxed);
        })
    }
}

impl Endpoint for NotificationsSource {
    fn matches(&self, path: &str) -> bool {
        path.starts_with(PREFIX)
    }

    fn is_for_programs(&self) -> bool {
        true
    }

    fn serve<'a>(&'a self, http: &'a Http, request: Request) -> ResponseFuture<'a> {
        Box::pin(async move { self.respond(http, request).await.unwrap_or_else(|refusal| *refusal) })
    }
}
