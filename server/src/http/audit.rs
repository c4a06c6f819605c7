//! The audit log: who published what over HTTP or changed a page, and whose key was rejected.
//!
//! Owns the lines of `log: audit: true`. They contain the names of rooms and events, escaped and shortened, and never a
//! key or a message.

use super::{Http, PeerAddr};
use crate::authorize::Publisher;
use crate::log::AUDIT;
use crate::namespace::Namespace;
use crate::pages::PageChange;
use crate::revocation::Revocation;
use axum::extract::Request;
use axum::http::Extensions;
use axum::http::request::Parts;
use nodevent_protocol::targets::Published;
use nodevent_protocol::topic::Topic;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Publications of one request that get a line each. The last line counts the others.
const MAX_LINES: usize = 100;
/// Targets of a publication in its line.
const MAX_TARGETS: usize = 8;
/// Characters of a name in a line.
const MAX_NAME: usize = 255;

/// The facts about a publish that are known before its body is read.
pub(super) struct Audit {
    /// `None`: the audit log is off.
    line: Option<Line>,
}

struct Line {
    namespace: Arc<str>,
    client: IpAddr,
    /// The key's `id`, or how the publisher was admitted without one.
    publisher: String,
}

/// The result of a publish.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// The engine has all publications.
    Published,
    /// The engine did not accept all of them.
    Failed,
    /// The key may not publish to one of the rooms.
    Rejected,
}

// === impl Audit ===

impl Audit {
    pub(super) fn new(http: &Http, namespace: &Namespace, publisher: &Publisher, request: &Request) -> Self {
        Self::of_extensions(http, namespace, publisher, request.extensions())
    }

    /// The same, of a request without its body.
    pub(super) fn of_parts(http: &Http, namespace: &Namespace, publisher: &Publisher, request: &Parts) -> Self {
        Self::of_extensions(http, namespace, publisher, &request.extensions)
    }

    fn of_extensions(http: &Http, namespace: &Namespace, publisher: &Publisher, extensions: &Extensions) -> Self {
        let line = http.settings().audit.then(|| Line {
            namespace: Arc::clone(&namespace.name),
            client: PeerAddr::of(extensions),
            publisher: match (publisher, PeerAddr::publish_socket(extensions)) {
                (Publisher::Key(key), _) => format!("key {}", key.id),
                (Publisher::Keyless, Some(user)) => format!("user {user} through the publish socket"),
                (Publisher::Keyless, None) => "a program on this machine".to_owned(),
            },
        });
        Self { line }
    }

    /// Logs what was published, or was to be.
    pub(super) fn log(&self, publications: &[Published<'_>], outcome: Outcome) {
        let Some(Line { namespace, client, publisher }) = &self.line else { return };
        let outcome = outcome.as_str();
        for one in publications.iter().take(MAX_LINES) {
            let (event, bytes) = (one.event(), one.text().len());
            let event = shown(&event);
            if let [topic] = one.topics()
                && let Topic::Room(room) = Topic::parse(topic)
            {
                let room = shown(room);
                tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, room, event, bytes, "audit: {outcome}");
            } else {
                let targets = targets(one);
                tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, targets, event, bytes, "audit: {outcome}");
            }
        }
        if let more @ 1.. = publications.len().saturating_sub(MAX_LINES) {
            tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, more, "audit: {outcome}");
        }
    }

    /// Logs a message to users, or one that was to be.
    pub(super) fn log_notification(&self, users: usize, event: &str, bytes: usize, outcome: Outcome) {
        let Some(Line { namespace, client, publisher }) = &self.line else { return };
        let (event, outcome) = (shown(event), outcome.as_str());
        tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, users, event, bytes, "audit: {outcome}");
    }

    /// Logs a revocation. The user is logged: whose access ended is what the line is for.
    pub(super) fn log_revocation(&self, revocation: &Revocation, is_stored: bool) {
        let Some(Line { namespace, client, publisher }) = &self.line else { return };
        let (user, room) = (revocation.target.user.as_deref(), revocation.target.room.as_deref());
        let (user, room, before_ms) = (user.map(shown), room.map(shown), revocation.before_ms);
        let outcome = if is_stored { "revoked" } else { "revocation failed" };
        tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, user, room, before_ms, "audit: {outcome}");
    }

    /// Logs a change of the subscriptions of a page, or one that was to be.
    pub(super) fn log_page(&self, change: &PageChange, is_done: bool) {
        let Some(Line { namespace, client, publisher }) = &self.line else { return };
        let (page, subscribe, unsubscribe) = (change.page, listed(&change.subscribe), listed(&change.unsubscribe));
        let outcome = if is_done { "page changed" } else { "page change failed" };
        tracing::info!(target: AUDIT, namespace = &**namespace, %client, publisher, %page, subscribe, unsubscribe, "audit: {outcome}");
    }

    /// Logs that a key was rejected, or missing.
    pub(super) fn log_rejected_key(http: &Http, namespace: &str, client: IpAddr, reason: &str) {
        if http.settings().audit {
            tracing::info!(target: AUDIT, namespace, %client, reason, "audit: key rejected");
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Failed => "publish failed",
            Self::Rejected => "publish rejected",
        }
    }
}

/// The targets of a publication.
fn targets(publication: &Published<'_>) -> String {
    let name = |topic: &Cow<'_, str>| match Topic::parse(topic) {
        Topic::User(user) => format!("user {}", shown(user)),
        Topic::Room(room) => format!("room {}", shown(room)),
        Topic::All => "all connections".to_owned(),
    };
    first(publication.topics().iter().map(name))
}

/// The channels of a page, without the one without a name.
fn listed(channels: &[Box<str>]) -> String {
    first(channels.iter().filter(|name| !name.is_empty()).map(|name| shown(name).to_owned()))
}

/// The first names, and the number of the others.
fn first(mut names: impl Iterator<Item = String>) -> String {
    let mut text = names.by_ref().take(MAX_TARGETS).collect::<Vec<_>>().join(", ");
    if let more @ 1.. = names.count() {
        text += &format!(" and {more} more");
    }
    text
}

/// The beginning of a name. The log escapes what could change it.
fn shown(name: &str) -> &str {
    let end = name.char_indices().nth(MAX_NAME).map_or(name.len(), |(index, _)| index);
    &name[..end]
}
