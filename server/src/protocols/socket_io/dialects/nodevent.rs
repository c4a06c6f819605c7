//! The dialect `nodevent`: `join`, `leave` and `event`, as `protocol/README.md` section 4 defines them.

mod mailbox;

use crate::calls::{Call, CallError, CallResult};
use crate::clock::now_ms;
use crate::history::RequestId;
use crate::identity::Identity;
use crate::identity_provider::IdentityResult;
use crate::outcome::Outcome;
use crate::presence::{PresenceError, PresenceResult};
use crate::protocol::{JoinError, Joined, MailboxDelivery, RecoveryStatus};
use crate::protocols::socket_io::arguments::Argument;
use crate::protocols::socket_io::dialect::{ConnectRequest, Dialect, Event, Operations, PageError};
use crate::token::TokenError;
use mailbox::Encoded;
use nodevent_protocol::history::Position;
use nodevent_protocol::room;
use nodevent_protocol::topic::Topic;
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// The dialect `nodevent`.
#[derive(Debug, Default)]
pub(super) struct NodEvent;

/// Rooms that one `join` may always name. A connection may be allowed to be in more, and then it may name as many.
const MIN_MAX_PARTS: usize = 1024;
/// Rooms with bad names in one `join` that are counted and logged. The others only get their results.
const MAX_LOGGED_PARTS: usize = 16;
/// The shortest time that a client stays away after the server stops. Milliseconds.
const MIN_DRAIN_WAIT: u64 = 500;
/// The range over which clients that leave together return. Milliseconds.
const DRAIN_SPREAD: u64 = 1_000;

// === impl NodEvent ===

impl Dialect for NodEvent {
    fn event(&self, operations: &mut dyn Operations, event: Event) {
        // The decoder guarantees a name.
        let Some((name, data)) = Argument::of_event(&event.args) else { return };
        match &*name {
            "join" => {
                let [rooms, room, key, since, broadcast] =
                    data.fields(["rooms", "room", "key", "since", "broadcast"]);
                match rooms.elements() {
                    Some(rooms) => self.join_many(operations, &rooms, event.ack_id),
                    None => {
                        let wanted = WantedRoom { room, key, since, broadcast };
                        let _ = self.join_one(operations, &wanted, event.ack_id.into());
                    }
                }
            }
            "leave" => {
                let ack = match leave(operations, data) {
                    Ok(()) => "[null]".to_owned(),
                    Err(error) => json!([error.as_str()]).to_string(),
                };
                acknowledge(operations, event.ack_id, &ack);
            }
            "presence" => presence(operations, data, event.ack_id),
            "call" => call(operations, data, event.ack_id),
            "page" => set_page(operations, data),
            "token" => {
                let before = operations.identity();
                match renew(operations, data, event.ack_id.into()) {
                    Ok(Outcome::Ready(identity)) => {
                        on_renewed(operations, event.ack_id, Ok(identity), before.as_deref())
                    }
                    Ok(Outcome::Pending) => {}
                    Ok(Outcome::Overloaded) => {
                        on_renewed(operations, event.ack_id, Err(TokenError::ApplicationUnavailable), None);
                    }
                    Err(error) => on_renewed(operations, event.ack_id, Err(error), None),
                }
            }
            "mailbox" => {
                let ack = mailbox::open(operations);
                acknowledge(operations, event.ack_id, &ack);
            }
            "acknowledge" => {
                if let Some(ack) = mailbox::acknowledge(operations, data, event.ack_id) {
                    acknowledge(operations, event.ack_id, &ack);
                }
            }
            _ => {}
        }
    }

    fn mailbox(&self, operations: &mut dyn Operations, delivery: &MailboxDelivery<'_>) {
        match mailbox::encode(delivery) {
            Encoded::Event(args) => operations.emit(&args, &[]),
            Encoded::Ack(request, args) => acknowledge(operations, request, &args),
        }
    }

    fn token(&self, request: &ConnectRequest) -> Option<String> {
        Argument::of_value(request.auth()?).field("token").text().map(Cow::into_owned)
    }

