//! Connection state recovery of Socket.IO, for clients of version 4.6 and newer: who presents a state, and what is
//! restored of it.
//!
//! A client receives a `pid` with its connect packet, and an offset as the last argument of every event. After a
//! reconnect it sends both. If the offset is a state that no connection has used, the topics of that state are joined
//! again, each by its own authorizer, and what was missed in them is sent. The connect packet follows, because only
//! then it is known whether anything is missing: it has the same `pid` if not, and a new one otherwise. Clients keep
//! the events before it until it is there.
//!
//! # Source
//! `socket.io-client` 4.6 (`socket.ts`).

use super::SocketIo;
use super::connect_request::ConnectRequest;
use crate::close_reason::CloseReason;
use crate::connection_state::{Settings, State, new_pid};
use crate::history::Since;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::{Core, JoinError, Joined, Millis, NEVER};
use crate::protocols::engine_io::Version;
use crate::protocols::socket_io::arguments::Argument;
use nodevent_protocol::topic::{self, Topic};
use std::sync::Arc;

/// The event that has an offset only: if the topics have changed without an event, and for connections that receive
/// none.
const OFFSET: &str = "nodevent:offset";

/// What a connection has of it. A connection that cannot be restored uses no heap.
#[derive(Debug, Default)]
pub(super) struct Recovery(Option<Box<Parts>>);

#[derive(Debug)]
struct Parts {
    /// The namespaces whose events have offsets.
    namespaces: Vec<u16>,
    /// The namespaces that are being restored.
    restores: Vec<Restore>,
    /// When the client receives new offsets at the latest.
    refresh_at: Millis,
    refresh: Millis,
}

/// A connection that is being restored in one namespace.
#[derive(Debug)]
pub(super) struct Restore {
    namespace: u16,
    pid: String,
    state: State,
    /// What a new connection has sent to enter the namespace. It has no state, and its client receives nothing before
    /// the connect packet. `None`: it continues an earlier one.
    new: Option<ConnectRequest>,
    /// The topics that were joined, or were not.
    seen: Vec<Box<str>>,
    /// The topics whose joins are pending.
    pending: Vec<Box<str>>,
    is_complete: bool,
}

/// What a client presents.
pub(super) struct Presented {
    pub(super) pid: String,
    pub(super) state: State,
}

/// The id of the page to which the application may have subscribed the client.
fn connection_id(auth: &str) -> Option<String> {
    Argument::of_value(auth).field("socket_connection_id").text().map(|id| id.into_owned())
}

/// Adds an offset to the text of a JSON array, as its last element. `None`: it is not one.
pub(super) fn with_offset(args: &str, offset: &str) -> Option<String> {
    Some(format!("{},\"{offset}\"]", args.strip_suffix(']')?))
}

// === impl Recovery ===

impl Recovery {
    /// The events of a namespace have offsets from now on.
    pub(super) fn add(&mut self, namespace: u16, settings: &Settings, now: Millis) {
        let refresh = settings.refresh().as_millis() as Millis;
        let parts = self.0.get_or_insert_with(|| {
            Box::new(Parts { namespaces: Vec::new(), restores: Vec::new(), refresh_at: NEVER, refresh: NEVER })
        });
        parts.namespaces.retain(|one| *one != namespace);
        parts.namespaces.push(namespace);
        parts.refresh = parts.refresh.min(refresh);
        parts.refresh_at = parts.refresh_at.min(now.saturating_add(parts.refresh));
    }

    /// The client has left a namespace. Returns whether its events had offsets.
    pub(super) fn remove(&mut self, namespace: u16) -> bool {
        let Some(parts) = &mut self.0 else { return false };
        let before = parts.namespaces.len();
        parts.namespaces.retain(|one| *one != namespace);
        parts.restores.retain(|one| one.namespace != namespace);
        let was_in = before != parts.namespaces.len();
        if parts.namespaces.is_empty() {
            self.0 = None;
        }
        was_in
    }

