//! The result of a command: exit status and message.

use std::process::ExitCode;

/// An exit status other than 0, as in sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// The configuration or the command line is wrong (EX_USAGE).
    Usage = 64,
    /// Something that is needed is unavailable, e.g. a port (EX_UNAVAILABLE).
    Unavailable = 69,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit status.
    pub(crate) status: ExitStatus,
    /// Message for standard error.
    pub(crate) message: String,
}

/// The result of a command.
pub(crate) type CommandResult<T = ()> = Result<T, Failure>;

// === impl Failure ===

impl Failure {
    /// The configuration or the command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { status: ExitStatus::Usage, message: message.into() }
    }

    /// Something that is needed is unavailable.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { status: ExitStatus::Unavailable, message: message.into() }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
