//! `limits` and `ping`: every bound, with its default.

use super::report::Report;
use super::table::Table;
use std::time::Duration;

/// Every bound of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, whatever their transport. Beyond it handshakes are answered 503.
    pub connections: usize,
    /// The largest message a browser may send, with its attachments. Bytes.
    pub message: usize,
    /// The largest publish. Bytes.
    pub publish: usize,
    /// Rooms one connection may be in.
    pub rooms: usize,
    /// Length of a room's name. Bytes.
    pub room_name: usize,
    /// What may wait before one connection. Bytes.
    pub outbox: usize,
    /// How long a request's head, or its body, or an upgrade may take.
    pub handshake: Duration,
    /// From the open packet to the first namespace.
    pub connect: Duration,
    /// How long a socket may take nothing while something waits for it.
    pub write_stall: Duration,
    /// Joins a connection may ask for per second, in the long run.
    pub joins_per_second: u32,
    /// Packets a connection may send per second, in the long run.
    pub packets_per_second: u32,
    /// From one ping to the next.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 200_000,
            message: 64 * 1024,
            publish: 1024 * 1024,
            rooms: 128,
            room_name: 255,
            outbox: 1024 * 1024,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(45),
            write_stall: Duration::from_secs(10),
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
            size(&mut table, "message", &mut limits.message, report);
            size(&mut table, "publish", &mut limits.publish, report);
            size(&mut table, "outbox", &mut limits.outbox, report);
            size(&mut table, "room_name", &mut limits.room_name, report);
            limits.connections =
                table.number(&["connections"], 1, 10_000_000, report).unwrap_or(limits.connections);
            limits.rooms = table.number(&["rooms"], 1, 1_000_000, report).unwrap_or(limits.rooms);
            limits.joins_per_second =
                table.number(&["joins_per_second"], 1, 1_000_000, report).unwrap_or(limits.joins_per_second);
            limits.packets_per_second =
                table.number(&["packets_per_second"], 1, 1_000_000, report).unwrap_or(limits.packets_per_second);
            limits.handshake = table.duration(&["handshake"], report).unwrap_or(limits.handshake);
            limits.connect = table.duration(&["connect"], report).unwrap_or(limits.connect);
            limits.write_stall = table.duration(&["write_stall"], report).unwrap_or(limits.write_stall);
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
