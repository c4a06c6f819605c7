//! The protocol `plain`: JSON objects over a WebSocket, for clients without Socket.IO.
//!
//! Its lines are defined in [`nodevent_protocol::plain`] and in `protocol/README.md` section 9.

mod encoding;
mod endpoint;

use super::Mount;
use crate::close_reason::CloseReason;
use crate::encoding::Encoding;
use crate::history::Since;
use crate::http::Endpoint;
use crate::namespace::Namespaces;
use crate::outcome::Outcome;
use crate::protocol::{Core, JoinError, Joined, Message, Millis, NEVER, Protocol, Subscribe, SubscribeReply};
use encoding::PlainEncoding;
use endpoint::PlainEndpoint;
use nodevent_protocol::plain::{self, Command};
use std::sync::Arc;

/// The name of the protocol in the configuration.
const NAME: &str = "plain";
/// The shortest time that a client stays away after the server stops. Milliseconds.
const MIN_RECONNECT_DELAY: Millis = 500;
/// The range over which clients that leave together return. Milliseconds.
const RECONNECT_SPREAD: Millis = 1_000;

/// State that all connections share.
#[derive(Debug)]
struct Settings {
    namespaces: Arc<Namespaces>,
    encoding: Arc<dyn Encoding>,
    ping_interval: Millis,
    ping_timeout: Millis,
    /// From the opening of a connection to its first join. Milliseconds.
    connect_timeout: Millis,
}

/// One connection, in one namespace.
#[derive(Debug)]
struct Plain {
    settings: Arc<Settings>,
    namespace: u16,
    heartbeat: Heartbeat,
    /// When the connection must have joined a room.
    join_by: Millis,
}

/// The heartbeat: pings of the WebSocket layer, which clients answer by themselves.
#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    /// The next ping is due.
    PingAt(Millis),
    /// A pong must arrive.
    PongBy(Millis),
}

/// Mounts the protocol for the namespaces that use it.
pub fn mount(mount: &Mount<'_>) -> Option<Arc<dyn Endpoint>> {
    let served: Vec<u16> = mount.namespaces_with(NAME).collect();
    let limits = &mount.config.limits;
    let settings = Arc::new(Settings {
        namespaces: Arc::clone(mount.namespaces),
        encoding: Arc::new(PlainEncoding),
        ping_interval: limits.ping_interval.as_millis() as Millis,
        ping_timeout: limits.ping_timeout.as_millis() as Millis,
        connect_timeout: limits.connect_timeout.as_millis() as Millis,
    });
    (!served.is_empty()).then(|| Arc::new(PlainEndpoint::new(settings, served)) as Arc<dyn Endpoint>)
}

// === impl Plain ===

impl Plain {
    fn new(settings: &Arc<Settings>, namespace: u16) -> Self {
        let settings = Arc::clone(settings);
        Self { settings, namespace, heartbeat: Heartbeat::PingAt(NEVER), join_by: NEVER }
    }

    fn on_line(&mut self, line: &str, core: &mut dyn Core) {
        let max_room_name = self.settings.namespaces.get(self.namespace).limits.max_name_bytes;
        match Command::parse(line, max_room_name) {
            Ok(Command::Join { room, key, since, id }) => {
                let joined = core.subscribe(Subscribe {
                    namespace: self.namespace,
                    room: &room,
                    credential: key.as_ref(),
                    since: Since::parse(since.as_deref()),
                    encoding: &self.settings.encoding,
                    request: id.into(),
                });
                match joined {
                    Ok(Outcome::Ready(joined)) => self.on_joined(&room, id, Ok(joined), core),
                    Ok(Outcome::Pending | Outcome::Overloaded) => {}
                    Err(error) => self.on_joined(&room, id, Err(error), core),
                }
            }
            Ok(Command::Leave { room, id }) => {
                core.unsubscribe(self.namespace, &room, &self.settings.encoding);
                core.send_text(&plain::left(&room, id));
            }
            Ok(Command::Ping { payload }) => core.send_text(&plain::pong(&payload)),
            Err((error, id)) => core.send_text(&plain::error(&error.to_string(), error.hint(), None, id)),
        }
    }

