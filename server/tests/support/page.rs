//! A visitor's page of the protocol `pakyow`: its key, its cookie and its WebSocket, without the product's own code.

use super::http::{Request, Response};
use super::site::Site;
use super::tokens::now;
use super::wait::in_time;
use super::websocket::WebSocket;
use ring::{digest, hmac};
use serde_json::{Value, json};
use std::time::Duration;

/// What signs the cookies.
pub const PAGES_SECRET: &str = "a-secret-for-pages-of-more-than-32-bytes";

/// A session and a page of it.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The key of the session.
    pub key: String,
    /// The id of the page's connection.
    pub id: String,
}

/// A connected page.
pub struct Page(pub WebSocket);

// === impl Visitor ===

impl Visitor {
    /// A page of a session. The same letters are the same session and the same page.
    pub fn of(session: char, page: usize) -> Self {
        Self { key: session.to_string().repeat(64), id: format!("{page:064}") }
    }

    /// The name of the page.
    pub fn digest(&self) -> String {
        let text = format!("--{}--{}--", self.key, self.id);
        hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
    }

    /// The header `Cookie`, valid for a minute.
    pub fn cookie(&self, namespace: &str) -> String {
        let expires = now() as u64 + 60;
        let text = format!("nodevent:cookie:1:{namespace}:{}:{expires}", self.key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, PAGES_SECRET.as_bytes());
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        format!("rack.session=abc; nodevent_page=1.{}.{expires}.{signature}", self.key)
    }

    /// Opens the page's WebSocket.
    pub async fn connect(&self, site: &Site, namespace: &str) -> Page {
        Page::open(site, &self.path(), &[("cookie", &self.cookie(namespace))]).await
    }

    pub fn path(&self) -> String {
        format!("/any/path?socket_connection_id={}", self.id)
    }

    /// Changes the page's subscriptions.
    pub async fn change(&self, site: &Site, namespace: &str, change: Value) -> Response {
        let mut body = change;
        body["page"] = self.digest().into();
        site.send(&Request::post(&format!("/api{namespace}/pages"), body.to_string())).await
    }

    pub async fn subscribe(&self, site: &Site, namespace: &str, channels: &[&str]) {
        let response = self.change(site, namespace, json!({"subscribe": channels})).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }

    pub async fn unsubscribe(&self, site: &Site, namespace: &str, channels: &[&str]) {
        let response = self.change(site, namespace, json!({"unsubscribe": channels})).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

// === impl Page ===

impl Page {
    pub async fn open(site: &Site, path: &str, headers: &[(&str, &str)]) -> Self {
        let socket = WebSocket::open_path(site, path, headers).await;
        Self(socket.unwrap_or_else(|response| panic!("{}: {}", response.status, response.text())))
    }

    pub async fn send(&mut self, message: &Value) {
        self.0.send(&[&message.to_string()]).await;
    }

    pub async fn next(&mut self) -> Value {
        let text = in_time("a message", self.0.next()).await.expect("the server sends a message");
        serde_json::from_str(&text).expect("a message is JSON")
    }

    /// Sends a message and returns what arrives next.
    pub async fn call(&mut self, message: Value) -> Value {
        self.send(&message).await;
        self.next().await
    }

    /// Nothing has arrived before the reply to a ping.
    pub async fn is_silent(&mut self) {
        let pong = self.call(json!({"id": "silence", "action": "ping"})).await;
        assert_eq!(pong, json!({"id": "silence", "status": 200, "headers": {}, "body": "pong"}));
    }

    /// Waits until the page receives what is published to it alone.
    pub async fn is_active(&mut self, site: &Site, namespace: &str, visitor: &Visitor) {
        push_to(site, namespace, visitor, "active", &json!(0)).await;
        assert_eq!(self.next().await, json!({"payload": 0, "channel": "active"}));
    }

    /// The same for a second connection of a page. It receives what is pushed once it is subscribed: until then, it is pushed
    /// again, with the next number. Returns how many messages the first connection receives.
    pub async fn is_active_too(&mut self, site: &Site, namespace: &str, visitor: &Visitor) -> i64 {
        let mut pushes = 0;
        let received = loop {
            push_to(site, namespace, visitor, "active", &json!(pushes)).await;
            pushes += 1;
            if let Ok(received) = tokio::time::timeout(Duration::from_millis(500), self.next()).await {
                break received;
            }
        };
        for number in received["payload"].as_i64().expect("a number") + 1..pushes {
            assert_eq!(self.next().await, json!({"payload": number, "channel": "active"}));
        }
        pushes
    }
}

/// Publishes to one channel, as a publisher does.
pub async fn publish(site: &Site, namespace: &str, channel: &str, message: &Value) {
    site.emit(namespace, &format!("pakyow:{channel}"), channel, message.clone()).await;
}

/// Publishes to a page alone.
pub async fn push_to(site: &Site, namespace: &str, visitor: &Visitor, channel: &str, message: &Value) {
    let body = json!({"user": visitor.digest(), "event": channel, "message": message}).to_string();
    let response = site.publish(namespace, body).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Publishes to channels and patterns, and returns the channels.
pub async fn push(site: &Site, namespace: &str, channels: &[&str], message: &Value) -> Value {
    let body = json!({"channels": channels, "message": message}).to_string();
    let response = site.send(&Request::post(&format!("/api{namespace}/push"), body)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["channels"].clone()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
