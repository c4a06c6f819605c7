//! Publishers over HTTP that write down what was confirmed: one per room, one publication after the other, each sent
//! again with the same idempotency key until a server says that the engine has it.

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

/// How long one attempt may take. Longer than a server's own patience with its Redis.
const ATTEMPT: Duration = Duration::from_secs(8);
/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(50);

/// A publish that was confirmed.
#[derive(Debug, Clone)]
pub struct Confirmed {
    pub namespace: String,
    pub room: String,
    /// Its number among those of its room.
    pub number: u64,
    pub position: Option<Position>,
    /// When the first attempt began.
    pub sent: Instant,
}

/// Publishers at work.
pub struct Publishers {
    confirmed: Arc<Mutex<Vec<Confirmed>>>,
    stop: Arc<AtomicBool>,
    /// Whether they rest, and how many do not yet.
    resting: Arc<AtomicBool>,
    busy: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

/// The publisher of one room.
pub struct Publisher {
    sites: Vec<Site>,
    namespace: String,
    room: String,
    /// Sets its idempotency keys apart from those of other publishers.
    name: u64,
    number: u64,
    /// The server it speaks to, and the connection.
    site: usize,
    link: Option<TcpStream>,
}

// === impl Publishers ===

impl Publishers {
    /// Begins publishing to each of the rooms, `pause` between a confirmation and the next publication.
    pub fn start_with(sites: &[Site], namespace: &str, rooms: &[&str], pause: Duration) -> Self {
        let (confirmed, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (resting, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begin = |room: &&str| {
            let mut publisher = Publisher::new(sites, namespace, room);
            let (confirmed, stop) = (Arc::clone(&confirmed), Arc::clone(&stop));
            let (resting, busy) = (Arc::clone(&resting), Arc::clone(&busy));
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    busy.fetch_add(1, SeqCst);
                    if !resting.load(SeqCst) {
                        let one = publisher.publish().await;
                        confirmed.lock().expect("the record").push(one);
                    }
                    busy.fetch_sub(1, SeqCst);
                    tokio::time::sleep(pause).await;
                }
            })
        };
        let tasks = rooms.iter().map(begin).collect();
        Self { confirmed, stop, resting, busy, tasks }
    }

    /// The same with 20 ms between.
    pub fn start(sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        Self::start_with(sites, namespace, rooms, Duration::from_millis(20))
    }

    /// How many were confirmed.
    pub fn confirmed(&self) -> usize {
        self.confirmed.lock().expect("the record").len()
    }

    /// Waits until everything that was begun is confirmed, and begins nothing more until [`Publishers::go_on`].
    pub async fn rest(&self) {
        self.resting.store(true, SeqCst);
        until("the publishers rest", async || self.busy.load(SeqCst) == 0).await;
    }

    pub fn go_on(&self) {
        self.resting.store(false, SeqCst);
    }

    /// Lets each publisher finish what it is at; answers everything that was confirmed.
    pub async fn finish(self) -> Vec<Confirmed> {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            let done = tokio::time::timeout(Duration::from_secs(60), task).await;
            done.expect("a publisher is confirmed in the end").expect("a publisher does not fail");
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

    /// Publishes the next publication, however many attempts it takes.
    pub async fn publish(&mut self) -> Confirmed {
        self.number += 1;
        let sent = Instant::now();
        loop {
            match tokio::time::timeout(ATTEMPT, self.attempt()).await {
                Ok(Some(response)) if response.status == 200 => {
                    let body: Value = serde_json::from_slice(&response.body).expect("a body");
                    let position = body["positions"][0].as_str().and_then(Position::parse);
                    let (namespace, room) = (self.namespace.clone(), self.room.clone());
                    return Confirmed { namespace, room, number: self.number, position, sent };
                }
                Ok(Some(response)) => assert_eq!(response.status, 503, "{}", response.text()),
                // The server is gone, or does not answer: the next one.
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
        let once = format!("{}-{}-{}", self.name, self.room, self.number);
        let request = Request::post(&format!("/api{}/emit", self.namespace), publication.to_string());
        let response = request.header("Idempotency-Key", &once).exchange(&mut link, &address).await.ok()?;
        self.link = Some(link);
        Some(response)
    }
}
