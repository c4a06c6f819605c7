//! Channels in Ruby: their subscriptions of one connection, and the commands that the application runs.
//!
//! The application has nothing of a connection between two commands. What it needs it returns as a state, which comes with
//! the next command. Commands of one connection run one after another, so no command meets a state that another one is
//! changing; commands for streams that the server decides about do not wait for them.
//!
//! A command that the application cannot run changes nothing, and gets no reply, as in Rails. Only a connection needs a
//! decision: without one it is closed, and its client may come back.

use super::ActionCable;
use super::channel_reply::{Disconnect, Reply, Rooms, Status};
use super::encoding::{CableEncoding, long_bytes};
use super::streams::Found;
use crate::calls::{Call, CallError, CallResult};
use crate::clock::now_ms;
use crate::close_reason::CloseReason;
use crate::encoding::{Encoding, Frame};
use crate::history::Since;
use crate::outcome::Outcome;
use crate::protocol::{Core, JoinError, Joined, NEVER, SubscribeReply};
use nodevent_protocol::action_cable::command::{Command, History, Identifier};
use nodevent_protocol::action_cable::frame;
use nodevent_protocol::action_cable::identifier::{self, Requested};
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

/// The encoding of the rooms that end a connection: their members receive nothing.
static SILENT: LazyLock<Arc<dyn Encoding>> = LazyLock::new(|| Arc::new(Silent));

/// Those of one connection.
#[derive(Debug)]
pub(super) struct Channels {
    /// The query of the connection's request, until the application has decided about it.
    query: Option<Box<str>>,
    /// What the application knows of the connection: the text of a JSON value. `None`: it has not decided.
    connection: Option<Box<str>>,
    /// The rooms whose revocation ends the connection.
    rooms: Option<Rooms>,
    list: Vec<Channel>,
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// What long identifiers in `list` hold. Bytes.
    long_bytes: usize,
    running: Option<Running>,
    /// The number of the last call.
    last_call: u64,
    /// Whether the application is notified when the connection ends.
    notifies: bool,
}

/// A subscription to a channel.
#[derive(Debug)]
struct Channel {
    identifier: Name,
    /// What the application knows of it: the text of a JSON value.
    state: Box<str>,
    streams: Vec<Arc<CableEncoding>>,
    /// Whether the application is notified when it ends.
    notifies: bool,
}

/// An identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    /// As JSON.
    json: Box<str>,
    text: Box<str>,
}

/// A command that waits.
#[derive(Debug)]
struct Queued {
    identifier: Name,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the positions that the client has of streams.
    Subscribe(Positions),
    Unsubscribe,
    /// With the text of the message.
    Perform(Box<str>),
    History,
}

/// The positions of streams. `None`: it is not one.
type Positions = Vec<(Box<str>, Option<Position>)>;

/// The command that runs.
#[derive(Debug)]
struct Running {
    step: Step,
    kind: Run,
}

#[derive(Debug)]
enum Step {
    /// The application has this call.
    Called(u64),
    /// Streams are being joined, by these requests.
    Joining(Vec<u64>),
}

#[derive(Debug)]
enum Run {
    Connect,
    Subscribe {
        identifier: Name,
        positions: Positions,
        /// The stream that the page's tag names, and its position when the page was rendered.
        stamp: Option<Found>,
        /// Whether all that the client has missed was sent. `None`: it has named no position.
        is_recovered: Option<bool>,
        /// Why it is rejected.
        rejected: bool,
    },
    Perform(Name),
    Unsubscribe,
}

/// The encoding of members that receive nothing.
#[derive(Debug)]
struct Silent;

impl Encoding for Silent {
    fn publication(&self, _text: &str, _position: Option<Position>) -> Frame {
        Frame::nothing()
    }

    fn gap(&self, _topic: Topic<'_>, _position: Position) -> Frame {
        Frame::nothing()
    }
}

// === impl Name ===

