//! Notifies a site of SocketIO Web Service that its users connect and disconnect: `PUT` to `update_user_url`, as the later versions
//! of that service did. What the site misses while it does not respond is lost; hooks lose nothing.
//!
//! The requests of one user are sent one after another. Of several that wait, the site receives the last of each kind.

use super::client::{ApplicationClient, ApplicationRequest};
use crate::clock::now_ms;
use crate::connection_observer::ConnectionObserver;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::web_service::Settings;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// Users of whom the site is to be notified. What happens to others is dropped and counted.
const MAX_USERS: usize = 10_000;
/// The part of the URL that the user replaces.
const ID: &str = ":id";
/// What is encoded in a part of a path or of a query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// Notifies the site of one namespace.
#[derive(Debug)]
pub struct UserUpdates {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    client: ApplicationClient,
    /// The path and the query, with [`ID`].
    path: String,
    namespace: Arc<str>,
    settings: Settings,
    /// Requests at a time.
    concurrency: usize,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<Box<str>, VecDeque<Update>>,
    /// Users whose next request may be sent, in turns.
    turns: VecDeque<Box<str>>,
    /// Tasks that send.
    tasks: usize,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Update {
    kind: Kind,
    at_ms: u64,
    authorization: Authorization,
}

/// A secret.
#[derive(Clone, PartialEq, Eq)]
struct Authorization(Box<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connected,
    Disconnected,
}

// === impl UserUpdates ===

impl UserUpdates {
    /// Called on the runtime that runs the requests. `concurrency`: requests at a time.
    pub fn new(
        url: &Uri,
        client: ApplicationClient,
        settings: &Settings,
        namespace: &Arc<str>,
        concurrency: usize,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let shared = Shared {
            client,
            path: url.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
            namespace: Arc::clone(namespace),
            settings: settings.clone(),
            concurrency,
            metrics: Arc::clone(metrics),
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared), runtime: Handle::current() }
    }

    fn add(&self, identity: &Identity, kind: Kind) {
        let site = identity.site.as_ref().and_then(|site| site.authorization.clone());
        let Some(authorization) = site.filter(|_| !identity.user.is_empty()).map(Authorization) else { return };
        let mut state = self.shared.state();
        if !state.add(&identity.user, Update { kind, at_ms: now_ms(), authorization }) {
            drop(state);
            self.shared.metrics.count_application_request("overloaded");
            let namespace = &*self.shared.namespace;
            tracing::warn!(namespace, "too many users wait; the site is not notified of one");
            return;
        }
        if state.tasks < self.shared.concurrency {
            state.tasks += 1;
            self.runtime.spawn(Arc::clone(&self.shared).send_all());
        }
    }
}

impl ConnectionObserver for UserUpdates {
    fn connected(&self, identity: &Identity) {
        self.add(identity, Kind::Connected);
    }

    fn disconnected(&self, identity: &Identity) {
        self.add(identity, Kind::Disconnected);
    }
}

// === impl State ===

impl State {
    /// Returns `false` if there are too many users.
    fn add(&mut self, user: &str, update: Update) -> bool {
        if let Some(waiting) = self.users.get_mut(user) {
            waiting.retain(|one| one.kind != update.kind);
            waiting.push_back(update);
            return true;
        }
        if self.users.len() >= MAX_USERS {
            return false;
        }
        self.users.insert(user.into(), VecDeque::from([update]));
        self.turns.push_back(user.into());
        true
    }

    /// The next request.
    fn take(&mut self) -> Option<(Box<str>, Update)> {
        let user = self.turns.pop_front()?;
        let update = self.users.get_mut(&user)?.pop_front()?;
        Some((user, update))
    }