    fn connected(&self, operations: &mut dyn Operations, request: &ConnectRequest) {
        let auth = request.auth().map_or(Argument::MISSING, Argument::of_value);
        let [since_user, since, since_broadcast] = auth.fields(["since_user", "since", "since_broadcast"]);
        if let Some(identity) = operations.identity() {
            operations.emit(&format!("[\"identified\",{}]", identified(&identity)), &[]);
            // The copy for the user precedes those for its rooms.
            join_user(operations, &identity.user, since_user.text().as_deref());
            for room in &identity.rooms {
                // A position that is not a string was not assigned by an engine.
                join_by_token(operations, room, since.field(room).text().as_deref());
            }
        }
        if let Some(auth) = request.auth() {
            set_page(operations, Argument::of_value(auth));
        }
        // From now on the connection receives what is published to all, so what it missed must come before.
        if let Some(since) = since_broadcast.text() {
            recover_all(operations, &since);
        }
    }

    fn joined_by_token(
        &self,
        operations: &mut dyn Operations,
        topic: Topic<'_>,
        result: Result<Joined, JoinError>,
    ) {
        emit_joined(operations, topic, result);
    }

    fn identified(&self, operations: &mut dyn Operations, request: RequestId, result: IdentityResult) {
        on_renewed(operations, request.number, result, None);
    }

    fn page_room_joined(
        &self,
        operations: &mut dyn Operations,
        room: Option<&str>,
        result: Result<Joined, JoinError>,
    ) {
        match (room, result) {
            (Some(room), result) => emit_joined(operations, Topic::Room(room), result),
            // Without a history the client has nothing to know about that.
            (None, Ok(Joined { recovery: None })) => {}
            (None, result) => emit(operations, &JoinedData { page: Some(true), ..JoinedData::of(result) }),
        }
    }

    fn page_room_left(&self, operations: &mut dyn Operations, room: &str) {
        operations.emit(&json!(["left", {"room": room}]).to_string(), &[]);
    }

    fn revoked(&self, operations: &mut dyn Operations, room: Option<&str>) {
        let what = room.map_or(json!({}), |room| json!({"room": room}));
        operations.emit(&json!(["revoked", what]).to_string(), &[]);
    }

    fn membership_expired(&self, operations: &mut dyn Operations, room: &str) {
        operations.emit(&json!(["expired", {"room": room}]).to_string(), &[]);
    }

    fn presence_listed(&self, operations: &mut dyn Operations, request: RequestId, result: &PresenceResult) {
        acknowledge(operations, request.number, &presence_ack(result));
    }

    fn called(&self, operations: &mut dyn Operations, number: u64, result: &CallResult) {
        operations.acknowledge(number, &call_ack(result), &[]);
    }

    fn identity_expired(&self, operations: &mut dyn Operations) {
        let grace = operations.grace().as_millis() as u64;
        operations.emit(&json!(["expired", {"grace": grace}]).to_string(), &[]);
    }

    fn joined(&self, operations: &mut dyn Operations, request: RequestId, result: Result<Joined, JoinError>) {
        let ack = join_ack(result);
        if request.part == 0 {
            acknowledge(operations, request.number, &ack);
        } else if let Some(results) = operations.finish_part(request, ack) {
            acknowledge(operations, request.number, &format!("[null,true,[{}]]", results.join(",")));
        }
    }

    fn draining(&self, operations: &mut dyn Operations) {
        let wait = MIN_DRAIN_WAIT + rand::random::<u64>() % DRAIN_SPREAD;
        operations.emit(&json!(["drain", {"wait": wait}]).to_string(), &[]);
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        packet.extend(["[\"event\",", text, "]"]);
    }

    fn gap(&self, topic: Topic<'_>, position: Position) -> String {
        let (name, value) = topic.member();
        json!(["lost", {name: value, "position": position.to_string()}]).to_string()
    }

    fn skipped(&self, topic: Topic<'_>, position: Position) -> Option<String> {
        let (name, value) = topic.member();
        Some(json!(["skipped", {name: value, "position": position.to_string()}]).to_string())
    }
}

