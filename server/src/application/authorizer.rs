//! Asks the application who a connection is. In the dialect `web_service` it does so as [`super::site`] says.
//!
//! It sends the listed cookies and headers and the token, and nothing else. Identical requests at the same time are one
//! request, and decisions are used again for a short time ([`super::cache`]). Anything but a clean yes is a no.
//!
//! A shard calls it without waiting; the reply goes to the shard's inbox.

use super::cache::{Cache, Key};
use super::client::{ApplicationClient, ApplicationError, ApplicationRequest};
use super::response::{self, Rules};
use super::site;
use crate::client::Client;
use crate::clock::now_ms;
use crate::config::application::Auth;
use crate::fair_shares::FairShares;
use crate::identity::Identity;
use crate::identity_provider::{
    IdentityProvider, IdentityReply, IdentityReplyTo, IdentityRequest, IdentityResult, Listed,
};
use crate::namespace::Namespaces;
use crate::outcome::Outcome;
use crate::shard::{Shards, ToShard};
use crate::token::{MAX_TOKEN_BYTES, TokenError};
use crate::web_service::Settings;
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Decisions of each kind that are kept.
const MAX_CACHED: usize = 10_000;
/// Memory of the decisions of each kind that are kept. Bytes.
const MAX_CACHED_BYTES: usize = 8 << 20;
/// Memory of a decision without what the application says. Bytes.
const DECISION_OVERHEAD: usize = 200;
/// Connections that may wait for one decision or another, for each request that may wait.
const WAITING_PER_REQUEST: usize = 4;

/// The request authorizer of one namespace.
#[derive(Debug)]
pub struct RequestAuthorizer {
    shared: Arc<Shared>,
    listed: Listed,
    grace: Duration,
    runtime: Handle,
}

/// What its tasks share.
#[derive(Debug)]
struct Shared {
    client: ApplicationClient,
    namespaces: Arc<Namespaces>,
    namespace: u16,
    shards: Shards,
    is_post: bool,
    /// The word before the token.
    scheme: Box<str>,
    rules: Rules,
    /// `None`: the dialect is not `web_service`.
    site: Option<Settings>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    yes: Cache<Arc<Identity>>,
    no: Cache<TokenError>,
    /// The connections that wait for each request. The first one caused it.
    waiting: HashMap<Key, Vec<(IdentityReplyTo, Client)>>,
    /// The connections of each client that wait.
    shares: FairShares,
    /// The requests that each client has caused.
    requests: FairShares,
}

/// Replies to those that wait for a request, also if its task ends early.
struct Replies<'a> {
    shared: &'a Shared,
    key: Key,
    result: IdentityResult,
    /// What the clients receive about a rejection, instead of the error's text.
    reason: Option<Arc<str>>,
}

// === impl RequestAuthorizer ===

impl RequestAuthorizer {
    /// An authorizer for a namespace. Called on the runtime that runs its requests.
    pub fn new(
        auth: &Auth,
        client: ApplicationClient,
        namespaces: &Arc<Namespaces>,
        namespace: u16,
        shards: Shards,
    ) -> Self {
        let max_requests = auth.application.concurrency + auth.application.queue;
        let site = namespaces.get(namespace).web_service.clone();
        let rules = Rules {
            max_room_name: namespaces.get(namespace).limits.max_name_bytes,
            max_rooms: namespaces.get(namespace).limits.max_rooms,
            lifetime_ms: millis(auth.lifetime),
        };
        let state = State {
            yes: Cache::new(auth.cache, MAX_CACHED, MAX_CACHED_BYTES),
            no: Cache::new(auth.cache_rejected, MAX_CACHED, MAX_CACHED_BYTES),
            waiting: HashMap::new(),
            shares: FairShares::new(WAITING_PER_REQUEST * max_requests),
            requests: FairShares::new(max_requests),
        };
        let shared = Arc::new(Shared {
            client,
            namespaces: Arc::clone(namespaces),
            namespace,
            shards,
            is_post: auth.is_post,
            scheme: auth.scheme.clone(),
            rules,
            site,
            state: Mutex::new(state),
        });
        let of_site = shared.site.as_ref().map(|_| site::listed()).unwrap_or_default();
        let listed = Listed { headers: auth.headers.clone(), cookies: auth.cookies.clone(), ..of_site };
        Self { shared, listed, grace: auth.grace, runtime: Handle::current() }
    }
}

