//! A bystander: clients that use the server normally during an attack, and the measurement of what they notice.
//!
//! It runs in a thread with its own runtime, so that a busy attacker in the same process does not distort its figures.
//! It uses the address 127.0.0.2, so that a limit per address on the attackers does not apply to it.

use crate::attacker;
use crate::process::Process;
use crate::support::Request;
use crate::support::raw::{Raw, handshake};
use crate::support::wait::until;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// The address of the bystander's sockets.
const OWN_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 2], 0);
/// Connected clients of the bystander. Each has at most 40 joins per second, below the default limit.
const CLIENTS: usize = 3;
/// Pause of a client between two samples.
const PACE: Duration = Duration::from_millis(25);
/// Number of samples between two new connections of a client.
const CONNECT_EVERY: u64 = 4;
/// Time for one step of a sample, after which it counts as failed.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// Length of a measurement without an attack: about a hundred samples of each kind but connects. There are dozens of them.
const CALM: Duration = Duration::from_secs(1);
/// The latency that is acceptable in any case.
const ACCEPTABLE: Duration = Duration::from_millis(20);
/// The latency that is acceptable in comparison with the one without an attack.
const FACTOR: u32 = 3;
/// Joins during an attack, without which it was too short to be measured.
const MIN_SAMPLES: usize = 30;
/// Attempts before excessive latencies fail a test: the machine may be busy with something else. Failed joins,
/// deliveries and connects fail it immediately.
const ATTEMPTS: usize = 3;

/// The samples of a measurement.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    joins: Vec<Duration>,
    deliveries: Vec<Duration>,
    connects: Vec<Duration>,
    failures: Vec<String>,
}

/// The running bystander.
pub(crate) struct Bystander {
    figures: Arc<Mutex<Figures>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

// === impl Figures ===

impl Figures {
    fn p99(samples: &[Duration]) -> Duration {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
    }

    fn kinds(&self) -> [(&'static str, &[Duration]); 3] {
        [("joins", &self.joins), ("deliveries", &self.deliveries), ("connects", &self.connects)]
    }

    fn summary(&self) -> String {
        let shown = self.kinds().map(|(name, all)| format!("{} {name}, p99 {:?}", all.len(), Self::p99(all)));
        format!("{}; {} failures", shown.join("; "), self.failures.len())
    }

    /// Returns the kinds of samples whose p99 is above both bounds.
    fn excesses(&self, calm: &Self) -> Vec<String> {
        let pairs = self.kinds().into_iter().zip(calm.kinds());
        let excess = pairs.filter_map(|((name, samples), (_, calm))| {
            let (now, bound) = (Self::p99(samples), (Self::p99(calm) * FACTOR).max(ACCEPTABLE));
            (now > bound).then(|| format!("p99 of {name} is {now:?}, and must be at most {bound:?}"))
        });
        excess.collect()
    }
}

// === impl Bystander ===

impl Bystander {
    /// Starts the clients in the namespace `/nodevent` of the server at `address`, and waits until they have joined.
    pub(crate) async fn start(address: &str) -> Self {
        let figures = Arc::new(Mutex::new(Figures::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped, address) = (Arc::clone(&figures), Arc::clone(&stop), address.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let clients = (0..CLIENTS).map(|number| client(&address, number, &shared, &stopped));
                futures_util::future::join_all(clients).await;
            });
        });
        let bystander = Self { figures, stop, thread: Some(thread) };
        until("the bystander receives events", async || {
            bystander.figures.lock().expect("the figures").deliveries.len() > CLIENTS
        })
        .await;
        bystander
    }

    /// Returns the samples taken while `during` runs.
    pub(crate) async fn measure(&self, during: impl Future<Output = ()>) -> Figures {
        drop(self.take());
        during.await;
        self.take()
    }

    fn take(&self) -> Figures {
        std::mem::take(&mut *self.figures.lock().expect("the figures"))
    }
}

/// Checks that the bystander does not notice an attack: its joins, deliveries and connects succeed, and the p99 of their
/// latencies stays within three times its value without the attack, or within 20 ms.
///
/// # Panics
/// If the bystander notices the attack.
pub(crate) async fn assert_unnoticed(address: &str, mut attack: impl AsyncFnMut()) {
    let bystander = Bystander::start(address).await;
    let calm = bystander.measure(tokio::time::sleep(CALM)).await;
    assert!(calm.failures.is_empty(), "without an attack: {:?}", calm.failures);
    println!("without the attack: {}", calm.summary());
    for attempt in 1..=ATTEMPTS {
        let attacked = bystander.measure(attack()).await;
        println!("during the attack: {}", attacked.summary());
        let shown: Vec<_> = attacked.failures.iter().take(5).collect();
        assert!(attacked.failures.is_empty(), "{} failures of the bystander: {shown:#?}", attacked.failures.len());
        let samples = attacked.joins.len();
        assert!(samples >= MIN_SAMPLES, "the attack was too short: {samples} joins of the bystander");
        let excesses = attacked.excesses(&calm);
        if excesses.is_empty() {
            return;
        }
        assert!(attempt < ATTEMPTS, "the bystander is delayed in {ATTEMPTS} attempts: {excesses:#?}");
    }
}

/// Opens a connection from the bystander's address.
async fn dial(address: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::from(OWN_ADDRESS)).ok()?;
    let stream = socket.connect(address.parse().ok()?).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// One client that takes samples until `stop` is set. It reconnects after a failure.