impl NodEvent {
    /// `join {room, key?, since?}`.
    ///
    /// # Errors
    /// The error that the client receives.
    fn join_one(
        &self,
        operations: &mut dyn Operations,
        wanted: &WantedRoom<'_>,
        request: RequestId,
    ) -> Result<(), JoinError> {
        match join(operations, wanted, request) {
            Ok(Outcome::Ready(joined)) => self.joined(operations, request, Ok(joined)),
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => {
                self.joined(operations, request, Err(error));
                return Err(error);
            }
        }
        Ok(())
    }

    /// `join {rooms: [{room, key?, since?}, …]}`: one acknowledgement with the results of all.
    fn join_many(&self, operations: &mut dyn Operations, rooms: &[Argument<'_>], ack_id: Option<u64>) {
        let max = operations.max_rooms().max(MIN_MAX_PARTS);
        // The last numbers mean joins that were not requested.
        let is_allowed = |parts: &u16| usize::from(*parts) <= max && *parts <= RequestId::MAX_PART;
        let Some(parts) = u16::try_from(rooms.len()).ok().filter(is_allowed) else {
            let error = operations.reject_join(JoinError::TooManyRooms);
            return acknowledge(operations, ack_id, &join_ack(Err(error)));
        };
        if let Some(ack_id) = ack_id {
            if rooms.is_empty() {
                return operations.acknowledge(ack_id, "[null,true,[]]", &[]);
            }
            if !operations.start_parts(ack_id, parts) {
                let error = operations.reject_join(JoinError::TooManyJoins);
                return operations.acknowledge(ack_id, &join_ack(Err(error)), &[]);
            }
        }
        let mut bad = 0;
        for (part, data) in (1..=parts).zip(rooms) {
            let request = RequestId { number: ack_id, part };
            let wanted = WantedRoom::of(*data);
            if bad >= MAX_LOGGED_PARTS && room_of(operations, wanted.room).is_none() {
                self.joined(operations, request, Err(JoinError::BadRoom));
                continue;
            }
            bad += usize::from(self.join_one(operations, &wanted, request) == Err(JoinError::BadRoom));
        }
    }
}

/// `presence {room}`: the members of a room.
fn presence(operations: &mut dyn Operations, data: Argument<'_>, ack_id: Option<u64>) {
    // Without an acknowledgement there is no way to reply.
    if ack_id.is_none() {
        return;
    }
    let listed = match room_of(operations, data.field("room")) {
        Some(room) => operations.presence(&room, ack_id.into()),
        None => Err(PresenceError::BadRoom),
    };
    let result = match listed {
        Ok(Outcome::Pending) => return,
        Ok(Outcome::Ready(presence)) => Ok(presence),
        Ok(Outcome::Overloaded) => Err(PresenceError::TooMany),
        Err(error) => Err(error),
    };
    acknowledge(operations, ack_id, &presence_ack(&result));
}

/// `call {method, path, body?}`: a request to the application.
fn call(operations: &mut dyn Operations, data: Argument<'_>, ack_id: Option<u64>) {
    // Without an acknowledgement there is no way to reply.
    let Some(ack_id) = ack_id else { return };
    let [method, path, body] = data.fields(["method", "path", "body"]);
    let called = match (method.text(), path.text()) {
        (Some(method), Some(path)) => operations.call(Call::with_json(&method, &path, body.raw()), ack_id),
        _ => Err(CallError::BadCall),
    };
    if let Err(error) = called {
        operations.acknowledge(ack_id, &call_ack(&Err(error)), &[]);
    }
}

/// `page {socket_connection_id, page_since?}`: the client shows this page from now on. If the namespace has pages, it
/// receives `page {id}`: the name of the page, or `null` if the visitor is not known.
fn set_page(operations: &mut dyn Operations, data: Argument<'_>) {
    let [id, since] = data.fields(["socket_connection_id", "page_since"]);
    let Some(id) = id.text() else { return };
    let received = positions(operations.max_rooms(), since);
    let page = match operations.set_page(&id, received) {
        Ok(page) => Some(page.to_string()),
        Err(PageError::Unknown) => None,
        Err(PageError::NotConfigured) => return,
    };
    operations.emit(&json!(["page", {"id": page}]).to_string(), &[]);
}

/// The positions up to which a client has received the rooms of its page, and with the empty name what is published to the
/// page itself. A position that is not a string was not assigned by an engine, and no client is in more rooms.
fn positions(max: usize, since: Argument<'_>) -> Vec<(Box<str>, Position)> {
    let Some(Value::Object(since)) = since.value() else { return Vec::new() };
    let parse = |(room, position): (String, Value)| Some((room.into(), Position::parse(position.as_str()?)?));
    since.into_iter().filter_map(parse).take(max + 1).collect()
}

/// The arguments of the acknowledgement of `call`.
fn call_ack(result: &CallResult) -> String {
    match result {
        Ok(called) => format!("[null,{}]", called.text()),
        Err(error) => json!([error.as_str(), {"status": error.status()}]).to_string(),
    }
}

/// The arguments of the acknowledgement of `presence`.
fn presence_ack(result: &PresenceResult) -> String {
    match result {
        Ok(presence) => format!("[null,{}]", presence.text),
        Err(error) => json!([error.to_string()]).to_string(),
    }
}

/// `token {token}`: a new token.
///
/// # Errors
/// The error that the client receives.
fn renew(
    operations: &mut dyn Operations,
    data: Argument<'_>,
    request: RequestId,
) -> Result<Outcome<Arc<Identity>>, TokenError> {
    let token = data.field("token").text().ok_or(TokenError::Missing)?;
    operations.identify(&token, request)
}

/// Acknowledges a new token, and joins the rooms that it adds. A second join of a room changes nothing.
fn on_renewed(
    operations: &mut dyn Operations,
    ack_id: Option<u64>,
    result: IdentityResult,
    before: Option<&Identity>,
) {
    let identity = match result {
        Ok(identity) => identity,
        Err(error) => return acknowledge(operations, ack_id, &json!([error.as_str()]).to_string()),
    };
    if before.is_none() {
        join_user(operations, &identity.user, None);
    }
    for room in &identity.rooms {
        if !before.is_some_and(|before| before.opens(room)) {
            join_by_token(operations, room, None);
        }
    }
    acknowledge(operations, ack_id, &format!("[null,{}]", identified(&identity)));
}

/// The user of a connection, and how long its token is valid. Milliseconds from now, because the clock of a client may
/// differ.
fn identified(identity: &Identity) -> String {
    #[derive(Serialize)]
    struct Identified<'a> {
        expires_in: u64,
        user: &'a str,
    }
    to_json(&Identified { expires_in: identity.expires_ms.saturating_sub(now_ms()), user: &identity.user })
}

