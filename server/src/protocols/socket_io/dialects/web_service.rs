//! The dialect `web_service`: the events of SocketIO Web Service, as `docs/web-service.md` describes them.
//!
//! Clients only receive. Messages to rooms of a group are publications. The room of a user is a mailbox: what is in it
//! when a client connects is one `batch` with a callback, and what comes later is an event with a callback, which
//! removes it.

mod queue;

use crate::clock::now_ms;
use crate::history::RequestId;
use crate::mailbox::{MAX_IDS, MailboxError, StoredMessage};
use crate::outcome::Outcome;
use crate::protocol::{JoinError, Joined, MailboxDelivery};
use crate::protocols::socket_io::dialect::{Ack, ConnectRequest, Dialect, Event, Operations};
use crate::token::TokenError;
use crate::web_service::{self, Settings};
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::Topic;
use queue::{Acknowledged, Queue};
use serde_json::json;
use std::borrow::Cow;
use std::sync::Arc;

/// The length of a batch above which it is sent, although more follows. Bytes.
const MAX_BATCH: usize = 256 * 1024;

/// The dialect `web_service`.
#[derive(Debug)]
pub(super) struct WebService {
    settings: Settings,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// What was stored before the client connected, until all of it has been read.
    batch: Option<Batch>,
    /// When the client has connected. What is stored from then on does not belong to the batch. Milliseconds since the
    /// Unix epoch.
    connected_ms: u64,
    /// Whether an acknowledgement is with the engine. Others wait for its end.
    is_acknowledging: bool,
}

/// The messages of a batch.
#[derive(Debug, Default)]
struct Batch {
    /// The texts of their events, with commas.
    text: String,
    messages: Vec<Arc<StoredMessage>>,
    /// What follows the batch.
    later: Vec<Arc<StoredMessage>>,
}

// === impl WebService ===

impl WebService {
    pub(super) fn new(settings: Option<&Settings>) -> Self {
        Self { settings: settings.cloned().unwrap_or_default() }
    }

    /// Runs with the state of a connection, and stores it again.
    fn with_state(operations: &mut dyn Operations, run: impl FnOnce(&mut State, &mut dyn Operations)) {
        let Some(state) = operations.state().and_then(|state| state.downcast_mut::<State>()) else { return };
        let mut state = std::mem::take(state);
        run(&mut state, operations);
        if let Some(place) = operations.state().and_then(|state| state.downcast_mut::<State>()) {
            *place = state;
        }
    }

    fn on_messages(
        &self,
        state: &mut State,
        operations: &mut dyn Operations,
        messages: &[Arc<StoredMessage>],
        is_last: bool,
    ) {
        let Some(batch) = &mut state.batch else {
            for message in messages {
                emit_message(state, operations, message);
            }
            return;
        };
        for message in messages {
            if message.id.stored_ms() >= state.connected_ms {
                batch.later.push(Arc::clone(message));
                continue;
            }
            let Some(read) = web_service::parse(&message.text) else { continue };
            if !batch.text.is_empty() {
                batch.text.push(',');
            }
            batch.text.push_str(&read.event_text());
            batch.messages.push(Arc::clone(message));
        }
        let is_complete = is_last || batch.text.len() > MAX_BATCH;
        if is_complete && !batch.messages.is_empty() {
            let later = std::mem::take(&mut batch.later);
            let Batch { text, messages, .. } = std::mem::replace(batch, Batch { later, ..Batch::default() });
            let args = format!("[{},[{text}]]", json!(self.settings.batch()));
            let ack_id = emit(state, operations, &args);
            for message in messages {
                state.queue.push(ack_id, &message);
            }
        }
        if is_last {
            let later = state.batch.take().map(|batch| batch.later).unwrap_or_default();
            for message in &later {
                emit_message(state, operations, message);
            }
        }
    }

    fn on_acknowledged(&self, state: &mut State, operations: &mut dyn Operations, ack_id: u64) {
        if state.queue.acknowledge(ack_id) == Acknowledged::OutOfOrder {
            for ack_id in state.queue.clear() {
                operations.forget_ack(ack_id);
            }
            operations.emit(&json!([self.settings.resync()]).to_string(), &[]);
        }
        send_acknowledgements(state, operations);
    }
}

