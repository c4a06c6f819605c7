//! A Unix socket: its file, its permissions, and the user at the other end of a connection.

use super::inherited::{Inherited, ListeningSocket};
use super::listener::ListenError;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// Pause after the operating system refused to accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A bound socket. Its file is deleted on drop, unless it belongs to systemd or to the server that replaces this one.
pub(super) struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    is_of_systemd: bool,
    keeps_file: Arc<AtomicBool>,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if !self.keeps_file.load(Relaxed) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

// === impl UnixSocket ===

impl UnixSocket {
    /// Takes the socket of this path that another program has opened, or binds one with these permissions.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub(super) fn bind_or_take(path: &Path, mode: u32, inherited: &mut Inherited) -> Result<Self, ListenError> {
        match inherited.take_unix(path) {
            Some((listener, is_of_systemd)) => Self::inherit(listener, path, is_of_systemd),
            None => Self::bind(path, mode),
        }
    }

    /// Binds a socket with these permissions. Replaces the file of a server that no longer runs.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub(super) fn bind(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let error = |reason: String| ListenError::Socket(path.to_owned(), reason);
        remove_unused(path).map_err(error)?;
        // The socket must not be usable by others, not even for a moment: it gets its name when it has its permissions.
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(|reason| error(reason.to_string()))?;
        let named = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))
            .and_then(|()| std::fs::rename(&new, path));
        if let Err(reason) = named {
            let _ = std::fs::remove_file(&new);
            return Err(error(reason.to_string()));
        }
        Ok(Self::new(listener, path, false))
    }

    fn inherit(
        listener: std::os::unix::net::UnixListener,
        path: &Path,
        is_of_systemd: bool,
    ) -> Result<Self, ListenError> {
        let listener = UnixListener::from_std(listener)
            .map_err(|reason| ListenError::Socket(path.to_owned(), reason.to_string()))?;
        Ok(Self::new(listener, path, is_of_systemd))
    }

    fn new(listener: UnixListener, path: &Path, is_of_systemd: bool) -> Self {
        Self { listener, path: path.to_owned(), is_of_systemd, keeps_file: Arc::new(is_of_systemd.into()) }
    }

    /// The socket for the server that replaces this one.
    pub(super) fn share(&self) -> io::Result<ListeningSocket> {
        let descriptor = self.listener.as_fd().try_clone_to_owned()?;
        Ok(ListeningSocket::unix(descriptor, &self.path, self.is_of_systemd, &self.keeps_file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts a connection.
    ///
    /// # Errors
    /// Those of the operating system.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn try_accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Accepts a connection. The second value is the user of the program at its other end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn accept(&self) -> (UnixStream, u32) {
        loop {
            match self.try_accept().await {
                Ok(stream) => {
                    if let Ok(credentials) = stream.peer_cred() {
                        return (stream, credentials.uid());
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
            }
        }
    }
}

/// Deletes a socket on which no program listens. Reports one in use, and a file that is not a socket.
fn remove_unused(path: &Path) -> Result<(), String> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.file_type().is_socket() {
        return Err("the file exists and is not a socket; name another path".to_owned());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another program listens on it; stop it, or name another path".to_owned()),
        Err(_) => std::fs::remove_file(path).map_err(|error| error.to_string()),
    }
}
