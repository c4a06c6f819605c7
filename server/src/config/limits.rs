//! `limits` and `ping`: every limit that can be set.

use super::keys;
use super::reader::MapReader;
use super::report::Report;
use std::time::Duration;

/// Every limit that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time, over all transports. Beyond it, handshakes are rejected with 503.
    pub max_connections: usize,
    /// Memberships of all connections: one for each room of each connection.
    pub max_memberships: usize,
    /// Members of one room with presence, on this server.
    pub max_present_per_room: usize,
    /// Members of all rooms with presence of a namespace, on this server.
    pub max_present: usize,
    /// The largest info of a member that presence keeps. Bytes.
    pub max_presence_info: usize,
    /// Sockets at a time that are not WebSockets. Beyond it, only health checks are served.
    pub max_http_connections: usize,
    /// Largest message that a client may send, attachments included. Bytes.
    pub max_message_size: usize,
    /// Largest publish. Bytes.
    pub max_publish_size: usize,
    /// Length of the identifier of a subscription of Action Cable. Bytes.
    pub max_identifier: usize,
    /// Commands of one connection of Action Cable that wait until it is decided who it is.
    pub max_pending_commands: usize,
    /// Rooms that one connection may be in.
    pub max_rooms_per_connection: usize,
    /// Length of a room's name. Bytes.
    pub max_room_name: usize,
    /// Bytes that may be queued for one connection.
    pub send_buffer: usize,
    /// Bytes that may be queued for all connections.
    pub send_buffers_total: usize,
    /// Time for a request's head, for its body, for a TLS handshake and for an upgrade.
    pub request_timeout: Duration,
    /// Time for which an idle HTTP connection is kept open.
    pub keep_alive_timeout: Duration,
    /// Time from the open packet to the first namespace.
    pub connect_timeout: Duration,
    /// Time for which a socket may accept nothing while something is queued for it.
    pub write_timeout: Duration,
    /// Joins per second and connection, in the long run.
    pub joins_per_second: u32,
    /// Packets per second and connection, in the long run.
    pub packets_per_second: u32,
    /// Bytes per second and connection from the client, in the long run.
    pub bytes_per_second: u32,
    /// Connections of one address that have joined no room. Beyond it, the oldest one is closed.
    pub max_roomless_per_address: usize,
    /// Connections of one address. `None`: they are shared fairly. Beyond it, handshakes are rejected with 429.
    pub max_connections_per_address: Option<usize>,
    /// Handshakes per second and address, in the long run.
    pub handshakes_per_second_per_address: u32,
    /// Requests for rooms over HTTP per second and address, in the long run.
    pub room_requests_per_second_per_address: u32,
    /// Wrong keys per second and address, in the long run.
    pub wrong_keys_per_second_per_address: u32,
    /// Mailboxes of a namespace for users who were never connected.
    pub max_mailboxes: usize,
    /// Memory of a namespace's mailboxes in the memory engine. Bytes.
    pub max_mailbox_memory: usize,
    /// Largest message for a mailbox. Bytes.
    pub max_mailbox_message: usize,
    /// Users of one request to notify.
    pub max_notified_users: usize,
    /// Time from one ping to the next.
    pub ping_interval: Duration,
    /// Time from a ping to its pong.
    pub ping_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 200_000,
            max_memberships: 2_000_000,
            max_present_per_room: 100_000,
            max_present: 500_000,
            max_presence_info: 1024,
            max_http_connections: 200_000,
            max_message_size: 64 * 1024,
            max_publish_size: 1024 * 1024,
            max_identifier: 2 * 1024,
            max_pending_commands: 64,
            max_rooms_per_connection: 128,
            max_room_name: 255,
            send_buffer: 1024 * 1024,
            send_buffers_total: 1024 * 1024 * 1024,
            request_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            connect_timeout: Duration::from_secs(45),
            write_timeout: Duration::from_secs(10),
            joins_per_second: 50,
            packets_per_second: 100,
            bytes_per_second: 128 * 1024,
            max_roomless_per_address: 10_000,
            max_connections_per_address: None,
            handshakes_per_second_per_address: 5_000,
            room_requests_per_second_per_address: 500,
            wrong_keys_per_second_per_address: 10,
            max_mailboxes: 100_000,
            max_mailbox_memory: 64 * 1024 * 1024,
            max_mailbox_message: 64 * 1024,
            max_notified_users: 1000,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

// === impl Limits ===

