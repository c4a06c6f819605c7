//! Sources: publications that do not come through the API.
//!
//! A source of the dialect `notifications` is a file with a type that implements [`Source`]. `redis` is different: each
//! server delivers what it receives to its own connections. So does the Redis push connector of the dialect `turted`.
//! `action_cable` publishes what a Rails application sends through its own Redis adapter.
//! `POST /notifications/<channel>` is in `http`. Sources start after the engines, and end with the process.

mod action_cable;
mod demo;
mod file;
mod lines;
mod redis;
mod stdin;

use crate::capability::{Engines, Publisher};
use crate::config::Config;
use crate::config::notifications::Sources;
use crate::engine::Fanout;
use crate::metrics::Metrics;
use demo::Demo;
use file::FollowedFile;
use nodevent_protocol::notifications::publication;
use nodevent_protocol::publication::parse;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use stdin::StandardInput;

/// The publisher, as engines see it.
const PUBLISHER: Publisher<'static> = Publisher { name: "notifications", is_limited: false };

/// A source of texts for one channel.
trait Source: Send + 'static {
    /// Sends the texts until there are no more.
    fn run(self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Publishes the texts of a source. All servers of the namespace deliver them.
#[derive(Clone)]
struct Sink {
    engines: Arc<Engines>,
    namespace: u16,
    channel: Arc<str>,
    metrics: Arc<Metrics>,
}

/// Starts the sources of all namespaces. `fanout` makes the fan-out of the namespace with an id.
///
/// # Errors
/// The name of the namespace, and a message, if its settings of Redis cannot be used.
pub fn start(
    config: &Config,
    engines: &Arc<Engines>,
    metrics: &Arc<Metrics>,
    fanout: impl Fn(u16) -> Fanout,
) -> Result<(), (String, String)> {
    let max_size = config.limits.max_publish_size;
    for (id, namespace) in config.namespaces.iter().enumerate() {
        let id = id as u16;
        let failed = |error| (namespace.name.clone(), error);
        if let Some(notifications) = &namespace.notifications {
            let sources = &notifications.sources;
            if let Some(redis) = &sources.redis {
                redis::start_notifications(redis, &notifications.channels, max_size, fanout(id)).map_err(failed)?;
            }
            let sink = |channel: &str| Sink {
                engines: Arc::clone(engines),
                namespace: id,
                channel: channel.into(),
                metrics: Arc::clone(metrics),
            };
            for (channel, source) in of_channels(sources) {
                tokio::spawn(source.run(sink(&channel)));
            }
        }
        let tap = namespace.action_cable.as_ref().and_then(|cable| cable.tap.as_ref());
        if let Some(tap) = tap.filter(|_| namespace.serves_action_cable())
            && let Some(redis) = tap.redis.as_ref().or(namespace.redis.as_ref())
        {
            let publisher = action_cable::TapPublisher {
                engines: Arc::clone(engines),
                namespace: id,
                fanout: fanout(id),
                history: namespace.history.clone(),
                keys: namespace.action_cable.as_ref().map(|cable| cable.keys.clone()).unwrap_or_default(),
                max_size,
            };
            publisher.start(redis, &tap.channel_prefix).map_err(failed)?;
        }
        let push = namespace.turted.as_ref().and_then(|turted| turted.push.as_ref());
        if let (Some(push), Some(redis)) = (push, &namespace.redis)
            && let Some(channel) = &push.redis_channel
        {
            redis::start_pushes(redis, channel, push.password.clone(), max_size, fanout(id)).map_err(failed)?;
        }
    }
    Ok(())
}

/// The sources of one channel each.
fn of_channels(sources: &Sources) -> Vec<(String, Box<dyn Source>)> {
    let mut all: Vec<(String, Box<dyn Source>)> = Vec::new();
    if let Some(channel) = &sources.stdin {
        all.push((channel.clone(), Box::new(StandardInput)));
    }
    if let Some((channel, path)) = &sources.file {
        all.push((channel.clone(), Box::new(FollowedFile::new(path.clone()))));
    }
    if let Some(channel) = &sources.demo {
        all.push((channel.clone(), Box::new(Demo)));
    }
    all
}

// === impl Sink ===

impl Sink {
    /// Publishes a text. One that the engine does not accept is counted and logged.
    async fn send(&self, text: &str) {
        let text = publication(&self.channel, text);
        let (Some(engine), Ok(publication)) = (self.engines.get(self.namespace), parse(text.as_bytes())) else {
            return;
        };
        if let Err(error) = engine.publish.publish(&publication, None, PUBLISHER).await {
            self.metrics.failed_publishes.fetch_add(1, Relaxed);
            tracing::warn!(channel = &*self.channel, %error, "a notification was not published, and is lost");
        }
    }
}
