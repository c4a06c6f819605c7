//! An upgrade in place: at SIGUSR2 the server executes the program at its own path again, which may be a newer version. The
//! process id stays the same, so whatever supervises the process does not notice it.
//!
//! The listening sockets stay open. Clients that connect meanwhile wait until the new program accepts them. They are passed as
//! systemd passes sockets, with a variable that says which is which.

use super::{Source, systemd};
use nodevent_server::http::{Inherited, ListenError, SocketOrigin};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use tokio::signal::unix::SignalKind;

/// What the sockets are that the program before has passed: a JSON array with one object for each.
const SOCKETS: &str = "NODEVENT_UPGRADE_SOCKETS";

/// The program as it was started.
#[derive(Debug)]
pub(super) struct Program {
    name: OsString,
    arguments: Vec<OsString>,
}

/// The listening sockets that this process was given, by systemd or by the program before.
///
/// # Errors
/// One of them cannot be used.
pub(super) fn inherited() -> Result<Inherited, ListenError> {
    let descriptors = systemd::take_descriptors();
    let origins = std::env::var(SOCKETS).ok().and_then(|text| serde_json::from_str::<Vec<Value>>(&text).ok());
    match origins.filter(|_| !descriptors.is_empty()) {
        None => Inherited::new(descriptors),
        Some(origins) => {
            let origins = origins.iter().map(origin).chain(std::iter::repeat_with(SocketOrigin::default));
            Inherited::of_server(descriptors.into_iter().zip(origins).collect())
        }
    }
}

fn origin(value: &Value) -> SocketOrigin {
    let is_of_systemd = value["is_of_systemd"] == true;
    SocketOrigin { path: value["path"].as_str().map(Into::into), is_of_systemd }
}

// === impl Program ===

impl Program {
    /// This program.
    pub(super) fn current() -> Self {
        let mut all = std::env::args_os();
        Self { name: all.next().unwrap_or_else(|| "nodevent".into()), arguments: all.collect() }
    }

    /// Whether the program at this path accepts the configuration. A program that does not would not start.
    ///
    /// # Errors
    /// Its own words.
    pub(super) fn check(&self, source: &Source) -> Result<(), String> {
        let mut command = Command::new(&self.name);
        command.args(["check", "--offline"]);
        command.args(source.web_service.iter().flat_map(|folder| ["--web-service".as_ref(), folder.as_os_str()]));
        command.args(&source.file);
        let name = self.name.display();
        let output = command.output().map_err(|error| format!("{name} cannot be started: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let printed = String::from_utf8_lossy(&output.stderr);
                let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                Err(format!("{name} check --offline: {}", lines.join("; ")))
            }
        }
    }

    /// Executes the program in the place of this one. Nothing else of this process may run any more.
    ///
    /// # Errors
    /// It returns only if the program cannot be executed. The sockets are closed when this process ends.
    pub(super) fn execute(&self, sockets: Vec<(OwnedFd, SocketOrigin)>) -> io::Error {
        let describe = |(descriptor, SocketOrigin { path, is_of_systemd })| {
            let path = path.map(|path| path.to_string_lossy().into_owned());
            (descriptor, json!({"path": path, "is_of_systemd": is_of_systemd}))
        };
        let (descriptors, origins): (Vec<OwnedFd>, Vec<Value>) = sockets.into_iter().map(describe).unzip();
        let count = descriptors.len();
        if let Err(error) = systemd::pass_descriptors(descriptors) {
            return error;
        }
        // Until the new program has its own handlers, these signals would end it.
        systemd::ignore(SignalKind::user_defined2());
        systemd::ignore(SignalKind::hangup());
        let mut command = Command::new(&self.name);
        command.args(&self.arguments).env("LISTEN_PID", std::process::id().to_string());
        command.env("LISTEN_FDS", count.to_string()).env(SOCKETS, Value::from(origins).to_string());
        command.exec()
    }
}