/// Joins a room that the connection's token lists.
fn join_by_token(operations: &mut dyn Operations, room: &str, since: Option<&str>) {
    match operations.join_by_token(room, since) {
        Ok(Outcome::Ready(joined)) => emit_joined(operations, Topic::Room(room), Ok(joined)),
        Ok(Outcome::Pending | Outcome::Overloaded) => {}
        Err(error) => emit_joined(operations, Topic::Room(room), Err(error)),
    }
}

/// Sends what was published to all connections.
fn recover_all(operations: &mut dyn Operations, since: &str) {
    match operations.recover_all(Some(since), RequestId::UNREQUESTED) {
        Ok(Outcome::Ready(joined)) => emit_joined(operations, Topic::All, Ok(joined)),
        Ok(Outcome::Pending | Outcome::Overloaded) => {}
        Err(error) => emit_joined(operations, Topic::All, Err(error)),
    }
}

/// Receives what is published to the connection's user. Without a history the client has nothing to know about that.
fn join_user(operations: &mut dyn Operations, user: &str, since: Option<&str>) {
    if let Outcome::Ready(joined @ Joined { recovery: Some(_) }) = operations.join_user(since) {
        emit_joined(operations, Topic::User(user), Ok(joined));
    }
}

/// `joined {room, error?, position?, recovered?}`: the result of a join that the client has not requested. With `user` in
/// the place of `room` it is about the connection's user, with `broadcast` about all connections.
fn emit_joined(operations: &mut dyn Operations, topic: Topic<'_>, result: Result<Joined, JoinError>) {
    let joined = JoinedData {
        broadcast: (topic == Topic::All).then_some(true),
        room: if let Topic::Room(room) = topic { Some(room) } else { None },
        user: if let Topic::User(user) = topic { Some(user) } else { None },
        ..JoinedData::of(result)
    };
    emit(operations, &joined);
}

