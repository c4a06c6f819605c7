//! Publishers over HTTP that record every confirmed publish. Each room has one publisher, which publishes one event at
//! a time and retries with the same idempotency key until a server confirms that the engine has it.

use crate::support::http::{Request, Response};
use crate::support::site::Site;
use crate::support::wait::until;
use nodevent_protocol::history::Position;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Time for one attempt. Longer than a server's own timeout for its Redis.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// Pause before the next attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// A confirmed publish.
#[derive(Debug, Clone)]
pub struct Confirmed {
    pub namespace: String,
    pub room: String,
    /// Number of the event in its room, from 1.
    pub number: u64,
    pub position: Option<Position>,
    /// Start of the first attempt.
    pub sent: Instant,
}

/// A set of running publishers.
pub struct Publishers {
    confirmed: Arc<Mutex<Vec<Confirmed>>>,
    stop: Arc<AtomicBool>,
    /// True while the publishers pause, and the number of publishes still in progress.
    paused: Arc<AtomicBool>,
    busy: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

/// The publisher of one room.
pub struct Publisher {
    sites: Vec<Site>,
    namespace: String,
    room: String,
    /// Distinguishes its idempotency keys from those of other publishers.
    name: u64,
    number: u64,
    /// Index of the current server, and the connection to it.
    site: usize,
    link: Option<TcpStream>,
}

// === impl Publishers ===

impl Publishers {
    /// Starts a publisher for each room, with `pause` between a confirmation and the next publication.
    pub fn start_with(sites: &[Site], namespace: &str, rooms: &[&str], pause: Duration) -> Self {
        let (confirmed, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (paused, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begin = |room: &&str| {
            let mut publisher = Publisher::new(sites, namespace, room);
            let (confirmed, stop) = (Arc::clone(&confirmed), Arc::clone(&stop));
            let (paused, busy) = (Arc::clone(&paused), Arc::clone(&busy));
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    busy.fetch_add(1, SeqCst);
                    if !paused.load(SeqCst) {
                        let one = publisher.publish().await;
                        confirmed.lock().expect("the record").push(one);
                    }
                    busy.fetch_sub(1, SeqCst);
                    tokio::time::sleep(pause).await;
                }
            })
        };
        let tasks = rooms.iter().map(begin).collect();
        Self { confirmed, stop, paused, busy, tasks }
    }

    /// Does the same with a pause of 20 ms.
    pub fn start(sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        Self::start_with(sites, namespace, rooms, Duration::from_millis(20))
    }

    /// Number of confirmed publishes.
    pub fn confirmed(&self) -> usize {
        self.confirmed.lock().expect("the record").len()
    }

    /// Waits until every started publish is confirmed, and starts no more until [`Publishers::resume`].
    pub async fn pause(&self) {
        self.paused.store(true, SeqCst);
        until("the publishers pause", async || self.busy.load(SeqCst) == 0).await;
    }

    pub fn resume(&self) {
        self.paused.store(false, SeqCst);
    }

    /// Waits until each publisher has finished its current publish, and returns all confirmed ones.
    pub async fn finish(self) -> Vec<Confirmed> {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            let done = tokio::time::timeout(Duration::from_secs(60), task).await;
            done.expect("the last publish is confirmed").expect("a publisher does not panic");
        }
        std::mem::take(&mut *self.confirmed.lock().expect("the record"))
    }
}

// === impl Publisher ===

impl Publisher {
    pub fn new(sites: &[Site], namespace: &str, room: &str) -> Self {
        static NAMES: AtomicU64 = AtomicU64::new(0);
        Self {
            sites: sites.to_vec(),
            namespace: namespace.to_owned(),
            room: room.to_owned(),
            name: NAMES.fetch_add(1, SeqCst),
            number: 0,
            site: 0,
            link: None,
        }
    }

    /// Publishes the next event, with as many attempts as it takes.
    pub async fn publish(&mut self) -> Confirmed {
        self.number += 1;
        let sent = Instant::now();
        loop {
            match tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt()).await {
                Ok(Some(response)) if response.status == 200 => {
                    let body: Value = serde_json::from_slice(&response.body).expect("a body");
                    let position = body["positions"][0].as_str().and_then(Position::parse);
                    let (namespace, room) = (self.namespace.clone(), self.room.clone());
                    return Confirmed { namespace, room, number: self.number, position, sent };
                }
                Ok(Some(response)) => assert_eq!(response.status, 503, "{}", response.text()),
                // The server is down or does not respond: try the next one.
                Ok(None) | Err(_) => {
                    self.link = None;
                    self.site = (self.site + 1) % self.sites.len();
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(&mut self) -> Option<Response> {
        let address = self.sites[self.site].address.clone();
        let mut link = match self.link.take() {
            Some(link) => link,
            None => TcpStream::connect(&address).await.ok()?,
        };
        let message = json!({"number": self.number, "room": self.room, "namespace": self.namespace});
        let publication = json!({"room": self.room, "event": "fact", "message": message});
        let idempotency_key = format!("{}-{}-{}", self.name, self.room, self.number);
        let request = Request::post(&format!("/api{}/emit", self.namespace), publication.to_string());
        let response =
            request.header("Idempotency-Key", &idempotency_key).exchange(&mut link, &address).await.ok()?;
        self.link = Some(link);
        Some(response)
    }
}
