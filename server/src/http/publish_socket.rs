//! The publish socket: a Unix socket through which programs on this machine publish without a key.
//!
//! The permissions of the socket decide who may use it: its owner and its group. It serves publishing and health checks
//! only, so that no proxy can forward clients to it by mistake.

use super::listener::ListenError;
use super::peer::Source;
use super::{HttpService, connection};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Owner and group may connect.
const MODE: u32 = 0o660;
/// Pause after the operating system refused to accept.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A bound publish socket, which does not accept yet. Its file is deleted on drop.
pub struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

// === impl BoundSocket ===

impl BoundSocket {
    /// Binds. Replaces the file of a server that no longer runs.
    ///
    /// # Errors
    /// [`ListenError::Socket`].
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let error = |reason: String| ListenError::Socket(path.to_owned(), reason);
        remove_unused(path).map_err(error)?;
        // The socket must not be usable by others, not even for a moment: it gets its name when it has its permissions.
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&new);
        let listener = UnixListener::bind(&new).map_err(|reason| error(reason.to_string()))?;
        let named = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(MODE))
            .and_then(|()| std::fs::rename(&new, path));
        if let Err(reason) = named {
            let _ = std::fs::remove_file(&new);
            return Err(error(reason.to_string()));
        }
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts and serves until `stop` is set. Then accepts no more.
    pub async fn serve(self, service: HttpService, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            };
            let Some(user) = user(&stream) else { continue };
            let service = service.clone();
            tokio::spawn(async move {
                let phase = service.new_phase();
                connection::serve(stream, service, Source::PublishSocket(user), phase).await;
            });
        }
    }
}

/// The user of the program at the other end.
fn user(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|credentials| credentials.uid())
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

#[cfg(test)]
mod tests {
    use super::*;

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
