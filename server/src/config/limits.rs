//! `limits` and `ping`: every limit that can be set, with its default.

use super::report::Report;
use super::table::Table;
use std::time::Duration;

/// Every limit that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, over all transports. Beyond it, handshakes are rejected with 503.
    pub max_connections: usize,
    /// Largest message that a client may send, attachments included. Bytes.
    pub max_message_size: usize,
    /// Largest publish. Bytes.
    pub max_publish_size: usize,
    /// Rooms that one connection may be in.
    pub max_rooms_per_connection: usize,
    /// Length of a room's name. Bytes.
    pub max_room_name: usize,
    /// Bytes that may be queued for one connection.
    pub send_buffer: usize,
    /// Time for a request's head, for its body, for a TLS handshake and for an upgrade.
    pub handshake_timeout: Duration,
    /// Time from the open packet to the first namespace.
    pub connect_timeout: Duration,
    /// Time for which a socket may accept nothing while something is queued for it.
    pub write_timeout: Duration,
    /// Joins per second and connection, in the long run.
    pub joins_per_second: u32,
    /// Packets per second and connection, in the long run.
    pub packets_per_second: u32,
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 200_000,
            max_message_size: 64 * 1024,
            max_publish_size: 1024 * 1024,
            max_rooms_per_connection: 128,
            max_room_name: 255,
            send_buffer: 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            write_timeout: Duration::from_secs(10),
            joins_per_second: 50,
            packets_per_second: 100,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Reads `limits` and `ping`.
    pub fn read(top: &mut Table<'_>, report: &mut Report) -> Self {
        let mut limits = Self::default();
        if let Some(mut table) = top.take(&["limits"]).and_then(|node| Table::open(node, "limits", report)) {
            let size = |table: &mut Table<'_>, name, value: &mut usize, report: &mut Report| {
                *value = table.size(&[name], report).unwrap_or(*value);
            };
            size(&mut table, "max_message_size", &mut limits.max_message_size, report);
            size(&mut table, "max_publish_size", &mut limits.max_publish_size, report);
            size(&mut table, "send_buffer", &mut limits.send_buffer, report);
            size(&mut table, "max_room_name", &mut limits.max_room_name, report);
            limits.max_connections =
                table.number(&["max_connections"], 1, 10_000_000, report).unwrap_or(limits.max_connections);
            limits.max_rooms_per_connection = table
                .number(&["max_rooms_per_connection"], 1, 1_000_000, report)
                .unwrap_or(limits.max_rooms_per_connection);
            limits.joins_per_second =
                table.number(&["joins_per_second"], 1, 1_000_000, report).unwrap_or(limits.joins_per_second);
            limits.packets_per_second =
                table.number(&["packets_per_second"], 1, 1_000_000, report).unwrap_or(limits.packets_per_second);
            limits.handshake_timeout =
                table.duration(&["handshake_timeout"], report).unwrap_or(limits.handshake_timeout);
            limits.connect_timeout = table.duration(&["connect_timeout"], report).unwrap_or(limits.connect_timeout);
            limits.write_timeout = table.duration(&["write_timeout"], report).unwrap_or(limits.write_timeout);
            table.finish(report);
        }
        if let Some(mut table) = top.take(&["ping"]).and_then(|node| Table::open(node, "ping", report)) {
            limits.ping_interval = table.duration(&["interval"], report).unwrap_or(limits.ping_interval);
            limits.ping_timeout = table.duration(&["timeout"], report).unwrap_or(limits.ping_timeout);
            table.finish(report);
        }
        limits
    }
}
