//! Publishes on a schedule, in a separate thread, so that receiving does not delay it.
//!
//! A stamp contains the time at which its publication was *due*: if the server or this machine delays the publisher, the
//! delay counts as latency. The report also contains the lateness of the publisher itself.

use crate::clock::{Clock, Nanos};
use crate::process::{own_thread_cpu, threads_cpu};
use crate::stamp::Stamp;
use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use memchr::memmem;
use nodevent_protocol::history::{self, Batch, Keys, Publish, Retention};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time for the server to confirm the publications.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body of a request with many publications. Bytes.
const BODY: usize = 900 * 1024;
/// The epoch of new rooms.
const EPOCH: u64 = 0x000b_ec40;
/// Time for which a call of our script is remembered.
const RETRY_WINDOW: Duration = Duration::from_secs(60);
/// The name of the threads that read replies.
const REPLIES_THREAD: &str = "replies";
/// The highest recorded lateness: a minute. Nanoseconds.
const MAX_LATENESS: u64 = 60_000_000_000;

/// The address and method of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    address: SocketAddr,
    method: Method,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Method {
    /// `http://address/path`: POST, with one publication per request, or an array for a burst.
    Http { path: String },
    /// `notify://address/path`: POST with one message for the mailbox of a user.
    Notify { path: String },
    /// `nchan://address`: POST to `/emit?room=`, with one publication per request.
    Nchan,
    /// `redis://address/channel`: PUBLISH to that channel, including the slash.
    Redis { channel: String },
    /// `redis-rooms://address`: PUBLISH to a channel with the room's name.
    RedisRooms,
    /// `redis-history://address/namespace`: through our script, as the gem does with history: what is due is in one call.
    /// On a cluster, whose other nodes follow the address after commas, a call is about one room.
    RedisHistory { namespace: String, other_nodes: Vec<SocketAddr>, channel_per_room: bool },
    /// `lines://address`: one publication per line, without confirmation.
    Lines,
}

/// The schedule of publications.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// A constant rate. So many are due at the same time; over HTTP, in one array or as requests of their own.
    Rate { per_second: u32, seconds: f64, together: u32, in_arrays: bool },
    /// All at the same time.
    Burst { count: u32 },
}

/// A connection to a server's publishing side.
#[derive(Debug)]
pub(crate) struct Publisher {
    route: Route,
    /// One connection, or one for each node of a cluster.
    streams: Vec<TcpStream>,
    /// The index of the node that has a room. Empty: there is one connection.
    node_of_room: Vec<usize>,
    /// The SHA-1 name of our script in Redis.
    script: String,
    /// Calls of it so far, and what makes them unique.
    calls: u64,
    /// How often something was sent.
    flushes: u64,
    /// CPU time of the threads that publish and read replies. Nanoseconds.
    cpu: u64,
    nonce: u64,
    replies: Arc<Replies>,
    clock: Clock,
    size: usize,
    rooms: Vec<String>,
    /// Publications so far, by room.
    emitted: Vec<u32>,
    /// The room of the next publication.
    next: usize,
    /// Lateness of the publications. Nanoseconds.
    lateness: Histogram<u32>,
    unconfirmed: u64,
}

#[derive(Debug, Default)]
struct Replies {
    good: AtomicU64,
    bad: AtomicU64,
}

// === impl Route ===

impl FromStr for Route {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").context("write a route as scheme://address")?;
        let (addresses, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let parse = |address: &str| {
            address.parse::<SocketAddr>().with_context(|| format!("`{address}` is not an address with a port"))
        };
        let mut addresses = addresses.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
        let address = addresses.remove(0);
        if !addresses.is_empty() && scheme != "redis-history" {
            bail!("only redis-history has several addresses, those of the nodes of a cluster");
        }
        let method = match scheme {
            "http" => Method::Http { path: path.to_owned() },
            "notify" => Method::Notify { path: path.to_owned() },
            "nchan" => Method::Nchan,
            "redis" => Method::Redis { channel: path.to_owned() },
            "redis-rooms" => Method::RedisRooms,
            "redis-history" => {
                Method::RedisHistory { namespace: path.to_owned(), other_nodes: addresses, channel_per_room: false }
            }
            "lines" => Method::Lines,
            other => {
                bail!(
                    "`{other}` is not a route; write http, notify, nchan, redis, redis-rooms, redis-history or lines"
                )
            }
        };
        Ok(Self { address, method })
    }
}

