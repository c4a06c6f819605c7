//! The binary with limits, its log and its counters, and a browser that must not notice what others do.

use crate::support::server::metric;
use crate::support::wait::until;
use crate::support::{Browser, Program, Site, Transport};
use std::ops::Deref;
use tempfile::TempDir;

/// A server with limits, and a bystander.
pub(crate) struct Guarded {
    pub(crate) program: Program,
    pub(crate) site: Site,
    admin: Site,
    bystander: Browser,
    /// Publications the bystander has heard.
    heard: u64,
    _folder: TempDir,
}

impl Deref for Guarded {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

// === impl Guarded ===

impl Guarded {
    /// Starts the binary with `configuration`, which names the namespace `/nodevent`, and lets the bystander in.
    pub(crate) async fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listening = "bind: 127.0.0.1\nport: 0\nadmin: {port: 0}\n";
        let program = Program::serve(folder.path(), &format!("{listening}{configuration}")).await;
        let plain = program.says("listening url=http://").await;
        let site = Site::at(plain.split_once("url=").expect("a URL").1.trim());
        let admin = program.admin().await;
        let mut bystander = Browser::connect(&site, "/nodevent", Transport::WebSocket).await;
        bystander.join("bystanders").await;
        Self { program, site, admin, bystander, heard: 0, _folder: folder }
    }

    /// Waits until a series has that value.
    pub(crate) async fn counts(&self, series: &str, value: i64) {
        until(&format!("{series} is {value}"), async || self.metric(series).await == value).await;
    }

    pub(crate) async fn metric(&self, series: &str) -> i64 {
        metric(&self.admin, series).await
    }

    /// Waits until the log says it.
    pub(crate) async fn logs(&self, text: &str) -> String {
        self.program.says(text).await
    }

    /// Shows that the bystander is as it was: it hears what is emitted, and nothing between.
    pub(crate) async fn harmed_nobody_else(&mut self) {
        self.heard += 1;
        self.site.emit("/nodevent", "bystanders", "e", self.heard).await;
        assert_eq!(self.bystander.next_event().await.message, self.heard);
        let refused = self.bystander.call("join", &[serde_json::json!({"room": "bystanders"})]).await;
        assert_eq!(refused[1], true, "{refused}");
    }
}
