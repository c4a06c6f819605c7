//! A client of the protocol `plain`.

use crate::support::Site;
use crate::support::wait::in_time;
use crate::support::websocket::WebSocket;
use serde_json::Value;
use std::collections::VecDeque;

/// One connection.
pub(crate) struct LineClient {
    socket: WebSocket,
    /// Lines that arrived while the test waited for another one.
    deferred: VecDeque<Value>,
}

// === impl LineClient ===

impl LineClient {
    /// Connects to a namespace, with a query and headers, and reads the first line.
    pub(crate) async fn open(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        let socket = WebSocket::open_path(site, path, headers).await;
        let socket = socket.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text()));
        let mut client = Self { socket, deferred: VecDeque::new() };
        assert_eq!(client.next().await["hello"]["version"], 1);
        client
    }

    pub(crate) async fn send(&mut self, line: Value) {
        self.socket.send(&[&line.to_string()]).await;
    }

    /// The next line.
    pub(crate) async fn next(&mut self) -> Value {
        match self.deferred.pop_front() {
            Some(line) => line,
            None => self.read().await,
        }
    }

    /// The next line with a member.
    pub(crate) async fn next_with(&mut self, member: &str) -> Value {
        let found = self.deferred.iter().position(|line| line.get(member).is_some());
        if let Some(line) = found.and_then(|index| self.deferred.remove(index)) {
            return line;
        }
        loop {
            let line = self.read().await;
            if line.get(member).is_some() {
                return line;
            }
            self.deferred.push_back(line);
        }
    }

    /// A line that arrived while the test waited for another one.
    pub(crate) fn deferred(&mut self) -> Option<Value> {
        self.deferred.pop_front()
    }

    /// Sends a line and returns the reply with its `id`.
    pub(crate) async fn call(&mut self, mut line: Value, id: u64) -> Value {
        line["id"] = id.into();
        self.send(line).await;
        loop {
            let line = self.read().await;
            if line["id"] == id {
                return line;
            }
            self.deferred.push_back(line);
        }
    }

    /// Whether the server replies to a ping with nothing before it.
    pub(crate) async fn has_nothing_else(&mut self) -> bool {
        self.send(serde_json::json!({"ping": 0})).await;
        self.deferred.is_empty() && self.read().await.get("pong").is_some()
    }

    /// Waits until the server closes, and returns the code and reason.
    pub(crate) async fn ended(mut self) -> Option<(u16, String)> {
        in_time("the server closes", async { while self.socket.next().await.is_some() {} }).await;
        self.socket.close_frame.map(|frame| (frame.code.into(), frame.reason.to_string()))
    }

    async fn read(&mut self) -> Value {
        let text = in_time("a line", self.socket.next()).await.expect("the server sends a line");
        serde_json::from_str(&text).expect("a line is JSON")
    }
}
