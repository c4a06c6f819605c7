//! The state machine of one Engine.IO session: heartbeat and upgrade.
//!
//! It decides *when* a ping is due and *which* packet is allowed now. It has no socket, queue or clock: the caller
//! passes the time and executes what is returned. Above it is [`crate::socket_io::session`].
//!
//! # Source
//! Engine.IO protocol, revision 4: "Heartbeat" and "Upgrade"; where that is silent, the reference implementation.

use super::packet::Packet;
use super::upgrade::Upgrade;

pub use super::upgrade::{Probed, UpgradeError};

/// Milliseconds on the caller's monotonic clock.
pub type Millis = u64;

/// The timeouts of a session.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the open packet or the last pong to the next ping. Milliseconds.
    pub ping_interval: Millis,
    /// From a ping to its pong. Milliseconds.
    pub ping_timeout: Millis,
    /// From the first byte of an upgrade to its last packet. Milliseconds.
    pub upgrade_timeout: Millis,
}

/// The meaning of a packet on the session's main transport for the layer above.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Nothing to do.
    Nothing,
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(&'a [u8]),
    /// The browser closes the session.
    Closed,
}

/// The timer that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet. Call again at [`Session::deadline`].
    Nothing,
    /// Send a ping packet.
    Ping,
    /// The pong did not arrive: close the session.
    PingTimeout,
    /// The upgrade did not finish: close the probing WebSocket, keep the session.
    UpgradeTimeout,
}

/// A packet that this state does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The server pings in protocol 4. A browser that pings uses protocol 3.
    #[error("a ping from the browser: in protocol 4 the server pings")]
    HeartbeatDirection,
}

/// The state between two calls. It uses no heap.
#[derive(Debug)]
pub struct Session {
    heartbeat: Heartbeat,
    upgrade: Upgrade,
}

#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    PingAt(Millis),
    /// `extended`: a packet has arrived since the ping and extended the deadline.
    PongBy {
        by: Millis,
        extended: bool,
    },
}

// === impl Session ===

impl Session {
    /// Returns the state of a session whose open packet is sent now. `on_websocket`: whether it starts on a WebSocket.
    pub fn new(now: Millis, timing: &Timing, on_websocket: bool) -> Self {
        Self { heartbeat: Heartbeat::PingAt(now + timing.ping_interval), upgrade: Upgrade::new(on_websocket) }
    }