    /// When [`SocketIo::refresh_offsets`] is due.
    pub(super) fn refresh_at(&self) -> Millis {
        self.0.as_ref().map_or(NEVER, |parts| parts.refresh_at)
    }

    /// Removes the restore of a namespace.
    fn take(&mut self, namespace: u16) -> Option<Restore> {
        let restores = &mut self.0.as_mut()?.restores;
        let index = restores.iter().position(|one| one.namespace == namespace)?;
        Some(restores.swap_remove(index))
    }

    fn put(&mut self, restore: Restore) {
        if let Some(parts) = &mut self.0 {
            parts.restores.push(restore);
        }
    }

    /// What clients have sent to enter namespaces and wait for. Bytes.
    pub(super) fn bytes(&self) -> usize {
        let restores = self.0.iter().flat_map(|parts| &parts.restores);
        restores.filter_map(|one| one.new.as_ref()).map(ConnectRequest::size).sum()
    }

    fn is_restoring(&self, namespace: u16) -> bool {
        self.0.iter().flat_map(|parts| &parts.restores).any(|one| one.namespace == namespace)
    }
}

// === impl Restore ===

impl Restore {
    fn of(namespace: u16, pid: String, state: State) -> Self {
        Self { namespace, pid, state, new: None, seen: Vec::new(), pending: Vec::new(), is_complete: true }
    }

    /// The position up to which the connection has received a topic.
    pub(super) fn since(&self, topic: &str) -> Since {
        let position = self.state.topic(topic).and_then(|topic| topic.position);
        position.map_or(Since::FirstJoin, Since::Position)
    }

    /// Records the outcome of a join.
    pub(super) fn on_outcome(&mut self, topic: &str, outcome: &Result<Outcome<Joined>, JoinError>) {
        self.seen.push(topic.into());
        match outcome {
            Ok(Outcome::Ready(joined)) => self.on_joined(topic, Ok(*joined)),
            Ok(Outcome::Pending) => self.pending.push(topic.into()),
            Ok(Outcome::Overloaded) => self.is_complete = false,
            Err(error) => self.on_joined(topic, Err(*error)),
        }
    }

    /// Nothing is missing if every topic of the state has a history that has everything.
    fn on_joined(&mut self, topic: &str, result: Result<Joined, JoinError>) {
        let recovered = result.ok().and_then(|joined| joined.recovery);
        let is_complete = recovered.is_some_and(|recovery| recovery.recovered && recovery.position.is_some());
        self.is_complete &= is_complete || self.state.topic(topic).is_none();
    }

    /// Whether a topic was joined, or was not.
    pub(super) fn was_joined(&self, topic: &str) -> bool {
        self.seen.iter().any(|one| **one == *topic)
    }

    /// A topic that nothing has joined is missing.
    pub(super) fn settle(&mut self, topic: &str) {
        self.is_complete &= self.was_joined(topic);
    }

    /// The join of a topic is not pending any more. Returns whether it was.
    fn end_pending(&mut self, topic: &str) -> bool {
        let index = self.pending.iter().position(|one| **one == *topic);
        index.map(|index| self.pending.swap_remove(index)).is_some()
    }
}

// === impl SocketIo ===