impl Name {
    fn of(identifier: &Identifier<'_>) -> Option<Self> {
        Some(Self { json: identifier.json.as_ref().into(), text: identifier.text.as_deref()?.into() })
    }
}

// === impl Queued ===

impl Queued {
    fn bytes(&self) -> usize {
        let data = match &self.kind {
            Kind::Subscribe(positions) => positions.iter().map(|(stream, _)| stream.len()).sum(),
            Kind::Perform(data) => data.len(),
            Kind::Unsubscribe | Kind::History => 0,
        };
        self.identifier.text.len() + data
    }
}

// === impl Channels ===

impl Channels {
    pub(super) fn new(query: Option<Box<str>>) -> Self {
        Self {
            query,
            connection: None,
            rooms: None,
            list: Vec::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            long_bytes: 0,
            running: None,
            last_call: 0,
            notifies: false,
        }
    }

    /// The bytes of commands that wait, and of long identifiers.
    pub(super) fn bytes(&self) -> usize {
        self.queued_bytes + self.long_bytes
    }

    fn find(&mut self, json: &str) -> Option<&mut Channel> {
        self.list.iter_mut().find(|one| *one.identifier.json == *json)
    }

    fn remove(&mut self, json: &str) -> Option<Channel> {
        let index = self.list.iter().position(|one| *one.identifier.json == *json)?;
        let removed = self.list.remove(index);
        self.long_bytes -= long_bytes(&removed.identifier.json);
        Some(removed)
    }

    /// Whether a subscription to this identifier is on its way, and not ended by a later command.
    fn is_subscribing(&self, identifier: &Name) -> bool {
        let ends = |queued: &Queued| match queued.kind {
            Kind::Subscribe(_) => Some(true),
            Kind::Unsubscribe => Some(false),
            Kind::Perform(_) | Kind::History => None,
        };
        let of_it = self.queue.iter().filter(|queued| queued.identifier == *identifier);
        of_it.filter_map(ends).next_back().unwrap_or_else(|| {
            let running = self.running.as_ref().map(|running| &running.kind);
            matches!(running, Some(Run::Subscribe { identifier: one, .. }) if one == identifier)
        })
    }

    fn next_call(&mut self) -> u64 {
        self.last_call += 1;
        self.last_call
    }
}

// === impl ActionCable ===

impl ActionCable {
    /// Asks the application who the connection is. What the client sends is held until then.
    pub(super) fn connect_channels(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        let Some(channels) = &mut self.channels else { return Ok(()) };
        let (query, info) = (channels.query.take(), core.info());
        let message = json!({"query": query, "origin": info.origin(), "host": info.header("host")});
        self.held.get_or_insert_default();
        match self.call_application("connect", &message, core) {
            Ok(number) => {
                self.run(Step::Called(number), Run::Connect);
                Ok(())
            }
            Err(error) => Err(self.reject_connection(error == CallError::BadOrigin, core)),
        }
    }

    /// Whether a command is one for a channel in Ruby.
    pub(super) fn is_for_channel(&self, command: &Command<'_>) -> bool {
        let (Command::Subscribe(identifier, ..)
        | Command::Unsubscribe(identifier)
        | Command::Message(identifier, _)
        | Command::History(identifier, _)) = command
        else {
            return false;
        };
        let Some(text) = identifier.text.as_deref().filter(|_| self.channels.is_some()) else { return false };
        text.len() <= self.site.settings.max_identifier
            && matches!(identifier::parse(text), Some(Requested::Channel))
    }

