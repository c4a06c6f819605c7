//! The pages of visitors in Redis, shared by all servers of a namespace.
//!
//! A change is announced in the channel of the namespace, in the same step and so in the order of publications. An
//! announcement names only channels that are gone: a program that can only publish can subscribe no page to anything. The
//! shards read what is new.

use super::Shared;
use super::script::{Script, ScriptError};
use crate::outcome::{Outcome, Pending, Unavailable};
use crate::pages::{Changed, IsVisible, PageChange, PageReply, PageReplyTo, PageSettings, Pages, Received};
use fred::types::{FromValue, Value};
use futures_util::future::try_join_all;
use nodevent_protocol::history::{Position, Read};
use nodevent_protocol::pages::{self, PageDigest, Subscription};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The tasks that read and write pages for connections. The requests of a page have one order.
const WORKERS: usize = 16;
/// Requests that may wait for one of them: reads of connections take at most half of it, so that there is room for what
/// connections write that end.
const MAX_QUEUE: usize = 16_384;

/// The pages of one namespace.
#[derive(Debug)]
pub(super) struct PagesInRedis {
    store: Arc<Store>,
    /// Shards send at most one read for each connection and a few for each client at a time. A connection that ends sends
    /// one write, if its page was found.
    workers: Vec<mpsc::Sender<Work>>,
}

#[derive(Debug)]
struct Store {
    settings: PageSettings,
    shared: Arc<Shared>,
    change: Script,
    open: Script,
    close: Script,
    channels: Script,
}

/// A request of a shard.
#[derive(Debug)]
enum Work {
    Open(PageDigest, PageReplyTo),
    Close(PageDigest, Received),
}

// === impl PagesInRedis ===

impl PagesInRedis {
    /// Starts its tasks on the current runtime.
    pub(super) fn start(settings: PageSettings, shared: &Arc<Shared>) -> Self {
        let store = Arc::new(Store {
            settings,
            shared: Arc::clone(shared),
            change: Script::new(pages::CHANGE),
            open: Script::new(pages::OPEN),
            close: Script::new(pages::CLOSE),
            channels: Script::new(pages::CHANNELS),
        });
        let start_worker = |_| {
            let (sender, receiver) = mpsc::channel(MAX_QUEUE);
            tokio::spawn(work(Arc::clone(&store), receiver));
            sender
        };
        Self { workers: (0..WORKERS).map(start_worker).collect(), store }
    }

    fn worker(&self, page: PageDigest) -> Option<&mpsc::Sender<Work>> {
        self.workers.get(usize::from(page.bucket()) % WORKERS)
    }
}

/// Serves the requests for a part of the pages, one after another.
async fn work(store: Arc<Store>, mut requests: mpsc::Receiver<Work>) {
    while let Some(request) = requests.recv().await {
        match request {
            Work::Open(page, reply_to) => {
                let subscriptions = match reply_to.is_wanted() {
                    true => store.read(page).await.inspect_err(|error| store.log(error)).ok(),
                    false => None,
                };
                store.shared.fanout.page_reply(PageReply { page, reply_to, subscriptions });
            }
            Work::Close(page, received) => {
                if let Err(error) = store.write(page, received).await {
                    store.log(&error);
                }
            }
        }
    }
}

// === impl Store ===

impl Store {
    async fn run<R: FromValue>(
        &self,
        script: &Script,
        page: PageDigest,
        args: Vec<String>,
    ) -> Result<R, Unavailable> {
        let keys = self.shared.scope.pages(self.shared.fanout.name(), page).to_vec();
        let args = args.into_iter().map(Value::from).collect();
        script.run(&self.shared.publisher, keys, args).await.map_err(|error: ScriptError| error.unavailable)
    }

    fn grace(&self) -> String {
        self.settings.grace.as_millis().to_string()
    }

    async fn read(&self, page: PageDigest) -> Result<Vec<Subscription>, Unavailable> {
        let found: Vec<String> = self.run(&self.open, page, vec![page.to_string(), self.grace()]).await?;
        let pairs = found.chunks_exact(2);
        Ok(pairs.map(|pair| (pair[0].as_str().into(), Position::parse(&pair[1]))).collect())
    }

    async fn write(&self, page: PageDigest, received: Received) -> Result<(), Unavailable> {
        let (only_where_none, received) = received.into_parts();
        let initial = self.settings.initial.as_millis().to_string();
        let mut args = vec![page.to_string(), self.grace(), initial, u8::from(only_where_none).to_string()];
        args.extend(received.iter().flat_map(|(channel, position)| pair(channel, *position)));
        self.run(&self.close, page, args).await.map(|_: i64| ())
    }

