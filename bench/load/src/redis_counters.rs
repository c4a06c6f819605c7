//! What Redis counts about itself.

use anyhow::{Context as _, bail};
use serde::Serialize;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// Counters of one node.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Counters {
    /// Bytes sent to clients.
    pub(crate) output_bytes: u64,
    /// Writes to sockets.
    pub(crate) writes: u64,
    /// Bytes allocated.
    pub(crate) memory: u64,
}

// === impl Counters ===

impl Counters {
    /// Reads the counters of a node.
    pub(crate) fn read(node: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(node).with_context(|| format!("cannot reach {node}"))?;
        stream.write_all(b"INFO everything\r\n")?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        reader.read_line(&mut head)?;
        // The reply is a bulk string, which begins with its length.
        let Some(length) = head.strip_prefix('$').and_then(|length| length.trim().parse().ok()) else {
            bail!("{node} does not reply to INFO: {}", head.trim());
        };
        let mut text = vec![0; length];
        reader.read_exact(&mut text).context("the reply to INFO is not complete")?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            output_bytes: number("total_net_output_bytes"),
            writes: number("total_writes_processed"),
            memory: number("used_memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_their_whole_names() {
        let text = "# Memory\r\nused_memory_rss:7\r\nused_memory:5\r\n# Stats\r\ntotal_net_output_bytes:12\r\n";
        let counters = Counters::parse(text);
        assert_eq!((counters.output_bytes, counters.writes, counters.memory), (12, 0, 5));
    }
}
