//! The life of one Engine.IO session: heartbeat and upgrade, as a state machine.
//!
//! It owns *when* a ping is due and *which* packet is allowed now. It does not own a socket, a queue or a clock:
//! the caller passes the time and carries out what is answered. Above it stands [`crate::socket_io::session`].
//!
//! # Source
//! Engine.IO protocol, revision 4: "Heartbeat" and "Upgrade"; where that is silent, the reference implementation.

use super::packet::Packet;

/// Milliseconds on the caller's monotonic clock.
pub type Millis = u64;

/// How long a session waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From the open packet, or the last pong, to the next ping. Milliseconds.
    pub ping_interval: Millis,
    /// From a ping to its pong. Milliseconds.
    pub ping_timeout: Millis,
    /// From the first byte of an upgrade to its last packet. Milliseconds.
    pub upgrade_timeout: Millis,
}

/// What a packet on the session's main transport means to the layer above.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// Nothing to do.
    Nothing,
    /// A text message for the layer above.
    Text(&'a str),
    /// A binary message for the layer above.
    Binary(&'a [u8]),
    /// The browser ends the session.
    Closed,
}

/// What a packet on a probing WebSocket means.
#[derive(Debug, PartialEq, Eq)]
pub enum Probed {
    /// Answer with a pong packet `3probe`, and let a waiting poll go with a noop.
    Reply,
    /// The WebSocket is now the session's transport.
    Upgraded,
}

/// What has come due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet; ask again at [`Session::deadline`].
    Nothing,
    /// Send a ping packet.
    Ping,
    /// The pong did not come: end the session.
    PingTimeout,
    /// The upgrade did not finish: end the probing WebSocket, keep the session.
    UpgradeTimeout,
}

/// A packet that this state does not allow.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// In protocol 4 the server pings; a browser that pings speaks protocol 3.
    #[error("a ping from the browser: heartbeats go the other way in protocol 4")]
    HeartbeatDirection,
    /// A probing WebSocket said something other than `2probe` and then `5`.
    #[error("unexpected packet in an upgrade")]
    Upgrade,
}

/// The state between two calls. Holds no heap.
#[derive(Debug)]
pub struct Session {
    heartbeat: Heartbeat,
    upgrade: Upgrade,
}

#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    PingAt(Millis),
    /// `extended`: the browser has been heard since the ping, and was given the time once more.
    PongBy {
        by: Millis,
        extended: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    /// On long-polling, nothing under way.
    Possible,
    /// A WebSocket has been opened for this session.
    Started { until: Millis },
    /// The probe was answered.
    Answered { until: Millis },
    /// On WebSocket for good.
    Done,
}

// === impl Session ===

impl Session {
    /// A session whose open packet goes out now. `on_websocket` tells whether it began there.
    pub fn new(now: Millis, timing: &Timing, on_websocket: bool) -> Self {
        Self {
            heartbeat: Heartbeat::PingAt(now + timing.ping_interval),
            upgrade: if on_websocket { Upgrade::Done } else { Upgrade::Possible },
        }
    }

