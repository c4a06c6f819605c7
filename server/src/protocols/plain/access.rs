//! Whether a connection may send commands, and what it sends before that is decided. It is held, in order and bounded.

use crate::token::TokenError;
use nodevent_protocol::plain::Command;

/// Commands that are held.
const MAX_COMMANDS: usize = 64;

/// See the head of this file.
#[derive(Debug)]
pub(super) enum Access {
    /// Its commands are run.
    Granted,
    /// It has no identity, and the namespace requires one: only tokens and pings are read.
    Denied(TokenError),
    /// Who it is will be decided. A connection that does not wait uses no heap.
    Pending(Box<HeldCommands>),
}

/// What arrives before it is decided who the connection is.
#[derive(Debug, Default)]
pub(super) struct HeldCommands {
    commands: Vec<Command>,
    /// The bytes of their lines.
    bytes: usize,
}

/// What to do with a command.
#[derive(Debug, PartialEq)]
pub(super) enum Admission {
    /// Run it.
    Run(Command),
    /// Reply with this error.
    Reject(TokenError, Option<u64>),
    /// It is held.
    Held,
    /// Too much is held: close the connection.
    TooMuch,
}

// === impl Access ===

impl Access {
    /// Decides about a command, whose line has `size` bytes. At most `max_bytes` are held.
    pub(super) fn admit(&mut self, command: Command, size: usize, max_bytes: usize) -> Admission {
        match (self, command) {
            (Self::Granted, command) | (_, command @ Command::Ping { .. }) => Admission::Run(command),
            (Self::Denied(_), command @ Command::Token { .. }) => Admission::Run(command),
            (Self::Denied(error), command) => Admission::Reject(*error, id_of(&command)),
            (Self::Pending(held), _) if held.commands.len() >= MAX_COMMANDS || held.bytes + size > max_bytes => {
                Admission::TooMuch
            }
            (Self::Pending(held), command) => {
                held.bytes += size;
                held.commands.push(command);
                Admission::Held
            }
        }
    }

    /// The bytes of what is held.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Pending(held) => held.bytes,
            Self::Granted | Self::Denied(_) => 0,
        }
    }

    /// It is decided who the connection is. Returns what was held.
    pub(super) fn decide(&mut self, next: Self) -> Vec<Command> {
        match std::mem::replace(self, next) {
            Self::Pending(held) => held.commands,
            Self::Granted | Self::Denied(_) => Vec::new(),
        }
    }
}

/// The client's number for a request.
fn id_of(command: &Command) -> Option<u64> {
    match command {
        Command::Join { id, .. }
        | Command::Leave { id, .. }
        | Command::Token { id, .. }
        | Command::Broadcast { id, .. }
        | Command::Presence { id, .. }
        | Command::Mailbox { id }
        | Command::Acknowledge { id, .. } => *id,
        Command::Call { id, .. } => Some(*id),
        Command::Ping { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 1_000;

    fn mailbox(id: u64) -> Command {
        Command::Mailbox { id: Some(id) }
    }

    fn ping() -> Command {
        Command::Ping { payload: "1".into() }
    }

    #[test]
    fn commands_that_arrive_before_the_decision_run_after_it_in_order() {
        let mut access = Access::Pending(Box::default());
        assert_eq!(access.admit(mailbox(1), 10, MAX_BYTES), Admission::Held);
        assert_eq!(access.admit(ping(), 10, MAX_BYTES), Admission::Run(ping()));
        assert_eq!(access.admit(mailbox(2), 10, MAX_BYTES), Admission::Held);
        assert_eq!(access.decide(Access::Granted), [mailbox(1), mailbox(2)]);
        assert_eq!(access.admit(mailbox(3), 10, MAX_BYTES), Admission::Run(mailbox(3)));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut access = Access::Pending(Box::default());
        assert!((0..MAX_COMMANDS as u64).all(|id| access.admit(mailbox(id), 10, MAX_BYTES) == Admission::Held));
        assert_eq!(access.admit(mailbox(0), 10, MAX_BYTES), Admission::TooMuch);
        let mut access = Access::Pending(Box::default());
        assert_eq!(access.admit(mailbox(0), 600, MAX_BYTES), Admission::Held);
        assert_eq!((access.admit(mailbox(0), 600, MAX_BYTES), access.held_bytes()), (Admission::TooMuch, 600));
        assert_eq!(access.admit(mailbox(0), 400, MAX_BYTES), Admission::Held);
        access.decide(Access::Granted);
        assert_eq!(access.held_bytes(), 0);
    }

    #[test]
    fn a_connection_without_the_identity_that_is_required_can_present_a_token_and_nothing_else() {
        let mut access = Access::Denied(TokenError::Missing);
        assert_eq!(access.admit(mailbox(7), 10, MAX_BYTES), Admission::Reject(TokenError::Missing, Some(7)));
        let token = || Command::Token { token: "a.b.c".into(), since_user: None, since: Vec::new(), id: Some(1) };
        assert_eq!(access.admit(token(), 10, MAX_BYTES), Admission::Run(token()));
        assert_eq!(access.admit(ping(), 10, MAX_BYTES), Admission::Run(ping()));
    }
}
