//! Listening sockets that another program has opened for this server: systemd, with a `.socket` unit.
//!
//! A socket belongs to the listener of the configuration with its address. It stays open while the server restarts, so
//! that clients that connect meanwhile wait instead of being refused. Who has passed the descriptors is not known here.

use super::listener::ListenError;
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Socket>);

// === impl Inherited ===

impl Inherited {
    /// # Errors
    /// A descriptor is not a listening stream socket.
    pub fn new(descriptors: Vec<OwnedFd>) -> Result<Self, ListenError> {
        let sockets: Vec<Socket> = descriptors.into_iter().map(Socket::from).collect();
        for socket in &sockets {
            let is_usable = socket.r#type().is_ok_and(|kind| kind == Type::STREAM)
                && socket.is_listener().unwrap_or(false)
                && socket.set_nonblocking(true).is_ok();
            if !is_usable {
                return Err(ListenError::Inherited(name(socket), "it is not a listening stream socket".into()));
            }
        }
        Ok(Self(sockets))
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
        let address = |socket: &Socket| socket.local_addr().ok()?.as_socket();
        let index = self.0.iter().position(|socket| address(socket).is_some_and(matches))?;
        Some(self.0.swap_remove(index).into())
    }

    /// Takes the Unix socket at this path.
    pub(super) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let is_at = |socket: &Socket| {
            let is_unix = socket.domain().is_ok_and(|domain| domain == Domain::UNIX);
            is_unix && socket.local_addr().is_ok_and(|address| address.as_pathname() == Some(path))
        };
        let index = self.0.iter().position(is_at)?;
        Some(self.0.swap_remove(index).into())
    }

    /// # Errors
    /// A socket is left over: the configuration has no listener for it.
    pub fn finish(self) -> Result<(), ListenError> {
        match self.0.first() {
            None => Ok(()),
            Some(socket) => Err(ListenError::Inherited(name(socket), "no listener has its address".into())),
        }
    }
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
        assert!(one.take_unix(&path).is_some());
    }
}