    /// Runs a command for a channel after those before it.
    pub(super) fn queue_command(&mut self, command: Command<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let is_extended = self.client.is_extended;
        let (identifier, kind) = match command {
            Command::Subscribe(identifier, history, _) => {
                let history = history.filter(|_| is_extended);
                (identifier, Kind::Subscribe(history.map(positions).unwrap_or_default()))
            }
            Command::Unsubscribe(identifier) => (identifier, Kind::Unsubscribe),
            Command::Message(identifier, Some(data)) => (identifier, Kind::Perform(data.as_ref().into())),
            Command::History(identifier, _) if is_extended => (identifier, Kind::History),
            _ => {
                core.count_ignored_command();
                return Ok(());
            }
        };
        let (Some(identifier), Some(channels)) = (Name::of(&identifier), &mut self.channels) else { return Ok(()) };
        // The repeated command is merged into the first one.
        if matches!(kind, Kind::Subscribe(_)) && channels.is_subscribing(&identifier) {
            return Ok(());
        }
        let queued = Queued { identifier, kind };
        let settings = &self.site.settings;
        let bytes = channels.queued_bytes + queued.bytes();
        if channels.queue.len() >= settings.max_pending_commands || bytes > settings.max_message_size {
            return Err(CloseReason::TooManyPendingJoins);
        }
        channels.queued_bytes = bytes;
        channels.queue.push_back(queued);
        self.run_next(core);
        Ok(())
    }

    /// Runs the commands that wait, until one has to wait for the application.
    fn run_next(&mut self, core: &mut dyn Core) {
        while self.ended.is_none()
            && let Some(channels) = self.channels.as_mut().filter(|channels| channels.running.is_none())
            && let Some(queued) = channels.queue.pop_front()
        {
            channels.queued_bytes -= queued.bytes();
            if channels.queue.is_empty() {
                channels.queue = VecDeque::new();
            }
            let Queued { identifier, kind } = queued;
            match kind {
                Kind::Subscribe(positions) => self.run_subscribe(identifier, positions, core),
                Kind::Unsubscribe => self.run_unsubscribe(&identifier, core),
                Kind::Perform(data) => self.run_perform(identifier, &data, core),
                Kind::History if channels.find(&identifier.json).is_some() => {
                    // Of several streams one reply cannot say what is missing.
                    core.send_text(&frame::reject_history(&identifier.json));
                }
                Kind::History => core.count_ignored_command(),
            }
        }
    }

    fn run_subscribe(&mut self, identifier: Name, positions: Positions, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        if channels.find(&identifier.json).is_some() {
            if self.client.repeats {
                core.send_text(&frame::confirm_subscription(&identifier.json));
            }
            return;
        }
        if channels.list.len() >= self.site.settings.max_channels {
            core.reject_join(self.site.id, JoinError::TooManyRooms);
            return core.send_text(&frame::reject_subscription(&identifier.json));
        }
        let message = json!({"identifier": identifier.text});
        // The client repeats the command if the application is busy.
        if let Ok(number) = self.call_application("subscribe", &message, core) {
            self.subscribe_by = NEVER;
            let stamp = self.stamp(&identifier.text);
            let run = Run::Subscribe { identifier, positions, stamp, is_recovered: None, rejected: false };
            self.run(Step::Called(number), run);
        }
    }

    /// What the page's tag says, if the application has signed it.
    fn stamp(&self, identifier: &str) -> Option<Found> {
        let (token, since) = identifier::signed_for_channel(identifier)?;
        let found = self.site.streams.verify(&token, now_ms()).ok()?;
        Some(Found { is_turbo: true, since: Since::parse(since.as_deref()), ..found })
    }

    fn run_perform(&mut self, identifier: Name, data: &str, core: &mut dyn Core) {
        let Some(channel) = self.channels.as_mut().and_then(|channels| channels.find(&identifier.json)) else {
            return core.count_ignored_command();
        };
        let mut message = channel.as_json();
        message["data"] = data.into();
        if let Ok(number) = self.call_application("perform", &message, core) {
            self.run(Step::Called(number), Run::Perform(identifier));
        }
    }

    fn run_unsubscribe(&mut self, identifier: &Name, core: &mut dyn Core) {
        let Some(channel) = self.channels.as_mut().and_then(|channels| channels.remove(&identifier.json)) else {
            return;
        };
        let message = channel.as_json();
        self.leave_streams(&channel.streams, core);
        self.expect_subscription(core);
        if channel.notifies
            && let Ok(number) = self.call_application("unsubscribe", &message, core)
        {
            self.run(Step::Called(number), Run::Unsubscribe);
        }
    }

