//! Asks the application about users and channels of the dialect `turted`.
//!
//! A shard calls it as an authorizer of a join, without waiting; the reply goes to the shard's inbox. A join that depends on an
//! `IDENT` before it waits for that. Anything but a clean yes is a no.

use super::client::{ApplicationClient, ApplicationRequest, ApplicationResponse};
use super::response::{self, Rules};
use crate::authorize::{Authorizer, JoinRequest, Verdict};
use crate::clock::now_ms;
use crate::history::ReplyTo;
use crate::outcome::Outcome;
use crate::shard::message::AuthorizeReply;
use crate::shard::{Shards, ToShard};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use nodevent_protocol::room;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// The text of a rejection. The dialect has its own.
const NO: &str = "Not allowed";
/// For how long a yes is valid, which only has to be longer than nothing. Milliseconds.
const LIFETIME_MS: u64 = 60_000;

/// Decides about the joins of one namespace.
#[derive(Debug, Clone)]
pub struct TurtedAuthorizer {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    client: ApplicationClient,
    /// The namespace's name.
    namespace: Arc<str>,
    shards: Shards,
    /// What waits for the application, by connection: as many as the shards let wait.
    waiting: Mutex<HashMap<Connection, Waiting>>,
}

/// A connection: its shard, slot and generation.
type Connection = (u8, u32, u32);

/// What waits for the users of one connection.
#[derive(Debug, Default)]
struct Waiting {
    /// Users about whom the application is being asked.
    idents: usize,
    /// Users whom it has accepted since the first of them.
    accepted: Vec<String>,
    joins: Vec<(ReplyTo, Question)>,
}

/// What is to be decided.
#[derive(Debug, Clone)]
enum Question {
    /// May the connection be this user?
    Ident { username: String, data: Value },
    /// May a connection of these users join this channel?
    Join { channel: String, users: Vec<String> },
    /// Has the connection a user, as soon as its `IDENT`s are decided?
    AfterIdent,
}

/// A question that is being asked. Whatever happens to its task, the shard gets a reply.
struct PendingReply<'a> {
    shared: &'a Arc<Shared>,
    reply_to: ReplyTo,
    is_yes: bool,
}

// === impl TurtedAuthorizer ===

impl TurtedAuthorizer {
    /// An authorizer for a namespace. Called on the runtime that runs its requests.
    pub fn new(client: ApplicationClient, namespace: &Arc<str>, shards: Shards) -> Self {
        let shared = Shared { client, namespace: Arc::clone(namespace), shards, waiting: Mutex::default() };
        Self { shared: Arc::new(shared), runtime: Handle::current() }
    }
}

impl Authorizer for TurtedAuthorizer {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let question = request.credential.and_then(|credential| Question::read(&credential["question"]));
        let (Some(question), Some(reply_to)) = (question, request.reply_to) else {
            return Outcome::Ready(Verdict::Reject(NO));
        };
        let connection = connection_of(&reply_to);
        let mut waiting = self.shared.waiting();
        match question {
            Question::Ident { .. } => waiting.entry(connection).or_default().idents += 1,
            Question::Join { .. } | Question::AfterIdent => match waiting.get_mut(&connection) {
                Some(waiting) => {
                    waiting.joins.push((reply_to, question));
                    return Outcome::Pending;
                }
                None if matches!(question, Question::AfterIdent) => return Outcome::Ready(Verdict::Reject(NO)),
                None => {}
            },
        }
        drop(waiting);
        spawn(&self.runtime, &self.shared, reply_to, question);
        Outcome::Pending
    }
}

fn spawn(runtime: &Handle, shared: &Arc<Shared>, reply_to: ReplyTo, question: Question) {
    let (shared, runtime) = (Arc::clone(shared), runtime.clone());
    runtime.clone().spawn(async move {
        let user = match &question {
            Question::Ident { username, .. } => Some(username.clone()),
            _ => None,
        };
        let is_yes = {
            let mut pending = PendingReply { shared: &shared, reply_to, is_yes: false };
            pending.is_yes = shared.ask(&question).await;
            pending.is_yes
        };
        let Some(user) = user else { return };
        for (reply_to, question) in shared.after_ident(&reply_to, is_yes.then_some(user)) {
            match question {
                Some(question) => spawn(&runtime, &shared, reply_to, question),
                None => shared.reply(reply_to, true),
            }
        }
    });
}

