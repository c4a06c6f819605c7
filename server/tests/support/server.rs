//! The server in this process, on free ports.

use super::http::Request;
use super::site::Site;
use super::wait::{in_time, until};
use nodevent_server::config::Config;
use nodevent_server::http::Endpoint;
use nodevent_server::protocols::Mount;
use nodevent_server::server::Server;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Listeners on free ports. Programs on this machine publish without a key.
const LISTENING: &str = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\npublish: local\n";

/// A running server. It dereferences to the [`Site`] of its last public listener.
pub struct TestServer {
    site: Site,
    /// All public listeners, as the server reports them.
    pub urls: Vec<String>,
    /// The admin listener.
    pub admin: Site,
    /// The listeners for pushes alone.
    pub push: Vec<Site>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Deref for TestServer {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

// === impl TestServer ===

impl TestServer {
    /// Starts a server on free ports with this configuration, which needs no listeners. A namespace `{}` uses the
    /// memory engine.
    pub async fn start(configuration: &str) -> Self {
        Self::start_as_written(&format!("{LISTENING}{configuration}")).await
    }

    /// Starts a server with exactly this configuration, which must name an admin listener.
    pub async fn start_as_written(configuration: &str) -> Self {
        let config = Config::from_yaml(configuration).unwrap_or_else(|report| panic!("{report}"));
        Self::run(Server::start(config).await.expect("the server starts"))
    }

    /// Starts a server with this endpoint instead of those of its configuration.
    pub async fn start_with(configuration: &str, endpoint: impl FnOnce(&Mount<'_>) -> Arc<dyn Endpoint>) -> Self {
        let written = format!("{LISTENING}{configuration}");
        let config = Config::from_yaml(&written).unwrap_or_else(|report| panic!("{report}"));
        Self::run(Server::start_with(config, |mount| vec![endpoint(mount)]).await.expect("the server starts"))
    }

    /// Runs a started server, which must have an admin listener.
    fn run(server: Server) -> Self {
        let urls = server.urls();
        let admin = Site::at(&server.admin_url().expect("an admin listener"));
        let push = server.push_urls().iter().map(|url| Site::at(url)).collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let site = Site::at(&urls[urls.len() - 1].replacen("https://", "http://", 1));
        Self { site, urls, admin, push, stop: Some(stop), running }
    }

    /// A copy of its address, for use in other tasks.
    pub fn site(&self) -> Site {
        self.site.clone()
    }

    /// Returns the value of a metric series, e.g. `nodevent_invalid_publishes_total{reason="not_json"}`.
    pub async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// Waits until a series has that value.
    pub async fn metric_is(&self, series: &str, value: i64) {
        until(&format!("{series} is {value}"), async || self.metric(series).await == value).await;
    }

    /// Waits until the server can publish through all engines.
    pub async fn ready(&self) {
        until("the server is ready", async || self.get("/readyz").await.status == 200).await;
    }

    /// Stops the server as SIGTERM does, and waits until it has stopped.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        in_time("the server stops", &mut self.running).await.expect("the server stops without a panic");
    }
}

/// Returns the value of a metric series, read from an admin listener.
pub async fn metric(admin: &Site, series: &str) -> i64 {
    let text = admin.send(&Request::get("/metrics")).await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no series {series} in\n{text}"));
    value.parse().expect("a whole number")
}
