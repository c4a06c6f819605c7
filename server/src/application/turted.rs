//! Asks the application about users and channels of the dialect `turted`.
//!
//! A shard calls it as an authorizer of a join, without waiting; the reply goes to the shard's inbox. A join that
//! depends on an `IDENT` before it waits for that. Anything but a clean yes is a no.

use super::client::{ApplicationClient, ApplicationError, ApplicationRequest, ApplicationResponse};
use super::response::{self, Rules};
use crate::authorize::{Authorizer, JoinRequest, Verdict};
use crate::client::Client;
use crate::clock::now_ms;
use crate::fair_shares::FairShares;
use crate::history::ReplyTo;
use crate::outcome::Outcome;
use crate::protocol::JoinError;
use crate::shard::message::AuthorizeReply;
use crate::shard::{Shards, ToShard};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use nodevent_protocol::room;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The text of a rejection. The dialect has its own.
const NO: &str = "Not allowed";
/// For how long a yes is valid, which only has to be longer than nothing. Milliseconds.
const LIFETIME_MS: u64 = 60_000;
/// For how long accepted users are remembered: longer than a reply waits in the inbox of a shard.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Connections whose users are remembered.
const MAX_REMEMBERED: usize = 10_000;

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
    state: Mutex<State>,
    /// The questions of each client that are not decided.
    pending: Mutex<FairShares>,
}

/// The users of connections, as far as their shards may not know them yet.
#[derive(Debug, Default)]
struct State {
    /// What waits for the application: as many as the shards let wait.
    waiting: HashMap<Connection, Waiting>,
    /// Users who were accepted a moment ago: the shard may process the next join before the reply.
    accepted: HashMap<Connection, (Instant, Vec<String>)>,
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
    joins: Vec<(Share, Question)>,
}

/// The decision about a question.
type Decision = Result<(), JoinError>;

/// What is to be decided.
#[derive(Debug, Clone)]
enum Question {
    /// May the connection be this user? `data`: the JSON that the client sent, until it is in the body of a request. `None`: it
    /// sent none.
    Ident { username: String, data: Option<Box<RawValue>> },
    /// May a connection of these users join this channel?
    Join { channel: String, users: Vec<String> },
    /// Has the connection a user, as soon as its `IDENT`s are decided?
    AfterIdent,
}

/// How a question continues.
#[derive(Debug)]
enum Step {
    /// It waits for the users of its connection.
    Wait,
    /// It is decided.
    Decided(bool),
    /// The application decides.
    Request(Question),
}

/// A question that waits, and the client that has a place for it.
#[derive(Debug, Clone, Copy)]
struct Share {
    reply_to: ReplyTo,
    client: Client,
}

/// A question that is being asked. If its task ends early, its own join is rejected.
struct PendingReply<'a> {
    shared: &'a Arc<Shared>,
    share: Share,
    decision: Decision,
}

// === impl TurtedAuthorizer ===

impl TurtedAuthorizer {
    /// An authorizer for a namespace. Called on the runtime that runs its requests.
    /// `places`: questions that may wait, of which clients have shares.
    pub fn new(client: ApplicationClient, namespace: &Arc<str>, shards: Shards, places: usize) -> Self {
        let (state, pending) = (Mutex::default(), Mutex::new(FairShares::new(places)));
        let shared = Shared { client, namespace: Arc::clone(namespace), shards, state, pending };
        Self { shared: Arc::new(shared), runtime: Handle::current() }
    }
}