impl Limits {
    /// Reads `limits` and `ping`.
    pub(super) fn read(top: &mut MapReader<'_>, report: &mut Report) -> Self {
        let mut limits = Self::default();
        if let Some(mut map) =
            top.take("limits").and_then(|node| MapReader::open(node, "limits", &keys::LIMITS, report))
        {
            let location = map.location_of("send_buffer");
            limits.read_limits(&mut map, report);
            if limits.send_buffer < limits.max_publish_size {
                let what = "limits.send_buffer is smaller than limits.max_publish_size";
                let hint =
                    "a publication of that size would close the connections of its room; lower max_publish_size";
                report.warn(location, what, hint);
            }
            map.finish(report);
        }
        if let Some(mut map) = top.take("ping").and_then(|node| MapReader::open(node, "ping", &keys::PING, report))
        {
            set(&mut limits.ping_interval, map.positive_duration("interval", report));
            set(&mut limits.ping_timeout, map.positive_duration("timeout", report));
            map.finish(report);
        }
        limits
    }

    /// These limits, with those of `newer` that a running server can use: [`super::changes::LIMITS`].
    #[must_use]
    pub fn reloaded(&self, newer: &Self) -> Self {
        Self {
            bytes_per_second: newer.bytes_per_second,
            handshakes_per_second_per_address: newer.handshakes_per_second_per_address,
            joins_per_second: newer.joins_per_second,
            keep_alive_timeout: newer.keep_alive_timeout,
            max_connections: newer.max_connections,
            max_connections_per_address: newer.max_connections_per_address,
            max_memberships: newer.max_memberships,
            max_notified_users: newer.max_notified_users,
            max_roomless_per_address: newer.max_roomless_per_address,
            packets_per_second: newer.packets_per_second,
            room_requests_per_second_per_address: newer.room_requests_per_second_per_address,
            send_buffer: newer.send_buffer,
            write_timeout: newer.write_timeout,
            wrong_keys_per_second_per_address: newer.wrong_keys_per_second_per_address,
            ..self.clone()
        }
    }

    fn read_limits(&mut self, map: &mut MapReader<'_>, report: &mut Report) {
        set(&mut self.max_connections, map.number("max_connections", report));
        let max_http_connections = map.number("max_http_connections", report);
        self.max_http_connections = max_http_connections.unwrap_or(self.max_connections);
        set(&mut self.max_message_size, map.size("max_message_size", report));
        set(&mut self.max_publish_size, map.size("max_publish_size", report));
        set(&mut self.max_room_name, map.size("max_room_name", report));
        set(&mut self.max_identifier, map.size("max_identifier", report));
        set(&mut self.max_pending_commands, map.number("max_pending_commands", report));
        set(&mut self.max_rooms_per_connection, map.number("max_rooms_per_connection", report));
        set(&mut self.max_memberships, map.number("max_memberships", report));
        set(&mut self.max_present_per_room, map.number("max_present_per_room", report));
        set(&mut self.max_present, map.number("max_present", report));
        set(&mut self.max_presence_info, map.size("max_presence_info", report));
        set(&mut self.send_buffer, map.size("send_buffer", report));
        set(&mut self.send_buffers_total, map.size("send_buffers_total", report));
        set(&mut self.request_timeout, map.positive_duration("request_timeout", report));
        set(&mut self.keep_alive_timeout, map.positive_duration("keep_alive_timeout", report));
        set(&mut self.connect_timeout, map.positive_duration("connect_timeout", report));
        set(&mut self.write_timeout, map.positive_duration("write_timeout", report));
        set(&mut self.joins_per_second, map.number("joins_per_second", report));
        set(&mut self.packets_per_second, map.number("packets_per_second", report));
        let bytes_per_second = map.size("bytes_per_second", report);
        set(&mut self.bytes_per_second, bytes_per_second.map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX)));
        set(&mut self.max_roomless_per_address, map.number("max_roomless_per_address", report));
        self.max_connections_per_address = map.number("max_connections_per_address", report);
        for (limit, key) in [
            (&mut self.handshakes_per_second_per_address, "handshakes_per_second_per_address"),
            (&mut self.room_requests_per_second_per_address, "room_requests_per_second_per_address"),
            (&mut self.wrong_keys_per_second_per_address, "wrong_keys_per_second_per_address"),
        ] {
            set(limit, map.number(key, report));
        }
        set(&mut self.max_mailboxes, map.number("max_mailboxes", report));
        set(&mut self.max_mailbox_memory, map.size("max_mailbox_memory", report));
        set(&mut self.max_mailbox_message, map.size("max_mailbox_message", report));
        set(&mut self.max_notified_users, map.number("max_notified_users", report));
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