    /// The request of a user was sent.
    fn sent(&mut self, user: Box<str>) {
        match self.users.get(&user).map(VecDeque::is_empty) {
            Some(true) => drop(self.users.remove(&user)),
            Some(false) => self.turns.push_back(user),
            None => {}
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what waits, until nothing does.
    async fn send_all(self: Arc<Self>) {
        loop {
            let (user, update) = {
                let mut state = self.state();
                let Some(next) = state.take() else {
                    state.tasks -= 1;
                    return;
                };
                next
            };
            self.send(&user, &update).await;
            self.state().sent(user);
        }
    }

    async fn send(&self, user: &str, update: &Update) {
        let (namespace, target) = (&*self.namespace, self.client.target());
        let Some(request) = request(&self.path, self.settings.user_id(user), update) else {
            tracing::warn!(
                namespace,
                target,
                "a user or a token cannot be part of a request; the site is not notified"
            );
            return;
        };
        match self.client.send(&request, None).await {
            Ok(response) if response.status == StatusCode::OK => {}
            Ok(response) => {
                let status = response.status.as_u16();
                tracing::warn!(
                    namespace,
                    target,
                    status,
                    "the site did not accept that a user has connected or disconnected"
                );
            }
            Err(error) => {
                tracing::warn!(namespace, target, reason = %error, "the site was not notified of a user");
            }
        }
    }
}

// === impl Authorization ===

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The request. `None`: something cannot be part of one.
fn request(path: &str, id: &str, update: &Update) -> Option<ApplicationRequest> {
    let path = path.replace(ID, &utf8_percent_encode(id, ENCODED).to_string()).parse().ok()?;
    let mut headers = HeaderMap::new();
    let mut authorization = HeaderValue::from_str(&update.authorization.0).ok()?;
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let name = match update.kind {
        Kind::Connected => "last_connected",
        Kind::Disconnected => "last_disconnected",
    };
    let body = json!({"id": id, "user": {name: iso_8601(update.at_ms)}}).to_string();
    Some(ApplicationRequest { method: Method::PUT, path: Some(path), headers, body: Bytes::from(body) })
}

/// A time as JavaScript writes it: `2026-11-29T20:00:00.000Z`.
fn iso_8601(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    // Years begin in March, so that the leap day is the last of a year. A cycle of 400 years has 146,097 days.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * cycle + year + u64::from(month <= 2);
    let (hours, minutes, seconds) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let millis = of_day % 1000;
    format!("{year:04}-{month:02}-{day_of_month:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(kind: Kind, at_ms: u64) -> Update {
        Update { kind, at_ms, authorization: Authorization("Bearer t".into()) }
    }

    #[test]
    fn w49_requests_are_those_of_the_old_service() {
        let sent = request("/users/:id?by=:id", "7/../a b", &update(Kind::Connected, 1_764_448_467_123)).unwrap();
        assert_eq!(sent.method, Method::PUT);
        assert_eq!(sent.path.unwrap().as_str(), "/users/7%2F%2E%2E%2Fa%20b?by=7%2F%2E%2E%2Fa%20b");
        assert_eq!(sent.headers["authorization"], "Bearer t");
        assert_eq!(&*sent.body, br#"{"id":"7/../a b","user":{"last_connected":"2025-11-29T20:34:27.123Z"}}"#);
        let sent = request("/users", "7", &update(Kind::Disconnected, 0)).unwrap();
        assert_eq!(&*sent.body, br#"{"id":"7","user":{"last_disconnected":"1970-01-01T00:00:00.000Z"}}"#);
        let invalid = Update { authorization: Authorization("Bearer a\nb".into()), ..update(Kind::Connected, 0) };
        assert!(request("/users", "7", &invalid).is_none());
        assert!(!format!("{invalid:?}").contains("Bearer"));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, expected) in [
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_798_761_599_000, "2026-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(iso_8601(ms), expected);
        }
    }

    #[test]
    fn requests_of_a_user_follow_each_other_and_those_that_wait_are_the_last_of_each_kind() {
        let mut state = State::default();
        assert!(state.add("a", update(Kind::Connected, 1)) && state.add("b", update(Kind::Connected, 2)));
        let (user, first) = state.take().unwrap();
        assert_eq!((&*user, first.at_ms), ("a", 1));
        for at_ms in (3..100).step_by(2) {
            assert!(
                state.add("a", update(Kind::Disconnected, at_ms))
                    && state.add("a", update(Kind::Connected, at_ms + 1))
            );
        }
        assert_eq!(&*state.take().unwrap().0, "b");
        assert_eq!(state.take(), None, "the request of `a` is being sent");
        state.sent(user);
        let mut rest = Vec::new();
        while let Some((user, update)) = state.take() {
            rest.push((update.kind, update.at_ms));
            state.sent(user);
        }
        assert_eq!(rest, [(Kind::Disconnected, 99), (Kind::Connected, 100)]);
        state.sent("b".into());
        assert!(state.users.is_empty() && state.turns.is_empty());
    }

    #[test]
    fn users_that_wait_are_limited() {
        let mut state = State::default();
        let added =
            (0..MAX_USERS + 10).filter(|user| state.add(&user.to_string(), update(Kind::Connected, 1))).count();
        assert_eq!((added, state.turns.len()), (MAX_USERS, MAX_USERS));
        assert!(state.add("1", update(Kind::Disconnected, 2)), "of a user who waits");
    }
}