impl Dialect for WebService {
    fn token(&self, request: &ConnectRequest) -> Option<String> {
        // Pages that have no token yet write the name of its value into the address.
        request.parameter("token").filter(|token| !matches!(&**token, "undefined" | "null"))
    }

    fn rejected(&self, error: TokenError) -> Cow<'static, str> {
        match error {
            TokenError::ApplicationUnavailable => "Auth error: too many requests".into(),
            _ => "Authentication error".into(),
        }
    }

    fn connected(&self, operations: &mut dyn Operations, _request: &ConnectRequest) {
        let Some(identity) = operations.identity() else { return };
        for room in &identity.rooms {
            // The core has counted and logged an error.
            let _ = operations.join_by_token(room, None);
        }
        if !identity.user.is_empty() {
            operations.set_state(Box::new(State {
                batch: Some(Batch::default()),
                connected_ms: now_ms(),
                ..State::default()
            }));
            if let Err(error) = operations.open_mailbox() {
                tracing::debug!(%error, "a mailbox was not opened");
            }
        }
    }

    fn event(&self, _operations: &mut dyn Operations, _event: Event) {
        // Clients cannot join by themselves, and there is nothing else to request.
    }

    fn acknowledged(&self, operations: &mut dyn Operations, ack: Ack) {
        Self::with_state(operations, |state, operations| self.on_acknowledged(state, operations, ack.id));
    }

    fn joined(&self, _: &mut dyn Operations, _: RequestId, _: Result<Joined, JoinError>) {}

    fn mailbox(&self, operations: &mut dyn Operations, delivery: &MailboxDelivery<'_>) {
        Self::with_state(operations, |state, operations| match delivery {
            MailboxDelivery::Messages { messages, is_last, .. } => {
                self.on_messages(state, operations, messages, *is_last);
            }
            // Another tab, or the application, was faster.
            MailboxDelivery::Acknowledged { acknowledgement, .. } => {
                for ack_id in state.queue.remove(acknowledgement) {
                    operations.forget_ack(ack_id);
                }
            }
            MailboxDelivery::Reply { result, .. } => {
                state.is_acknowledging = false;
                if let Err(error) = result {
                    tracing::debug!(%error, "messages were not removed; the user will receive them again");
                }
                send_acknowledgements(state, operations);
            }
        });
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        match web_service::parse(text) {
            Some(message) => packet.push_str(&message.event_text()),
            None => packet.extend(["[\"event\",", text, "]"]),
        }
    }

    fn gap(&self, _topic: Topic<'_>, _position: Position) -> String {
        // What was missed is lost, as after a `resync`.
        json!([self.settings.resync()]).to_string()
    }
}

/// Sends a message that was stored while the client is connected.
fn emit_message(state: &mut State, operations: &mut dyn Operations, message: &Arc<StoredMessage>) {
    let Some(read) = web_service::parse(&message.text) else { return };
    let ack_id = emit(state, operations, &read.event_text());
    state.queue.push(ack_id, message);
}

/// Sends an event with a callback. If too many callbacks are pending, the oldest one counts no longer: its messages stay in
/// the mailbox.
fn emit(state: &mut State, operations: &mut dyn Operations, args: &str) -> Option<u64> {
    loop {
        if let Some(ack_id) = operations.emit_with_ack(args, &[]) {
            return Some(ack_id);
        }
        let Some(oldest) = state.queue.drop_oldest() else {
            operations.emit(args, &[]);
            return None;
        };
        operations.forget_ack(oldest);
    }
}

/// Removes what was acknowledged from the mailbox, as much as possible at a time.
fn send_acknowledgements(state: &mut State, operations: &mut dyn Operations) {
    while !state.is_acknowledging {
        let Some(acknowledgement) = state.queue.take_acknowledged(MAX_IDS) else { return };
        match operations.acknowledge_messages(acknowledgement, None) {
            Ok(Outcome::Pending) => state.is_acknowledging = true,
            Ok(Outcome::Ready(_)) => {}
            Ok(Outcome::Overloaded) | Err(MailboxError::Busy | MailboxError::Unavailable) => {
                tracing::debug!("messages were not removed; the user will receive them again");
            }
            Err(error) => tracing::debug!(%error, "messages were not removed"),
        }
    }
}