    /// A packet came on the main transport.
    ///
    /// # Errors
    /// [`ProtocolError::HeartbeatDirection`]: end the session.
    pub fn on_packet<'a>(
        &mut self,
        packet: Packet<'a>,
        now: Millis,
        timing: &Timing,
    ) -> Result<Incoming<'a>, ProtocolError> {
        self.heartbeat = match (self.heartbeat, &packet) {
            (Heartbeat::PongBy { .. }, Packet::Pong(_)) => Heartbeat::PingAt(now + timing.ping_interval),
            // A pong may stand behind something large; whoever is heard is alive. Once, since a pong must come.
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

    /// A WebSocket was opened for this session. `false`: there is one already, or the session is on one.
    pub fn start_upgrade(&mut self, now: Millis, timing: &Timing) -> bool {
        if self.upgrade != Upgrade::Possible {
            return false;
        }
        self.upgrade = Upgrade::Started { until: now + timing.upgrade_timeout };
        true
    }

    /// A packet came on the probing WebSocket.
    ///
    /// # Errors
    /// [`ProtocolError::Upgrade`]: end that WebSocket, keep the session.
    pub fn on_probe_packet(&mut self, packet: &Packet<'_>) -> Result<Probed, ProtocolError> {
        match (self.upgrade, packet) {
            (Upgrade::Started { until }, Packet::Ping("probe")) => {
                self.upgrade = Upgrade::Answered { until };
                Ok(Probed::Reply)
            }
            (Upgrade::Answered { .. }, Packet::Upgrade) => {
                self.upgrade = Upgrade::Done;
                Ok(Probed::Upgraded)
            }
            _ => Err(ProtocolError::Upgrade),
        }
    }

    /// The probing WebSocket is gone; another may be tried.
    pub fn cancel_upgrade(&mut self) {
        if self.upgrade != Upgrade::Done {
            self.upgrade = Upgrade::Possible;
        }
    }

    /// Whether a WebSocket was opened for this session and has not become its transport.
    pub fn upgrade_pending(&self) -> bool {
        matches!(self.upgrade, Upgrade::Started { .. } | Upgrade::Answered { .. })
    }

    /// Whether a probe was answered and the last packet of the upgrade is awaited; polls are to be let go.
    pub fn probe_answered(&self) -> bool {
        matches!(self.upgrade, Upgrade::Answered { .. })
    }

    /// When to call [`Session::due`] next.
    pub fn deadline(&self) -> Millis {
        let heartbeat = match self.heartbeat {
            Heartbeat::PingAt(at) | Heartbeat::PongBy { by: at, .. } => at,
        };
        match self.upgrade {
            Upgrade::Started { until } | Upgrade::Answered { until } => heartbeat.min(until),
            Upgrade::Possible | Upgrade::Done => heartbeat,
        }
    }

    /// What has come due at `now`, and the state after it.
    pub fn due(&mut self, now: Millis, timing: &Timing) -> Due {
        match self.heartbeat {
            Heartbeat::PongBy { by, .. } if now >= by => return Due::PingTimeout,
            Heartbeat::PingAt(at) if now >= at => {
                // Counted from when the ping was due; but what the browser has is not shortened by our own delay.
                let from = if now - at <= timing.ping_timeout / 4 { at } else { now };
                self.heartbeat = Heartbeat::PongBy { by: from + timing.ping_timeout, extended: false };
                return Due::Ping;
            }
            _ => {}
        }
        match self.upgrade {
            Upgrade::Started { until } | Upgrade::Answered { until } if now >= until => {
                self.upgrade = Upgrade::Possible;
                Due::UpgradeTimeout
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000 };

    #[test]
    fn a_ping_is_due_after_the_interval_and_again_after_its_pong() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(24_999, &TIMING), Due::Nothing);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 45_000);
        assert_eq!(session.on_packet(Packet::Pong(""), 26_000, &TIMING), Ok(Incoming::Nothing));
        assert_eq!(session.deadline(), 51_000);
    }

    #[test]
    fn a_missing_pong_ends_the_session() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        assert_eq!(session.due(44_999, &TIMING), Due::Nothing);
        assert_eq!(session.due(45_000, &TIMING), Due::PingTimeout);
    }

    #[test]
    fn a_ping_that_went_out_late_leaves_the_browser_its_whole_time() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(25_003, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 45_000, "a moment later than due is no delay");
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.due(40_000, &TIMING), Due::Ping);
        assert_eq!(session.deadline(), 60_000);
    }

    #[test]
    fn who_is_heard_while_its_pong_is_awaited_is_given_the_time_once_more() {
        let mut session = Session::new(0, &TIMING, true);
        session.on_packet(Packet::Message("early"), 1, &TIMING).unwrap();
        assert_eq!(session.deadline(), 25_000);
        assert_eq!(session.due(25_000, &TIMING), Due::Ping);
        session.on_packet(Packet::Message("large"), 44_000, &TIMING).unwrap();
        assert_eq!(session.deadline(), 64_000);
        session.on_packet(Packet::Message("chatter"), 63_000, &TIMING).unwrap();
        assert_eq!(session.due(64_000, &TIMING), Due::PingTimeout, "a pong is awaited all the same");
    }

    #[test]
    fn a_pong_nobody_asked_for_does_not_put_off_the_ping() {
        let mut session = Session::new(0, &TIMING, true);
        session.on_packet(Packet::Pong(""), 20_000, &TIMING).unwrap();
        assert_eq!(session.deadline(), 25_000);
    }

    #[test]
    fn a_ping_from_the_browser_is_refused() {
        let mut session = Session::new(0, &TIMING, true);
        assert_eq!(session.on_packet(Packet::Ping(""), 1, &TIMING), Err(ProtocolError::HeartbeatDirection));
    }

    #[test]
    fn an_upgrade_is_a_probe_and_then_the_upgrade_packet() {
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
    fn an_upgrade_out_of_order_is_refused_and_may_be_tried_again() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.start_upgrade(0, &TIMING));
        assert_eq!(session.on_probe_packet(&Packet::Upgrade), Err(ProtocolError::Upgrade));
        session.cancel_upgrade();
        assert!(session.start_upgrade(1, &TIMING));
    }

    #[test]
    fn an_unfinished_upgrade_runs_out_and_leaves_the_session() {
        let mut session = Session::new(0, &TIMING, false);
        assert!(session.start_upgrade(0, &TIMING));
        assert_eq!(session.due(10_000, &TIMING), Due::UpgradeTimeout);
        assert_eq!(session.deadline(), 25_000);
    }
}