    /// Takes a packet from the main transport.
    ///
    /// # Errors
    /// Returns [`ProtocolError::HeartbeatDirection`] if the session must be closed.
    pub fn on_packet<'a>(
        &mut self,
        packet: Packet<'a>,
        now: Millis,
        timing: &Timing,
    ) -> Result<Incoming<'a>, ProtocolError> {
        self.heartbeat = match (self.heartbeat, &packet) {
            (Heartbeat::PongBy { .. }, Packet::Pong(_)) => Heartbeat::PingAt(now + timing.ping_interval),
            // A pong may be queued after something large, and a client that sends is alive. Only one extension: a pong
            // must arrive.
            (Heartbeat::PongBy { extended: false, .. }, _) => {
                Heartbeat::PongBy { by: now + timing.ping_timeout, extended: true }
            }
            (heartbeat, _) => heartbeat,
        };
        match packet {
            Packet::Message(text) => Ok(Incoming::Text(text)),
            Packet::Binary(bytes) => Ok(Incoming::Binary(bytes)),
            Packet::Pong(_) => Ok(Incoming::Nothing),
            Packet::Close => Ok(Incoming::Closed),
            Packet::Ping(_) => Err(ProtocolError::HeartbeatDirection),
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => Ok(Incoming::Nothing),
        }
    }

    /// Records that a WebSocket was opened for this session. `false`: there is one already, or the session uses one.
    pub fn start_upgrade(&mut self, now: Millis, timing: &Timing) -> bool {
        self.upgrade.start(now, timing)
    }

    /// Takes a packet from the probing WebSocket.
    ///
    /// # Errors
    /// Returns [`UpgradeError`] if that WebSocket must be closed. The session continues.
    pub fn on_probe_packet(&mut self, packet: &Packet<'_>) -> Result<Probed, UpgradeError> {
        self.upgrade.on_packet(packet)
    }

    /// Records that the probing WebSocket was closed. Another one may be tried.
    pub fn cancel_upgrade(&mut self) {
        self.upgrade.cancel();
    }

    /// Returns whether a WebSocket was opened for this session and is not its transport yet.
    pub fn upgrade_pending(&self) -> bool {
        self.upgrade.is_pending()
    }

    /// Returns whether the probe was answered and the upgrade packet is expected. Polls must be completed.
    pub fn probe_answered(&self) -> bool {
        self.upgrade.is_probe_answered()
    }

    /// Returns when to call [`Session::due`] next.
    pub fn deadline(&self) -> Millis {
        let heartbeat = match self.heartbeat {
            Heartbeat::PingAt(at) | Heartbeat::PongBy { by: at, .. } => at,
        };
        heartbeat.min(self.upgrade.deadline())
    }

    /// Returns what is due at `now`, and moves to the state after it.
    pub fn due(&mut self, now: Millis, timing: &Timing) -> Due {
        match self.heartbeat {
            Heartbeat::PongBy { by, .. } if now >= by => return Due::PingTimeout,
            Heartbeat::PingAt(at) if now >= at => {
                // From the time when the ping was due. If the server was late, from now, so that the browser has all of
                // its time.
                let from = if now - at <= timing.ping_timeout / 4 { at } else { now };
                self.heartbeat = Heartbeat::PongBy { by: from + timing.ping_timeout, extended: false };
                return Due::Ping;
            }
            _ => {}
        }
        if self.upgrade.times_out(now) { Due::UpgradeTimeout } else { Due::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000 };

    #[test]
    fn ping_is_due_after_the_interval_and_again_after_its_pong() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(24_999, &TIMING), Due::Nothing);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 45_000);
        assert_eq!(session.on_packet(Packet::Pong(""), 26_000, &TIMING), Ok(Incoming::Nothing));
        assert_eq!(session.deadline(), 51_000);
    }

    #[test]
    fn missing_pong_ends_the_session() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        assert_eq!(session.due(44_999, &TIMING), Due::Nothing);
        assert_eq!(session.due(45_000, &TIMING), Due::PingTimeout);
    }

    #[test]
    fn late_ping_leaves_the_browser_its_whole_time() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(25_003, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 45_000, "a few milliseconds are not a delay");
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(40_000, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 60_000);
    }

    #[test]
    fn packet_before_the_pong_extends_the_deadline_one_time() {
        let mut session = Session::new(0, &TIMING, true);
        session.on_packet(Packet::Message("early"), 1, &TIMING).unwrap();
        assert_eq!(session.deadline(), 25_000);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        session.on_packet(Packet::Message("large"), 44_000, &TIMING).unwrap();
        assert_eq!(session.deadline(), 64_000);
        session.on_packet(Packet::Message("chatter"), 63_000, &TIMING).unwrap();
        assert_eq!(session.due(64_000, &TIMING), Due::PingTimeout, "a pong must still arrive");
    }

    #[test]
    fn unexpected_pong_does_not_delay_the_ping() {
        let mut session = Session::new(0, &TIMING, true);
        session.on_packet(Packet::Pong(""), 20_000, &TIMING).unwrap();
        assert_eq!(session.deadline(), 25_000);
    }

    #[test]
    fn ping_from_the_browser_is_rejected() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.on_packet(Packet::Ping(""), 1, &TIMING), Err(ProtocolError::HeartbeatDirection));
    }

    #[test]
    fn upgrade_is_a_probe_and_then_the_upgrade_packet() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.start_upgrade(5, &TIMING));
        assert!(!session.start_upgrade(6, &TIMING), "one at a time");
        assert_eq!(session.deadline(), 10_005);
        assert_eq!(session.on_probe_packet(&Packet::Ping("probe")), Ok(Probed::Reply));
        assert!(session.probe_answered());
        assert_eq!(session.on_probe_packet(&Packet::Upgrade), Ok(Probed::Upgraded));
        assert_eq!(session.deadline(), 25_000);
        assert!(!session.start_upgrade(7, &TIMING), "it is on a WebSocket already");
    }

    #[test]
    fn upgrade_out_of_order_is_rejected_and_may_be_retried() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.start_upgrade(0, &TIMING));
        assert_eq!(session.on_probe_packet(&Packet::Upgrade), Err(UpgradeError));
        session.cancel_upgrade();
        assert!(session.start_upgrade(1, &TIMING));
    }

    #[test]
    fn unfinished_upgrade_times_out_and_the_session_continues() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.start_upgrade(0, &TIMING));
        assert_eq!(session.due(10_000, &TIMING), Due::UpgradeTimeout);
        assert_eq!(session.deadline(), 25_000);
    }
}
