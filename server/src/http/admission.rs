//! Which accepted sockets are served: all, or only their health checks, or none.
//!
//! Owns two limits. `limits: max_http_connections` bounds the sockets that are not WebSockets. Some descriptors are reserved,
//! so that the admin listener, health checks and the connection to Redis work when clients use up all the others. The
//! operating system gives an accepted socket the lowest free descriptor, so a high one means that all below are in use.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that clients do not get.
const RESERVED: u64 = 64;
/// With few descriptors, one of so many is reserved.
const RESERVED_SHARE: u64 = 4;
/// Sockets at a time that are served although a limit is reached, for health checks.
const HEALTH_CHECKS: usize = 8;

/// The counted sockets of all public listeners.
#[derive(Debug)]
pub(super) struct Admission {
    max: usize,
    /// The lowest descriptor that is reserved. `None`: there is no limit of open files.
    reserved_from: Option<u64>,
    open: Arc<AtomicUsize>,
    health_checks: Arc<Semaphore>,
}

/// An accepted socket that is served, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Why only health checks are served. `None`: everything is.
    pub(super) limit: Option<Limit>,
    _counted: Option<Counted>,
    _health_check: Option<OwnedSemaphorePermit>,
}

/// The limit that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// `limits: max_http_connections`.
    HttpConnections,
    /// The open files of the process.
    OpenFiles,
}

/// A socket that counts as open until this is dropped.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

// === impl Admission ===

impl Admission {
    /// # Units
    /// `open_files` is the limit of descriptors of this process.
    pub(super) fn new(max: usize, open_files: Option<u64>) -> Self {
        let reserved_from = open_files.map(|limit| limit - RESERVED.min(limit / RESERVED_SHARE));
        let health_checks = Arc::new(Semaphore::new(HEALTH_CHECKS));
        Self { max, reserved_from, open: Arc::default(), health_checks }
    }

    /// Decides about a socket.
    ///
    /// # Errors
    /// The limit that was reached: the socket is to be closed.
    pub(super) fn admit(&self, descriptor: RawFd) -> Result<Admitted, Limit> {
        let is_reserved = self.reserved_from.is_some_and(|first| descriptor as u64 >= first);
        let counted = Counted(Arc::clone(&self.open));
        let is_full = self.open.fetch_add(1, Relaxed) >= self.max;
        let limit = match (is_reserved, is_full) {
            (true, _) => Limit::OpenFiles,
            (false, true) => Limit::HttpConnections,
            (false, false) => return Ok(Admitted { limit: None, _counted: Some(counted), _health_check: None }),
        };
        let permit = Arc::clone(&self.health_checks).try_acquire_owned().map_err(|_| limit)?;
        Ok(Admitted { limit: Some(limit), _counted: None, _health_check: Some(permit) })
    }
}

// === impl Admitted ===

impl Admitted {
    /// A socket to which no limit applies.
    pub(super) const UNLIMITED: Self = Self { limit: None, _counted: None, _health_check: None };
}

// === impl Limit ===

impl Limit {
    /// The reason and the fix, for the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::HttpConnections => "`limits: max_http_connections` is reached",
            Self::OpenFiles => "too many files are open; raise LimitNOFILE or `ulimit -n`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(admission: &Admission, descriptor: RawFd) -> Option<Limit> {
        admission.admit(descriptor).unwrap().limit
    }

    #[test]
    fn sockets_count_until_they_are_dropped() {
        let admission = Admission::new(2, None);
        let (one, two) = (admission.admit(3).unwrap(), admission.admit(4).unwrap());
        assert_eq!((one.limit, two.limit), (None, None));
        let checks: Vec<_> = (0..HEALTH_CHECKS).map(|_| admission.admit(1000).unwrap()).collect();
        assert!(checks.iter().all(|one| one.limit == Some(Limit::HttpConnections)));
        assert_eq!(admission.admit(5).unwrap_err(), Limit::HttpConnections);
        drop(checks);
        assert_eq!(limit(&admission, 5), Some(Limit::HttpConnections));
        drop(one);
        assert_eq!(limit(&admission, 5), None);
    }

    #[test]
    fn high_descriptors_are_reserved_for_health_checks() {
        for (open_files, first) in [(1024, 960), (256, 192), (64, 48), (8, 6)] {
            let admission = Admission::new(1_000_000, Some(open_files));
            assert_eq!(limit(&admission, first - 1), None, "{open_files}");
            assert_eq!(limit(&admission, first), Some(Limit::OpenFiles), "{open_files}");
        }
    }
}
