//! The counters of the process, their Prometheus text and their reference.
//!
//! Owns the names of all series: [`SERIES`] is the only list of them. It does not know which parts count. No label has
//! a value that a client or a publisher chooses, so the number of series is fixed. Names follow
//! `nodevent_<noun>[_<unit>][_total]`.

use crate::address_limits::AddressLimit;
use crate::close_reason::CloseReason;
use crate::histogram::{self, Histogram, ShardTimes};
use crate::spans::Spans;
use crate::token::TokenError;
use nodevent_protocol::publication::InvalidPublication;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The counters of the process. Each has a series of the same name.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Open connections, over all transports.
    pub connections: AtomicI64,
    /// Rooms that have members, summed over the shards.
    pub rooms: AtomicI64,
    /// Users who are connected with a token, summed over the shards.
    pub users: AtomicI64,
    /// Engines whose health probe fails.
    pub engines_unavailable: AtomicI64,
    /// Connections opened.
    pub connections_opened: AtomicU64,
    /// Connections ended, by [`CloseReason::index`].
    disconnects: [AtomicU64; CloseReason::NAMES.len()],
    /// Joins that succeeded.
    pub joins: AtomicU64,
    /// Joins that were rejected.
    pub rejected_joins: AtomicU64,
    /// Tokens that were rejected, by [`TokenError::index`].
    rejected_tokens: RejectedTokens,
    /// What was rejected because of a limit of its address, by [`AddressLimit::index`].
    address_limits: [AtomicU64; AddressLimit::NAMES.len()],
    /// Commands of clients of Action Cable that mean nothing.
    pub ignored_commands: AtomicU64,
    /// Whispers of clients of Action Cable that were not passed on.
    pub dropped_whispers: AtomicU64,
    /// Refreshes of Turbo that were merged into another one.
    pub merged_refreshes: AtomicU64,
    /// Joins with a position that got `recovered: false`.
    pub failed_recoveries: AtomicU64,
    /// Publications that an engine accepted from a publisher.
    pub publications: AtomicU64,
    /// Publishes over HTTP that the engine did not accept completely.
    pub failed_publishes: AtomicU64,
    /// Publications delivered to a member.
    pub deliveries: AtomicU64,
    /// Bytes of publications before they were compressed, once for each encoding.
    pub deflate_input_bytes: AtomicU64,
    /// The same after it.
    pub deflate_output_bytes: AtomicU64,
    /// Publications that were not compressed, because the thread had compressed too much.
    pub deflate_skipped: AtomicU64,
    /// Bytes of compressed messages of clients, as they arrived.
    pub inflate_input_bytes: AtomicU64,
    /// The same after they were inflated.
    pub inflate_output_bytes: AtomicU64,
    /// Invalid publishes, by the index of their reason in [`INVALID`].
    invalid_publishes: [AtomicU64; INVALID.len()],
    /// Connections and requests rejected because a limit of connections, sockets or open files was reached.
    pub rejected_connections: AtomicU64,
    /// Connections that the application has handed over.
    pub handovers: AtomicU64,
    /// Connections that the application could not hand over, by a mistake or because of a limit.
    pub rejected_handovers: AtomicU64,
    /// Handshakes rejected because of their origin.
    pub rejected_origins: AtomicU64,
    /// HTTP requests rejected as malformed or unauthorized, or for an unknown host, namespace or session. Those
    /// rejected for their origin, time or size, or because the server is busy, have counters of their own.
    pub rejected_requests: AtomicU64,
    /// HTTP requests rejected because too many waited for a shard, or because too many histories were unread.
    pub overloaded_requests: AtomicU64,
    /// HTTP requests whose head or body did not arrive in time, and responses that were not read in time.
    pub request_timeouts: AtomicU64,
    /// HTTP requests whose head or body exceeded its limit.
    pub oversized_requests: AtomicU64,
    /// Transport upgrades that did not finish in time.
    pub upgrade_timeouts: AtomicU64,
    /// Messages that an engine missed because its receive queue overflowed.
    pub engine_lagged_messages: AtomicU64,
    /// Notices of a gap that connected members received, one per room.
    pub gaps: AtomicU64,
    /// Missed publications that were read from the history and delivered.
    pub backfilled_publications: AtomicU64,
    /// Reads of a room's history.
    pub history_reads: AtomicU64,
    /// Messages that were stored in mailboxes.
    pub mailbox_messages: AtomicU64,
    /// Messages that were dropped because a mailbox was full.
    pub mailbox_dropped: AtomicU64,
    /// Messages that were not stored because their user was unknown.
    pub mailbox_unknown_users: AtomicU64,
    /// Messages that were rejected because a limit of mailboxes was reached.
    pub mailbox_full: AtomicU64,
    /// Connections of an engine that were lost.
    pub engine_disconnects: AtomicU64,
    /// Groups that were written to the store.
    pub store_commits: AtomicU64,
    /// Attempts to write to the store that failed.
    pub store_failures: AtomicU64,
    /// Checkpoints of the store.
    pub store_checkpoints: AtomicU64,
    /// The size of the store. Bytes.
    pub store_bytes: AtomicI64,
    /// Requests to the application, by the index of their result in [`APPLICATION`].
    application_requests: [AtomicU64; APPLICATION.len()],
    /// Calls of clients, by the index of their result in [`CALLS`].
    calls: [AtomicU64; CALLS.len()],
    /// Pages whose subscriptions were rejected because a limit was reached.
    pub rejected_pages: AtomicU64,
    /// Changes of circuit breakers, by the index in [`BREAKER`].
    breaker_changes: [AtomicU64; BREAKER.len()],
    /// Revocations that this server has applied.
    pub revocations: AtomicU64,
    /// Users who are present in a room through this server, summed over the rooms.
    pub presence_members: AtomicI64,
    /// Joins of users who are not present, because a limit was reached.
    pub presence_rejected: AtomicU64,
    /// Presence events that this server published.
    pub presence_events: AtomicU64,
    /// Reports of members that the engine did not accept.
    pub presence_failures: AtomicU64,
    /// Events of hooks that the application has accepted from this server.
    pub hooks_sent: AtomicU64,
    /// Requests of hooks without success.
    pub hooks_failures: AtomicU64,
    /// Events of hooks that became dead letters on this server.
    pub hooks_given_up: AtomicU64,
    /// Events and dead letters of hooks that were dropped.
    pub hooks_dropped: AtomicU64,
    /// Those of them that are events of connections.
    pub hooks_connections_dropped: AtomicU64,
    /// Events that wait for the application, in the journals from which this server sends.
    pub hooks_waiting: AtomicI64,
    /// Dead letters in these journals.
    pub hooks_dead_letters: AtomicI64,
    /// Spans of sampled publications.
    pub spans: Spans,
    /// The times that the shards have measured.
    shards: Mutex<Vec<Arc<ShardTimes>>>,
}

