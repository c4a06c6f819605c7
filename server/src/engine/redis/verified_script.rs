//! Calls a script that knows which run of Redis executes it, so that it does not ask Redis in each call.
//!
//! The text of the script names the run, and only that run has the text: see [`history::for_run`]. The clients of the engine
//! reconnect by themselves, so the text is loaded over a connection of its own, in the background. A Redis that was restarted, or
//! another primary, does not know the script, and the caller uses the one that asks.

use super::client::one_connection;
use super::script::ScriptError;
use super::{COMMAND_TIMEOUT, client};
use crate::config::redis::{Kind, Redis as RedisConfig};
use fred::clients::Client;
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::{FromValue, Value};
use nodevent_protocol::history;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two attempts to load the script. It may have been removed, or the Redis user may not load it.
const LOAD_INTERVAL: Duration = Duration::from_secs(1);

/// A script for the run of Redis that was seen last.
pub(super) struct VerifiedScript {
    text: &'static str,
    /// `None`: the nodes of a cluster are several runs.
    redis: Option<RedisConfig>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The name under which the run has cached it. `None`: it is not loaded.
    sha: Option<Arc<str>>,
    is_loading: bool,
    /// When the last attempt to load it began.
    last_attempt: Option<Instant>,
}

// === impl VerifiedScript ===

impl VerifiedScript {
    pub(super) fn new(text: &'static str, redis: &RedisConfig) -> Self {
        let redis = (redis.kind != Kind::Cluster).then(|| redis.clone());
        Self { text, redis, state: Arc::default() }
    }

    /// Runs the script. `None`: Redis has not executed anything, because it does not know the script.
    pub(super) async fn run<R: FromValue>(
        &self,
        client: &Client,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Option<Result<R, ScriptError>> {
        let redis = self.redis.as_ref()?;
        let Some(sha) = lock(&self.state).sha.clone() else {
            self.load(redis);
            return None;
        };
        let run = async {
            client::wait_connected(client).await;
            client.evalsha::<R, _, _, _>(&*sha, keys, args).await
        };
        match tokio::time::timeout(COMMAND_TIMEOUT, run).await {
            Ok(Ok(value)) => Some(Ok(value)),
            Ok(Err(error)) if error.details().starts_with("NOSCRIPT") => {
                let mut state = lock(&self.state);
                if state.sha.as_ref() == Some(&sha) {
                    state.sha = None;
                }
                drop(state);
                self.load(redis);
                None
            }
            Ok(Err(error)) => Some(Err(ScriptError::from_redis(error.details()))),
            Err(_) => Some(Err(ScriptError::timed_out())),
        }
    }

    /// Loads the script in the background, unless that is in progress or was tried a moment ago.
    fn load(&self, redis: &RedisConfig) {
        let mut state = lock(&self.state);
        let is_early = state.last_attempt.is_some_and(|at| at.elapsed() < LOAD_INTERVAL);
        if state.is_loading || is_early || state.sha.is_some() {
            return;
        }
        (state.is_loading, state.last_attempt) = (true, Some(Instant::now()));
        drop(state);
        let (text, redis, state) = (self.text, redis.clone(), Arc::clone(&self.state));
        tokio::spawn(async move {
            let sha = tokio::time::timeout(COMMAND_TIMEOUT, load(text, &redis)).await;
            let mut state = lock(&state);
            state.is_loading = false;
            match sha {
                Ok(Ok(sha)) => state.sha = Some(sha.into()),
                Ok(Err(reason)) => {
                    tracing::debug!(%redis, reason, "the script for one run of Redis was not loaded")
                }
                Err(_) => tracing::debug!(%redis, "the script for one run of Redis was not loaded in time"),
            }
        });
    }
}

impl fmt::Debug for VerifiedScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedScript").finish_non_exhaustive()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads the script over one connection. Returns its SHA-1.
async fn load(text: &str, redis: &RedisConfig) -> Result<String, String> {
    let client = one_connection(redis)?;
    let task = client.init().await.map_err(|error| error.to_string())?;
    let loaded = load_over(&client, text).await;
    let _ = client.quit().await;
    task.abort();
    loaded
}

async fn load_over(client: &Client, text: &str) -> Result<String, String> {
    let nothing = Vec::<String>::new;
    let run: String =
        client.eval(history::READ_RUN, nothing(), nothing()).await.map_err(|error| error.to_string())?;
    let text = history::for_run(text, &run).ok_or("the run id is not one")?;
    let sha = history::script_sha(&text);
    let loaded: String = client.eval(text, nothing(), nothing()).await.map_err(|error| error.to_string())?;
    if loaded == run { Ok(sha) } else { Err("another run of Redis has replied".to_owned()) }
}
