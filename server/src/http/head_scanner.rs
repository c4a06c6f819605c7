//! Checks the framing of requests where the HTTP library is lenient.
//!
//! The library accepts a bare LF as the end of a line, and a request with both `Content-Length` and
//! `Transfer-Encoding`. A proxy in front of the server may understand such a request differently, and then two clients
//! share a request (request smuggling). The scanner sees every byte that arrives, and knows where heads begin: after a
//! body whose length is known. After a body of chunks and after a request for another protocol it does not know, so
//! `connection` ends such a connection with its response.
//!
//! # Source
//! RFC 9112, sections 2.2, 6.1 and 6.3.

/// Bytes of a line that are kept. Enough for the headers that matter: if one of these is longer, it is invalid.
const KEPT: usize = 64;

/// A framing error of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum BadFraming {
    /// A line ends with LF alone.
    #[error("a line of the request ends with LF alone")]
    BareLineFeed,
    /// Two lengths, or one that is not a number.
    #[error("the length of the request's body is ambiguous")]
    Length,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct HeadScanner {
    /// Bytes of the body that have not arrived.
    body: u64,
    /// Whether what follows cannot be checked.
    is_unknown: bool,
    /// The beginning of the present line.
    line: [u8; KEPT],
    /// Bytes of the present line.
    length: usize,
    /// Whether the last byte was CR.
    after_cr: bool,
    /// Whether a line of the head has been complete.
    has_begun: bool,
    content_length: Option<u64>,
    is_chunked: bool,
    is_upgrade: bool,
}

// === impl HeadScanner ===

impl HeadScanner {
    /// Checks bytes in the order in which they arrive.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> Result<(), BadFraming> {
        while !bytes.is_empty() && !self.is_unknown {
            let skipped = usize::try_from(self.body).unwrap_or(usize::MAX).min(bytes.len());
            self.body -= skipped as u64;
            bytes = &bytes[skipped..];
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.append(bytes);
                return Ok(());
            };
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.length == 0 {
                // Nothing of it has arrived before.
                if line.last() != Some(&b'\r') {
                    return Err(BadFraming::BareLineFeed);
                }
                self.on_line(&line[..KEPT.min(line.len())], line.len())?;
                continue;
            }
            self.append(line);
            if !self.after_cr {
                return Err(BadFraming::BareLineFeed);
            }
            let (line, length) = (self.line, std::mem::take(&mut self.length));
            self.after_cr = false;
            self.on_line(&line[..KEPT.min(length)], length)?;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        let free = self.line.get_mut(self.length..).unwrap_or_default();
        let kept = free.len().min(bytes.len());
        free[..kept].copy_from_slice(&bytes[..kept]);
        self.length += bytes.len();
        self.after_cr = *last == b'\r';
    }

    /// A line is complete. `kept` is its beginning, `length` the number of its bytes with the CR.
    fn on_line(&mut self, kept: &[u8], length: usize) -> Result<(), BadFraming> {
        if length == 1 {
            // An empty line before a request is ignored, as the library does.
            return if std::mem::take(&mut self.has_begun) { self.end_head() } else { Ok(()) };
        }
        self.has_begun = true;
        let line = &kept[..kept.len().min(length - 1)];
        let Some(colon) = memchr::memchr(b':', line) else { return Ok(()) };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.is_upgrade = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let is_number = length <= KEPT && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            let number = number.filter(|_| is_number).ok_or(BadFraming::Length)?;
            if self.content_length.replace(number).is_some() {
                return Err(BadFraming::Length);
            }
        }
        Ok(())
    }

    fn end_head(&mut self) -> Result<(), BadFraming> {
        let length = self.content_length.take();
        if self.is_chunked && length.is_some() {
            return Err(BadFraming::Length);
        }
        self.is_unknown = self.is_chunked || self.is_upgrade;
        self.body = length.unwrap_or(0);
        Ok(())
    }
}

impl Default for HeadScanner {
    fn default() -> Self {
        Self {
            body: 0,
            is_unknown: false,
            line: [0; KEPT],
            length: 0,
            after_cr: false,
            has_begun: false,
            content_length: None,
            is_chunked: false,
            is_upgrade: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans a text at once and byte by byte, which must have the same result.
    fn scan(text: &str) -> Result<bool, BadFraming> {
        let mut whole = HeadScanner::default();
        let at_once = whole.scan(text.as_bytes()).map(|()| whole.is_unknown);
        let mut bytewise = HeadScanner::default();
        let one_by_one = text.as_bytes().chunks(1).try_for_each(|byte| bytewise.scan(byte));
        assert_eq!(one_by_one.map(|()| bytewise.is_unknown), at_once, "{text:?}");
        at_once
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn requests_one_after_the_other_are_accepted_with_any_bytes_in_their_bodies() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:  6 \r\n\r\n\n\n\r\n\n\n";
        assert_eq!(scan(&format!("{GET}{post}{GET}\r\n{GET}{post}")), Ok(false));
    }

    #[test]
    fn bare_line_feed_is_rejected_in_every_line_of_every_head() {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\n\n";
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nX: a\nY: b\r\n\r\n",
            "\nGET / HTTP/1.1\r\n\r\n",
        ] {
            for before in ["", GET, post] {
                assert_eq!(scan(&format!("{before}{head}")), Err(BadFraming::BareLineFeed), "{before}{head}");
            }
        }
    }

    #[test]
    fn ambiguous_length_is_rejected() {
        for headers in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            "Content-Length: 1\r\nContent-Length: 2",
            "Content-Length: 1\r\ncontent-length: 1",
            "Content-Length: +1",
            "Content-Length: 1, 1",
            "Content-Length:",
            "Content-Length: 99999999999999999999999",
            "Content-Length: 0000000000000000000000000000000000000000000000000000000000000000000001",
        ] {
            assert_eq!(
                scan(&format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n")),
                Err(BadFraming::Length),
                "{headers}"
            );
        }
    }

    #[test]
    fn what_follows_chunks_or_an_upgrade_is_unknown() {
        assert_eq!(scan("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n"), Ok(true));
        assert_eq!(scan("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n"), Ok(true));
    }
}
