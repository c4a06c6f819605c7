//! The protocol `action_cable`: for the stock clients of Action Cable and Turbo, and those of AnyCable.
//!
//! The room of a subscription is its stream. Which stream an identifier names, and whether the client may subscribe to
//! it, is decided in [`streams`]: the application has signed the name. Its frames and commands are those of
//! [`nodevent_protocol::action_cable`], and `protocol/README.md` section 17 says what is added to them.
//!
//! Commands of one connection run in their order, and what a subscription has missed precedes its confirmation. Pings do not
//! wait behind messages, because for old clients they are the only sign of life.
//!
//! Channels in Ruby belong to the application, which `channels` asks. Without one, [`streams::Streams::find`] rejects them.

mod channel_reply;
mod channels;
mod cursors;
mod encoding;
mod endpoint;
mod event_source;
mod extended;
mod held;
mod sessions;
mod streams;
mod subscriptions;

use super::Mount;
use crate::cable::{CURSOR_RENEWAL, CableQuery, CableWrite};
use crate::calls::CallResult;
use crate::clock::now_ms;
use crate::close_reason::CloseReason;
use crate::encoding::Encoding;
use crate::history::{RequestId, Since};
use crate::http::Endpoint;
use crate::identity::Identity;
use crate::identity_provider::Identify;
use crate::namespace::Namespaces;
use crate::outcome::Outcome;
use crate::presence::PresenceResult;
use crate::protocol::{
    Core, IdentifyReply, JoinError, Joined, Message, Millis, NEVER, Protocol, Subscribe, SubscribeReply,
};
use crate::token::TokenError;
use channels::Channels;
use cursors::Cursor;
use encoding::{CableEncoding, Encodings};
use endpoint::CableEndpoint;
use event_source::EventEncoding;
use extended::{Extended, OwnedEntry, since_of};
use held::Held;
use nodevent_protocol::action_cable::command::{Command, Entry, History, Identifier};
use nodevent_protocol::action_cable::frame;
use nodevent_protocol::action_cable::identifier::{self, Requested};
use nodevent_protocol::action_cable::stored::CableKey;
use std::fmt;
use std::sync::Arc;
use streams::{Found, Streams};
use subscriptions::{Confirmation, Expects, Subscription, Subscriptions};

/// The name of the protocol in the configuration.
const NAME: &str = "action_cable";
/// The interval at which a page confirms what has arrived, if something was sent. Milliseconds.
const CONFIRM_INTERVAL: Millis = 1_000;

/// State that all connections of one namespace share.
#[derive(Debug)]
struct Site {
    id: u16,
    namespaces: Arc<Namespaces>,
    streams: Streams,
    encodings: Arc<Encodings>,
    /// The encoding of Server-Sent Events.
    events: Arc<dyn Encoding>,
    /// Whether the application has channels in Ruby, and decides who connects.
    has_channels: bool,
    settings: Settings,
}

/// The limits and intervals of connections.
#[derive(Debug, Clone)]
struct Settings {
    /// The interval of pings, if the client asks for no other.
    ping_interval: Millis,
    /// The interval of pings of the WebSocket layer, and the time for their pongs.
    probe_interval: Millis,
    probe_timeout: Millis,
    /// From the opening of a connection to its first subscription. Milliseconds.
    connect_timeout: Millis,
    /// The longest identifier. Bytes.
    max_identifier: usize,
    max_pending_commands: usize,
    max_message_size: usize,
    /// Whether clients of the extended protocol may whisper.
    has_whispers: bool,
    /// The subscriptions to channels in Ruby of one connection, which need not have a stream.
    max_channels: usize,
}

