//! A connection to Redis for requests of the application that wait for their reply. It is opened at the first one, and
//! reconnects by itself. Publications have a connection of their own.

use super::redis_config;
use fred::prelude::{Client, ClientLike, Config, Error, LuaInterface};
use fred::types::config::ReconnectPolicy;
use fred::types::{FromValue, Value};
use nodevent_protocol::history;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::timeout;

/// How long the end of the connection may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// See the head of this file.
pub(super) struct LazyClient {
    config: Config,
    client: OnceLock<Client>,
}

/// A script and the name under which Redis caches it.
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

// === impl LazyClient ===

impl LazyClient {
    pub(super) fn new(config: Config) -> Self {
        Self { config, client: OnceLock::new() }
    }

    /// Runs a script.
    pub(super) async fn run<R: FromValue>(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<String>,
    ) -> Result<R, Error> {
        let client = self.connected().await?;
        let args: Vec<Value> = args.into_iter().map(Value::from).collect();
        let known = client.evalsha::<R, _, _, _>(script.sha.as_str(), keys.clone(), args.clone()).await;
        match known {
            Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(script.text, keys, args).await,
            other => other,
        }
    }

    /// The client, as soon as it is connected.
    pub(super) async fn connected(&self) -> Result<&Client, Error> {
        let client = self.client()?;
        client.wait_for_connect().await?;
        Ok(client)
    }

    /// Ends the connection.
    pub(super) async fn quit(&self) {
        if let Some(client) = self.client.get() {
            let _ = timeout(QUIT_TIMEOUT, client.quit()).await;
        }
    }

    /// The client, connected in the background.
    fn client(&self) -> Result<&Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut config = self.config.clone();
        config.fail_fast = false;
        let mut builder = redis_config::builder(config);
        builder.set_policy(ReconnectPolicy::new_exponential(0, 5, 5_000, 2));
        let client = builder.build()?;
        if self.client.set(client.clone()).is_ok() {
            client.connect();
        }
        self.client.get().ok_or_else(|| Error::new(fred::error::ErrorKind::Config, "no client"))
    }
}

// === impl Script ===

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, sha: history::script_sha(text) }
    }
}