/// The text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// That of Prometheus, 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// One counter per [`TokenError`].
#[derive(Debug)]
struct RejectedTokens([AtomicU64; TokenError::NAMES.len()]);

impl Default for RejectedTokens {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// One series, or one per reason.
#[derive(Debug)]
pub struct Series {
    /// Its name without the prefix `nodevent_`.
    pub name: &'static str,
    /// Its meaning, for Prometheus.
    pub help: &'static str,
    /// When an operator should look at it.
    pub alert: &'static str,
    read: Read,
}

/// Source of a series' value.
#[derive(Debug)]
enum Read {
    Gauge(fn(&Metrics) -> &AtomicI64),
    Counter(fn(&Metrics) -> &AtomicU64),
    /// A counter that another module owns.
    External(fn() -> u64),
    /// Times of all shards.
    Times(fn(&ShardTimes) -> &Histogram),
    /// One counter for each value of the label `reason`.
    ByReason(&'static [&'static str], fn(&Metrics) -> &[AtomicU64]),
}

/// Every series, in the order of the output. `docs/metrics.md` is printed from it.
pub static SERIES: &[Series] = &[
    Series {
        name: "connections",
        help: "Open connections, over all transports.",
        alert: "It comes near `limits: max_connections`, or drops suddenly.",
        read: Read::Gauge(|metrics| &metrics.connections),
    },
    Series {
        name: "rooms",
        help: "Rooms that have members, summed over the shards.",
        alert: "It grows without more connections: pages join rooms and do not leave them.",
        read: Read::Gauge(|metrics| &metrics.rooms),
    },
    Series {
        name: "users",
        help: "Users who are connected with a token, summed over the shards: a user on two shards counts twice.",
        alert: "It drops suddenly while `nodevent_connections` does not: tokens are rejected.",
        read: Read::Gauge(|metrics| &metrics.users),
    },
    Series {
        name: "engines_unavailable",
        help: "Engines whose health probe fails.",
        alert: "It is not 0 for more than a minute. Publications do not arrive; see the log and Redis.",
        read: Read::Gauge(|metrics| &metrics.engines_unavailable),
    },
    Series {
        name: "connections_opened_total",
        help: "Connections opened.",
        alert: "It grows much faster than usual: clients reconnect in a loop.",
        read: Read::Counter(|metrics| &metrics.connections_opened),
    },
    Series {
        name: "joins_total",
        help: "Joins that succeeded.",
        alert: "It stays at 0 while connections open: pages connect, but do not join.",
        read: Read::Counter(|metrics| &metrics.joins),
    },
    Series {
        name: "rejected_joins_total",
        help: "Joins that were rejected.",
        alert: "It grows steadily: keys have expired, the secrets differ, or a page joins too many rooms.",
        read: Read::Counter(|metrics| &metrics.rejected_joins),
    },
    Series {
        name: "rejected_tokens_total",
        help: "Tokens that were rejected.",
        alert: "It grows steadily: the clocks or the secrets of the application and the server differ, or pages are open for \
                longer than their tokens are valid and cannot get new ones.",
        read: Read::ByReason(&TokenError::NAMES, |metrics| &metrics.rejected_tokens.0),
    },
    Series {
        name: "ignored_commands_total",
        help: "Commands of clients of Action Cable that are not JSON, or that the server does not know. They get no reply.",
        alert: "It grows: a client speaks another version, or is hostile.",
        read: Read::Counter(|metrics| &metrics.ignored_commands),
    },
    Series {
        name: "dropped_whispers_total",
        help: "Whispers of clients of Action Cable that were not passed on, because too many waited or Redis was unavailable.",
        alert: "It grows: clients whisper faster than the engine passes it on.",
        read: Read::Counter(|metrics| &metrics.dropped_whispers),
    },
    Series {
        name: "merged_refreshes_total",
        help: "Refreshes of Turbo that were merged into another one of the same stream, once for each thread with viewers of it.",
        alert: "",
        read: Read::Counter(|metrics| &metrics.merged_refreshes),
    },
    Series {
        name: "failed_recoveries_total",
        help: "Joins that could not recover what was missed: `recovered: false`.",
        alert: "It grows steadily: clients are disconnected for longer than the history reaches back, or the engine was unavailable.",
        read: Read::Counter(|metrics| &metrics.failed_recoveries),
    },
    Series {
        name: "publications_total",
        help: "Publications accepted from publishers.",
        alert: "It stops growing although the application emits.",
        read: Read::Counter(|metrics| &metrics.publications),
    },
    Series {
        name: "failed_publishes_total",
        help: "Publishes over HTTP that the engine did not accept, or not completely.",
        alert: "It grows at all: the engine is unavailable. Publishers received 503 and must retry.",
        read: Read::Counter(|metrics| &metrics.failed_publishes),
    },
    Series {
        name: "deliveries_total",
        help: "Publications delivered to a member.",
        alert: "It stops growing although publications are accepted and rooms have members.",
        read: Read::Counter(|metrics| &metrics.deliveries),
    },
    Series {
        name: "deflate_input_bytes_total",
        help: "Bytes of publications that were compressed, before it, once for each encoding and not for each member. Zero without \
               `deflate: true`.",
        alert: "Compare with `nodevent_deflate_output_bytes_total`.",
        read: Read::Counter(|metrics| &metrics.deflate_input_bytes),
    },
    Series {
        name: "deflate_output_bytes_total",
        help: "Bytes of the same publications after compression.",
        alert: "It grows nearly as fast as `nodevent_deflate_input_bytes_total`: compression costs processor time and saves \
                little, so switch it off or raise `deflate_min_size`.",
        read: Read::Counter(|metrics| &metrics.deflate_output_bytes),
    },
    Series {
        name: "deflate_skipped_total",
        help: "Publications that were sent as they are, because their thread had compressed 4 MB per second; once for each \
               encoding.",
        alert: "It grows: publishers send more large texts than a thread should compress, or clients recover whole histories \
                again and again.",
        read: Read::Counter(|metrics| &metrics.deflate_skipped),
    },
    Series {
        name: "inflate_input_bytes_total",
        help: "Bytes of compressed messages from clients.",
        alert: "Compare with `nodevent_inflate_output_bytes_total`.",
        read: Read::Counter(|metrics| &metrics.inflate_input_bytes),
    },
    Series {
        name: "inflate_output_bytes_total",
        help: "Bytes of the same messages after they were inflated. They count towards `limits: bytes_per_second`.",
        alert: "It grows more than a hundred times as fast as `nodevent_inflate_input_bytes_total`: a client sends compression \
                bombs, which end at `limits: max_message_size`.",
        read: Read::Counter(|metrics| &metrics.inflate_output_bytes),
    },
    Series {
        name: "publish_to_write_seconds",
        help: "Time from the arrival of a publication from its engine to its write to the first member, once for each thread \
               with members. What a socket does not accept at once counts as written.",
        alert: "Its 99th percentile exceeds 50 ms: the server has too little processor time.",
        read: Read::Times(|times| &times.publish_to_write),
    },
    Series {
        name: "delivery_seconds",
        help: "Time from the arrival of a publication from its engine to its write to the last member, once for each thread \
               with members.",
        alert: "Its 99th percentile exceeds 0.25 s: rooms are too large for one server, or it has too little processor time.",
        read: Read::Times(|times| &times.delivery),
    },
    Series {
        name: "spans_exported_total",
        help: "Spans of sampled publications that the receiver of `traces` has accepted.",
        alert: "It stays at 0 although `traces` is configured and the application samples.",
        read: Read::Counter(|metrics| &metrics.spans.exported),
    },
    Series {
        name: "spans_dropped_total",
        help: "Spans that were dropped because their queue was full or the receiver did not accept them.",
        alert: "It grows at all: see the log, sample less, or raise `traces: queue`.",
        read: Read::Counter(|metrics| &metrics.spans.dropped),
    },
    Series {
        name: "recovery_seconds",
        help: "Time from a join that waits for the history in Redis to its end, when what was missed has been sent.",
        alert: "Its 99th percentile exceeds 1 s: Redis is slow, or very many clients reconnect at the same time.",
        read: Read::Times(|times| &times.recovery),
    },
    Series {
        name: "rejected_connections_total",
        help: "Connections and requests rejected because a limit of connections, sockets or open files was reached.",
        alert: "It grows at all: raise the limit that the log names, or add servers.",
        read: Read::Counter(|metrics| &metrics.rejected_connections),
    },
    Series {
        name: "address_limit_rejections_total",
        help: "Handshakes, requests and keys rejected because of a limit of their address.",
        alert: "It grows at all: a client floods the server, or many clients share an address; behind a proxy, set `trusted_proxies`.",
        read: Read::ByReason(&AddressLimit::NAMES, |metrics| &metrics.address_limits),
    },
    Series {
        name: "handovers_total",
        help: "Connections that the application has handed over through `handover_socket`.",
        alert: "It does not grow although pages connect to the application's own address: see `rake nodevent:doctor`.",
        read: Read::Counter(|metrics| &metrics.handovers),
    },
    Series {
        name: "rejected_handovers_total",
        help: "Connections that the application wanted to hand over, and that were rejected.",
        alert: "It grows at all: gem and server have different versions, or a limit is reached. See the log.",
        read: Read::Counter(|metrics| &metrics.rejected_handovers),
    },
    Series {
        name: "rejected_origins_total",
        help: "Handshakes rejected because of their origin.",
        alert: "It grows after a deployment: a page's origin is missing in `origins`.",
        read: Read::Counter(|metrics| &metrics.rejected_origins),
    },
    Series {
        name: "rejected_requests_total",
        help: "HTTP requests rejected as malformed or unauthorized, or for an unknown host, namespace or session.",
        alert: "It grows steadily: a publisher has a wrong key, or something scans the server.",
        read: Read::Counter(|metrics| &metrics.rejected_requests),
    },
    Series {
        name: "overloaded_requests_total",
        help: "HTTP requests rejected because too many waited for a shard, or because too many histories over HTTP were unread.",
        alert: "It grows at all: the server has too little processor time, or clients read histories too slowly.",
        read: Read::Counter(|metrics| &metrics.overloaded_requests),
    },
    Series {
        name: "request_timeouts_total",
        help: "HTTP requests that timed out.",
        alert: "It grows steadily: clients have bad networks, or something holds requests open on purpose.",
        read: Read::Counter(|metrics| &metrics.request_timeouts),
    },
    Series {
        name: "oversized_requests_total",
        help: "HTTP requests that were too large.",
        alert: "It grows at all: a publication exceeds `limits: max_publish_size`.",
        read: Read::Counter(|metrics| &metrics.oversized_requests),
    },
    Series {
        name: "upgrade_timeouts_total",
        help: "Transport upgrades that timed out.",
        alert: "It grows with the connections: a proxy does not forward WebSockets.",
        read: Read::Counter(|metrics| &metrics.upgrade_timeouts),
    },
    Series {
        name: "engine_lagged_messages_total",
        help: "Messages missed because the receive queue of an engine overflowed.",
        alert: "It grows: the server is slower than its Redis. With history they are backfilled.",
        read: Read::Counter(|metrics| &metrics.engine_lagged_messages),
    },
    Series {
        name: "gaps_total",
        help: "Notices of a gap that members received while connected, one per room. Joins that could not recover are in \
               `nodevent_failed_recoveries_total`.",
        alert: "It grows at all: publications were lost, or the history was too short to backfill them.",
        read: Read::Counter(|metrics| &metrics.gaps),
    },
    Series {
        name: "backfilled_publications_total",
        help: "Missed publications recovered from the history.",
        alert: "It grows steadily: the connection to Redis loses messages.",
        read: Read::Counter(|metrics| &metrics.backfilled_publications),
    },
    Series {
        name: "history_reads_total",
        help: "Reads of a room's history.",
        alert: "It grows much faster than usual: many clients reconnect. Reads for one room at one time are shared.",
        read: Read::Counter(|metrics| &metrics.history_reads),
    },
    Series {
        name: "mailbox_messages_total",
        help: "Messages stored in mailboxes.",
        alert: "Never.",
        read: Read::Counter(|metrics| &metrics.mailbox_messages),
    },
    Series {
        name: "mailbox_dropped_total",
        help: "Messages dropped from mailboxes that held `mailbox: count` messages or `mailbox: bytes`, the oldest first.",
        alert: "It grows: users are disconnected for long, or their pages do not acknowledge.",
        read: Read::Counter(|metrics| &metrics.mailbox_dropped),
    },
    Series {
        name: "mailbox_unknown_users_total",
        help: "Messages not stored, because their user was not connected within `mailbox: age`.",
        alert: "Users miss messages; see `mailbox: unknown`.",
        read: Read::Counter(|metrics| &metrics.mailbox_unknown_users),
    },
    Series {
        name: "mailbox_full_total",
        help: "Messages rejected, because there are `limits: max_mailboxes` or `limits: max_mailbox_memory` is used.",
        alert: "It grows. Publishers receive 507 and users miss messages.",
        read: Read::Counter(|metrics| &metrics.mailbox_full),
    },
    Series {
        name: "store_commits_total",
        help: "Groups of changes that were written to the store, with one `fsync` each.",
        alert: "Never.",
        read: Read::Counter(|metrics| &metrics.store_commits),
    },
    Series {
        name: "store_failures_total",
        help: "Attempts to write to the store that failed. Nothing is confirmed until one succeeds.",
        alert: "It grows: the disk is full or fails. Publishers receive 503.",
        read: Read::Counter(|metrics| &metrics.store_failures),
    },
    Series {
        name: "store_checkpoints_total",
        help: "Checkpoints of the store, which make it smaller.",
        alert: "Never.",
        read: Read::Counter(|metrics| &metrics.store_checkpoints),
    },
    Series {
        name: "store_bytes",
        help: "Size of the file of the store.",
        alert: "It comes near to the size of the disk.",
        read: Read::Gauge(|metrics| &metrics.store_bytes),
    },
    Series {
        name: "engine_disconnects_total",
        help: "Connections of an engine that were lost.",
        alert: "It grows repeatedly: Redis restarts or the network fails.",
        read: Read::Counter(|metrics| &metrics.engine_disconnects),
    },
    Series {
        name: "application_requests_total",
        help: "Requests to the application, by their result.",
        alert: "Any result but `ok` grows: clients are rejected because the application does not decide. The log has the reason.",
        read: Read::ByReason(&APPLICATION, |metrics| &metrics.application_requests),
    },
    Series {
        name: "calls_total",
        help: "Calls of clients to the application, by their result.",
        alert: "`timeout`, `unreachable`, `breaker_open` or `busy` grow: the application is too slow, or down.",
        read: Read::ByReason(&CALLS, |metrics| &metrics.calls),
    },
    Series {
        name: "rejected_pages_total",
        help: "Subscriptions of pages rejected, because of `pages: max_pages` or `pages: max_channels`.",
        alert: "It grows. The application receives 507 or 409, and pages miss messages.",
        read: Read::Counter(|metrics| &metrics.rejected_pages),
    },
    Series {
        name: "application_breaker_changes_total",
        help: "Changes of the circuit breakers in front of the application.",
        alert: "`opened` grows: requests failed several times in succession, and none are sent for a while.",
        read: Read::ByReason(&BREAKER, |metrics| &metrics.breaker_changes),
    },
    Series {
        name: "revocations_total",
        help: "Revocations that this server has applied.",
        alert: "It differs between servers for more than a few seconds: one of them is cut off from Redis.",
        read: Read::Counter(|metrics| &metrics.revocations),
    },
    Series {
        name: "presence_members",
        help: "Users who are present in a room through this server, summed over the rooms.",
        alert: "It comes near `limits: max_present`.",
        read: Read::Gauge(|metrics| &metrics.presence_members),
    },
    Series {
        name: "presence_rejected_total",
        help: "Joins of users who are not present, because a limit was reached.",
        alert: "It grows: raise `limits: max_present` or `max_present_per_room`, or find out who joins so many rooms.",
        read: Read::Counter(|metrics| &metrics.presence_rejected),
    },
    Series {
        name: "presence_events_total",
        help: "Presence events that this server published.",
        alert: "It grows much faster than usual: lower `presence: max_size`, or raise `grace`.",
        read: Read::Counter(|metrics| &metrics.presence_events),
    },
    Series {
        name: "presence_failures_total",
        help: "Reports of members that the engine did not accept. They are repeated.",
        alert: "It grows while `nodevent_engines_unavailable` is 0: Redis rejects a command, see the log.",
        read: Read::Counter(|metrics| &metrics.presence_failures),
    },
    Series {
        name: "hooks_sent_total",
        help: "Events of hooks that the application has accepted from this server.",
        alert: "",
        read: Read::Counter(|metrics| &metrics.hooks_sent),
    },
    Series {
        name: "hooks_failures_total",
        help: "Requests of hooks without success. They are repeated.",
        alert: "It grows: the application does not respond, or rejects events; see the log.",
        read: Read::Counter(|metrics| &metrics.hooks_failures),
    },
    Series {
        name: "hooks_given_up_total",
        help: "Events of hooks that became dead letters on this server.",
        alert: "It grows: read them with `nodevent hooks list`.",
        read: Read::Counter(|metrics| &metrics.hooks_given_up),
    },
    Series {
        name: "hooks_dropped_total",
        help: "Events and dead letters of hooks that were dropped, because `hooks: size`, `bytes` or `dead_letters` was reached, or the \
               engine was unavailable for long.",
        alert: "It grows: the application misses events.",
        read: Read::Counter(|metrics| &metrics.hooks_dropped),
    },
    Series {
        name: "hooks_connections_dropped_total",
        help: "Of the events that were dropped: `connected` and `disconnected`, which get half of the journal and are dropped first.",
        alert: "It grows: clients connect faster than the application accepts events.",
        read: Read::Counter(|metrics| &metrics.hooks_connections_dropped),
    },
    Series {
        name: "hooks_waiting",
        help: "Events that wait for the application, in the journals from which this server sends.",
        alert: "It grows: the application is slower than the events.",
        read: Read::Gauge(|metrics| &metrics.hooks_waiting),
    },
    Series {
        name: "hooks_dead_letters",
        help: "Dead letters in the journals from which this server sends.",
        alert: "It is not 0.",
        read: Read::Gauge(|metrics| &metrics.hooks_dead_letters),
    },
    Series {
        name: "log_lines_dropped_total",
        help: "Log lines dropped because the log was not read in time.",
        alert: "It grows at all: the log collector is too slow.",
        read: Read::External(crate::log::dropped),
    },
    Series {
        name: "disconnects_total",
        help: "Connections ended.",
        alert: "See the table of reasons.",
        read: Read::ByReason(&CloseReason::NAMES, |metrics| &metrics.disconnects),
    },
    Series {
        name: "invalid_publishes_total",
        help: "Publishes that are not publications.",
        alert: "It grows at all: a publisher sends something else. The log has the reason.",
        read: Read::ByReason(&INVALID, |metrics| &metrics.invalid_publishes),
    },
];

