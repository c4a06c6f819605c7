//! Emits on a schedule, from a thread of its own, so that hearing does not hold it up.
//!
//! A stamp says when its publication was *due*: where a server, or this machine, holds the publisher up, the delay
//! counts as latency and is not hidden. How late the publisher itself was is reported beside it.

use crate::clock::{Clock, Nanos};
use crate::stamp::Stamp;
use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use memchr::memmem;
use nodevent_protocol::history::{self, Keys};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server is given to confirm what was published.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest body of one request that carries many publications. Bytes.
const BODY: usize = 900 * 1024;
/// What our script is told beside the publication, as it is by default: entries, age of the log and of the position
/// in milliseconds, and an epoch.
const KEPT: [&str; 4] = ["100", "300000", "86400000", "00000000000bec40"];
/// The lateness up to which the publisher tells its own apart: a minute. Nanoseconds.
const LATEST: u64 = 60_000_000_000;

/// Where publications are published, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    address: SocketAddr,
    way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// `http://address/path`: POST, one publication a request, or an array where several are emitted at once.
    Http { path: String },
    /// `nchan://address`: POST to `/emit?room=`, one publication a request.
    Nchan,
    /// `redis://address/channel`: PUBLISH to that channel, with the slash.
    Redis { channel: String },
    /// `redis-rooms://address`: PUBLISH to the channel of the room's name.
    RedisRooms,
    /// `redis-kept://address/namespace`: through our script, as the gem does where history is on.
    RedisKept { namespace: String },
    /// `lines://address`: one publication a line, nothing is confirmed.
    Lines,
}

/// When to emit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plan {
    /// So many a second for so long.
    Rate { per_second: u32, seconds: f64 },
    /// So many at once.
    Burst { count: u32 },
}

/// A connection to a server's publishing side.
#[derive(Debug)]
pub(crate) struct Publisher {
    route: Route,
    stream: TcpStream,
    /// The name that Redis has given our script.
    script: String,
    replies: Arc<Replies>,
    clock: Clock,
    size: usize,
    rooms: Vec<String>,
    /// Publications so far, by room.
    emitted: Vec<u32>,
    /// The room of the next publication.
    next: usize,
    /// How late publications were. Nanoseconds.
    late: Histogram<u32>,
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
        let (address, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let address = address.parse().with_context(|| format!("`{address}` is not an address with a port"))?;
        let way = match scheme {
            "http" => Way::Http { path: path.to_owned() },
            "nchan" => Way::Nchan,
            "redis" => Way::Redis { channel: path.to_owned() },
            "redis-rooms" => Way::RedisRooms,
            "redis-kept" => Way::RedisKept { namespace: path.to_owned() },
            "lines" => Way::Lines,
            other => bail!("`{other}` is none of http, nchan, redis, redis-rooms, redis-kept, lines"),
        };
        Ok(Self { address, way })
    }
}

// === impl Publisher ===

impl Publisher {
    pub(crate) fn connect(route: &Route, clock: Clock, rooms: &[String], size: usize) -> anyhow::Result<Self> {
        let mut stream =
            TcpStream::connect(route.address).with_context(|| format!("cannot reach {}", route.address))?;
        stream.set_nodelay(true)?;
        let script = match route.way {
            Way::RedisKept { .. } => load_script(&mut stream)?,
            _ => String::new(),
        };
        let replies = Arc::new(Replies::default());
        let (reader, counted) = (stream.try_clone()?, Arc::clone(&replies));
        let way = route.way.clone();
        thread::spawn(move || count_replies(reader, &way, &counted));
        Ok(Self {
            route: route.clone(),
            stream,
            script,
            replies,
            clock,
            size,
            rooms: rooms.to_vec(),
            emitted: vec![0; rooms.len()],
            next: 0,
            late: Histogram::new_with_bounds(1, LATEST, 3)?,
            unconfirmed: 0,
        })
    }

    /// Publications so far, by room.
    pub(crate) fn emitted(&self) -> &[u32] {
        &self.emitted
    }

    /// How late publications were, in microseconds: 99 of 100 were at most so late.
    pub(crate) fn late_us(&self) -> f64 {
        self.late.value_at_quantile(0.99) as f64 / 1000.0
    }

