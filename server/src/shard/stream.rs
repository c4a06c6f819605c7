//! A socket without a task: plain TCP, or TLS above it. It is read and written only when it is ready.

use crate::shared_pages::{self, SharedPages};
use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::ServerConnection;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// A connected socket.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    /// Whether it is reported when it becomes writable.
    reports_writable: bool,
}

// === impl Stream ===

impl Stream {
    /// A plain socket, non-blocking already.
    pub fn plain(tcp: std::net::TcpStream) -> Self {
        Self { tcp: TcpStream::from_std(tcp), tls: None, reports_writable: false }
    }

    /// A socket whose TLS handshake is done, non-blocking already.
    pub fn tls(tcp: std::net::TcpStream, tls: ServerConnection) -> Self {
        Self { tls: Some(Box::new(tls)), ..Self::plain(tcp) }
    }

    /// Whether a read that fills less than it could has emptied the socket.
    pub(super) fn short_read_means_drained(&self) -> bool {
        self.tls.is_none()
    }

    /// Registers the socket with `token`. It is reported each time it becomes readable. A new socket is writable, so that
    /// this would be a report about nothing. With TLS, what was accepted may still wait.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.tls.is_none() {
            return self.tcp.register(registry, token, Interest::READABLE);
        }
        self.reports_writable = true;
        self.tcp.register(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Registers the socket with another token. It is reported each time it becomes readable or writable.
    pub(super) fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.reports_writable = true;
        self.tcp.reregister(registry, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Has the socket, which has refused something, reported each time it becomes writable.
    pub(super) fn report_writable(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        if self.reports_writable { Ok(()) } else { self.reregister(registry, token) }
    }

    /// Reads. `Ok(0)`: the other side has ended.
    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.read(into) };
        loop {
            match tls.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if tls.read_tls(&mut self.tcp)? == 0 {
                return Ok(0);
            }
            if let Err(error) = tls.process_new_packets() {
                // Let the alert go out, then give up.
                let _ = tls.write_tls(&mut self.tcp);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Writes as much as the socket accepts now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.tls {
            None => self.tcp.write(bytes),
            Some(_) => self.write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// The same, of bytes that are in `pages` too.
    pub(super) fn write_pages(&mut self, pages: &SharedPages, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.write(bytes);
        }
        match pages.send(&self.tcp, bytes.len()) {
            Err(error) if shared_pages::is_unsupported(&error) => self.write(bytes),
            sent => sent,
        }
    }

    /// Writes as much of several parts as the socket accepts now.
    pub(super) fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.tcp.write_vectored(parts) };
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let mut taken = tls.writer().write_vectored(parts)?;
        // TLS accepts a part at a time. The socket is reported as writable only after it has refused something, so this
        // continues until it does.
        while self.flush()? {
            if taken == all {
                return Ok(all);
            }
            taken += self.encrypt_from(parts, taken)?;
        }
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Encrypts what follows the first `taken` bytes of `parts`, as far as that part goes and TLS accepts it.
    fn encrypt_from(&mut self, parts: &[IoSlice<'_>], taken: usize) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return Ok(0) };
        let mut skip = taken;
        for part in parts {
            match part.get(skip..) {
                Some(rest) if !rest.is_empty() => return tls.writer().write(rest),
                _ => skip -= part.len(),
            }
        }
        Ok(0)
    }

    /// Writes what TLS has encrypted. Returns `false` if the socket does not accept all of it now.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Ends the stream in the direction to the client.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush();
        }
        let _ = self.tcp.shutdown(Shutdown::Write);
    }
}