impl Authorizer for TurtedAuthorizer {
    fn authorize(&self, request: &JoinRequest<'_>) -> Outcome<Verdict> {
        let question = request.credential.and_then(|credential| Question::read(&credential["question"]));
        let (Some(question), Some(reply_to), Some(client)) = (question, request.reply_to, request.client) else {
            return Outcome::Ready(Verdict::Reject(JoinError::Unauthorized(NO)));
        };
        {
            let mut pending = self.shared.pending();
            if pending.check(client).is_err() {
                return Outcome::Ready(Verdict::Reject(JoinError::Undecided));
            }
            pending.add(client);
        }
        let share = Share { reply_to, client };
        let step = self.shared.state().step(share, question, Instant::now());
        match step {
            Step::Wait => {}
            // The reply about the user may still be in the inbox: this one follows it.
            Step::Decided(is_yes) => self.shared.reply(share, decision(is_yes)),
            Step::Request(question) => spawn(&self.runtime, &self.shared, share, question),
        }
        Outcome::Pending
    }
}

fn decision(is_yes: bool) -> Decision {
    if is_yes { Ok(()) } else { Err(JoinError::Unauthorized(NO)) }
}

fn spawn(runtime: &Handle, shared: &Arc<Shared>, share: Share, mut question: Question) {
    let (shared, runtime) = (Arc::clone(shared), runtime.clone());
    runtime.clone().spawn(async move {
        let user = match &question {
            Question::Ident { username, .. } => Some(username.clone()),
            _ => None,
        };
        let is_yes = {
            let mut pending = PendingReply { shared: &shared, share, decision: Err(JoinError::Undecided) };
            pending.decision = shared.ask(&mut question, share.client).await;
            pending.decision.is_ok()
        };
        let Some(user) = user else { return };
        let steps = shared.state().after_ident(&share.reply_to, is_yes.then_some(user), Instant::now());
        for (share, step) in steps {
            match step {
                Step::Request(question) => spawn(&runtime, &shared, share, question),
                Step::Decided(is_yes) => shared.reply(share, decision(is_yes)),
                Step::Wait => {}
            }
        }
    });
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, FairShares> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the application. Logs what is neither a clean yes nor a clean no.
    async fn ask(&self, question: &mut Question, client: Client) -> Decision {
        let body = question.take_body(&self.namespace);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let request = ApplicationRequest { method: Method::POST, path: None, headers, body: body.into() };
        match self.client.send(&request, Some(client)).await {
            Ok(response) if question.is_yes(&response) => Ok(()),
            Ok(response) => Err(question.no(response.status)),
            Err(error) => {
                let (namespace, target) = (&*self.namespace, self.client.target());
                tracing::warn!(namespace, target = target, reason = %error, "application: no decision; clients are rejected");
                Err(match error {
                    // Nothing was sent.
                    ApplicationError::Overloaded | ApplicationError::BreakerOpen => JoinError::Undecided,
                    _ => JoinError::Unauthorized(NO),
                })
            }
        }
    }

    fn reply(&self, share: Share, decision: Decision) {
        let Share { reply_to, client } = share;
        self.pending().remove(client);
        let reply = AuthorizeReply { reply_to, result: decision };
        // The inbox always has a place for a reply: the shard limits how many it requests.
        self.shards.send(reply_to.shard, ToShard::Authorized(reply));
    }
}

// === impl State ===

impl State {
    /// A question arrived.
    fn step(&mut self, share: Share, question: Question, now: Instant) -> Step {
        let connection = connection_of(&share.reply_to);
        if matches!(question, Question::Ident { .. }) {
            self.waiting.entry(connection).or_default().idents += 1;
            return Step::Request(question);
        }
        if let Some(waiting) = self.waiting.get_mut(&connection) {
            waiting.joins.push((share, question));
            return Step::Wait;
        }
        let accepted = self.accepted.get(&connection).filter(|(at, _)| now.duration_since(*at) < REMEMBERED);
        question.after(accepted.map_or(&[], |(_, users)| users))
    }

