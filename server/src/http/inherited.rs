//! Listening sockets that another program has opened for this server: systemd, with a `.socket` unit, or the server that this
//! one replaces.
//!
//! A socket belongs to the listener of the configuration with its address. It stays open while the server restarts, so
//! that clients that connect meanwhile wait instead of being refused. How the descriptors are passed is not known here.

use super::listener::ListenError;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<InheritedSocket>,
    /// Whether a server has passed them. Its configuration may have been another one.
    is_upgrade: bool,
}

#[derive(Debug)]
struct InheritedSocket {
    socket: Socket,
    origin: Origin,
}

/// Where a socket comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The path of a Unix socket. `None`: that to which it is bound.
    pub path: Option<PathBuf>,
    /// Whether its file belongs to systemd, and not to the server.
    pub is_of_systemd: bool,
}

/// A listening socket of this server, for the server that replaces it. It stays open as long as this value exists.
#[derive(Debug)]
pub struct ListeningSocket {
    descriptor: OwnedFd,
    origin: Origin,
    /// For a Unix socket: whether its file stays when this server has closed it.
    keeps_file: Option<Arc<AtomicBool>>,
}

// === impl ListeningSocket ===

impl ListeningSocket {
    pub(super) fn tcp(descriptor: OwnedFd) -> Self {
        Self { descriptor, origin: Origin::default(), keeps_file: None }
    }

    pub(super) fn unix(
        descriptor: OwnedFd,
        path: &Path,
        is_of_systemd: bool,
        keeps_file: &Arc<AtomicBool>,
    ) -> Self {
        let origin = Origin { path: Some(path.to_owned()), is_of_systemd };
        Self { descriptor, origin, keeps_file: Some(Arc::clone(keeps_file)) }
    }

    /// Gives it to another server. This one does not delete its file any more.
    pub fn pass_on(self) -> (OwnedFd, Origin) {
        if let Some(keeps_file) = &self.keeps_file {
            keeps_file.store(true, Relaxed);
        }
        (self.descriptor, self.origin)
    }
}

// === impl Inherited ===

impl Inherited {
    /// Sockets that systemd has opened.
    ///
    /// # Errors
    /// A descriptor is not a listening stream socket.
    pub fn new(descriptors: Vec<OwnedFd>) -> Result<Self, ListenError> {
        let of_systemd = || Origin { path: None, is_of_systemd: true };
        let sockets = descriptors.into_iter().map(|descriptor| (descriptor, of_systemd()));
        Ok(Self { sockets: usable(sockets)?, is_upgrade: false })
    }

    /// Sockets of the server that this one replaces.
    ///
    /// # Errors
    /// A descriptor is not a listening stream socket.
    pub fn of_server(sockets: Vec<(OwnedFd, Origin)>) -> Result<Self, ListenError> {
        Ok(Self { sockets: usable(sockets.into_iter())?, is_upgrade: true })
    }

    /// Takes the socket for one of these addresses. Of two addresses with the same port, one that is unspecified matches
    /// any.
    pub(super) fn take_tcp(&mut self, wanted: &[SocketAddr]) -> Option<TcpListener> {
        let matches = |own: SocketAddr| {
            wanted.iter().any(|one| {
                let is_same = one.ip().to_canonical() == own.ip().to_canonical();
                one.port() == own.port() && (is_same || one.ip().is_unspecified() && own.ip().is_unspecified())
            })
        };
        let address = |one: &InheritedSocket| one.socket.local_addr().ok()?.as_socket();
        let index = self.sockets.iter().position(|one| address(one).is_some_and(matches))?;
        Some(self.sockets.swap_remove(index).socket.into())
    }