impl Route {
    /// Gives each room a channel of its own, if the flag is true.
    pub(crate) fn with_channel_per_room(mut self, is_on: bool) -> Self {
        if let Method::RedisHistory { channel_per_room, .. } = &mut self.method {
            *channel_per_room = is_on;
        }
        self
    }

    /// The address, and those of the other nodes of a cluster.
    pub(crate) fn nodes(&self) -> Vec<SocketAddr> {
        let mut nodes = vec![self.address];
        if let Method::RedisHistory { other_nodes, .. } = &self.method {
            nodes.extend(other_nodes);
        }
        nodes
    }
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn connect(route: &Route, clock: Clock, rooms: &[String], size: usize) -> anyhow::Result<Self> {
        let (mut streams, mut script) = (Vec::new(), String::new());
        for node in route.nodes() {
            let mut stream = TcpStream::connect(node).with_context(|| format!("cannot reach {node}"))?;
            stream.set_nodelay(true)?;
            if matches!(route.method, Method::RedisHistory { .. }) {
                script = load_script(&mut stream)?;
            }
            streams.push(stream);
        }
        let node_of_room = match &route.method {
            Method::RedisHistory { namespace, other_nodes, .. } if !other_nodes.is_empty() => {
                rooms.iter().map(|room| node_of(&mut streams, namespace, room)).collect::<anyhow::Result<_>>()?
            }
            _ => Vec::new(),
        };
        let replies = Arc::new(Replies::default());
        for stream in &streams {
            let (reader, counted, method) = (stream.try_clone()?, Arc::clone(&replies), route.method.clone());
            thread::Builder::new()
                .name(REPLIES_THREAD.to_owned())
                .spawn(move || count_replies(reader, &method, &counted))?;
        }
        Ok(Self {
            route: route.clone(),
            streams,
            node_of_room,
            script,
            calls: 0,
            flushes: 0,
            cpu: 0,
            nonce: SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
            replies,
            clock,
            size,
            rooms: rooms.to_vec(),
            emitted: vec![0; rooms.len()],
            next: 0,
            lateness: Histogram::new_with_bounds(1, MAX_LATENESS, 3)?,
            unconfirmed: 0,
        })
    }

    /// Publications so far, by room.
    pub(crate) fn emitted(&self) -> &[u32] {
        &self.emitted
    }

    /// Returns the 99th percentile of the lateness. Microseconds.
    pub(crate) fn lateness_us(&self) -> f64 {
        self.lateness.value_at_quantile(0.99) as f64 / 1000.0
    }