    /// A user was decided. Returns the joins that waited for it, and how each continues.
    fn after_ident(&mut self, reply_to: &ReplyTo, accepted: Option<String>, now: Instant) -> Vec<(Share, Step)> {
        let connection = connection_of(reply_to);
        let Some(waiting) = self.waiting.get_mut(&connection) else { return Vec::new() };
        waiting.accepted.extend(accepted);
        waiting.idents -= 1;
        if waiting.idents > 0 {
            return Vec::new();
        }
        let Waiting { accepted, joins, .. } = self.waiting.remove(&connection).unwrap_or_default();
        let steps = joins.into_iter().map(|(share, question)| (share, question.after(&accepted))).collect();
        if !accepted.is_empty() {
            if self.accepted.len() >= MAX_REMEMBERED {
                self.accepted.retain(|_, (at, _)| now.duration_since(*at) < REMEMBERED);
            }
            if self.accepted.len() < MAX_REMEMBERED {
                self.accepted.insert(connection, (now, accepted));
            }
        }
        steps
    }
}

// === impl Question ===

impl Question {
    fn read(value: &Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Ident {
            username: String,
            data: Option<String>,
        }
        #[derive(Deserialize)]
        struct Join {
            channel: String,
            users: Vec<String>,
        }
        if let Some(ident) = value.get("ident") {
            let Ident { username, data } = Ident::deserialize(ident).ok()?;
            let data = data.map(RawValue::from_string).transpose().ok()?;
            return Some(Self::Ident { username, data });
        }
        if let Some(join) = value.get("join") {
            let Join { channel, users } = Join::deserialize(join).ok()?;
            return Some(Self::Join { channel, users });
        }
        value.get("after_ident").map(|_| Self::AfterIdent)
    }

    /// How a join continues if these users of its connection were accepted since it was sent.
    fn after(self, accepted: &[String]) -> Step {
        match self {
            Self::AfterIdent => Step::Decided(!accepted.is_empty()),
            Self::Join { channel, mut users } => {
                for user in accepted {
                    if !users.contains(user) {
                        users.push(user.clone());
                    }
                }
                Step::Request(Self::Join { channel, users })
            }
            Self::Ident { .. } => Step::Request(self),
        }
    }