    fn on_joined(&mut self, room: &str, id: Option<u64>, result: Result<Joined, JoinError>, core: &mut dyn Core) {
        core.send_text(&match result {
            Ok(Joined { recovery }) => {
                self.join_by = NEVER;
                plain::joined(room, id, recovery.map(|recovery| (recovery.position, recovery.recovered)))
            }
            Err(error) => plain::error(error.as_str(), hint(error), Some(room), id),
        });
    }
}

/// The hint for a client whose join was rejected.
fn hint(error: JoinError) -> &'static str {
    match error {
        JoinError::BadRoom => plain::CommandError::BadRoom.hint(),
        JoinError::Unauthorized(_) => "send a valid key for this room as `key`",
        JoinError::TooManyRooms => "leave rooms, or raise `limits: max_rooms_per_connection`",
        JoinError::TooManyJoins => "retry later, or raise `limits: joins_per_second`",
    }
}

impl Protocol for Plain {
    fn opened(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
        self.join_by = core.now() + self.settings.connect_timeout;
        core.send_text(&plain::hello(self.settings.ping_interval));
        core.connected(self.namespace);
        Ok(())
    }

    fn received(&mut self, message: Message<'_>, core: &mut dyn Core) -> Result<(), CloseReason> {
        match message {
            Message::Text(text) => {
                for (index, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
                    if index > 0 {
                        core.count_message()?;
                    }
                    self.on_line(line, core);
                }
            }
            Message::Pong => {
                if let Heartbeat::PongBy(_) = self.heartbeat {
                    self.heartbeat = Heartbeat::PingAt(core.now() + self.settings.ping_interval);
                }
            }
            Message::Binary(_) | Message::Body(_) => return Err(CloseReason::Malformed),
        }
        Ok(())
    }

    fn deadline(&self) -> Millis {
        let (Heartbeat::PingAt(at) | Heartbeat::PongBy(at)) = self.heartbeat;
        at.min(self.join_by)
    }

    fn on_deadline(&mut self, core: &mut dyn Core) -> Result<(), CloseReason> {
        if core.now() >= self.join_by {
            return Err(CloseReason::ConnectTimeout);
        }
        match self.heartbeat {
            Heartbeat::PongBy(by) if core.now() >= by => Err(CloseReason::PingTimeout),
            Heartbeat::PingAt(at) if core.now() >= at => {
                self.heartbeat = Heartbeat::PongBy(core.now() + self.settings.ping_timeout);
                core.ping();
                core.send_text(&plain::heartbeat(self.settings.ping_interval));
                Ok(())
            }
            Heartbeat::PongBy(_) | Heartbeat::PingAt(_) => Ok(()),
        }
    }

    fn subscribed(&mut self, reply: SubscribeReply<'_>, core: &mut dyn Core) {
        self.on_joined(reply.room, reply.request.number, reply.result, core);
    }

    fn revoked(&mut self, _namespace: u16, room: Option<&str>, core: &mut dyn Core) -> Result<(), CloseReason> {
        if let Some(room) = room {
            let hint = "request a new token for the room and join it again";
            core.send_text(&plain::error("Membership has been revoked", hint, Some(room), None));
        }
        Ok(())
    }

    fn encoding_in(&self, namespace: u16) -> Option<&Arc<dyn Encoding>> {
        (namespace == self.namespace).then_some(&self.settings.encoding)
    }

    fn closing(&mut self, reason: CloseReason, core: &mut dyn Core) {
        if reason == CloseReason::Draining {
            let reconnect_after = MIN_RECONNECT_DELAY + rand::random::<Millis>() % RECONNECT_SPREAD;
            core.send_text(&plain::closing("server shutting down", reconnect_after));
        }
    }
}