// === impl Shared ===

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Connection, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the waiting for a user. Returns the joins that can be decided now, each with the question that is left.
    fn after_ident(&self, reply_to: &ReplyTo, accepted: Option<String>) -> Vec<(ReplyTo, Option<Question>)> {
        let connection = connection_of(reply_to);
        let done = {
            let mut all = self.waiting();
            let Some(waiting) = all.get_mut(&connection) else { return Vec::new() };
            waiting.accepted.extend(accepted);
            waiting.idents -= 1;
            if waiting.idents > 0 {
                return Vec::new();
            }
            all.remove(&connection).unwrap_or_default()
        };
        let mut left = Vec::new();
        for (reply_to, question) in done.joins {
            match question {
                Question::AfterIdent if done.accepted.is_empty() => self.reply(reply_to, false),
                Question::Join { channel, mut users } => {
                    users.extend(
                        done.accepted.iter().filter(|user| !users.contains(user)).cloned().collect::<Vec<_>>(),
                    );
                    left.push((reply_to, Some(Question::Join { channel, users })));
                }
                _ => left.push((reply_to, None)),
            }
        }
        left
    }

    /// Asks the application. Logs what is neither a clean yes nor a clean no.
    async fn ask(&self, question: &Question) -> bool {
        let mut body = question.body();
        body["namespace"] = Value::from(&*self.namespace);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let request = ApplicationRequest { method: Method::POST, headers, body: body.to_string().into() };
        match self.client.send(&request).await {
            Ok(response) => question.is_yes(&response),
            Err(error) => {
                let (namespace, target) = (&*self.namespace, self.client.target());
                tracing::warn!(namespace, target = target, reason = %error, "application: no decision; clients are rejected");
                false
            }
        }
    }

    fn reply(&self, reply_to: ReplyTo, is_yes: bool) {
        let reply = AuthorizeReply { reply_to, result: if is_yes { Ok(()) } else { Err(NO) } };
        // The inbox always has a place for a reply: the shard limits how many it requests.
        let _ = self.shards.send(reply_to.shard, ToShard::Authorized(reply));
    }
}

// === impl Question ===

impl Question {
    fn read(value: &Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Ident {
            username: String,
            data: Value,
        }
        #[derive(Deserialize)]
        struct Join {
            channel: String,
            users: Vec<String>,
        }
        if let Some(ident) = value.get("ident") {
            let Ident { username, data } = Ident::deserialize(ident).ok()?;
            return Some(Self::Ident { username, data });
        }
        if let Some(join) = value.get("join") {
            let Join { channel, users } = Join::deserialize(join).ok()?;
            return Some(Self::Join { channel, users });
        }
        value.get("after_ident").map(|_| Self::AfterIdent)
    }

    fn body(&self) -> Value {
        match self {
            Self::Ident { username, data } => json!({"ident": {"username": username, "data": data}}),
            Self::Join { channel, users } => json!({"join": {"channel": channel, "users": users}}),
            Self::AfterIdent => json!({}),
        }
    }

    /// Whether a response is a clean yes.
    fn is_yes(&self, response: &ApplicationResponse) -> bool {
        match self {
            Self::Ident { username, .. } => {
                let rules = Rules { max_room_name: room::MAX_BYTES, lifetime_ms: LIFETIME_MS };
                response::read(response, rules, now_ms()).is_ok_and(|identity| *identity.user == **username)
            }
            Self::Join { .. } => {
                #[derive(Deserialize)]
                struct Decision {
                    join: bool,
                }
                let is_join = || serde_json::from_slice(&response.body).is_ok_and(|Decision { join }| join);
                response.status == StatusCode::OK && is_join()
            }
            Self::AfterIdent => false,
        }
    }
}

// === impl PendingReply ===

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.shared.reply(self.reply_to, self.is_yes);
    }
}

fn connection_of(reply_to: &ReplyTo) -> Connection {
    (reply_to.shard, reply_to.slot, reply_to.generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &'static str) -> ApplicationResponse {
        ApplicationResponse { status: StatusCode::from_u16(status).unwrap(), body: body.as_bytes().into() }
    }

    #[test]
    fn only_a_clean_yes_about_the_same_user_or_channel_is_a_yes() {
        // T-04, T-42
        let ident = Question::Ident { username: "ann".into(), data: Value::Null };
        let join = Question::Join { channel: "chat".into(), users: Vec::new() };
        assert!(ident.is_yes(&response(200, r#"{"user":"ann"}"#)));
        assert!(join.is_yes(&response(200, r#"{"join":true}"#)));
        for (status, body) in [
            (200, r#"{"user":"bob"}"#),
            (201, r#"{"user":"ann","join":true}"#),
            (403, r#"{"user":"ann","join":true}"#),
            (200, r#"{"join":"true"}"#),
            (200, r#"{"join":false}"#),
            (200, "yes"),
            (200, "true"),
            (200, ""),
        ] {
            assert!(!ident.is_yes(&response(status, body)), "{status} {body}");
            assert!(!join.is_yes(&response(status, body)), "{status} {body}");
        }
    }
}
