//! The checks of `nodevent check`: the Redis, the application, the ports and the running server of a configuration.
//!
//! Owns their order and how results are printed. Each check is one sentence, with a hint if something is wrong. The
//! order follows the path of a message, and a check whose precondition failed is left out, so the first FAIL is the
//! cause. In reading order: [`redis`], [`application`] (does it say who a connection is), [`listener`] (is a server
//! there), [`server`] (does it serve this file), [`public_url`] (do browsers reach it), [`origin`] (may a page
//! connect).

mod application;
mod listener;
mod origin;
mod public_url;
mod redis;
mod server;

use super::http::{self, Request};
use super::{CommandResult, output, url_of};
use hyper::body::Incoming;
use hyper::{Response, header};
use nodevent_server::config::Loaded;
use std::time::Duration;

/// Timeout of each request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The results, printed as they arrive.
pub(super) struct Report {
    /// Whether a check failed.
    pub(super) has_failures: bool,
}

// === impl Report ===

impl Report {
    fn ok(&self, sentence: &str) {
        output::line(&format!("ok   {sentence}"));
    }

    fn warn(&self, sentence: &str, hint: &str) {
        output::line(&format!("warn {sentence}"));
        output::line(&format!("     → {hint}"));
    }

    fn fail(&mut self, sentence: &str, hint: &str) {
        self.has_failures = true;
        output::line(&format!("FAIL {sentence}"));
        output::line(&format!("     → {hint}"));
    }
}

/// Runs all checks. `origin` is the origin of a page that wants to connect.
pub(super) async fn run(loaded: &Loaded, origin: Option<&str>) -> Report {
    let mut report = Report { has_failures: false };
    let config = &loaded.config;
    for namespace in &config.namespaces {
        if let Some(redis) = &namespace.redis {
            redis::check(&namespace.name, redis, &mut report).await;
        }
        if let Some(auth) = &namespace.auth {
            application::check(&namespace.name, auth, &mut report).await;
        }
    }
    let mut is_running = false;
    for listen in &config.listen {
        let url = url_of(listen);
        if listener::check(listen, &mut report).await {
            is_running = true;
            server::check(&url, config, &mut report).await;
            if let Some(origin) = origin {
                origin::check(&url, origin, &mut report).await;
            }
        }
    }
    if let Some(url) = &config.public_url {
        match is_running {
            true => public_url::check(url, &config.namespaces[0].name, &mut report).await,
            false => report.ok(&format!("public_url {url} is not checked, because the server does not run")),
        }
    }
    report
}

/// Sends a GET request.
async fn open(url: &str, path: &str, key: Option<String>) -> Result<Response<Incoming>, String> {
    let mut request = Request::new(url, path)?;
    request.bearer = key;
    with_timeout(http::send(&request)).await
}

/// Sends a GET request and returns status and body. The body of an endless response is left out.
async fn get(url: &str, path: &str) -> Result<(u16, String), String> {
    let response = open(url, path, None).await?;
    let status = response.status().as_u16();
    let is_endless = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    let body = if is_endless { String::new() } else { with_timeout(http::text(response)).await? };
    Ok((status, body))
}

async fn with_timeout<T>(request: impl Future<Output = CommandResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|failure| failure.message),
        Err(_) => Err(format!("timed out after {} s", TIMEOUT.as_secs())),
    }
}
