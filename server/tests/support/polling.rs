//! The long-polling transport of a [`Browser`](super::Browser): a task that always has a GET in flight.

use super::http::{Io, Request, Response};
use super::site::Site;
use super::wait::in_time;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Packets buffered for the test; when the buffer is full, the next GET waits.
const BUFFERED_PACKETS: usize = 1024;
/// Separates the packets of one body.
const SEPARATOR: char = '\x1e';

/// A session on long-polling.
pub struct Polling {
    site: Site,
    pub sid: String,
    /// The connection for POSTs, which stays open.
    posts: Box<dyn Io>,
    /// Whether the server has ended it with the last response.
    has_ended: bool,
    incoming: mpsc::Receiver<String>,
    /// Stops the task after the GET in flight.
    pause: Arc<AtomicBool>,
    polls: JoinHandle<()>,
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.polls.abort();
    }
}

// === impl Polling ===

impl Polling {
    /// Opens a session and returns it with its open packet.
    ///
    /// # Errors
    /// The server responded with another status than 200.
    pub async fn open(site: &Site, headers: &[(&str, &str)]) -> Result<(Self, String), Response> {
        let mut request = Request::get("/socket.io/?EIO=4&transport=polling");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = site.send(&request).await;
        if response.status != 200 {
            return Err(response);
        }
        let open = response.text();
        let handshake: serde_json::Value = serde_json::from_str(&open[1..]).expect("an open packet");
        let sid = handshake["sid"].as_str().expect("a sid").to_owned();
        let (packets, incoming) = mpsc::channel(BUFFERED_PACKETS);
        let pause = Arc::new(AtomicBool::new(false));
        let polls = tokio::spawn(poll(site.clone(), sid.clone(), packets, Arc::clone(&pause)));
        let posts = site.dial().await;
        Ok((Self { site: site.clone(), sid, posts, has_ended: false, incoming, pause, polls }, open))
    }

    /// Sends Engine.IO packets in one POST.
    pub async fn send(&mut self, packets: &[&str]) {
        let response = self.post(packets.join(&SEPARATOR.to_string())).await;
        assert_eq!((response.status, response.text()), (200, "ok".to_owned()));
    }

    /// Sends one POST.
    pub async fn post(&mut self, body: String) -> Response {
        let request = Request::post(&format!("/socket.io/?EIO=4&transport=polling&sid={}", self.sid), body);
        if std::mem::take(&mut self.has_ended) {
            self.posts = self.site.dial().await;
        }
        let exchange = request.exchange(&mut self.posts, &self.site.address);
        let response = in_time("a response to a POST", exchange).await.expect("a response");
        self.has_ended = is_last(&response);
        response
    }

    /// Returns the next Engine.IO packet, or `None` if the session ended or polling is paused.
    pub async fn next(&mut self) -> Option<String> {
        self.incoming.recv().await
    }

    /// Stops polling after the GET in flight, and returns the packets received until then.
    pub async fn pause(&mut self) -> Vec<String> {
        self.pause.store(true, SeqCst);
        let mut rest = Vec::new();
        while let Some(packet) = in_time("the last GET completes", self.incoming.recv()).await {
            rest.push(packet);
        }
        rest
    }
}

async fn poll(site: Site, sid: String, packets: mpsc::Sender<String>, pause: Arc<AtomicBool>) {
    let request = Request::get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"));
    let (mut stream, mut has_ended) = (site.dial().await, false);
    while !pause.load(SeqCst) {
        if has_ended {
            stream = site.dial().await;
        }
        let Ok(response) = request.exchange(&mut stream, &site.address).await else { return };
        if response.status != 200 {
            return;
        }
        has_ended = is_last(&response);
        for packet in response.text().split(SEPARATOR) {
            if packet == "1" || packets.send(packet.to_owned()).await.is_err() {
                return;
            }
        }
    }
}

/// Whether the connection ends with a response.
fn is_last(response: &Response) -> bool {
    response.header("connection").is_some_and(|value| value == "close")
}
