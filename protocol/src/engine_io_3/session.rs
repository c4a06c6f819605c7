//! The state machine of one session of version 3: the client pings, and the server closes a session without pings.
//!
//! Like [`crate::engine_io::session`], it has no socket, queue or clock.
//!
//! # Source
//! Engine.IO protocol, revision 3; for the timeout, the reference implementation.

use crate::engine_io::Packet;
use crate::engine_io::session::{Millis, Timing};
use crate::engine_io::upgrade::Upgrade;

/// The meaning of a packet on the session's main transport for the layer above.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Nothing to do.
    Nothing,
    /// A ping with this text. Reply with a pong packet with the same text.
    Ping(&'a str),
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(&'a [u8]),
    /// The client closes the session.
    Closed,
}

/// The timer that is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet. Call again at [`Session::deadline`].
    Nothing,
    /// No packet arrived in time: close the session.
    PingTimeout,
    /// The upgrade did not finish: close the probing WebSocket, keep the session.
    UpgradeTimeout,
}

/// The state between two calls. It uses no heap.
#[derive(Debug)]
pub struct Session {
    /// When the next packet must have arrived.
    packet_by: Millis,
    /// The state of the upgrade to a WebSocket.
    pub upgrade: Upgrade,
}

// === impl Session ===

impl Session {
    /// Returns the state of a session whose open packet is sent now. `on_websocket`: whether it starts on a WebSocket.
    #[must_use]
    pub fn new(now: Millis, timing: &Timing, on_websocket: bool) -> Self {
        Self { packet_by: Self::packet_by(now, timing), upgrade: Upgrade::new(on_websocket) }
    }

    /// A client pings after the interval, and a ping may take as long as the timeout.
    fn packet_by(now: Millis, timing: &Timing) -> Millis {
        now + timing.ping_interval + timing.ping_timeout
    }

    /// Takes a packet from the main transport. Any packet shows that the client is alive.
    pub fn on_packet<'a>(&mut self, packet: Packet<'a>, now: Millis, timing: &Timing) -> Incoming<'a> {
        self.packet_by = Self::packet_by(now, timing);
        match packet {
            Packet::Message(text) => Incoming::Text(text),
            Packet::Binary(bytes) => Incoming::Binary(bytes),
            Packet::Ping(text) => Incoming::Ping(text),
            Packet::Close => Incoming::Closed,
            Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => Incoming::Nothing,
        }
    }

    /// Returns when to call [`Session::due`] next.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        self.packet_by.min(self.upgrade.deadline())
    }

    /// Returns what is due at `now`, and moves to the state after it.
    pub fn due(&mut self, now: Millis) -> Due {
        if now >= self.packet_by {
            return Due::PingTimeout;
        }
        if self.upgrade.times_out(now) { Due::UpgradeTimeout } else { Due::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_io::upgrade::Probed;

    const TIMING: Timing = Timing { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000 };

    #[test]
    fn ping_is_answered_and_extends_the_session() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.deadline(), 45_000);
        assert_eq!(session.on_packet(Packet::Ping("x"), 25_000, &TIMING), Incoming::Ping("x"));
        assert_eq!(session.due(69_999), Due::Nothing);
        assert_eq!(session.due(70_000), Due::PingTimeout);
    }

    #[test]
    fn every_packet_extends_the_session() {
        for packet in [Packet::Message("m"), Packet::Binary(&[1]), Packet::Pong(""), Packet::Noop] {
            let mut session = Session::new(0, &TIMING, true);
            session.on_packet(packet, 40_000, &TIMING);
            assert_eq!(session.deadline(), 85_000);
        }
    }

    #[test]
    fn unfinished_upgrade_times_out_and_the_session_continues() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.upgrade.start(1_000, &TIMING));
        assert_eq!(session.deadline(), 11_000);
        assert_eq!(session.upgrade.on_packet(&Packet::Ping("probe")), Ok(Probed::Reply));
        assert_eq!(session.due(11_000), Due::UpgradeTimeout);
        assert_eq!(session.deadline(), 45_000);
    }
}