    /// The body of the request to the application. Takes the data of an `IDENT` out of the question: it is held once.
    fn take_body(&mut self, namespace: &str) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            ident: Option<Ident<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            join: Option<Join<'a>>,
            namespace: &'a str,
        }
        #[derive(Serialize)]
        struct Ident<'a> {
            username: &'a str,
            data: Option<Box<RawValue>>,
        }
        #[derive(Serialize)]
        struct Join<'a> {
            channel: &'a str,
            users: &'a [String],
        }
        let (ident, join) = match self {
            Self::Ident { username, data } => (Some(Ident { username, data: data.take() }), None),
            Self::Join { channel, users } => (None, Some(Join { channel, users })),
            Self::AfterIdent => (None, None),
        };
        // Texts and JSON that was parsed cannot fail.
        serde_json::to_string(&Body { ident, join, namespace }).unwrap_or_default()
    }

    /// The rejection after a response with this status that is not a yes.
    fn no(&self, status: StatusCode) -> JoinError {
        let is_decision = status == StatusCode::OK || status.is_client_error();
        match self {
            // A client may guess what the application accepts.
            Self::Ident { .. } if is_decision => JoinError::WrongKey(NO),
            _ => JoinError::Unauthorized(NO),
        }
    }

    /// Whether a response is a clean yes.
    fn is_yes(&self, response: &ApplicationResponse) -> bool {
        match self {
            Self::Ident { username, .. } => {
                let rules =
                    Rules { max_room_name: room::MAX_BYTES, max_rooms: usize::MAX, lifetime_ms: LIFETIME_MS };
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
        self.shared.reply(self.share, self.decision);
    }
}

fn connection_of(reply_to: &ReplyTo) -> Connection {
    (reply_to.shard, reply_to.slot, reply_to.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::RequestId;
    use serde_json::json;

    fn response(status: u16, body: &'static str) -> ApplicationResponse {
        ApplicationResponse { status: StatusCode::from_u16(status).unwrap(), body: body.as_bytes().into() }
    }

    fn share(slot: u32, join_id: u32) -> Share {
        let reply_to =
            ReplyTo { shard: 0, slot, generation: 1, join_id, encoding: 0, request: RequestId::UNREQUESTED };
        Share { reply_to, client: Client::of([10, 0, 0, 1].into()) }
    }

    fn ident(username: &str) -> Question {
        Question::Ident { username: username.into(), data: None }
    }

    #[test]
    fn a_join_waits_for_the_users_that_its_connection_has_sent_before() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(matches!(state.step(share(1, 1), Question::AfterIdent, now), Step::Decided(false)));
        assert!(matches!(state.step(share(1, 2), ident("ann"), now), Step::Request(_)));
        assert!(matches!(state.step(share(1, 3), ident("bob"), now), Step::Request(_)));
        assert!(matches!(state.step(share(1, 4), Question::AfterIdent, now), Step::Wait));
        let join = Question::Join { channel: "c".into(), users: vec!["old".into()] };
        assert!(matches!(state.step(share(1, 5), join, now), Step::Wait));
        assert!(matches!(state.step(share(2, 6), Question::AfterIdent, now), Step::Decided(false)));
        assert!(state.after_ident(&share(1, 2).reply_to, Some("ann".into()), now).is_empty());
        let steps = state.after_ident(&share(1, 3).reply_to, None, now);
        assert!(matches!(steps[0].1, Step::Decided(true)));
        assert!(matches!(&steps[1].1, Step::Request(Question::Join { users, .. }) if *users == ["old", "ann"]));
        // The shard may not have processed the reply when the next join arrives.
        assert!(matches!(state.step(share(1, 7), Question::AfterIdent, now), Step::Decided(true)));
        assert!(matches!(state.step(share(2, 8), Question::AfterIdent, now), Step::Decided(false)));
        let later = now + REMEMBERED;
        assert!(matches!(state.step(share(1, 9), Question::AfterIdent, later), Step::Decided(false)));
    }

    #[test]
    fn data_of_a_client_is_held_as_text_and_only_until_it_is_in_a_body() {
        let data = r#"{"token":"a","n":[1.50,{}]}"#;
        let mut question = Question::read(&json!({"ident": {"username": "ann", "data": data}})).unwrap();
        let expected = format!(r#"{{"ident":{{"username":"ann","data":{data}}},"namespace":"/n"}}"#);
        assert_eq!(question.take_body("/n"), expected);
        assert!(matches!(question, Question::Ident { data: None, .. }));
        let mut question = Question::read(&json!({"ident": {"username": "ann", "data": null}})).unwrap();
        assert_eq!(question.take_body("/n"), r#"{"ident":{"username":"ann","data":null},"namespace":"/n"}"#);
    }

    #[test]
    fn a_join_after_a_rejected_user_is_rejected() {
        let (mut state, now) = (State::default(), Instant::now());
        state.step(share(1, 1), ident("ann"), now);
        state.step(share(1, 2), Question::AfterIdent, now);
        let steps = state.after_ident(&share(1, 1).reply_to, None, now);
        assert!(matches!(steps[0].1, Step::Decided(false)));
        assert!(state.waiting.is_empty() && state.accepted.is_empty());
    }

    #[test]
    fn only_a_clean_yes_about_the_same_user_or_channel_is_a_yes() {
        // T-04, T-42
        let ident = ident("ann");
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

    #[test]
    fn a_no_about_a_user_counts_as_a_wrong_key_and_what_is_no_decision_does_not() {
        let join = Question::Join { channel: "chat".into(), users: Vec::new() };
        for (status, is_decision) in [(200, true), (401, true), (422, true), (204, false), (302, false)] {
            let status = StatusCode::from_u16(status).unwrap();
            let error = if is_decision { JoinError::WrongKey(NO) } else { JoinError::Unauthorized(NO) };
            assert_eq!(ident("ann").no(status), error, "{status}");
            assert_eq!(join.no(status), JoinError::Unauthorized(NO), "a channel is no secret");
        }
    }
}