/// Results of a request to the application.
const APPLICATION: [&str; 9] =
    ["ok", "timeout", "unreachable", "too_large", "streamed", "redirect", "failed", "breaker_open", "overloaded"];

/// The meaning of each of [`APPLICATION`], for the reference.
const APPLICATION_MEANINGS: [&str; APPLICATION.len()] = [
    "The application responded, with a yes or a no.",
    "No response within `timeout`.",
    "The connection could not be opened, or was closed early.",
    "The response was larger than `max_response`.",
    "The response to a call was a stream, or not complete within `timeout`.",
    "The response was a redirect, which counts as a no.",
    "The response had a status from 500 on, or 429.",
    "No request was sent, because the circuit breaker was open.",
    "No request was sent, because too many waited, or because it waited for too long.",
];

/// Changes of a circuit breaker.
const BREAKER: [&str; 3] = ["opened", "half_opened", "closed"];

/// The meaning of each of [`BREAKER`], for the reference.
const BREAKER_MEANINGS: [&str; BREAKER.len()] = [
    "Requests failed several times in succession. None are sent for a while.",
    "One request is sent, and its result decides.",
    "The application responds again.",
];

/// Results of a call.
const CALLS: [&str; 15] = [
    "ok",
    "bad_path",
    "bad_call",
    "bad_method",
    "bad_origin",
    "no_handlers",
    "too_many",
    "not_configured",
    "unreachable",
    "too_large",
    "streamed",
    "not_text",
    "busy",
    "breaker_open",
    "timeout",
];