impl IdentityProvider for RequestAuthorizer {
    fn identify(&self, request: IdentityRequest) -> Outcome<IdentityResult> {
        let IdentityRequest { reply_to, client, headers, cookies, query, token } = request;
        if let Some(settings) = self.shared.site.as_ref().filter(|_| token.is_none()) {
            // The site is never asked about a client without a token.
            let visitor = site::visitor(settings, self.shared.rules, now_ms());
            return Outcome::Ready(visitor.map(Arc::new).ok_or(TokenError::Missing));
        }
        if token.is_none() && headers.is_empty() && cookies.is_empty() {
            // The application could not know who it is.
            return Outcome::Ready(Err(TokenError::Missing));
        }
        if token.as_ref().is_some_and(|token| token.len() > MAX_TOKEN_BYTES) {
            return Outcome::Ready(Err(TokenError::TooLong));
        }
        let key = key_of(&headers, &cookies, &query, token.as_deref());
        let mut state = self.shared.state();
        if let Some(decision) = state.cached(&key, &self.shared) {
            return Outcome::Ready(decision);
        }
        if state.shares.check(client).is_err() {
            return Outcome::Overloaded;
        }
        if let Some(waiting) = state.waiting.get_mut(&key) {
            waiting.push((reply_to, client));
            state.shares.add(client);
            return Outcome::Pending;
        }
        if state.requests.check(client).is_err() {
            return Outcome::Overloaded;
        }
        let of_site = self.shared.site.as_ref().map_or(Ok(None), |settings| {
            site::of_site(settings, &self.shared.scheme, token.as_deref().unwrap_or_default(), &query)
        });
        let Some(request) = self.shared.request(&headers, &cookies, &query, token.as_deref()) else {
            return Outcome::Ready(Err(TokenError::Malformed));
        };
        state.waiting.insert(key, vec![(reply_to, client)]);
        state.shares.add(client);
        state.requests.add(client);
        drop(state);
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let result = Err(TokenError::ApplicationUnavailable);
            let mut replies = Replies { shared: &shared, key, result, reason: None };
            (replies.result, replies.reason) = match &shared.site {
                None => (shared.ask(&request, client).await, None),
                Some(settings) => {
                    let identity = match of_site {
                        Ok(site) => {
                            shared.ask_site(&request, client, settings).await.map(|identity| (identity, site))
                        }
                        Err(rejection) => Err(rejection),
                    };
                    match identity {
                        Ok((identity, site)) => (Ok(Arc::new(Identity { site, ..identity })), None),
                        Err((error, reason)) => (Err(error), reason),
                    }
                }
            };
        });
        Outcome::Pending
    }

    fn listed(&self) -> &Listed {
        &self.listed
    }

    fn grace(&self) -> Duration {
        self.grace
    }
}

// === impl State ===