    /// Sends a command to the application. Returns the number of the call.
    ///
    /// # Errors
    /// Nothing was sent, which is counted. The log says why, if the client is not the reason.
    fn call_application(
        &mut self,
        name: &'static str,
        message: &Value,
        core: &mut dyn Core,
    ) -> Result<u64, CallError> {
        let Some(channels) = &mut self.channels else { return Err(CallError::NotConfigured) };
        let number = channels.next_call();
        let connection = channels.connection.as_deref().unwrap_or("null");
        // A JSON object, of which nothing but the connection is missing.
        let message = message.to_string();
        let message = format!(r#"{{"connection":{connection},{}"#, &message[1..]);
        let call = Call::Command { name, message: message.into() };
        core.call(self.site.id, call, None, number).map(|()| number).inspect_err(|error| {
            let namespace = &*self.site.namespaces.get(self.site.id).name;
            tracing::warn!(namespace, command = name, reason = error.as_str(), "channels: a command was not sent");
        })
    }

    fn run(&mut self, step: Step, kind: Run) {
        if let Some(channels) = &mut self.channels {
            channels.running = Some(Running { step, kind });
        }
    }

    /// The application has replied to a command, or cannot.
    pub(super) fn on_command_called(&mut self, number: u64, result: &CallResult, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        let is_it = |running: &mut Running| matches!(running.step, Step::Called(one) if one == number);
        let Some(Running { kind, .. }) = channels.running.take_if(is_it) else { return };
        let reply = match result {
            Ok(called) => Reply::read(called).map_err(|error| error.to_string()),
            Err(error) => Err(error.as_str().to_owned()),
        };
        match reply {
            Ok(reply) => {
                if reply.status == Status::Error {
                    self.log_failure(&kind, "the application has raised an exception");
                }
                self.on_reply(kind, &reply, core);
            }
            Err(reason) => {
                self.log_failure(&kind, &reason);
                self.on_failed(&kind, core);
            }
        }
        self.run_next(core);
    }

    fn log_failure(&self, kind: &Run, reason: &str) {
        let namespace = &*self.site.namespaces.get(self.site.id).name;
        tracing::warn!(namespace, command = kind.name(), reason, "channels: a command has failed");
    }

    /// A command has no result.
    fn on_failed(&mut self, kind: &Run, core: &mut dyn Core) {
        match kind {
            Run::Connect => {
                let reason = self.reject_connection(false, core);
                self.ended = Some(reason);
            }
            _ => self.expect_subscription(core),
        }
    }

    fn on_reply(&mut self, kind: Run, reply: &Reply<'_>, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        if let Some(connection) = reply.connection {
            channels.connection = Some(connection.get().into());
        }
        for transmission in &reply.transmissions {
            core.send_text(transmission.get());
        }
        let has_failed = reply.status == Status::Error;
        match kind {
            Run::Connect | Run::Subscribe { .. } if has_failed => self.on_failed(&kind, core),
            Run::Connect => self.on_connected(reply, core),
            Run::Subscribe { ref identifier, .. } if reply.status == Status::Rejected => {
                core.reject_join(self.site.id, JoinError::WrongKey("Rejected by the channel"));
                core.send_text(&frame::reject_subscription(&identifier.json));
                self.expect_subscription(core);
            }
            Run::Subscribe { ref identifier, .. } => self.on_subscribed(identifier.clone(), kind, reply, core),
            Run::Perform(identifier) => self.on_performed(identifier, reply, core),
            Run::Unsubscribe => {}
        }
        if let Some(Disconnect { reconnect }) = reply.disconnect.filter(|_| self.ended.is_none()) {
            core.send_text(&frame::disconnect("remote", reconnect));
            self.ended = Some(CloseReason::Revoked);
        }
    }

