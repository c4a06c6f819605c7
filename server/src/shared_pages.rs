//! Bytes in pages that the kernel sends to many sockets without a copy for each of them.
//!
//! A `write` copies the bytes for its socket. For a large batch to many members nearly all CPU time is these copies. The bytes
//! of a file in memory are copied once, into the file: `sendfile` hands its pages to each socket. They are never changed, and
//! live until the last socket has sent them, however long ago the file was closed.

use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes from which pages are cheaper than writes. Measured on loopback: the same at 8 KB, half of the CPU time at 64 KB.
pub(crate) const MIN_BYTES: usize = 16 * 1024;
/// Sockets from which it is worth the copy into the file.
pub(crate) const MIN_SOCKETS: usize = 8;
/// Files that may be open at the same time. A batch has one while its members are written to.
const MAX_FILES: usize = 64;

static OPEN_FILES: AtomicUsize = AtomicUsize::new(0);

/// Pages with bytes for many sockets.
#[derive(Debug)]
pub(crate) struct SharedPages {
    file: File,
    _open: OpenFile,
}

/// One of the [`OPEN_FILES`].
#[derive(Debug)]
struct OpenFile(());

// === impl OpenFile ===

impl OpenFile {
    /// `None`: too many are open.
    fn new() -> Option<Self> {
        let one = |open| (open < MAX_FILES).then_some(open + 1);
        OPEN_FILES.fetch_update(Relaxed, Relaxed, one).is_ok().then_some(Self(()))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        OPEN_FILES.fetch_sub(1, Relaxed);
    }
}

// === impl SharedPages ===

impl SharedPages {
    /// Pages with these bytes. `None`: they are too few, or for too few sockets, or the system has no file in memory for them.
    pub(crate) fn new(bytes: &[u8], sockets: usize) -> Option<Self> {
        if bytes.len() < MIN_BYTES || sockets < MIN_SOCKETS {
            return None;
        }
        let open = OpenFile::new()?;
        let mut file = File::from(memfd_create("nodevent-batch", MemfdFlags::CLOEXEC).ok()?);
        file.write_all(bytes).ok()?;
        Some(Self { file, _open: open })
    }

    /// Sends the first `length` bytes to a socket, as many as it accepts now.
    ///
    /// # Errors
    /// Those of `sendfile`. With [`is_unsupported`] the socket has received nothing, and the bytes can be written instead.
    pub(crate) fn send(&self, socket: impl AsFd, length: usize) -> io::Result<usize> {
        Ok(sendfile(socket, &self.file, Some(&mut 0), length)?)
    }
}

/// Whether an error means that the system does not send files to this socket, as some sandboxes do not.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % 251) as u8).collect()
    }

    #[test]
    fn what_is_sent_arrives_after_the_file_was_closed() {
        let (bytes, sockets) = (bytes(3 * MIN_BYTES + 7), [pair(), pair()]);
        let pages = SharedPages::new(&bytes, MIN_SOCKETS).unwrap();
        let sent = sockets.each_ref().map(|(server, _)| pages.send(server, bytes.len()).unwrap());
        drop(pages);
        for ((server, mut client), sent) in sockets.into_iter().zip(sent) {
            drop(server);
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert_eq!(received, bytes[..sent]);
        }
    }

    #[test]
    fn a_socket_that_is_full_accepts_a_part_and_then_nothing() {
        let bytes = bytes(8 * 1024 * 1024);
        let pages = SharedPages::new(&bytes, MIN_SOCKETS).unwrap();
        let (server, mut client) = pair();
        server.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let blocked = loop {
            match pages.send(&server, bytes.len()) {
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 0);
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            client.read_to_end(&mut received).map(|_| received)
        });
        drop(server);
        let received = reader.join().unwrap().unwrap();
        assert_eq!(received.len(), sent);
        assert!(received.starts_with(&bytes[..MIN_BYTES]));
    }

    #[test]
    fn a_socket_that_is_closed_is_an_error_that_no_write_would_avoid() {
        let (server, client) = pair();
        drop(client);
        let pages = SharedPages::new(&bytes(MIN_BYTES), MIN_SOCKETS).unwrap();
        let error = (0..1000).find_map(|_| pages.send(&server, MIN_BYTES).err()).unwrap();
        assert!(!is_unsupported(&error), "{error}");
    }

    #[test]
    fn few_bytes_and_few_sockets_need_no_pages() {
        assert!(SharedPages::new(&bytes(MIN_BYTES - 1), MIN_SOCKETS).is_none());
        assert!(SharedPages::new(&bytes(MIN_BYTES), MIN_SOCKETS - 1).is_none());
    }
}