impl State {
    /// A decision that was made a moment ago, unless it was revoked since.
    fn cached(&mut self, key: &Key, shared: &Shared) -> Option<IdentityResult> {
        let now = Instant::now();
        if let Some(identity) = self.yes.get(key, now) {
            let revocations = &shared.namespaces.get(shared.namespace).revocations;
            let counts =
                identity.expires_ms > now_ms() && !revocations.rejects_user(&identity.user, identity.issued_ms);
            return counts.then(|| Ok(Arc::clone(identity)));
        }
        self.no.get(key, now).map(|error| Err(*error))
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request. `None`: something cannot be part of one.
    fn request(
        &self,
        headers: &[(Box<str>, Box<str>)],
        cookies: &[(Box<str>, Box<str>)],
        query: &[(Box<str>, Box<str>)],
        token: Option<&str>,
    ) -> Option<ApplicationRequest> {
        let mut all = HeaderMap::new();
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        for (name, value) in headers {
            all.append(HeaderName::from_bytes(name.as_bytes()).ok()?, secret(value)?);
        }
        if !cookies.is_empty() {
            let line: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.insert(header::COOKIE, secret(&line.join("; "))?);
        }
        if self.site.is_some() {
            return site::request(&self.scheme, token?, query, all);
        }
        all.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if !self.is_post {
            if let Some(token) = token {
                all.insert(header::AUTHORIZATION, secret(&format!("{} {token}", self.scheme))?);
            }
            return Some(ApplicationRequest { method: Method::GET, path: None, headers: all, body: Bytes::new() });
        }
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let namespace = &*self.namespaces.get(self.namespace).name;
        let body = json!({"namespace": namespace, "token": token}).to_string();
        Some(ApplicationRequest { method: Method::POST, path: None, headers: all, body: body.into() })
    }

    /// Asks the site, and logs everything that is not a yes.
    async fn ask_site(
        &self,
        request: &ApplicationRequest,
        client: Client,
        settings: &Settings,
    ) -> Result<Identity, site::Rejection> {
        let sent_ms = now_ms();
        let response = self.client.send(request, Some(client)).await;
        site::read(&response, settings, self.rules, sent_ms).inspect_err(|(error, reason)| {
            let (namespace, target) = (&*self.namespaces.get(self.namespace).name, self.client.target());
            // The client receives less than the log says.
            let failure = response.as_ref().err().map(ToString::to_string);
            let reason = reason.as_deref();
            match error {
                TokenError::ApplicationRejected => {
                    tracing::debug!(namespace, target = target, reason, "application: no");
                }
                _ => tracing::warn!(
                    namespace,
                    target = target,
                    reason,
                    failure,
                    "application: no decision; clients are rejected"
                ),
            }
        })
    }

    /// Asks the application, and logs everything that is not a yes.
    async fn ask(&self, request: &ApplicationRequest, client: Client) -> IdentityResult {
        // What is revoked while the application decides is revoked.
        let sent_ms = now_ms();
        let response = self.client.send(request, Some(client)).await;
        let (namespace, target) = (&*self.namespaces.get(self.namespace).name, self.client.target());
        let response = match response {
            Ok(response) => response,
            // A visitor who is not signed in is often redirected to a form.
            Err(error @ ApplicationError::Redirect(_)) => {
                tracing::info!(namespace, target = target, reason = %error, "application: not a yes");
                return Err(TokenError::ApplicationRejected);
            }
            Err(error) => {
                tracing::warn!(namespace, target = target, reason = %error, "application: no decision; clients are rejected");
                return Err(TokenError::ApplicationUnavailable);
            }
        };
        response::read(&response, self.rules, sent_ms).map(Arc::new).map_err(|reason| {
            if reason.is_decision() {
                tracing::debug!(namespace, target = target, %reason, "application: no");
                return TokenError::ApplicationRejected;
            }
            tracing::warn!(namespace, target = target, %reason, "application: no usable decision; clients are rejected");
            TokenError::ApplicationUnavailable
        })
    }
}

// === impl Replies ===

impl Drop for Replies<'_> {
    fn drop(&mut self) {
        let waiting = {
            let (mut state, now) = (self.shared.state(), Instant::now());
            match &self.result {
                Ok(identity) => {
                    let size = DECISION_OVERHEAD + identity.size();
                    state.yes.insert(self.key, Arc::clone(identity), size, now);
                }
                // A reason of its own is not kept.
                Err(error @ TokenError::ApplicationRejected) if self.reason.is_none() => {
                    state.no.insert(self.key, *error, DECISION_OVERHEAD, now);
                }
                Err(_) => {}
            }
            let waiting = state.waiting.remove(&self.key).unwrap_or_default();
            for (_, client) in &waiting {
                state.shares.remove(*client);
            }
            if let Some((_, client)) = waiting.first() {
                state.requests.remove(*client);
            }
            waiting
        };
        for (reply_to, _) in waiting {
            let reply = IdentityReply { reply_to, result: self.result.clone(), reason: self.reason.clone() };
            // The inbox always has a place for a reply: the shard limits how many it requests.
            self.shared.shards.send(reply_to.shard, ToShard::Identified(reply));
        }
    }
}

/// The hash of everything that is sent, with the length of each part, so that no two requests share it.
fn key_of(
    headers: &[(Box<str>, Box<str>)],
    cookies: &[(Box<str>, Box<str>)],
    query: &[(Box<str>, Box<str>)],
    token: Option<&str>,
) -> Key {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    for list in [headers, cookies, query] {
        add(&list.len().to_string());
        for (name, value) in list {
            add(name);
            add(value);
        }
    }
    add(if token.is_some() { "token" } else { "" });
    add(token.unwrap_or_default());
    hash.finalize().into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn key(headers: Pairs<'_>, cookies: Pairs<'_>, token: Option<&str>) -> Key {
        let own = |pairs: Pairs<'_>| -> Vec<(Box<str>, Box<str>)> {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
        };
        key_of(&own(headers), &own(cookies), &[], token)
    }

    #[test]
    fn requests_that_differ_in_anything_have_different_keys() {
        let all = [
            key(&[], &[], None),
            key(&[], &[], Some("")),
            key(&[], &[], Some("t")),
            key(&[("a", "b")], &[], None),
            key(&[], &[("a", "b")], None),
            key(&[("ab", "")], &[], None),
            key(&[("a", "b")], &[], Some("t")),
            key(&[("a", "b"), ("c", "d")], &[], None),
            key(&[("a", "b")], &[("c", "d")], None),
            key(&[("a", "bc"), ("", "d")], &[], None),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
        assert_eq!(key(&[("a", "b")], &[], Some("t")), key(&[("a", "b")], &[], Some("t")));
    }
}