    /// The application has decided about the connection.
    fn on_connected(&mut self, reply: &Reply<'_>, core: &mut dyn Core) {
        if reply.status == Status::Rejected {
            let reason = self.reject_connection(true, core);
            self.ended = Some(reason);
            return;
        }
        let Some(channels) = &mut self.channels else { return };
        channels.notifies = reply.notify;
        channels.connection.get_or_insert_with(|| "null".into());
        if let Some(Rooms { reconnect, stay_away }) = &reply.rooms {
            channels.rooms = Some(Rooms { reconnect: reconnect.clone(), stay_away: stay_away.clone() });
            for room in [reconnect, stay_away] {
                let request = self.subscriptions.next_request();
                if self.join(&SILENT, room, Since::FirstJoin, request, core).is_err() {
                    let namespace = &*self.site.namespaces.get(self.site.id).name;
                    tracing::warn!(
                        namespace,
                        "channels: a connection that could not be ended remotely is rejected"
                    );
                    let reason = self.reject_connection(false, core);
                    self.ended = Some(reason);
                    return;
                }
            }
        }
        if let Err(reason) = self.enter(core) {
            self.ended = Some(reason);
        }
    }

    /// Sends the client away. Returns the reason to close the connection.
    fn reject_connection(&mut self, is_decision: bool, core: &mut dyn Core) -> CloseReason {
        let text = match is_decision {
            true => frame::disconnect("unauthorized", false),
            // It did not say no.
            false => frame::disconnect("unavailable", true),
        };
        core.send_text(&text);
        CloseReason::Unauthorized
    }

    fn on_subscribed(&mut self, identifier: Name, mut run: Run, reply: &Reply<'_>, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        let state = reply.state.map_or("null", |state| state.get()).into();
        let (streams, notifies) = (Vec::new(), reply.notify);
        channels.list.reserve_exact(1);
        channels.long_bytes += long_bytes(&identifier.json);
        channels.list.push(Channel { identifier: identifier.clone(), state, streams, notifies });
        let requests = self.start_streams(&identifier, &reply.start, &mut run, core);
        self.run(Step::Joining(requests), run);
        self.finish_if_joined(core);
    }

    fn on_performed(&mut self, identifier: Name, reply: &Reply<'_>, core: &mut dyn Core) {
        let Some(channel) = self.channels.as_mut().and_then(|channels| channels.find(&identifier.json)) else {
            return;
        };
        if let Some(state) = reply.state {
            channel.state = state.get().into();
        }
        let is_stopped = |stream: &str| reply.stop.iter().any(|one| one == stream);
        let (stopped, streams) = std::mem::take(&mut channel.streams)
            .into_iter()
            .partition::<Vec<_>, _>(|encoding| is_stopped(encoding.stream()));
        channel.streams = streams;
        self.leave_streams(&stopped, core);
        if reply.status == Status::Rejected {
            if let Some(channel) = self.channels.as_mut().and_then(|channels| channels.remove(&identifier.json)) {
                self.leave_streams(&channel.streams, core);
            }
            core.send_text(&frame::reject_subscription(&identifier.json));
            return self.expect_subscription(core);
        }
        let mut run = Run::Perform(identifier.clone());
        let requests = self.start_streams(&identifier, &reply.start, &mut run, core);
        self.run(Step::Joining(requests), run);
        self.finish_if_joined(core);
    }