/// What is known of a client from its handshake.
#[derive(Debug, Clone, Copy)]
struct Client {
    /// Whether it repeats a subscription until it is confirmed, as those of Rails do.
    repeats: bool,
    /// Whether it follows positions.
    is_extended: bool,
    /// Whether it is the application itself, which may subscribe to every stream by its name.
    is_application: bool,
    /// The interval of its pings. Milliseconds.
    ping_interval: Millis,
    /// The unit of the times in its pings.
    ping_unit: Unit,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Unit {
    #[default]
    Seconds,
    Milliseconds,
    Nanoseconds,
}

/// One connection, in one namespace.
struct ActionCable {
    site: Arc<Site>,
    client: Client,
    /// The token that came as a subprotocol, until it is presented.
    token: Option<Box<str>>,
    /// What arrived before it is decided who the connection is. `None`: that is decided.
    held: Option<Box<Held>>,
    subscriptions: Subscriptions,
    /// Those of channels in Ruby. `None`: the application has none.
    channels: Option<Box<Channels>>,
    ping_at: Millis,
    probe: Probe,
    /// When the connection must have a subscription.
    subscribe_by: Millis,
    /// Distinguishes the connection from others of its page.
    holder: u64,
    /// When it is seen whether something was sent to its page that is not confirmed.
    confirm_at: Millis,
    /// What only clients of the extended protocol have.
    extended: Option<Box<Extended>>,
    /// Why the connection is about to be closed. Its disconnect frame was sent.
    ended: Option<CloseReason>,
}

/// Pings of the WebSocket layer, which clients answer by themselves.
#[derive(Debug, Clone, Copy)]
enum Probe {
    /// The next ping is due.
    PingAt(Millis),
    /// A pong must arrive.
    PongBy(Millis),
}

/// Mounts the protocol for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let limits = &mount.config.limits;
    let site = |id: u16| {
        let config = &mount.config.namespaces[usize::from(id)];
        let cable = config.action_cable.clone().unwrap_or_default();
        let settings = Settings {
            // The configuration may have a part of a millisecond.
            ping_interval: (cable.ping_interval.as_millis() as Millis).max(1),
            probe_interval: limits.ping_interval.as_millis() as Millis,
            probe_timeout: limits.ping_timeout.as_millis() as Millis,
            connect_timeout: limits.connect_timeout.as_millis() as Millis,
            max_identifier: limits.max_identifier,
            max_pending_commands: limits.max_pending_commands,
            max_message_size: limits.max_message_size,
            has_whispers: cable.has_whispers,
            max_channels: limits.max_rooms_per_connection,
        };
        let site = Site {
            id,
            namespaces: Arc::clone(mount.namespaces),
            streams: Streams::new(&cable, mount.namespaces.get(id).limits.max_name_bytes),
            encodings: Arc::new(Encodings::new(cable.refreshes, mount.namespaces.get(id).refreshes.is_some())),
            events: Arc::new(EventEncoding::new(cable.refreshes)),
            has_channels: config.calls.as_ref().is_some_and(|calls| calls.handlers.is_some()),
            settings,
        };
        (cable.path, Arc::new(site))
    };
    let sites: Vec<_> = mount.namespaces_with(NAME).map(site).collect();
    (!sites.is_empty()).then(|| Arc::new(CableEndpoint::new(sites)) as Arc<dyn Endpoint>)
}

// === impl Site ===

impl Site {
    /// Whether pages load again if messages are missing.
    fn refreshes(&self) -> bool {
        self.encodings.refreshes()
    }
}

// === impl Unit ===

impl Unit {
    /// The time, in this unit.
    fn of(self, now_ms: u64) -> u128 {
        match self {
            Self::Seconds => u128::from(now_ms / 1000),
            Self::Milliseconds => u128::from(now_ms),
            Self::Nanoseconds => u128::from(now_ms) * 1_000_000,
        }
    }
}

// === impl ActionCable ===

impl ActionCable {
    fn new(
        site: Arc<Site>,
        client: Client,
        token: Option<Box<str>>,
        query: Option<Box<str>>,
        restores: Option<Box<str>>,
    ) -> Self {
        let channels = (site.has_channels && !client.is_application).then(|| Box::new(Channels::new(query)));
        Self {
            site,
            client,
            token,
            held: None,
            subscriptions: Subscriptions::default(),
            channels,
            ping_at: NEVER,
            probe: Probe::PingAt(NEVER),
            subscribe_by: NEVER,
            holder: rand::random(),
            confirm_at: NEVER,
            extended: client.is_extended.then(|| Box::new(Extended::new(restores))),
            ended: None,
        }
    }