/// The meaning of each.
const CALL_MEANINGS: [&str; 15] = [
    "The application responded, with any status.",
    "The path cannot be called.",
    "The call is not one.",
    "The method, or one with which a form replaces it, is not one of `calls: methods`.",
    "The page's origin is neither the server's own host nor one of `calls: origins`.",
    "The message has an action without a handler, because `calls: handlers` is not configured.",
    "The connection has as many calls at a time as `calls: per_connection`.",
    "The namespace has no `calls`.",
    "The application could not be reached, or closed the connection.",
    "The response is larger than `calls: max_response`, or than what is free of `limits: send_buffer`.",
    "The response is a stream, or was not complete in time.",
    "The response is not text in UTF-8.",
    "Too many calls wait.",
    "The circuit breaker is open.",
    "The application did not respond within `calls: timeout`.",
];

/// Reasons for an invalid publish.
const INVALID: [&str; 17] = [
    "not_utf8",
    "not_json",
    "not_an_object",
    "no_room",
    "bad_room",
    "no_event",
    "not_an_event",
    "bad_except",
    "bad_rooms",
    "bad_users",
    "bad_broadcast",
    "empty_targets",
    "too_many_targets",
    "copies_too_large",
    "several_targets",
    "too_large",
    "other",
];

// === impl Series ===

