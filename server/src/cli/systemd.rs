//! The interface of systemd: what the service has been given, and what it reports.
//!
//! Owns the unsafe code for it: the clock that systemd compares with, and the descriptors that it passes. A server that replaces
//! itself passes them in the same way ([`super::upgrade`]).
//!
//! # Source
//! sd_notify(3), sd_listen_fds(3), systemd.service(5) on `Type=notify-reload`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use tokio::signal::unix::SignalKind;

/// The first descriptor that is passed.
const FIRST_DESCRIPTOR: i32 = 3;
/// The most descriptors that are taken.
const MAX_DESCRIPTORS: i32 = 256;

/// A state of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has started, or a reload is complete.
    Ready,
    /// It reads its configuration again.
    Reloading,
    /// It stops.
    Stopping,
}

/// Reports a state to systemd, if it has started this process and waits for that.
pub(super) fn notify(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let message = match state {
        State::Ready => "READY=1".to_owned(),
        State::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_microseconds()),
        State::Stopping => "STOPPING=1".to_owned(),
    };
    if let Err(error) = send(&socket, message.as_bytes()) {
        tracing::warn!(%error, "systemd was not notified");
    }
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let datagram = UnixDatagram::unbound()?;
    match socket.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            datagram.send_to_addr(message, &address)?;
        }
        #[cfg(not(target_os = "linux"))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => {
            datagram.send_to(message, Path::new(socket))?;
        }
    }
    Ok(())
}

/// CLOCK_MONOTONIC, which systemd compares with the time of its own signal.
fn monotonic_microseconds() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the result.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    if result == 0 { now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000 } else { 0 }
}

/// Takes the descriptors that systemd passes to this process. Called one time, before other threads and descriptors exist.
pub(super) fn take_descriptors() -> Vec<OwnedFd> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<i32>().ok();
    let is_ours = number("LISTEN_PID") == i32::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or(0).clamp(0, MAX_DESCRIPTORS);
    (FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + count).filter_map(take).collect()
}

/// Gives descriptors the numbers with which systemd would pass them, and lets the next program have them. They are open then
/// until this process executes it. Whatever has these numbers is closed, so nothing else may use descriptors any more.
///
/// # Errors
/// Those of the operating system.
pub(super) fn pass_descriptors(descriptors: Vec<OwnedFd>) -> io::Result<()> {
    let end = FIRST_DESCRIPTOR + i32::try_from(descriptors.len()).unwrap_or(MAX_DESCRIPTORS);
    // Out of the way of each other.
    let moved = descriptors.iter().map(|one| rustix::io::fcntl_dupfd_cloexec(one, end));
    let moved = moved.collect::<Result<Vec<_>, _>>()?;
    // Their numbers belong to others from now on.
    for descriptor in descriptors {
        let _ = descriptor.into_raw_fd();
    }
    for (number, descriptor) in (FIRST_DESCRIPTOR..end).zip(&moved) {
        // SAFETY: the caller says that what had this number is not used any more.
        if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Ignores a signal from now on, also in the program that this process executes until that handles it.
pub(super) fn ignore(signal: SignalKind) {
    // SAFETY: no handler of this process depends on it.
    unsafe { libc::signal(signal.as_raw_value(), libc::SIG_IGN) };
}

fn take(descriptor: i32) -> Option<OwnedFd> {
    // SAFETY: only the flags of a descriptor are read, and a number that is none is an error.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    if flags < 0 {
        return None;
    }
    // SAFETY: systemd has passed this open descriptor to this process alone, and nothing else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // Programs that are started later do not inherit it.
    // SAFETY: it is open.
    unsafe { libc::fcntl(owned.as_raw_fd(), libc::F_SETFD, flags | libc::FD_CLOEXEC) };
    Some(owned)
}