    /// Decides who the connection is. Until then, what it sends is held.
    fn identify(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        let id = self.site.id;
        if self.client.is_application {
            return self.enter(core);
        }
        // A namespace without tokens ignores it.
        let token = self.token.take().filter(|_| self.site.namespaces.get(id).tokens.is_some());
        let token = core.take_request_token(id).or(token);
        let namespace = self.site.namespaces.get(id);
        if token.is_none() && namespace.provider.get().is_none() {
            let is_required = namespace.tokens.as_ref().is_some_and(|tokens| tokens.settings().is_required);
            return self.on_identified(if is_required { Err(TokenError::Missing) } else { Ok(None) }, core);
        }
        let request = RequestId::UNREQUESTED;
        match core.identify(Identify { namespace: id, token: token.as_deref(), query: &[], request }) {
            Ok(Outcome::Pending) => {
                self.held = Some(Box::default());
                Ok(())
            }
            Ok(Outcome::Ready(identity)) => self.on_identified(Ok(identity), core),
            Ok(Outcome::Overloaded) => self.on_identified(Err(TokenError::ApplicationUnavailable), core),
            Err(error) => self.on_identified(Err(error), core),
        }
    }

    /// It was decided who the connection is.
    fn on_identified(
        &mut self,
        result: Result<Option<Arc<Identity>>, TokenError>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        if let Err(error) = result {
            let (reason, reconnect, close) = match error {
                TokenError::Expired => ("token_expired", false, CloseReason::TokenExpired),
                // It did not say no.
                TokenError::ApplicationUnavailable => ("unavailable", true, CloseReason::Unauthorized),
                _ => ("unauthorized", false, CloseReason::Unauthorized),
            };
            core.send_text(&frame::disconnect(reason, reconnect));
            return Err(close);
        }
        match self.channels {
            Some(_) => self.connect_channels(core),
            None => self.enter(core),
        }
    }