    /// Takes the Unix socket at this path. The second value says whether its file belongs to systemd.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<(UnixListener, bool)> {
        let is_at = |one: &InheritedSocket| match &one.origin.path {
            Some(own) => own == path,
            None => {
                let is_unix = one.socket.domain().is_ok_and(|domain| domain == Domain::UNIX);
                is_unix && one.socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
            }
        };
        let index = self.sockets.iter().position(is_at)?;
        let InheritedSocket { socket, origin } = self.sockets.swap_remove(index);
        Some((socket.into(), origin.is_of_systemd))
    }

    /// Closes what the server before this one has listened to, and the configuration does not have any more.
    ///
    /// # Errors
    /// A socket of systemd is left over: the configuration has no listener for it.
    pub fn finish(self) -> Result<(), ListenError> {
        for InheritedSocket { socket, origin } in self.sockets {
            if !self.is_upgrade {
                return Err(ListenError::Inherited(name(&socket), "no listener has its address".into()));
            }
            let path = origin.path.as_ref().map(|path| path.display().to_string());
            tracing::info!(
                address = path.unwrap_or_else(|| name(&socket)),
                "a listener of the server before is closed: the configuration does not have it any more"
            );
            if let Some(path) = origin.path.filter(|_| !origin.is_of_systemd) {
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }
}

fn usable(sockets: impl Iterator<Item = (OwnedFd, Origin)>) -> Result<Vec<InheritedSocket>, ListenError> {
    let check = |(descriptor, origin): (OwnedFd, Origin)| {
        let socket = Socket::from(descriptor);
        let is_usable = socket.r#type().is_ok_and(|kind| kind == Type::STREAM)
            && socket.is_listener().unwrap_or(false)
            && socket.set_nonblocking(true).is_ok();
        match is_usable {
            true => Ok(InheritedSocket { socket, origin }),
            false => Err(ListenError::Inherited(name(&socket), "it is not a listening stream socket".into())),
        }
    };
    sockets.map(check).collect()
}

fn name(socket: &Socket) -> String {
    let Ok(address) = socket.local_addr() else { return "without an address".to_owned() };
    match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => address.to_string(),
        (None, Some(path)) => path.display().to_string(),
        (None, None) => "without an address".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(listener: TcpListener) -> Inherited {
        Inherited::new(vec![listener.into()]).unwrap()
    }

    #[test]
    fn a_socket_belongs_to_the_listener_with_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut one = inherited(listener);
        for other in [SocketAddr::from(([127, 0, 0, 2], address.port())), SocketAddr::from(([127, 0, 0, 1], 1))] {
            assert!(one.take_tcp(&[other]).is_none(), "{other}");
        }
        assert!(one.take_unix(Path::new("/tmp/none.sock")).is_none());
        assert_eq!(one.take_tcp(&[address]).unwrap().local_addr().unwrap(), address);
        one.finish().unwrap();
    }

    #[test]
    fn a_socket_for_which_no_listener_is_configured_is_an_error_that_names_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = inherited(listener).finish().unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("no listener has its address"), "{error}");
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = Inherited::new(vec![datagrams.into()]).unwrap_err().to_string();
        assert!(error.contains("not a listening stream socket"), "{error}");
    }

    #[test]
    fn a_unix_socket_belongs_to_the_listener_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let mut one = Inherited::new(vec![UnixListener::bind(&path).unwrap().into()]).unwrap();
        assert!(one.take_unix(Path::new("/tmp/none.sock")).is_none());
        assert!(one.take_unix(&path).is_some_and(|(_, is_of_systemd)| is_of_systemd));
    }

    /// A server binds its Unix sockets to other names first.
    #[test]
    fn sockets_of_the_server_before_are_taken_by_their_path_and_those_that_are_not_wanted_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let bind = |name: &str| {
            let (first, path) = (folder.path().join(format!("{name}-new")), folder.path().join(name));
            let listener = UnixListener::bind(&first).unwrap();
            std::fs::rename(first, &path).unwrap();
            (OwnedFd::from(listener), Origin { path: Some(path), is_of_systemd: false })
        };
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let mut all =
            Inherited::of_server(vec![bind("a.sock"), bind("b.sock"), (tcp.into(), Origin::default())]).unwrap();
        let (listener, is_of_systemd) = all.take_unix(&folder.path().join("a.sock")).unwrap();
        assert!(!is_of_systemd);
        all.finish().unwrap();
        assert!(folder.path().join("a.sock").exists() && !folder.path().join("b.sock").exists());
        assert!(std::net::TcpStream::connect(address).is_err());
        drop(listener);
    }
}