    /// Publishes that no server has confirmed in time.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed
    }

    /// Carries a plan out, and waits until what was published is confirmed, or as long as patience goes.
    ///
    /// # Errors
    /// The connection broke, or the server refused something.
    pub(crate) fn carry_out(&mut self, plan: Plan) -> anyhow::Result<()> {
        let begin = self.clock.now();
        let replies = match plan {
            Plan::Burst { count } => self.burst(begin, count)?,
            Plan::Rate { per_second, seconds } => self.rate(begin, per_second, seconds)?,
        };
        self.await_replies(replies)
    }

    fn burst(&mut self, begin: Nanos, count: u32) -> anyhow::Result<u64> {
        let publications: Vec<(usize, String)> = (0..count).map(|_| self.publication(begin)).collect();
        let mut bytes = Vec::with_capacity(publications.len() * (self.size + 64));
        let requests = match &self.route.way {
            Way::Http { path } => {
                let (mut requests, mut body) = (0, String::new());
                for (index, (_, publication)) in publications.iter().enumerate() {
                    body.push(if body.is_empty() { '[' } else { ',' });
                    body.push_str(publication);
                    if body.len() + self.size > BODY || index + 1 == publications.len() {
                        body.push(']');
                        post(&mut bytes, &self.route.address, path, &body);
                        body.clear();
                        requests += 1;
                    }
                }
                requests
            }
            _ => {
                publications.iter().for_each(|(room, publication)| self.publish(&mut bytes, *room, publication));
                publications.len() as u64
            }
        };
        self.stream.write_all(&bytes).context("publishing failed")?;
        Ok(requests)
    }

    fn rate(&mut self, begin: Nanos, per_second: u32, seconds: f64) -> anyhow::Result<u64> {
        let count = (f64::from(per_second) * seconds) as u64;
        let due = |index: u64| begin + index * 1_000_000_000 / u64::from(per_second);
        let (mut index, mut bytes) = (0, Vec::new());
        while index < count {
            let now = self.clock.now();
            if now < due(index) {
                thread::sleep(self.clock.instant(due(index)).saturating_duration_since(Instant::now()));
                continue;
            }
            bytes.clear();
            while index < count && due(index) <= now {
                self.late.saturating_record(now - due(index));
                let (room, publication) = self.publication(due(index));
                self.publish(&mut bytes, room, &publication);
                index += 1;
            }
            self.stream.write_all(&bytes).context("publishing failed")?;
        }
        Ok(count)
    }

    /// The next publication and the room it is for.
    fn publication(&mut self, at: Nanos) -> (usize, String) {
        let room = self.next;
        self.next = (self.next + 1) % self.rooms.len();
        let stamp = Stamp { at, number: self.emitted[room] };
        self.emitted[room] += 1;
        (room, stamp.publication(&self.rooms[room], self.size))
    }

    fn publish(&self, bytes: &mut Vec<u8>, room: usize, publication: &str) {
        let room = &self.rooms[room];
        let address = &self.route.address;
        match &self.route.way {
            Way::Http { path } => post(bytes, address, path, publication),
            Way::Nchan => post(bytes, address, &format!("/emit?room={room}"), publication),
            Way::Redis { channel } => redis_command(bytes, &["PUBLISH", channel, publication]),
            Way::RedisRooms => redis_command(bytes, &["PUBLISH", room, publication]),
            Way::RedisKept { namespace } => {
                let keys = Keys::of(namespace, room);
                let [most, age, position_age, epoch] = KEPT;
                redis_command(
                    bytes,
                    &[
                        "EVALSHA",
                        &self.script,
                        "2",
                        &keys.position,
                        &keys.log,
                        namespace,
                        publication,
                        most,
                        age,
                        position_age,
                        epoch,
                        "PUBLISH",
                        "0",
                    ],
                );
            }
            Way::Lines => {
                bytes.extend_from_slice(publication.as_bytes());
                bytes.push(b'\n');
            }
        }
    }

    /// Waits until `count` more are confirmed.
    fn await_replies(&mut self, count: u64) -> anyhow::Result<()> {
        if self.route.way == Way::Lines {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        while self.replies.good.load(SeqCst) < count && Instant::now() < until {
            let bad = self.replies.bad.load(SeqCst);
            if bad > 0 {
                bail!("the server refused {bad} of what was published");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let good = self.replies.good.swap(0, SeqCst);
        self.unconfirmed += count.saturating_sub(good);
        Ok(())
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

/// A command as Redis reads it.
fn redis_command(bytes: &mut Vec<u8>, words: &[&str]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// Gives Redis our script and answers the name it has there.
fn load_script(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut command = Vec::new();
    redis_command(&mut command, &["SCRIPT", "LOAD", history::PUBLISH]);
    stream.write_all(&command)?;
    // A bulk string: its length, 40, and the digits.
    let mut reply = [0; 47];
    stream.read_exact(&mut reply).context("Redis did not take the script")?;
    let name = reply.strip_prefix(b"$40\r\n").and_then(|rest| rest.strip_suffix(b"\r\n"));
    let name = name.context("Redis refused the script")?;
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// Counts what comes back until the connection ends.
fn count_replies(mut stream: TcpStream, way: &Way, replies: &Replies) {
    let (start, good): (&[u8], &[u8]) = match way {
        Way::Http { .. } | Way::Nchan => (b"HTTP/1.1 ", b"2"),
        Way::Redis { .. } | Way::RedisRooms => (b"", b":"),
        // An array of position, receivers and a number: its head is what is counted.
        Way::RedisKept { .. } => (b"*", b"3"),
        Way::Lines => return,
    };
    let (mut pending, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..count]);
        let mut read = 0;
        if start.is_empty() {
            // Every reply is one line, and its first character tells.
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
        assert_eq!(route.way, Way::Redis { channel: "/nodevent".into() });
        assert!("http://somewhere".parse::<Route>().is_err());
        assert!("ftp://127.0.0.1:1".parse::<Route>().is_err());
    }

    /// A server that answers each of three requests with a byte at a time: no reply may be missed at a seam.
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
            // Kept open until the publisher is done with it.
            let _ = stream.read(&mut [0; 1024]);
            stream
        });
        let route = format!("http://{address}/x").parse().unwrap();
        let mut publisher = Publisher::connect(&route, Clock::start(), &["r".to_owned()], 200).unwrap();
        publisher.carry_out(Plan::Rate { per_second: 1000, seconds: 0.003 }).unwrap();
        assert_eq!(publisher.emitted(), [3]);
        drop(publisher);
        server.join().unwrap();
    }
}
