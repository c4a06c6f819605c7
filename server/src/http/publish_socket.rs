//! The publish socket: a Unix socket through which programs on this machine publish without a key.
//!
//! The permissions of the socket decide who may use it: its owner and its group. It serves publishing and health checks
//! only, so that no proxy can forward clients to it by mistake.

use super::inherited::{Inherited, ListeningSocket};
use super::listener::ListenError;
use super::peer::Source;
use super::unix_socket::UnixSocket;
use super::{HttpService, connection};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::watch;

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// A bound publish socket, which does not accept yet. Its file is deleted on drop.
pub struct BoundSocket(UnixSocket);

// === impl BoundSocket ===

impl BoundSocket {
    /// Binds. Replaces the file of a server that no longer runs.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        Self::bind_or_take(path, &mut Inherited::default())
    }

    /// The same, or takes the socket of this path that another program has opened.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind_or_take(path: &Path, inherited: &mut Inherited) -> Result<Self, ListenError> {
        UnixSocket::bind_or_take(path, MODE, inherited).map(Self)
    }

    /// The socket for the server that replaces this one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn share(&self) -> io::Result<ListeningSocket> {
        self.0.share()
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Accepts and serves until `stop` is set. Then accepts no more.
    pub async fn serve(self, service: HttpService, mut stop: watch::Receiver<bool>) {
        loop {
            let (stream, user) = tokio::select! {
                accepted = self.0.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let (service, phase) = (service.clone(), service.new_phase());
            let Ok(admitted) = service.admit(stream.as_raw_fd(), Ipv4Addr::LOCALHOST.into(), &phase) else {
                service.http().metrics.rejected_connections.fetch_add(1, Relaxed);
                continue;
            };
            let (service, phase) = match admitted.limit {
                Some(_) => (service.health_checks_only(), service.new_phase()),
                None => (service, phase),
            };
            tokio::spawn(async move {
                let _admitted = admitted;
                connection::serve(stream, service, Source::PublishSocket(user), phase).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn only_an_unused_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("publish.sock");
        let first = BoundSocket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let error = BoundSocket::bind(&path).err().map(|error| error.to_string()).unwrap();
        assert!(error.contains("another program listens"), "{error}");
        drop(first);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a program that was killed leaves it");
        drop(BoundSocket::bind(&path).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(BoundSocket::bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
