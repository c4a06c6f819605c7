//! The upgrade of a session from polling to a WebSocket: probe, reply, upgrade packet. It is the same in all versions.

use super::packet::Packet;
use super::session::{Millis, Timing};

/// The meaning of a packet on a probing WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Probed {
    /// Reply with a pong packet `3probe`, and complete a pending poll with a noop.
    Reply,
    /// The WebSocket is now the session's transport.
    Upgraded,
}

/// A probing WebSocket sent something other than `2probe` and then `5`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected packet in an upgrade")]
pub struct UpgradeError;

/// The state of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// On polling, without an upgrade in progress.
    Possible,
    /// A WebSocket was opened for this session.
    Started {
        /// When the upgrade must be complete.
        until: Millis,
    },
    /// The probe was answered.
    Answered {
        /// When the upgrade must be complete.
        until: Millis,
    },
    /// On a WebSocket. There is no way back.
    Done,
}

// === impl Upgrade ===

impl Upgrade {
    /// Returns the state of a new session. `on_websocket`: whether it starts on a WebSocket.
    #[must_use]
    pub fn new(on_websocket: bool) -> Self {
        if on_websocket { Self::Done } else { Self::Possible }
    }

    /// Records that a WebSocket was opened for the session. `false`: there is one already, or the session uses one.
    pub fn start(&mut self, now: Millis, timing: &Timing) -> bool {
        if *self != Self::Possible {
            return false;
        }
        *self = Self::Started { until: now + timing.upgrade_timeout };
        true
    }

    /// Takes a packet from the probing WebSocket.
    ///
    /// # Errors
    /// Returns [`UpgradeError`] if that WebSocket must be closed. The session continues.
    pub fn on_packet(&mut self, packet: &Packet<'_>) -> Result<Probed, UpgradeError> {
        match (*self, packet) {
            (Self::Started { until }, Packet::Ping("probe")) => {
                *self = Self::Answered { until };
                Ok(Probed::Reply)
            }
            (Self::Answered { .. }, Packet::Upgrade) => {
                *self = Self::Done;
                Ok(Probed::Upgraded)
            }
            _ => Err(UpgradeError),
        }
    }

    /// Records that the probing WebSocket was closed. Another one may be tried.
    pub fn cancel(&mut self) {
        if *self != Self::Done {
            *self = Self::Possible;
        }
    }

    /// Returns whether a WebSocket was opened for the session and is not its transport yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Started { .. } | Self::Answered { .. })
    }

    /// Returns whether the probe was answered and the upgrade packet is expected.
    #[must_use]
    pub fn is_probe_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// Returns when to call [`Upgrade::times_out`].
    #[must_use]
    pub fn deadline(&self) -> Millis {
        match *self {
            Self::Started { until } | Self::Answered { until } => until,
            Self::Possible | Self::Done => Millis::MAX,
        }
    }

    /// Returns whether the time of the upgrade has passed. Another one may be tried then.
    pub fn times_out(&mut self, now: Millis) -> bool {
        let is_late = self.is_pending() && now >= self.deadline();
        if is_late {
            *self = Self::Possible;
        }
        is_late
    }
}