    fn on_text(&mut self, text: &str, core: &mut dyn Core) -> Result<(), CloseReason> {
        if let Some(held) = &mut self.held {
            let Settings { max_pending_commands, max_message_size, .. } = self.site.settings;
            return match held.add(text, max_pending_commands, max_message_size) {
                true => Ok(()),
                false => Err(CloseReason::TooManyPendingJoins),
            };
        }
        match Command::parse(text) {
            Ok(command) if self.is_for_channel(&command) => return self.queue_command(command, core),
            Ok(Command::Subscribe(identifier, history, entry)) => {
                self.subscribe(&identifier, history.as_ref(), entry.as_ref(), core);
            }
            Ok(Command::Unsubscribe(identifier)) => self.unsubscribe(&identifier, core),
            Ok(Command::History(identifier, history)) if self.client.is_extended => {
                self.history(&identifier, &history, core);
            }
            Ok(Command::Whisper(identifier, data)) if self.client.is_extended => {
                self.whisper(&identifier, data, core);
            }
            Ok(Command::Join(identifier, entry)) if self.client.is_extended => {
                self.enter_stream(&identifier, &entry, core);
            }
            Ok(Command::Leave(identifier)) if self.client.is_extended => self.leave_stream(&identifier, core),
            Ok(Command::Presence(identifier, has_records)) if self.client.is_extended => {
                self.list(&identifier, has_records, core);
            }
            Ok(Command::Ping) if self.client.is_extended => core.send_text(frame::PONG),
            Ok(Command::Pong) if self.client.is_extended => {}
            // The streams that the server decides about have no actions.
            Ok(Command::Message(..)) => {}
            Ok(
                Command::History(..)
                | Command::Whisper(..)
                | Command::Join(..)
                | Command::Leave(_)
                | Command::Presence(..)
                | Command::Ping
                | Command::Pong,
            )
            | Err(_) => core.count_ignored_command(),
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        identifier: &Identifier<'_>,
        history: Option<&History<'_>>,
        entry: Option<&Entry<'_>>,
        core: &mut dyn Core,
    ) {
        let history = history.filter(|_| self.client.is_extended);
        if let Some(subscription) = self.subscriptions.find(&identifier.json) {
            if subscription.restored_by().is_some() {
                return self.history(identifier, history.unwrap_or(&History::default()), core);
            }
            // Until it is confirmed, the repeated command is merged into the first one.
            if subscription.is_confirmed() && self.client.repeats {
                core.send_text(&frame::confirm_subscription(&identifier.json));
            }
            return;
        }
        let found = match self.find_stream(identifier) {
            Ok(found) => found,
            Err(error) => {
                core.reject_join(self.site.id, error);
                return core.send_text(&frame::reject_subscription(&identifier.json));
            }
        };
        let (encoding, request) = (self.encoding(identifier, &found), self.subscriptions.next_request());
        let entry = entry.filter(|_| self.client.is_extended).map(|entry| Box::new(OwnedEntry::of(entry)));
        let Some(page) = found.page.as_ref().filter(|_| history.is_none()) else {
            let since = match history {
                // A position of the client's own is newer than that of its page's tag, and that is more exact than a time.
                Some(history) if found.since == Since::FirstJoin || history.of(&found.stream).is_some() => {
                    since_of(history, &found.stream)
                }
                _ => found.since,
            };
            let mut subscription = Subscription::waiting(encoding, request, since != Since::FirstJoin);
            subscription.entry = entry;
            self.subscriptions.add(subscription);
            return self.join_pending(request, since, Expects::Subscription, core);
        };
        if self.subscriptions.reading() >= self.site.settings.max_pending_commands {
            // The client repeats the command.
            return;
        }
        let text = identifier.text.as_deref().unwrap_or_default();
        let key = CableKey::cursor(&self.user(core), page, &found.stream, text);
        let mut subscription = Subscription::reading(encoding, request, found.since);
        (subscription.cursor, subscription.entry) = (Some(Box::new(Cursor::new(key))), entry);
        self.subscriptions.add(subscription);
        match core.read_cable(self.site.id, CableQuery::Cursor { key, holder: self.holder }, request) {
            Outcome::Ready(cursor) => self.on_cursor_read(request, cursor.as_deref(), core),
            Outcome::Pending => {}
            // It may receive again what it has.
            Outcome::Overloaded => self.on_cursor_read(request, None, core),
        }
    }

    /// The encoding of a subscription.
    fn encoding(&self, identifier: &Identifier<'_>, found: &Found) -> Arc<CableEncoding> {
        let Site { encodings, .. } = &*self.site;
        encodings.get(&identifier.json, &found.stream, found.is_turbo, self.client.is_extended)
    }

    /// The cursor of a subscription was read.
    fn on_cursor_read(&mut self, request: u64, found: Option<&str>, core: &mut dyn Core) {
        if let Some(since) = self.subscriptions.take_reading(request) {
            self.join_pending(request, cursors::continued(found, since), Expects::Subscription, core);
        }
    }

    /// Joins the stream of a subscription.
    fn join_pending(&mut self, request: u64, since: Since, expects: Expects, core: &mut dyn Core) {
        let confirmation = Confirmation { has_position: since != Since::FirstJoin, expects };
        let Some(encoding) = self.subscriptions.join(request, confirmation) else { return };
        match self.join(&encoding.shared(), encoding.stream(), since, request, core) {
            Ok(Outcome::Ready(joined)) => self.on_joined(request, joined, core),
            // With `Overloaded` the connection will be closed.
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => {
                self.subscriptions.remove(encoding.identifier());
                // Beyond that rate, the client repeats the command, unless it knows that it is subscribed.
                if error != JoinError::TooManyJoins || expects != Expects::Subscription {
                    core.send_text(&frame::reject_subscription(encoding.identifier()));
                }
            }
        }
    }

    /// A subscription is complete, and what it had missed has been sent.
    fn on_joined(&mut self, request: u64, joined: Joined, core: &mut dyn Core) {
        // Of a subscription that was ended meanwhile there is nothing to say.
        let Some(confirmation) = self.subscriptions.confirm(request) else { return };
        self.subscribe_by = NEVER;
        let namespace = self.site.id;
        let Some(subscription) = self.subscriptions.made_by_mut(request) else { return };
        confirm(subscription, joined, confirmation, core);
        let encoding = Arc::clone(subscription.encoding());
        if let Some(cursor) = &mut subscription.cursor {
            let position = joined.recovery.and_then(|recovery| recovery.position);
            cursor.joined(position, core.sent(namespace, encoding.stream(), &encoding.shared()));
            self.confirm_at = self.confirm_at.min(core.now() + CONFIRM_INTERVAL);
            self.ping_new(core);
        }
        let entry = self.subscriptions.made_by_mut(request).and_then(|subscription| subscription.entry.take());
        if let Some(entry) = entry {
            self.enter_as(encoding.identifier(), encoding.stream(), &entry, core);
        }
    }

    /// Pings after what subscriptions had missed, so that the pong confirms it.
    fn ping_new(&mut self, core: &mut dyn Core) {
        let Probe::PingAt(_) = self.probe else { return };
        let mut is_due = false;
        for (_, cursor) in self.subscriptions.of_pages().filter(|(_, cursor)| cursor.is_new()) {
            // What is sent live follows the join, and may not have been sent to this connection.
            cursor.ping(None);
            is_due = true;
        }
        if is_due {
            self.probe = Probe::PongBy(core.now() + self.site.settings.probe_timeout);
            core.ping();
        }
    }

    /// Pings, so that the pong confirms what was sent to the page.
    fn ping(&mut self, core: &mut dyn Core) {
        let namespace = self.site.id;
        for (encoding, cursor) in self.subscriptions.of_pages() {
            cursor.ping(core.sent(namespace, encoding.stream(), &encoding.shared()));
        }
        self.probe = Probe::PongBy(core.now() + self.site.settings.probe_timeout);
        core.ping();
    }

    /// Pings if something was sent to the page that is not confirmed, or must be stored again.
    fn confirm_sent(&mut self, core: &mut dyn Core) {
        let (namespace, now) = (self.site.id, core.now());
        let (mut has_pages, mut is_due) = (false, false);
        for (encoding, cursor) in self.subscriptions.of_pages() {
            has_pages = true;
            is_due |= cursor.needs_ping(core.sent(namespace, encoding.stream(), &encoding.shared()), now);
        }
        self.confirm_at = if has_pages { now + CONFIRM_INTERVAL } else { NEVER };
        if is_due && matches!(self.probe, Probe::PingAt(_)) {
            self.ping(core);
        }
    }

    /// A pong arrived: so has what was sent before its ping.
    fn on_pong(&mut self, core: &mut dyn Core) {
        let Probe::PongBy(_) = self.probe else { return };
        let (namespace, now, holder) = (self.site.id, core.now(), self.holder);
        self.probe = Probe::PingAt(now + self.site.settings.probe_interval);
        for (encoding, cursor) in self.subscriptions.of_pages() {
            if let Some(position) = cursor.pong(now, CURSOR_RENEWAL.as_millis() as Millis) {
                let (key, stream) = (cursor.key, encoding.stream().into());
                core.write_cable(namespace, CableWrite::Cursor { key, holder, stream, position });
            }
        }
        self.ping_new(core);
    }

    /// The stream that an identifier names.
    fn find_stream(&self, identifier: &Identifier<'_>) -> Result<Found, JoinError> {
        let text = identifier.text.as_deref().ok_or(JoinError::BadRoom)?;
        if text.len() > self.site.settings.max_identifier {
            return Err(JoinError::BadRoom);
        }
        if self.client.is_application
            && let Some(Requested::Public(stream)) = identifier::parse(text)
        {
            return self.site.streams.check(stream.into_owned());
        }
        self.site.streams.find(text, now_ms())
    }

    fn join(
        &self,
        encoding: &Arc<dyn Encoding>,
        stream: &str,
        since: Since,
        request: u64,
        core: &mut dyn Core,
    ) -> Result<Outcome<Joined>, JoinError> {
        let credential = self.site.namespaces.get(self.site.id).dialect_joins.credential();
        core.subscribe(Subscribe {
            namespace: self.site.id,
            room: stream,
            credential: Some(&credential),
            kept: None,
            since,
            encoding,
            request: Some(request).into(),
        })
    }

    fn unsubscribe(&mut self, identifier: &Identifier<'_>, core: &mut dyn Core) {
        let Some(subscription) = self.subscriptions.remove(&identifier.json) else { return };
        let encoding = subscription.encoding().shared();
        core.unsubscribe(self.site.id, subscription.encoding().stream(), &encoding);
    }
}

/// Confirms a subscription. What it had missed has been sent.
fn confirm(subscription: &Subscription, joined: Joined, confirmation: Confirmation, core: &mut dyn Core) {
    let encoding = subscription.encoding();
    let Confirmation { has_position, expects } = confirmation;
    match expects {
        Expects::Subscription => core.send_text(&frame::confirm_subscription(encoding.identifier())),
        // Without a position or a time nothing can be missing that the server knows of.
        Expects::History if !has_position => core.send_text(&frame::confirm_history(encoding.identifier())),
        Expects::History | Expects::Nothing => {}
    }
    if !has_position {
        return;
    }
    if encoding.is_extended() {
        core.send_text(&history_result(encoding.identifier(), joined));
    } else if !joined.recovery.is_some_and(|recovery| recovery.recovered)
        && let Some(text) = encoding.missing()
    {
        core.send_text(&text);
    }
}

fn history_result(identifier: &str, joined: Joined) -> String {
    match joined.recovery {
        Some(recovery) if recovery.recovered => frame::confirm_history(identifier),
        _ => frame::reject_history(identifier),
    }
}

impl fmt::Debug for ActionCable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        f.debug_struct("ActionCable").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Protocol for ActionCable {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.probe = Probe::PingAt(core.now() + self.site.settings.probe_interval);
        self.identify(core)
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match message {
            Message::Text(text) => self.on_text(text, core),
            Message::Pong => {
                self.on_pong(core);
                Ok(())
            }
            Message::Binary(_) => {
                core.count_ignored_command();
                Ok(())
            }
            Message::Body(_) => Err(CloseReason::Malformed),
        }
    }