impl Series {
    fn kind(&self) -> &'static str {
        match self.read {
            Read::Gauge(_) => "gauge",
            Read::Times(_) => "histogram",
            _ => "counter",
        }
    }

    fn write(&self, metrics: &Metrics, format: Format, out: &mut String) {
        let (name, help) = (self.name, self.help);
        // A counter of OpenMetrics is a family without the suffix of its samples.
        let family = match format {
            Format::Prometheus => name,
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        let _ = writeln!(out, "# HELP nodevent_{family} {help}\n# TYPE nodevent_{family} {}", self.kind());
        let _ = match self.read {
            Read::Gauge(read) => writeln!(out, "nodevent_{name} {}", read(metrics).load(Relaxed)),
            Read::Counter(read) => writeln!(out, "nodevent_{name} {}", read(metrics).load(Relaxed)),
            Read::External(read) => writeln!(out, "nodevent_{name} {}", read()),
            Read::Times(of) => {
                histogram::write(name, &metrics.shards(), of, out);
                Ok(())
            }
            Read::ByReason(reasons, read) => reasons.iter().zip(read(metrics)).try_for_each(|(reason, value)| {
                writeln!(out, "nodevent_{name}{{reason=\"{reason}\"}} {}", value.load(Relaxed))
            }),
        };
    }
}