    /// Calls of our script so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// How often something was sent.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes
    }

    /// CPU time of publishing. Nanoseconds.
    pub(crate) fn cpu(&self) -> u64 {
        self.cpu
    }

    /// Publishes without a confirmation in time.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// Runs a plan, and waits until the publications are confirmed or the timeout has passed.
    ///
    /// # Errors
    /// The connection broke, or the server refused a publication.
    pub(crate) fn run(&mut self, plan: Plan) -> anyhow::Result<()> {
        let begin = self.clock.now();
        let cpu_before = own_thread_cpu() + threads_cpu(REPLIES_THREAD);
        let replies = match plan {
            Plan::Burst { count } => self.burst(begin, count)?,
            Plan::Rate { per_second, seconds, together, in_arrays } => {
                self.rate(begin, per_second, seconds, together, in_arrays)?
            }
        };
        let result = self.await_replies(replies);
        self.cpu += (own_thread_cpu() + threads_cpu(REPLIES_THREAD)).saturating_sub(cpu_before);
        result
    }

    fn burst(&mut self, begin: Nanos, count: u32) -> anyhow::Result<u64> {
        let publications: Vec<(usize, String)> = (0..count).map(|_| self.publication(begin)).collect();
        let mut bytes = vec![Vec::with_capacity(publications.len() * (self.size + 64)); self.streams.len()];
        let requests = self.publish_together(&mut bytes, &publications);
        self.send(&bytes)?;
        Ok(requests)
    }

    /// Publishes at once what is due at the same time, as the gem does: over HTTP in arrays. Returns the number of replies.
    fn publish_together(&mut self, bytes: &mut [Vec<u8>], publications: &[(usize, String)]) -> u64 {
        let Method::Http { path } = &self.route.method else {
            self.publish_all(bytes, publications);
            return publications.len() as u64;
        };
        let (mut requests, mut body) = (0, String::new());
        for (index, (_, publication)) in publications.iter().enumerate() {
            body.push(if body.is_empty() { '[' } else { ',' });
            body.push_str(publication);
            if body.len() + self.size > BODY || index + 1 == publications.len() {
                body.push(']');
                post(&mut bytes[0], &self.route.address, path, &body);
                body.clear();
                requests += 1;
            }
        }
        requests
    }

    /// Sends to each node what is for it.
    fn send(&mut self, bytes: &[Vec<u8>]) -> anyhow::Result<()> {
        for (stream, bytes) in self.streams.iter_mut().zip(bytes) {
            if !bytes.is_empty() {
                self.flushes += 1;
                stream.write_all(bytes).context("publishing failed")?;
            }
        }
        Ok(())
    }

    fn rate(
        &mut self,
        begin: Nanos,
        per_second: u32,
        seconds: f64,
        together: u32,
        in_arrays: bool,
    ) -> anyhow::Result<u64> {
        let count = (f64::from(per_second) * seconds) as u64;
        let together = u64::from(together);
        let due = |index: u64| begin + index / together * together * 1_000_000_000 / u64::from(per_second);
        let (mut index, mut replies, mut bytes) = (0, 0, vec![Vec::new(); self.streams.len()]);
        while index < count {
            let now = self.clock.now();
            if now < due(index) {
                thread::sleep(self.clock.instant(due(index)).saturating_duration_since(Instant::now()));
                continue;
            }
            bytes.iter_mut().for_each(Vec::clear);
            let mut publications = Vec::new();
            while index < count && due(index) <= now {
                self.lateness.saturating_record(now - due(index));
                publications.push(self.publication(due(index)));
                index += 1;
            }
            if in_arrays {
                replies += self.publish_together(&mut bytes, &publications);
            } else {
                self.publish_all(&mut bytes, &publications);
                replies += publications.len() as u64;
            }
            self.send(&bytes)?;
        }
        Ok(replies)
    }

    /// Returns the next publication and the index of its room.
    fn publication(&mut self, at: Nanos) -> (usize, String) {
        let room = self.next;
        self.next = (self.next + 1) % self.rooms.len();
        let stamp = Stamp { at, number: self.emitted[room] };
        self.emitted[room] += 1;
        let target = if matches!(self.route.method, Method::Notify { .. }) { "user" } else { "room" };
        (room, stamp.publication(target, &self.rooms[room], self.size))
    }

    fn publish_all(&mut self, bytes: &mut [Vec<u8>], publications: &[(usize, String)]) {
        match self.route.method.clone() {
            Method::RedisHistory { namespace, channel_per_room, .. } => {
                self.publish_batches(bytes, &namespace, channel_per_room, publications);
            }
            _ => publications.iter().for_each(|(room, text)| self.publish(&mut bytes[0], *room, text)),
        }
    }

    /// Publishes through our script, with as few calls as the gem: on a cluster, each is about one room.
    fn publish_batches(
        &mut self,
        bytes: &mut [Vec<u8>],
        namespace: &str,
        channel_per_room: bool,
        publications: &[(usize, String)],
    ) {
        let clustered = !self.node_of_room.is_empty();
        let mut publications = publications.iter().peekable();
        while let Some((room, text)) = publications.next() {
            let channel = |keys: &Keys| if channel_per_room { keys.channel() } else { namespace.to_owned() };
            let sharded = channel_per_room && clustered;
            let keys = Keys::of(namespace, &self.rooms[*room]);
            let mut batch =
                Batch::new(self.nonce, self.calls, &keys, &with_history(&channel(&keys), text, sharded));
            let fits = |batch: &Batch, (next, text): &(usize, String)| {
                !batch.is_full(text.len()) && (!clustered || next == room)
            };
            while let Some((room, text)) = publications.next_if(|next| fits(&batch, next)) {
                let keys = Keys::of(namespace, &self.rooms[*room]);
                batch.add(&keys, &with_history(&channel(&keys), text, sharded));
            }
            self.calls += 1;
            let (keys, args) = batch.into_call();
            let count = keys.len().to_string();
            let mut words = vec!["EVALSHA", &self.script, &count];
            words.extend(keys.iter().chain(&args).map(String::as_str));
            redis_command(&mut bytes[self.node_of_room.get(*room).copied().unwrap_or(0)], &words);
        }
    }

    fn publish(&self, bytes: &mut Vec<u8>, room: usize, publication: &str) {
        let room = &self.rooms[room];
        let address = &self.route.address;
        match &self.route.method {
            Method::Http { path } | Method::Notify { path } => post(bytes, address, path, publication),
            Method::Nchan => post(bytes, address, &format!("/emit?room={room}"), publication),
            Method::Redis { channel } => redis_command(bytes, &["PUBLISH", channel, publication]),
            Method::RedisRooms => redis_command(bytes, &["PUBLISH", room, publication]),
            Method::RedisHistory { .. } => {}
            Method::Lines => {
                bytes.extend_from_slice(publication.as_bytes());
                bytes.push(b'\n');
            }
        }
    }

    /// Waits until `count` more publishes are confirmed.
    fn await_replies(&mut self, count: u64) -> anyhow::Result<()> {
        if self.route.method == Method::Lines {
            return Ok(());
        }
        let until = Instant::now() + TIMEOUT;
        while self.replies.good.load(SeqCst) < count && Instant::now() < until {
            let bad = self.replies.bad.load(SeqCst);
            if bad > 0 {
                bail!("the server refused {bad} publishes");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let good = self.replies.good.swap(0, SeqCst);
        self.unconfirmed += count.saturating_sub(good);
        Ok(())
    }
}

/// The arguments of our script for one publication.
fn with_history<'a>(channel: &'a str, text: &'a str, sharded: bool) -> Publish<'a> {
    Publish {
        channel,
        text,
        retention: Retention::default(),
        fresh_epoch: EPOCH,
        idempotency_ttl: RETRY_WINDOW,
        sharded,
    }
}

fn post(bytes: &mut Vec<u8>, address: &SocketAddr, path: &str, body: &str) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(body.as_bytes());
}

