//! The server binary with its log and metrics, and a bystander: a browser that other clients must not affect.

use crate::support::server::metric;
use crate::support::wait::until;
use crate::support::{Browser, Program, Site, Transport};
use std::ops::Deref;
use tempfile::TempDir;

/// A server with a bystander.
pub(crate) struct ServerWithBystander {
    pub(crate) program: Program,
    pub(crate) site: Site,
    admin: Site,
    bystander: Browser,
    namespace: &'static str,
    /// Publications that the bystander has received.
    received: u64,
    _folder: TempDir,
}

impl Deref for ServerWithBystander {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

// === impl ServerWithBystander ===

impl ServerWithBystander {
    /// Starts the binary with `configuration`, which contains the namespace `/nodevent`, and connects the bystander.
    pub(crate) async fn start(configuration: &str) -> Self {
        Self::start_in("/nodevent", configuration).await
    }

    /// Does the same with the bystander in another namespace.
    pub(crate) async fn start_in(namespace: &'static str, configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\npublish: local\n";
        let program = Program::serve(folder.path(), &format!("{listening}{configuration}")).await;
        let plain = program.logs("listening url=http://").await;
        let site = Site::at(plain.split_once("url=").expect("a URL").1.trim());
        let admin = program.admin().await;
        let mut bystander = Browser::connect(&site, namespace, Transport::WebSocket).await;
        bystander.join("bystanders").await;
        Self { program, site, admin, bystander, namespace, received: 0, _folder: folder }
    }

    /// Waits until a series has that value.
    pub(crate) async fn metric_is(&self, series: &str, value: i64) {
        until(&format!("{series} is {value}"), async || self.metric(series).await == value).await;
    }

    pub(crate) async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// Waits until a log line contains `text`.
    pub(crate) async fn logs(&self, text: &str) -> String {
        self.program.logs(text).await
    }

    /// Checks that the bystander receives the next event and nothing before it, and that it can join.
    pub(crate) async fn bystander_is_unaffected(&mut self) {
        self.received += 1;
        self.site.emit(self.namespace, "bystanders", "e", self.received).await;
        assert_eq!(self.bystander.next_event().await.message, self.received);
        let ack = self.bystander.call("join", &[serde_json::json!({"room": "bystanders"})]).await;
        assert_eq!(ack[1], true, "{ack}");
    }
}