// === impl Metrics ===

impl Metrics {
    /// Counts a connection that ended.
    pub fn closed(&self, reason: CloseReason) {
        self.disconnects[reason.index()].fetch_add(1, Relaxed);
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Returns how many connections ended for `reason`.
    pub fn disconnects(&self, reason: CloseReason) -> u64 {
        self.disconnects[reason.index()].load(Relaxed)
    }

    /// Counts a rejected token.
    pub fn count_rejected_token(&self, error: TokenError) {
        self.rejected_tokens.0[error.index()].fetch_add(1, Relaxed);
    }

    /// Counts a request to the application, by the name of its result.
    pub fn count_application_request(&self, result: &str) {
        if let Some(index) = APPLICATION.iter().position(|one| *one == result) {
            self.application_requests[index].fetch_add(1, Relaxed);
        }
    }

    /// Counts a call of a client, by the name of its result.
    pub fn count_call(&self, result: &str) {
        if let Some(index) = CALLS.iter().position(|one| *one == result) {
            self.calls[index].fetch_add(1, Relaxed);
        }
    }

    /// Counts a change of a circuit breaker.
    pub fn count_breaker_change(&self, change: &str) {
        if let Some(index) = BREAKER.iter().position(|one| *one == change) {
            self.breaker_changes[index].fetch_add(1, Relaxed);
        }
    }

    /// Counts what was rejected because of a limit of its address.
    pub fn count_address_limit(&self, limit: AddressLimit) {
        self.address_limits[limit.index()].fetch_add(1, Relaxed);
    }

    /// Counts a publish that is not a publication.
    pub fn count_invalid_publish(&self, invalid: &InvalidPublication) {
        self.count_invalid(invalid.reason());
    }

    /// Counts a publish that exceeds `limits: max_publish_size`.
    pub fn count_oversized_publish(&self) {
        self.count_invalid("too_large");
    }

    fn count_invalid(&self, reason: &str) {
        let index = INVALID.iter().position(|one| *one == reason).unwrap_or(INVALID.len() - 1);
        self.invalid_publishes[index].fetch_add(1, Relaxed);
    }

    /// Renders all series as Prometheus text, format 0.0.4.
    pub fn render(&self) -> String {
        self.render_as(Format::Prometheus)
    }

    /// Renders all series in this format.
    pub fn render_as(&self, format: Format) -> String {
        let mut out = String::with_capacity(16 * 1024);
        SERIES.iter().for_each(|series| series.write(self, format, &mut out));
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }

    /// The times of a new shard.
    pub fn add_shard(&self) -> Arc<ShardTimes> {
        let times = Arc::new(ShardTimes::default());
        self.shards().push(Arc::clone(&times));
        times
    }

    fn shards(&self) -> MutexGuard<'_, Vec<Arc<ShardTimes>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the text of `docs/metrics.md`.
pub fn reference() -> String {
    let mut out = "\
# Metrics

`GET /metrics` on the admin listener (`admin:` in the [configuration](configuration.md#admin)) returns every series as
Prometheus text, or as OpenMetrics to a client that accepts `application/openmetrics-text`. This page is generated from the
server's source; a test keeps the two equal.

Every series exists from the start with the value 0. The only labels are `reason`, with the values that are listed below, and `le`
of the buckets of histograms, so the number of series is fixed.

[packaging/grafana-dashboard.json](../packaging/grafana-dashboard.json) is a dashboard for Grafana, and
[packaging/prometheus-rules.yml](../packaging/prometheus-rules.yml) has rules for alerts. A test checks that each series in them
exists.

| series | type | what it counts | when to look at it |
|---|---|---|---|
"
    .to_owned();
    for series in SERIES {
        let label = if matches!(series.read, Read::ByReason(..)) { "{reason}" } else { "" };
        let _ = writeln!(
            out,
            "| `nodevent_{}{label}` | {} | {} | {} |",
            series.name,
            series.kind(),
            series.help,
            series.alert
        );
    }
    let _ = write!(out, "\n## Reasons of `nodevent_disconnects_total`\n\n| reason | meaning |\n|---|---|\n");
    for (name, meaning) in CloseReason::NAMES.iter().zip(CloseReason::MEANINGS) {
        let _ = writeln!(out, "| `{name}` | {meaning} |");
    }
    let _ = write!(out, "\n## Reasons of `nodevent_invalid_publishes_total`\n\n| reason |\n|---|\n");
    for name in INVALID {
        let _ = writeln!(out, "| `{name}` |");
    }
    let _ =
        write!(out, "\n## Reasons of `nodevent_application_requests_total`\n\n| reason | meaning |\n|---|---|\n");
    for (name, meaning) in APPLICATION.iter().zip(APPLICATION_MEANINGS) {
        let _ = writeln!(out, "| `{name}` | {meaning} |");
    }
    let _ = write!(out, "\n## Reasons of `nodevent_calls_total`\n\n| reason | meaning |\n|---|---|\n");
    for (name, meaning) in CALLS.iter().zip(CALL_MEANINGS) {
        let _ = writeln!(out, "| `{name}` | {meaning} |");
    }
    let title = "\n## Reasons of `nodevent_application_breaker_changes_total`\n\n| reason | meaning |\n|---|---|\n";
    out.push_str(title);
    for (name, meaning) in BREAKER.iter().zip(BREAKER_MEANINGS) {
        let _ = writeln!(out, "| `{name}` | {meaning} |");
    }
    let title = "\n## Reasons of `nodevent_rejected_tokens_total`\n\n| reason | text for the client |\n|---|---|\n";
    out.push_str(title);
    for (name, text) in TokenError::TEXTS {
        let _ = writeln!(out, "| `{name}` | {text} |");
    }
    let _ =
        write!(out, "\n## Reasons of `nodevent_address_limit_rejections_total`\n\n| reason | limit |\n|---|---|\n");
    for (name, limit) in AddressLimit::NAMES.iter().zip(AddressLimit::ALL) {
        let _ = writeln!(out, "| `{name}` | `limits: {}` |", limit.key());
    }
    out.push_str(
        "\n## Alerts\n\n```yaml\n- alert: NoDeventEngineUnavailable\n  expr: nodevent_engines_unavailable > 0\n  for: 1m\n\
         - alert: NoDeventGaps\n  expr: increase(nodevent_gaps_total[10m]) > 0\n\
         - alert: NoDeventFull\n  expr: increase(nodevent_rejected_connections_total[5m]) > 0\n\
         - alert: NoDeventSlowClients\n  \
         expr: increase(nodevent_disconnects_total{reason=~\"send_buffer_full|write_stalled\"}[10m]) > 100\n```\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_help_and_type_and_starts_at_zero() {
        let metrics = Metrics::default();
        let text = metrics.render();
        assert!(text.contains("nodevent_disconnects_total{reason=\"send_buffer_full\"} 0"));
        assert!(text.contains("nodevent_invalid_publishes_total{reason=\"not_json\"} 0"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let of_histogram = of_histogram.filter(|name| text.contains(&format!("# TYPE {name} histogram")));
            let is_typed = of_histogram.is_some() || text.contains(&format!("# TYPE {name} "));
            assert!(is_typed, "{name} has no type");
            let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(name.starts_with("nodevent_") && is_plain, "{name}");
            let is_counter = text.contains(&format!("# TYPE {name} counter"));
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            // The only labels are of a fixed list: clients cannot create more series.
            let labels = line.strip_prefix(name).unwrap().split(' ').next().unwrap();
            let is_bucket = name.ends_with("_bucket") && labels.starts_with("{le=\"");
            assert!(labels.is_empty() || labels.starts_with("{reason=\"") || is_bucket, "{line}");
        }
    }

    #[test]
    fn openmetrics_has_families_without_suffix_and_an_end() {
        // X-06
        let metrics = Metrics::default();
        let text = metrics.render_as(Format::OpenMetrics);
        assert!(text.ends_with("\n# EOF\n"));
        assert!(text.contains("# TYPE nodevent_joins counter\nnodevent_joins_total 0\n"));
        assert!(text.contains("# TYPE nodevent_delivery_seconds histogram\n"));
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            assert!(!line.contains("_total"), "{line}");
        }
    }

    /// The series that an expression of PromQL names.
    fn names(text: &str) -> Vec<&str> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| word.starts_with("nodevent_")).collect()
    }

    #[test]
    fn the_dashboard_and_the_alerts_name_only_series_that_exist() {
        let metrics = Metrics::default().render();
        let exists = |name: &str| metrics.lines().any(|line| line.split(['{', ' ']).next() == Some(name));
        let dashboard = include_str!("../../packaging/grafana-dashboard.json");
        let rules = include_str!("../../packaging/prometheus-rules.yml");
        for text in [dashboard, rules] {
            let names = names(text);
            assert!(names.len() > 5);
            for name in names {
                assert!(exists(name), "there is no series {name}");
            }
        }
        let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        for panel in panels {
            let targets = panel["targets"].as_array().unwrap();
            assert!(targets.iter().all(|target| !names(target["expr"].as_str().unwrap()).is_empty()), "{panel}");
        }
        assert!(!exists("nodevent_made_up"));
        let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert: ")).count();
        let expressions = rules.lines().filter_map(|line| line.trim_start().strip_prefix("expr: "));
        let expressions: Vec<_> = expressions.collect();
        assert_eq!(alerts, expressions.len());
        assert!(expressions.iter().all(|expr| !names(expr).is_empty()), "{expressions:?}");
    }

    #[test]
    fn an_ended_connection_is_counted_by_its_reason() {
        let metrics = Metrics::default();
        metrics.connections.fetch_add(1, Relaxed);
        metrics.closed(CloseReason::SendBufferFull);
        assert_eq!(metrics.disconnects(CloseReason::SendBufferFull), 1);
        assert!(metrics.render().contains("nodevent_connections 0"));
    }
}
