//! The header of the PROXY protocol, with which a load balancer names the client of a TCP connection.
//!
//! Owns the reading of exactly the header, so that what follows it is still unread. Who is allowed to send one is
//! decided by `listener`.
//!
//! # Source
//! "The PROXY protocol", versions 1 and 2, by HAProxy.

use ppp::{v1, v2};
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The shortest header of version 1 is `PROXY UNKNOWN` with its line break. Bytes.
const SHORTEST: usize = 15;
/// The longest header of version 1. Bytes.
const MAX_TEXT: usize = 107;
/// The fixed part of version 2. Bytes.
const FIXED: usize = 16;
/// The longest variable part of version 2: addresses and what load balancers add to them. Bytes.
const MAX_VARIABLE: usize = 2048;

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ProxyError {
    /// It begins with something else.
    #[error("it does not begin with a header of the PROXY protocol")]
    Missing,
    /// The header contradicts the protocol.
    #[error("its header of the PROXY protocol is invalid")]
    Invalid,
    /// It ended, or broke.
    #[error("it ended within the header of the PROXY protocol")]
    Ended,
}

/// Reads the header. Returns the address of the client, or `None` if the proxy does not name one: it checks this
/// server, or the client has no IP address.
///
/// # Cancel safety
/// Not cancel safe: what was read is lost.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyError> {
    let mut header = vec![0; SHORTEST];
    // A client that speaks something else may send less and wait.
    for filled in 0..SHORTEST {
        stream.read_exact(&mut header[filled..=filled]).await.map_err(|_| ProxyError::Ended)?;
        let begun = &header[..=filled];
        if !is_beginning(begun, v2::PROTOCOL_PREFIX) && !is_beginning(begun, b"PROXY ") {
            return Err(ProxyError::Missing);
        }
    }
    match header.starts_with(v2::PROTOCOL_PREFIX) {
        true => read_binary(stream, header).await,
        false => read_text(stream, header).await,
    }
}

/// Whether the shorter of both is the beginning of the longer.
fn is_beginning(bytes: &[u8], prefix: &[u8]) -> bool {
    let length = bytes.len().min(prefix.len());
    bytes[..length] == prefix[..length]
}

async fn read_text(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, ProxyError> {
    while !header.ends_with(b"\r\n") {
        if header.len() == MAX_TEXT {
            return Err(ProxyError::Invalid);
        }
        header.push(stream.read_u8().await.map_err(|_| ProxyError::Ended)?);
    }
    let header = v1::Header::try_from(&*header).map_err(|_| ProxyError::Invalid)?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        v1::Addresses::Tcp6(addresses) => Some(IpAddr::from(addresses.source_address).to_canonical()),
    })
}

async fn read_binary(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> Result<Option<IpAddr>, ProxyError> {
    let mut read = async |length: usize| {
        let begun = header.len();
        header.resize(begun + length, 0);
        stream.read_exact(&mut header[begun..]).await.map_err(|_| ProxyError::Ended)
    };
    read(FIXED - SHORTEST).await?;
    let length = usize::from(u16::from_be_bytes([header[FIXED - 2], header[FIXED - 1]]));
    if length > MAX_VARIABLE {
        return Err(ProxyError::Invalid);
    }
    let begun = header.len();
    header.resize(begun + length, 0);
    stream.read_exact(&mut header[begun..]).await.map_err(|_| ProxyError::Ended)?;
    let header = v2::Header::try_from(&*header).map_err(|_| ProxyError::Invalid)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
        v2::Addresses::IPv6(addresses) => Some(IpAddr::from(addresses.source_address).to_canonical()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &[u8] = b"GET / HTTP/1.1\r\n";

    /// Reads a header, and checks that what follows it is unread.
    async fn client(header: &[u8]) -> Option<IpAddr> {
        let bytes = [header, REST].concat();
        let mut stream = &bytes[..];
        let client = read(&mut stream).await.unwrap();
        assert_eq!(stream, REST);
        client
    }

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, body].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client() {
        let v4 = binary(1, 0x11, &[203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, 0, 80]);
        let with_extension = binary(1, 0x11, &[203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, 0, 80, 0x04, 0, 2, 7, 7]);
        let mut v6 = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        v6.extend([0; 20]);
        for (header, expected) in [
            (b"PROXY TCP4 203.0.113.9 127.0.0.1 8080 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY TCP6 2001:db8::9 ::1 8080 80\r\n".to_vec(), Some("2001:db8::9")),
            (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 8080 80\r\n".to_vec(), Some("203.0.113.9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (v4, Some("203.0.113.9")),
            (with_extension, Some("203.0.113.9")),
            (binary(1, 0x21, &v6), Some("2001:db8::9")),
            (binary(0, 0, &[]), None),
            (binary(0, 0x11, &[203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, 0, 80]), None),
            (binary(1, 0x31, &[0; 216]), None),
        ] {
            assert_eq!(client(&header).await, expected.map(|text| text.parse().unwrap()), "{header:?}");
        }
    }

    #[tokio::test]
    async fn what_is_not_a_header_is_rejected_at_its_first_wrong_byte() {
        for bytes in ["G", "GET / HTTP/1.1\r\n", "PROXZ", "proxy tcp4", "\r\n\r\n\0\r\nQUIX", "\x16\x03\x01"] {
            assert!(matches!(read(&mut bytes.as_bytes()).await, Err(ProxyError::Missing)), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn invalid_headers_are_rejected_and_never_read_beyond_their_limit() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 4096]].concat();
        let addresses = [203, 0, 113, 9, 127, 0, 0, 1, 0x1f, 0x90, 0, 80];
        for bytes in [
            b"PROXY TCP4 203.0.113.9 127.0.0.1 8080\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::9 ::1 8080 80\r\n".to_vec(),
            b"PROXY TCP5 203.0.113.9 127.0.0.1 8080 80\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.999 127.0.0.1 8080 80\r\n".to_vec(),
            endless,
            binary(2, 0x11, &addresses),
            binary(1, 0x11, &addresses[..8]),
            binary(1, 0x11, &[0; MAX_VARIABLE + 1]),
        ] {
            let mut stream = &bytes[..];
            assert!(
                matches!(read(&mut stream).await, Err(ProxyError::Invalid)),
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
            assert!(bytes.len() - stream.len() <= MAX_VARIABLE);
        }
        for bytes in [&b""[..], b"PROXY TCP4 203.0", &binary(1, 0x11, &addresses)[..20]] {
            assert!(matches!(read(&mut &bytes[..]).await, Err(ProxyError::Ended)), "{bytes:?}");
        }
    }
}