    /// Joins the streams of a channel. Returns the requests that have no reply yet.
    fn start_streams(
        &mut self,
        identifier: &Name,
        names: &[String],
        run: &mut Run,
        core: &mut dyn Core,
    ) -> Vec<u64> {
        let mut requests = Vec::new();
        for name in names {
            let is_there = |channel: &mut Channel| channel.streams.iter().any(|one| one.stream() == name);
            let channel = self.channels.as_mut().and_then(|channels| channels.find(&identifier.json));
            if channel.is_none_or(is_there) {
                continue;
            }
            if self.site.streams.check(name.clone()).is_err() {
                let namespace = &*self.site.namespaces.get(self.site.id).name;
                tracing::warn!(
                    namespace,
                    "channels: a stream has a name that is empty, too long, or begins with a control character"
                );
                run.fail();
                continue;
            }
            let is_extended = self.client.is_extended;
            let encoding = self.site.encodings.get(&identifier.json, name, run.is_turbo(name), is_extended);
            let request = self.subscriptions.next_request();
            match self.join(&encoding.shared(), name, run.since(name), request, core) {
                Ok(Outcome::Ready(joined)) => run.joined(name, Ok(joined)),
                Ok(Outcome::Pending) => requests.push(request),
                // The connection will be closed.
                Ok(Outcome::Overloaded) => {}
                Err(error) => {
                    run.joined(name, Err(error));
                    continue;
                }
            }
            if let Some(channel) = self.channels.as_mut().and_then(|channels| channels.find(&identifier.json)) {
                channel.streams.push(encoding);
            }
        }
        requests
    }

    /// The reply to a request for a stream of a channel. Returns whether it was one.
    pub(super) fn on_stream_joined(
        &mut self,
        request: u64,
        reply: &SubscribeReply<'_>,
        core: &mut dyn Core,
    ) -> bool {
        let running = self.channels.as_mut().and_then(|channels| channels.running.as_mut());
        let Some(Running { step: Step::Joining(requests), kind }) = running else { return false };
        let Some(index) = requests.iter().position(|one| *one == request) else { return false };
        requests.swap_remove(index);
        kind.joined(reply.room, reply.result);
        self.finish_if_joined(core);
        true
    }

    /// Ends the command that runs, if all of its streams are joined.
    fn finish_if_joined(&mut self, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        let is_joined =
            |running: &mut Running| matches!(&running.step, Step::Joining(requests) if requests.is_empty());
        let Some(Running { kind, .. }) = channels.running.take_if(is_joined) else { return };
        if let Run::Subscribe { identifier, is_recovered, rejected, .. } = kind {
            self.finish_subscribe(&identifier, is_recovered, rejected, core);
        }
        self.run_next(core);
    }

    fn finish_subscribe(
        &mut self,
        identifier: &Name,
        is_recovered: Option<bool>,
        rejected: bool,
        core: &mut dyn Core,
    ) {
        let Some(channels) = &mut self.channels else { return };
        // A revocation may have ended it meanwhile.
        let Some(channel) = channels.find(&identifier.json) else { return };
        let missing = channel.streams.iter().find_map(|encoding| encoding.missing());
        if rejected {
            if let Some(channel) = channels.remove(&identifier.json) {
                self.leave_streams(&channel.streams, core);
            }
            core.send_text(&frame::reject_subscription(&identifier.json));
            return self.expect_subscription(core);
        }
        core.send_text(&frame::confirm_subscription(&identifier.json));
        match (is_recovered, missing) {
            (Some(true), _) if self.client.is_extended => core.send_text(&frame::confirm_history(&identifier.json)),
            // A refresh, or that the history is not there.
            (Some(false), Some(missing)) => core.send_text(&missing),
            _ => {}
        }
    }

    fn leave_streams(&self, streams: &[Arc<CableEncoding>], core: &mut dyn Core) {
        for encoding in streams {
            core.unsubscribe(self.site.id, encoding.stream(), &encoding.shared());
        }
    }

    /// A connection whose last subscription has ended is not kept for ever.
    fn expect_subscription(&mut self, core: &mut dyn Core) {
        let channels = self.channels.as_ref().filter(|channels| channels.list.is_empty());
        if channels.is_some() && self.subscriptions.is_empty() {
            self.subscribe_by = core.now() + self.site.settings.connect_timeout;
        }
    }