/// Appends a command in the Redis protocol.
fn redis_command(bytes: &mut Vec<u8>, words: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// Finds the node of a cluster that has a room: the others redirect.
fn node_of(streams: &mut [TcpStream], namespace: &str, room: &str) -> anyhow::Result<usize> {
    let mut command = Vec::new();
    redis_command(&mut command, &["EXISTS", &Keys::of(namespace, room).position]);
    for (index, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&command)?;
        let (mut line, mut byte) = (Vec::new(), [0]);
        while byte != *b"\n" {
            stream.read_exact(&mut byte).context("Redis did not reply to EXISTS")?;
            line.push(byte[0]);
        }
        if line.first() == Some(&b':') {
            return Ok(index);
        }
    }
    bail!("none of these nodes has {room}; name all primaries of the cluster")
}

/// Loads our script into Redis and returns its name there.
fn load_script(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut command = Vec::new();
    redis_command(&mut command, &["SCRIPT", "LOAD", history::PUBLISH_MANY]);
    stream.write_all(&command)?;
    // The reply is a bulk string: its length, 40, and the digits.
    let mut reply = [0; 47];
    stream.read_exact(&mut reply).context("Redis did not reply to SCRIPT LOAD")?;
    let name = reply.strip_prefix(b"$40\r\n").and_then(|rest| rest.strip_suffix(b"\r\n"));
    let name = name.context("Redis refused the script")?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Counts replies until the connection ends.
fn count_replies(mut stream: TcpStream, method: &Method, replies: &Replies) {
    let (start, good): (&[u8], &[u8]) = match method {
        Method::Http { .. } | Method::Notify { .. } | Method::Nchan => (b"HTTP/1.1 ", b"2"),
        Method::Redis { .. } | Method::RedisRooms => (b"", b":"),
        // Each publication has a position, with one colon; a minus sign begins an error.
        Method::RedisHistory { .. } => return count_positions(stream, replies),
        Method::Lines => return,
    };
    let (mut pending, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..count]);
        let mut read = 0;
        if start.is_empty() {
            // Every reply is one line, and its first character decides.
            while let Some(end) = memchr::memchr(b'\n', &pending[read..]) {
                count_one(replies, pending[read..].starts_with(good));
                read += end + 1;
            }
        } else {
            while let Some(at) = memmem::find(&pending[read..], start) {
                let Some(status) = pending.get(read + at + start.len()..read + at + start.len() + 1) else { break };
                count_one(replies, status == good);
                read += at + start.len() + 1;
            }
            read = read.max(pending.len().saturating_sub(start.len()));
        }
        pending.drain(..read);
    }
}

