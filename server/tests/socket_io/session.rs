//! A server that sends everything back, and a session on long-polling by hand.

use crate::echo::EchoDialect;
use crate::engine;
use crate::support::http::Io;
use crate::support::wait::in_time;
use crate::support::{Request, Response, Site, TestServer};
use nodevent_server::http::Endpoint;
use nodevent_server::protocols::{Mount, socket_io};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The path of long-polling.
pub(crate) const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// A server with Engine.IO alone: every message is sent back.
pub(crate) async fn engine_echo(limits: &str) -> TestServer {
    start(limits, |mount| engine::endpoint(mount, Duration::ZERO)).await
}

/// A server whose namespaces `/` and `/custom` have the dialect of the echo application.
pub(crate) async fn socket_echo(limits: &str) -> TestServer {
    start(limits, |mount| {
        let dialect = || Some(Arc::new(EchoDialect { pause: Duration::ZERO }) as _);
        socket_io::endpoint(mount, mount.namespaces.iter().map(|_| dialect()).collect())
    })
    .await
}

async fn start(limits: &str, endpoint: impl FnOnce(&Mount<'_>) -> Arc<dyn Endpoint>) -> TestServer {
    let configuration = format!("{limits}\n/: {{}}\n/custom: {{}}");
    TestServer::start_with(&configuration, endpoint).await
}

/// A session on long-polling by hand.
#[derive(Clone)]
pub(crate) struct Session {
    site: Site,
    pub(crate) sid: String,
}

// === impl Session ===

impl Session {
    pub(crate) async fn open(site: &Site) -> Self {
        let response = site.get(POLLING).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let open: Value = serde_json::from_str(&response.text()[1..]).expect("an open packet");
        Self { site: site.clone(), sid: open["sid"].as_str().expect("a sid").to_owned() }
    }

    pub(crate) fn path(&self) -> String {
        format!("{POLLING}&sid={}", self.sid)
    }

    pub(crate) async fn get(&self) -> (u16, String) {
        let response = self.site.get(&self.path()).await;
        (response.status, response.text())
    }

    pub(crate) async fn post(&self, body: &str) -> (u16, String) {
        let response = self.site.send(&Request::post(&self.path(), body)).await;
        (response.status, response.text())
    }

    /// Sends a GET whose answer is not awaited yet, and sees to it that it has reached the session: a POST that is
    /// answered was sent behind it.
    pub(crate) async fn begin_get(&self) -> Waiting {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = self.site.dial().await;
        stream.write_all(&Request::get(&self.path()).encode(&self.site.address)).await.expect("it is sent");
        Waiting { stream }
    }
}

/// A GET whose answer is yet to come.
pub(crate) struct Waiting {
    pub(crate) stream: Box<dyn Io>,
}

// === impl Waiting ===

impl Waiting {
    pub(crate) async fn answer(mut self) -> (u16, String) {
        let response = in_time("the answer to a GET", Response::read(&mut self.stream, false)).await;
        let response = response.expect("an answer");
        (response.status, response.text())
    }
}

/// The body of an error.
pub(crate) fn error(code: u8, message: &str) -> String {
    format!(r#"{{"code":{code},"message":"{message}"}}"#)
}

/// The body of an error for which the session was closed.
pub(crate) fn closed(reason: &str) -> String {
    format!(r#"{{"code":3,"message":"Bad request","reason":"{reason}"}}"#)
}