    fn log(&self, error: &Unavailable) {
        tracing::debug!(namespace = self.shared.fanout.name(), %error, "the subscriptions of a page are unavailable");
    }

    async fn change(&self, change: &PageChange) -> Result<Changed, Unavailable> {
        let PageChange { page, unsubscribe, subscribe } = change;
        let settings = &self.settings;
        let topic = |channel: &str| pages::topic_of(settings.room_prefix, *page, channel);
        let positions = subscribe.iter().map(|channel| self.position(topic(channel)));
        let positions = try_join_all(positions).await?;
        let mut args = vec![
            page.to_string(),
            settings.initial.as_millis().to_string(),
            self.grace(),
            settings.max_pages.to_string(),
            settings.max_channels.to_string(),
            self.shared.channel.clone(),
            pages::notice(*page, unsubscribe.iter().map(|channel| &**channel)),
            unsubscribe.len().to_string(),
        ];
        args.extend(unsubscribe.iter().map(ToString::to_string));
        args.extend(subscribe.iter().zip(positions).flat_map(|(channel, position)| pair(channel, position)));
        let result: Vec<i64> = self.run(&self.change, *page, args).await?;
        let number = |index: usize| result.get(index).and_then(|number| usize::try_from(*number).ok()).unwrap_or(0);
        Ok(match result.first() {
            Some(1) => Changed::TooManyChannels,
            Some(2) => Changed::TooManyPages,
            _ => Changed::Done { subscribed: number(1), unsubscribed: number(2), channels: number(3) },
        })
    }

    /// The position of a room. `None`: it has no history.
    async fn position(&self, room: String) -> Result<Option<Position>, Unavailable> {
        let Shared { history, scripts, publisher, .. } = &*self.shared;
        if history.of(&room).is_none() {
            return Ok(None);
        }
        let read = scripts.read(publisher, &self.shared.keys(&room), Read::default()).await;
        read.map(|slice| Some(slice.position)).map_err(|error| error.unavailable)
    }

    async fn matching(
        &self,
        pattern: &str,
        is_visible: &IsVisible<'_>,
        max: usize,
    ) -> Result<Option<Vec<String>>, Unavailable> {
        // A scan may return a channel more than once.
        let (mut found, mut cursor, written) = (BTreeSet::new(), "0".to_owned(), pages::redis_pattern(pattern));
        loop {
            // The keys of all pages are in one slot, so any page will do.
            let any = PageDigest::of("", "");
            let args = vec![cursor, written.clone()];
            let (next, channels): (String, Vec<String>) = self.run(&self.channels, any, args).await?;
            found.extend(channels.into_iter().filter(|one| pages::matches(pattern, one) && is_visible(one)));
            if found.len() > max {
                return Ok(None);
            }
            if next == "0" {
                return Ok(Some(found.into_iter().collect()));
            }
            cursor = next;
        }
    }
}

fn pair(channel: &str, position: Option<Position>) -> [String; 2] {
    [channel.to_string(), position.map(|position| position.to_string()).unwrap_or_default()]
}

impl Pages for PagesInRedis {
    fn settings(&self) -> PageSettings {
        self.store.settings
    }

    fn change<'a>(&'a self, change: &'a PageChange) -> Pending<'a, Changed> {
        Box::pin(self.store.change(change))
    }

    fn channels<'a>(
        &'a self,
        pattern: &'a str,
        is_visible: &'a IsVisible<'a>,
        max: usize,
    ) -> Pending<'a, Option<Vec<String>>> {
        Box::pin(self.store.matching(pattern, is_visible, max))
    }

    fn open(&self, page: PageDigest, reply_to: PageReplyTo) -> Outcome<Vec<Subscription>> {
        let worker = self.worker(page).filter(|worker| worker.capacity() > MAX_QUEUE / 2);
        match worker.map(|worker| worker.try_send(Work::Open(page, reply_to))) {
            Some(Ok(())) => Outcome::Pending,
            Some(Err(_)) | None => Outcome::Overloaded,
        }
    }

    fn close(&self, page: PageDigest, received: Received) {
        let sent = self.worker(page).map(|worker| worker.try_send(Work::Close(page, received)));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
            let namespace = self.store.shared.fanout.name();
            tracing::warn!(
                namespace,
                "too many pages end at once: one will miss what is published while it is disconnected"
            );
        }
    }
}