fn emit(operations: &mut dyn Operations, joined: &JoinedData<'_>) {
    operations.emit(&to_json(&("joined", joined)), &[]);
}

/// The data of `joined`. What is `None` is left out.
#[derive(Default, Serialize)]
struct JoinedData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    broadcast: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

// === impl JoinedData ===

impl JoinedData<'_> {
    /// The result of a join, without what was joined.
    fn of(result: Result<Joined, JoinError>) -> Self {
        let recovery = result.ok().and_then(|joined| joined.recovery);
        Self {
            error: result.err().map(JoinError::as_str),
            position: recovery.map(|recovery| recovery.position.map(|position| position.to_string())),
            recovered: recovery.map(|recovery| recovery.recovered),
            ..Self::default()
        }
    }
}

/// Encodes strings and numbers, which is always possible.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The arguments of a join's acknowledgement.
fn join_ack(result: Result<Joined, JoinError>) -> String {
    match result {
        Err(error) => json!([error.as_str(), false]).to_string(),
        Ok(Joined { recovery: None }) => "[null,true]".to_owned(),
        Ok(Joined { recovery: Some(RecoveryStatus { position, recovered }) }) => match position {
            Some(position) => format!("[null,true,{{\"position\":\"{position}\",\"recovered\":{recovered}}}]"),
            None => format!("[null,true,{{\"position\":null,\"recovered\":{recovered}}}]"),
        },
    }
}

/// What a client sends to join one room.
struct WantedRoom<'a> {
    room: Argument<'a>,
    key: Argument<'a>,
    since: Argument<'a>,
    broadcast: Argument<'a>,
}

// === impl WantedRoom ===

impl<'a> WantedRoom<'a> {
    fn of(data: Argument<'a>) -> Self {
        let [room, key, since, broadcast] = data.fields(["room", "key", "since", "broadcast"]);
        Self { room, key, since, broadcast }
    }
}

/// Joins one room. `{broadcast: true, since?}` joins nothing, and recovers what was published to all connections.
fn join(
    operations: &mut dyn Operations,
    wanted: &WantedRoom<'_>,
    request: RequestId,
) -> Result<Outcome<Joined>, JoinError> {
    let WantedRoom { room, key, since, broadcast } = wanted;
    if broadcast.raw() == Some("true") {
        return operations.recover_all(since.text().as_deref(), request);
    }
    let Some(room) = room_of(operations, *room) else {
        return Err(operations.reject_join(JoinError::BadRoom));
    };
    // A position that is not a string was not assigned by an engine.
    operations.join(&room, key.value().as_ref(), since.text().as_deref(), request)
}

/// `leave {room}`, or `leave "room"` as the old server understood it. N-46, N-47.
fn leave(operations: &mut dyn Operations, data: Argument<'_>) -> Result<(), JoinError> {
    let named = if data.is_object() { data.field("room") } else { data };
    let room = room_of(operations, named).ok_or(JoinError::BadRoom)?;
    operations.leave(&room);
    Ok(())
}

fn room_of<'a>(operations: &dyn Operations, named: Argument<'a>) -> Option<Cow<'a, str>> {
    let max_bytes = operations.max_room_name();
    match named.string() {
        Some(name) => room::check(&name, max_bytes).is_ok().then_some(name),
        None => room::from_json(&named.value().unwrap_or(Value::Null), max_bytes).ok().map(Cow::Owned),
    }
}

fn acknowledge(operations: &mut dyn Operations, ack_id: Option<u64>, args: &str) {
    if let Some(ack_id) = ack_id {
        operations.acknowledge(ack_id, args, &[]);
    }
}