    /// The connection is not in a room any more: the application disconnects it, or has revoked the stream of a channel.
    pub(super) fn on_room_revoked(&mut self, room: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        let Some(channels) = &mut self.channels else { return Ok(()) };
        if let Some(Rooms { reconnect, stay_away }) = &channels.rooms
            && (room == reconnect || room == stay_away)
        {
            core.send_text(&frame::disconnect("remote", room == reconnect));
            self.ended = Some(CloseReason::Revoked);
            return Err(CloseReason::Revoked);
        }
        let is_in = |channel: &mut Channel| channel.streams.iter().any(|one| one.stream() == room);
        let revoked: Vec<Channel> = channels.list.extract_if(.., is_in).collect();
        channels.long_bytes -= revoked.iter().map(|channel| long_bytes(&channel.identifier.json)).sum::<usize>();
        for channel in revoked {
            self.leave_streams(&channel.streams, core);
            core.send_text(&frame::reject_subscription(&channel.identifier.json));
        }
        Ok(())
    }

    /// Notifies the application that the connection ends, if it wants to know.
    pub(super) fn disconnect_channels(&mut self, core: &mut dyn Core) {
        let Some(channels) = &mut self.channels else { return };
        // A command that runs may have subscribed already.
        let subscribing = match channels.running.take() {
            Some(Running { kind: Run::Subscribe { identifier, .. }, .. })
                if channels.find(&identifier.json).is_none() =>
            {
                Some(json!({"identifier": identifier.text, "state": null}))
            }
            _ => None,
        };
        let list = std::mem::take(&mut channels.list);
        channels.long_bytes = 0;
        let notified = list.iter().filter(|channel| channel.notifies).map(Channel::as_json);
        let subscriptions: Vec<Value> = notified.chain(subscribing).collect();
        if channels.connection.is_none() || (subscriptions.is_empty() && !channels.notifies) {
            return;
        }
        let _ = self.call_application("disconnect", &json!({"subscriptions": subscriptions}), core);
    }
}

/// The positions that a client names.
fn positions(history: History<'_>) -> Positions {
    history.streams.into_iter().map(|(stream, position)| (stream.as_ref().into(), position)).collect()
}

// === impl Channel ===

impl Channel {
    /// For the application.
    fn as_json(&self) -> Value {
        let streams: Vec<&str> = self.streams.iter().map(|one| one.stream()).collect();
        // It is the text of a JSON value, which came from the application.
        let state: Value = serde_json::from_str(&self.state).unwrap_or_default();
        json!({"identifier": self.identifier.text, "state": state, "streams": streams})
    }
}

// === impl Run ===

impl Run {
    fn name(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe { .. } => "subscribe",
            Self::Perform(_) => "perform",
            Self::Unsubscribe => "unsubscribe",
        }
    }

    /// What the client has of a stream.
    fn since(&self, stream: &str) -> Since {
        let Self::Subscribe { positions, stamp, .. } = self else { return Since::FirstJoin };
        match positions.iter().rev().find(|(name, _)| **name == *stream) {
            Some((_, Some(position))) => Since::Position(*position),
            Some((_, None)) => Since::Invalid,
            None => {
                let stamp = stamp.as_ref().filter(|stamp| stamp.stream == stream);
                stamp.map_or(Since::FirstJoin, |stamp| stamp.since)
            }
        }
    }

    /// Whether the messages of a stream are streams of Turbo: the page's tag names it.
    fn is_turbo(&self, stream: &str) -> bool {
        matches!(self, Self::Subscribe { stamp: Some(stamp), .. } if stamp.stream == stream)
    }

    /// A stream was joined, or cannot be.
    fn joined(&mut self, stream: &str, result: Result<Joined, JoinError>) {
        let has_position = self.since(stream) != Since::FirstJoin;
        match (self, result) {
            (Self::Subscribe { is_recovered, .. }, Ok(Joined { recovery })) if has_position => {
                let recovered = recovery.is_some_and(|recovery| recovery.recovered);
                *is_recovered = Some(is_recovered.unwrap_or(true) && recovered);
            }
            (run, Err(_)) => run.fail(),
            _ => {}
        }
    }

    /// A stream cannot be joined.
    fn fail(&mut self) {
        if let Self::Subscribe { rejected, .. } = self {
            *rejected = true;
        }
    }
}