async fn client(address: &str, number: usize, figures: &Mutex<Figures>, stop: &AtomicBool) {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    let room = format!("bystander-{number}");
    while !stop.load(SeqCst) {
        let Some(mut member) = connected(address).await else {
            figures.lock().expect("the figures").failures.push("a connect failed".to_owned());
            tokio::time::sleep(PACE).await;
            continue;
        };
        let publisher = dial(address).await;
        let (Some(mut publisher), Ok(_)) = (publisher, join(&mut member, &room, 1).await) else { continue };
        for sample in 0.. {
            if stop.load(SeqCst) {
                return;
            }
            tokio::time::sleep(PACE).await;
            let id = NUMBERS.fetch_add(1, SeqCst) + 2;
            let failure = match take_sample(address, &mut member, &mut publisher, &room, id, sample).await {
                Ok((joined, delivered, connected)) => {
                    let mut figures = figures.lock().expect("the figures");
                    figures.joins.push(joined);
                    figures.deliveries.push(delivered);
                    figures.connects.extend(connected);
                    continue;
                }
                Err(failure) => failure,
            };
            if !stop.load(SeqCst) {
                figures.lock().expect("the figures").failures.push(failure);
            }
            break;
        }
    }
}

type Sample = (Duration, Duration, Option<Duration>);

/// Joins and leaves a new room, publishes and receives an event, and sometimes opens a new connection.
async fn take_sample(
    address: &str,
    member: &mut Raw,
    publisher: &mut TcpStream,
    room: &str,
    id: u64,
    sample: u64,
) -> Result<Sample, String> {
    let other = format!("{room}-{id}");
    let joined = join(member, &other, id).await?;
    member.send_text(&format!("42/nodevent,[\"leave\",{{\"room\":\"{other}\"}}]")).await;
    let began = Instant::now();
    let body = format!("{{\"room\":\"{room}\",\"event\":\"sample\",\"message\":{id}}}");
    let request = Request::post("/api/nodevent/emit", body);
    let response = timeout(STEP_TIMEOUT, request.exchange(publisher, address)).await;
    let response = response.map_err(|_| format!("publish {id} got no response"))?;
    let status = response.map_err(|error| format!("publish {id}: {error}"))?.status;
    if status != 200 {
        return Err(format!("publish {id}: {status}"));
    }
    let text = receive(member).await.map_err(|what| format!("event {id}: {what}"))?;
    if !text.contains(&format!("\"message\":{id}")) {
        return Err(format!("event {id}: {text}"));
    }
    let delivered = began.elapsed();
    let began = Instant::now();
    let connected = match sample % CONNECT_EVERY {
        0 => {
            let mut newcomer = connected(address).await.ok_or("a new connection failed")?;
            join(&mut newcomer, room, 1).await?;
            Some(began.elapsed())
        }
        _ => None,
    };
    Ok((joined, delivered, connected))
}

/// Opens a connection and enters the namespace. `None`: the server refused, or did not respond in time.
async fn connected(address: &str) -> Option<Raw> {
    timeout(STEP_TIMEOUT, async {
        let mut stream = dial(address).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &handshake(address, "")).await.ok()?;
        let mut raw = Raw::try_after_handshake(Box::new(stream)).await?;
        raw.try_text().await?;
        raw.send_text("40/nodevent,").await;
        raw.try_text().await.filter(|text| text.starts_with("40/nodevent,")).map(|_| raw)
    })
    .await
    .ok()?
}

/// Joins a room, and returns the time until the acknowledgement.
async fn join(member: &mut Raw, room: &str, id: u64) -> Result<Duration, String> {
    let began = Instant::now();
    member.send_text(&format!("42/nodevent,{id}[\"join\",{{\"room\":\"{room}\"}}]")).await;
    let text = receive(member).await.map_err(|what| format!("join {id}: {what}"))?;
    if text.starts_with(&format!("43/nodevent,{id}[null,true")) {
        Ok(began.elapsed())
    } else {
        Err(format!("join {id}: {text}"))
    }
}

async fn receive(member: &mut Raw) -> Result<String, String> {
    let text = timeout(STEP_TIMEOUT, member.try_text()).await;
    text.map_err(|_| "nothing arrived in time".to_owned())?
        .ok_or_else(|| "the server closed the connection".to_owned())
}

/// The control of every attack: a server that is busy for moments only is noticed.
#[test]
fn a_server_that_hesitates_is_noticed() {
    attacker::run(async {
        let process = Process::start("/nodevent: {open: true}\n").await;
        let bystander = Bystander::start(&process.site.address).await;
        let calm = bystander.measure(tokio::time::sleep(CALM)).await;
        let slowest = calm.kinds().iter().map(|(_, samples)| Figures::p99(samples)).max().unwrap_or_default();
        // Longer than both bounds.
        let pause = (slowest * FACTOR).max(ACCEPTABLE) + Duration::from_millis(50);
        let attacked = bystander
            .measure(async {
                let began = Instant::now();
                while began.elapsed() < CALM + 10 * pause {
                    process.pause(pause).await;
                    tokio::time::sleep(pause / 2).await;
                }
            })
            .await;
        let excesses = attacked.excesses(&calm);
        let is_noticed = !excesses.is_empty() || !attacked.failures.is_empty();
        assert!(is_noticed, "{}; then {}", calm.summary(), attacked.summary());
    });
}