    fn arriving(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.bytes());
        held + self.channels.as_ref().map_or(0, |one| one.bytes()) + self.subscriptions.long_bytes()
    }

    fn deadline(&self) -> Millis {
        if self.ended.is_some() {
            return 0;
        }
        let (Probe::PingAt(at) | Probe::PongBy(at)) = self.probe;
        at.min(self.ping_at).min(self.subscribe_by).min(self.confirm_at).min(self.join_restored_at())
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if let Some(reason) = self.ended {
            return Err(reason);
        }
        let now = core.now();
        if now >= self.subscribe_by {
            return Err(CloseReason::ConnectTimeout);
        }
        match self.probe {
            Probe::PongBy(by) if now >= by => return Err(CloseReason::PingTimeout),
            Probe::PingAt(at) if now >= at => self.ping(core),
            Probe::PongBy(_) | Probe::PingAt(_) => {}
        }
        if now >= self.confirm_at {
            self.confirm_sent(core);
        }
        if now >= self.join_restored_at() {
            self.join_restored(core);
        }
        if now >= self.ping_at {
            self.ping_at = now + self.client.ping_interval;
            core.send_text_first(&frame::ping(self.client.ping_unit.of(now_ms())));
        }
        Ok(())
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        let Some(request) = reply.request.number else { return };
        if let Some(identifier) = self.subscriptions.take_history(request) {
            let text = match reply.result {
                Ok(joined) => history_result(&identifier, joined),
                Err(_) => frame::reject_history(&identifier),
            };
            return core.send_text(&text);
        }
        if self.on_stream_joined(request, &reply, core) {
            return;
        }
        match reply.result {
            Ok(joined) => self.on_joined(request, joined, core),
            Err(_) => {
                let Some(subscription) = self.subscriptions.made_by(request) else { return };
                let identifier = subscription.encoding().identifier().to_owned();
                self.subscriptions.remove(&identifier);
                core.send_text(&frame::reject_subscription(&identifier));
            }
        }
    }

    fn presence_listed(
        &mut self,
        _namespace: u16,
        request: RequestId,
        result: &PresenceResult,
        core: &mut dyn Core,
    ) {
        self.on_listed(request.number, result, core);
    }

    fn cable_read(
        &mut self,
        _namespace: u16,
        number: u64,
        found: Option<Box<str>>,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        if number == sessions::REQUEST {
            return self.welcome(found.as_deref(), core);
        }
        self.on_cursor_read(number, found.as_deref(), core);
        Ok(())
    }

    fn identified(&mut self, reply: IdentifyReply, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.on_identified(reply.result.map(Some), core)
    }

    fn revoked(&mut self, _namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        let Some(room) = room else { return Ok(()) };
        self.on_room_revoked(room, core)?;
        for subscription in self.subscriptions.remove_stream(room) {
            core.send_text(&frame::reject_subscription(subscription.encoding().identifier()));
        }
        Ok(())
    }

    fn passes_responses_on(&self) -> bool {
        false
    }

    fn called(&mut self, _namespace: u16, number: u64, result: &CallResult, core: &mut dyn Core) {
        self.on_command_called(number, result, core);
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        self.leave_session(reason, core);
        self.disconnect_channels(core);
        if self.ended.is_some() {
            return;
        }
        let (reason, reconnect) = match reason {
            CloseReason::Draining => ("server_restart", true),
            CloseReason::ConnectTimeout => ("idle_timeout", false),
            CloseReason::PingTimeout => ("no_pong", true),
            CloseReason::Revoked => ("remote", false),
            CloseReason::WrongKeys => ("unauthorized", false),
            // Sent already if the token had expired before the connection was opened.
            CloseReason::TokenExpired if self.ping_at != NEVER => ("token_expired", false),
            _ => return,
        };
        core.send_text(&frame::disconnect(reason, reconnect));
    }
}