/// Counts the positions in the replies of our script, until the connection ends.
fn count_positions(mut stream: TcpStream, replies: &Replies) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        for byte in &buffer[..count] {
            match byte {
                b':' => count_one(replies, true),
                b'-' => count_one(replies, false),
                _ => {}
            }
        }
    }
}

fn count_one(replies: &Replies, good: bool) {
    (if good { &replies.good } else { &replies.bad }).fetch_add(1, SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn route_names_a_method_and_an_address() {
        let route: Route = "redis://127.0.0.1:6379/nodevent".parse().unwrap();
        assert_eq!(route.method, Method::Redis { channel: "/nodevent".into() });
        assert!("http://somewhere".parse::<Route>().is_err());
        assert!("ftp://127.0.0.1:1".parse::<Route>().is_err());
    }

    #[test]
    fn route_names_all_nodes_of_a_cluster() {
        let route: Route = "redis-history://127.0.0.1:1,127.0.0.1:2/nodevent".parse().unwrap();
        assert_eq!(route.nodes(), ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
        let with_flag = route.with_channel_per_room(true);
        assert!(matches!(with_flag.method, Method::RedisHistory { channel_per_room: true, .. }));
        assert!("redis://127.0.0.1:1,127.0.0.1:2/nodevent".parse::<Route>().is_err());
    }

    /// The server sends three responses byte by byte, so that every boundary between reads occurs.
    #[test]
    fn replies_are_counted_for_every_split() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            for byte in
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 202 Accepted\r\n\r\nHTTP/1.1 201 C\r\n\r\n"
            {
                stream.write_all(&[*byte]).unwrap();
            }
            // The connection stays open until the publisher closes it.
            let _ = stream.read(&mut [0; 1024]);
            stream
        });
        let route = format!("http://{address}/x").parse().unwrap();
        let mut publisher = Publisher::connect(&route, Clock::start(), &["r".to_owned()], 200).unwrap();
        publisher.run(Plan::Rate { per_second: 1000, seconds: 0.003, together: 1, in_arrays: false }).unwrap();
        assert_eq!(publisher.emitted(), [3]);
        drop(publisher);
        server.join().unwrap();
    }
}
