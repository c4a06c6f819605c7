//! Echo servers, and a long-polling session by hand.

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

/// Starts a server without Socket.IO: Engine.IO echoes every message.
pub(crate) async fn engine_echo(limits: &str) -> TestServer {
    start(limits, |mount| engine::endpoint(mount, Duration::ZERO, false)).await
}

/// Starts the same server, which serves version 3 too.
pub(crate) async fn engine_echo_3(limits: &str) -> TestServer {
    start(limits, |mount| engine::endpoint(mount, Duration::ZERO, true)).await
}

/// Starts a server whose namespaces `/` and `/custom` use the echo dialect.
pub(crate) async fn socket_echo(limits: &str) -> TestServer {
    socket_echo_with(limits, Duration::ZERO).await
}

/// The same, with a pause before what was not requested.
pub(crate) async fn socket_echo_with(limits: &str, pause: Duration) -> TestServer {
    start(limits, |mount| {
        let dialect = || Some(Arc::new(EchoDialect { pause }) as _);
        socket_io::endpoint(mount, mount.namespaces.iter().map(|_| dialect()).collect())
    })
    .await
}

async fn start(limits: &str, endpoint: impl FnOnce(&Mount<'_>) -> Arc<dyn Endpoint>) -> TestServer {
    let configuration = format!("{limits}\n/: {{}}\n/custom: {{}}");
    TestServer::start_with(&configuration, endpoint).await
}

/// A long-polling session by hand.
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

    /// Sends a GET without waiting for its response.
    pub(crate) async fn begin_get(&self) -> PendingGet {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = self.site.dial().await;
        stream.write_all(&Request::get(&self.path()).encode(&self.site.address)).await.expect("the GET is sent");
        PendingGet { stream }
    }
}

/// A GET without a response so far.
pub(crate) struct PendingGet {
    pub(crate) stream: Box<dyn Io>,
}

// === impl PendingGet ===

impl PendingGet {
    pub(crate) async fn response(mut self) -> (u16, String) {
        let response = in_time("the response to a GET", Response::read(&mut self.stream, false)).await;
        let response = response.expect("a response");
        (response.status, response.text())
    }
}

/// The body of an error.
pub(crate) fn error(code: u8, message: &str) -> String {
    format!(r#"{{"code":{code},"message":"{message}"}}"#)
}

/// The body of an error that closed the session.
pub(crate) fn closed(reason: &str) -> String {
    format!(r#"{{"code":3,"message":"Bad request","reason":"{reason}"}}"#)
}