impl SocketIo {
    /// How connections of a namespace are restored, if this client can be.
    fn recovery_settings<'a>(
        &self,
        namespace: &'a Namespace,
        request: &ConnectRequest,
        core: &mut dyn Core,
    ) -> Option<&'a Arc<Settings>> {
        // A client that names its page follows positions by itself, or the application has subscribed it.
        let settings = namespace.connection_state.as_ref().filter(|_| self.version == Version::V4)?;
        let names_page = |auth: &str| super::page_of(auth).is_some() || connection_id(auth).is_some();
        (!request.auth().is_some_and(names_page) && core.may_track()).then_some(settings)
    }

    /// What the client presents, if it is a valid state of the same user.
    fn presented(&self, namespace: u16, request: &ConnectRequest, core: &mut dyn Core) -> Option<Presented> {
        let config = self.settings.namespaces.get(namespace);
        let settings = self.recovery_settings(config, request, core)?;
        let [pid, offset] = Argument::of_value(request.auth()?).fields(["pid", "offset"]);
        let (pid, offset) = (pid.text()?, offset.text()?);
        let state = settings.open(&config.name, &pid, &offset)?;
        let identity = core.identity(namespace);
        let is_same_user = state.user == identity.as_ref().map_or("", |identity| &*identity.user);
        is_same_user.then(|| Presented { pid: pid.into_owned(), state })
    }

    /// Admits a client whose identity is decided: as the continuation of an earlier connection, or as a new one.
    ///
    /// # Errors
    /// The reason to close the connection: whether the state was used cannot be found out now. The client comes back.
    pub(super) fn enter(
        &mut self,
        namespace: u16,
        request: ConnectRequest,
        core: &mut dyn Core,
    ) -> Result<(), CloseReason> {
        let Some(presented) = self.presented(namespace, &request, core) else {
            self.admit(namespace, &request, core);
            return Ok(());
        };
        match core.claim(namespace, &presented.state) {
            Outcome::Ready(true) => self.restore(namespace, &request, presented, core),
            Outcome::Ready(false) => self.admit(namespace, &request, core),
            Outcome::Pending => {
                // What follows is accepted, and held.
                self.session.admitted(namespace);
                self.held.start(namespace, request);
            }
            Outcome::Overloaded => return Err(CloseReason::TooManyPendingJoins),
        }
        Ok(())
    }

    /// A claim is decided, and the namespace does not hold packets any more.
    pub(super) fn enter_claimed(
        &mut self,
        namespace: u16,
        request: &ConnectRequest,
        is_first: bool,
        core: &mut dyn Core,
    ) {
        match self.presented(namespace, request, core).filter(|_| is_first) {
            Some(presented) => self.restore(namespace, request, presented, core),
            None => self.admit(namespace, request, core),
        }
    }

    /// Starts the offsets of a new connection. It is admitted as soon as the position of what is published to all
    /// connections is known. Returns `false` if it cannot be restored.
    pub(super) fn start_offsets(&mut self, namespace: u16, request: &ConnectRequest, core: &mut dyn Core) -> bool {
        let pid = new_pid();
        if !self.track(namespace, request, &pid, core) {
            return false;
        }
        let new = Some(request.clone());
        self.recovery.put(Restore { new, ..Restore::of(namespace, pid, State::default()) });
        self.in_restore(namespace, core, |_, operations| operations.rejoin_all());
        self.end_restore(namespace, core);
        true
    }

    /// From now on the client's events have offsets with this `pid`. Returns `false` if it cannot be restored.
    fn track(&mut self, namespace: u16, request: &ConnectRequest, pid: &str, core: &mut dyn Core) -> bool {
        let settings = Arc::clone(&self.settings);
        let config = settings.namespaces.get(namespace);
        let Some(recovery) = self.recovery_settings(config, request, core) else { return false };
        let Some(sealer) = recovery.sealer(&config.name, pid) else { return false };
        self.session.admitted(namespace);
        core.connected(namespace);
        self.connect_by = NEVER;
        core.track(namespace, sealer);
        self.recovery.add(namespace, recovery, core.now());
        true
    }

    /// Restores a connection from its state.
    fn restore(&mut self, namespace: u16, request: &ConnectRequest, presented: Presented, core: &mut dyn Core) {
        let Presented { pid, state } = presented;
        if !self.track(namespace, request, &pid, core) {
            return self.admit(namespace, request, core);
        }
        core.remember(namespace, &state);
        let mut topics: Vec<(String, Option<String>)> =
            state.topics.iter().map(|topic| (topic.name.clone(), topic.credential.clone())).collect();
        self.recovery.put(Restore::of(namespace, pid, state));
        // As at every connect, but from the positions of the state.
        self.in_restore(namespace, core, |dialect, operations| {
            dialect.connected(operations, request);
            if operations.has_user() {
                operations.rejoin_user();
            }
        });
        // A connection receives the copy for its user rather than that for a room, and that for all last.
        let rank = |name: &str| match Topic::parse(name) {
            Topic::User(_) => 0,
            Topic::Room(_) => 1,
            Topic::All => 2,
        };
        topics.sort_by_key(|(name, _)| rank(name));
        if !topics.iter().any(|(name, _)| name == topic::ALL) {
            topics.push((topic::ALL.to_owned(), None));
        }
        for (name, kept) in &topics {
            self.in_restore(namespace, core, |dialect, operations| {
                if operations.was_joined(name) {
                    return;
                }
                match Topic::parse(name) {
                    Topic::All => operations.rejoin_all(),
                    topic => dialect.restore(operations, topic, kept.as_deref()),
                }
                operations.settle(name);
            });
        }
        self.end_restore(namespace, core);
    }

    /// The reply to a join. Returns whether the dialect is to receive it.
    pub(super) fn on_restored(
        &mut self,
        namespace: u16,
        topic: &str,
        is_restored: bool,
        result: Result<Joined, JoinError>,
    ) -> bool {
        let Some(mut restore) = self.recovery.take(namespace) else { return !is_restored };
        if restore.end_pending(topic) {
            restore.on_joined(topic, result);
        }
        self.recovery.put(restore);
        !is_restored
    }

    /// Sends the connect packet of a connection that is restored, as soon as no join is pending.
    pub(super) fn end_restore(&mut self, namespace: u16, core: &mut dyn Core) {
        let settings = Arc::clone(&self.settings);
        let config = settings.namespaces.get(namespace);
        let Some(mut restore) = self.recovery.take(namespace) else { return };
        if !restore.pending.is_empty() {
            return self.recovery.put(restore);
        }
        if let Some(request) = restore.new {
            self.send_connect(namespace, Some(&restore.pid), core);
            self.admitted(namespace, &request, core);
            return self.send_offset(namespace, core);
        }
        if !restore.is_complete {
            restore.pid = new_pid();
            let sealer = config.connection_state.as_ref().and_then(|one| one.sealer(&config.name, &restore.pid));
            if let Some(sealer) = sealer {
                core.track(namespace, sealer);
            }
        }
        tracing::debug!(namespace = &*config.name, is_complete = restore.is_complete, "a connection was restored");
        self.send_connect(namespace, Some(&restore.pid), core);
        self.send_offset(namespace, core);
    }

    /// Sends offsets to clients that do not know the current topics.
    pub(super) fn send_due_offsets(&mut self, core: &mut dyn Core) {
        let Some(parts) = &self.recovery.0 else { return };
        let due = parts.namespaces.clone();
        for namespace in due {
            if !self.recovery.is_restoring(namespace) && core.needs_offset(namespace) {
                self.send_offset(namespace, core);
            }
        }
    }

    /// Sends new offsets in all namespaces: those that the client has will be too old.
    pub(super) fn refresh_offsets(&mut self, core: &mut dyn Core) {
        let Some(parts) = &mut self.recovery.0 else { return };
        parts.refresh_at = core.now().saturating_add(parts.refresh);
        let all = parts.namespaces.clone();
        for namespace in all {
            if !self.recovery.is_restoring(namespace) {
                self.send_offset(namespace, core);
            }
        }
    }

    fn send_offset(&self, namespace: u16, core: &mut dyn Core) {
        let Some(offset) = core.offset(namespace) else { return };
        let name = &self.settings.namespaces.get(namespace).name;
        let args = format!("[\"{OFFSET}\",\"{offset}\"]");
        super::send(core, |packet| super::encode_event(packet, name, None, &args));
    }

    /// Runs the dialect of a namespace that is being restored.
    fn in_restore(
        &mut self,
        namespace: u16,
        core: &mut dyn Core,
        run: impl FnOnce(&dyn super::Dialect, &mut super::InNamespace<'_>),
    ) {
        let Some(mut restore) = self.recovery.take(namespace) else { return };
        self.with_operations(namespace, Some(&mut restore), core, run);
        self.recovery.put(restore);
    }
}
