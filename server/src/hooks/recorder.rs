//! What this server has to report and the journal does not have yet.
//!
//! It is bounded. While the journal is unavailable the oldest events are dropped and counted, those of connections first.

use super::{DividedQueue, Dropped, HookEvent, HookEvents, Journal, JournalLimits};
use crate::clock::now_ms;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::publication::Publication;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Events that may wait for the journal.
const MAX_EVENTS: usize = 20_000;
/// Their memory. Bytes.
const MAX_BYTES: usize = 32 << 20;
/// Events in one call of the journal.
const EVENTS_PER_CALL: usize = 200;
/// Bytes in one call of the journal, unless its first event is larger.
const BYTES_PER_CALL: usize = 1 << 20;
/// Pause after the journal did not accept events.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// See the head of this file.
#[derive(Debug)]
pub struct Recorder {
    events: HookEvents,
    limits: JournalLimits,
    queue: Mutex<Queue>,
    /// Notified if there is something in the queue.
    filled: Notify,
    /// Notified if the journal has something new.
    appended: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: DividedQueue<HookEvent>,
    /// Events that were dropped and are not counted yet.
    dropped: Dropped,
    /// Whether events were taken, and the journal has not confirmed them.
    is_storing: bool,
}

// === impl Queue ===

impl Queue {
    fn push(&mut self, event: HookEvent) {
        self.events.push(event.part, event.size(), event);
        self.dropped += self.events.drop_excess(MAX_EVENTS, MAX_BYTES);
    }

    fn take(&mut self) -> Vec<HookEvent> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < EVENTS_PER_CALL
            && let Some(event) = self.events.front()
            && (taken.is_empty() || bytes + event.size() <= BYTES_PER_CALL)
            && let Some(event) = self.events.pop_front()
        {
            bytes += event.size();
            taken.push(event);
        }
        taken
    }

    /// Puts events back that were taken last, as far as there is room.
    fn put_back(&mut self, events: Vec<HookEvent>) {
        for event in events.into_iter().rev() {
            self.events.push_front(event.part, event.size(), event);
        }
        self.dropped += self.events.drop_excess(MAX_EVENTS, MAX_BYTES);
    }
}

// === impl HookEvent ===

impl HookEvent {
    fn size(&self) -> usize {
        self.key.len() + self.text.len() + size_of::<Self>()
    }
}

// === impl Recorder ===

impl Recorder {
    /// A recorder of these events, for a journal with these limits.
    pub fn new(events: HookEvents, limits: JournalLimits) -> Self {
        Self { events, limits, queue: Mutex::default(), filled: Notify::new(), appended: Notify::new() }
    }

    /// The events that are recorded.
    pub fn events(&self) -> &HookEvents {
        &self.events
    }

    /// The limits of the journal.
    pub fn limits(&self) -> JournalLimits {
        self.limits
    }

    /// Records an event. Never waits.
    pub fn record(&self, event: HookEvent) {
        self.queue().push(event);
        self.filled.notify_one();
    }

    /// A client has connected.
    pub fn connected(&self, connection: &str, identity: Option<&Identity>) {
        if self.events.connected {
            self.record(HookEvent::connected(connection, identity, now_ms()));
        }
    }

    /// A client has disconnected, after `seconds`.
    pub fn disconnected(&self, connection: &str, user: Option<&str>, reason: &str, seconds: u64) {
        if self.events.disconnected {
            self.record(HookEvent::disconnected(connection, user, reason, seconds, now_ms()));
        }
    }

    /// A publication was handed to the shards. Records it if its name is one of the configured ones.
    pub fn delivered(&self, publication: &Publication) {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
        }
        if self.events.delivered.is_empty() || publication.position.is_none() {
            return;
        }
        let Ok(Named { event }) = serde_json::from_str(&publication.text) else { return };
        if self.events.includes_publication(&event)
            && let Some(event) = HookEvent::delivered(publication, now_ms())
        {
            self.record(event);
        }
    }

    /// An engine has published an event of presence.
    pub fn presence_published(&self, publication: &str) {
        if self.events.has_presence()
            && let Some((is_entered, event)) = super::entered_or_left(publication, now_ms())
            && (if is_entered { self.events.entered } else { self.events.left })
        {
            self.record(event);
        }
    }

    /// The journal has something new: an event of this server, or a dead letter to send again.
    pub fn notify_appended(&self) {
        self.appended.notify_one();
    }

    /// Whether the journal has everything.
    pub fn is_flushed(&self) -> bool {
        let queue = self.queue();
        queue.events.is_empty() && !queue.is_storing
    }

    /// Waits until the journal has something new from this server, or for `max`.
    pub async fn wait_appended(&self, max: Duration) {
        let _ = tokio::time::timeout(max, self.appended.notified()).await;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves what is recorded into the journal, until the process ends.
pub async fn keep_journal(
    namespace: Arc<str>,
    recorder: Arc<Recorder>,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
) {
    let mut is_failing = false;
    loop {
        let (events, dropped) = {
            let mut queue = recorder.queue();
            let events = queue.take();
            queue.is_storing = !events.is_empty();
            (events, std::mem::take(&mut queue.dropped))
        };
        report_dropped(&namespace, dropped, "the engine does not accept events in time; see /readyz", &metrics);
        if events.is_empty() {
            recorder.filled.notified().await;
            continue;
        }
        match journal.append(&events).await {
            Ok(dropped) => {
                let reason = "the journal is full, because the application does not accept events fast enough; \
                              see `hooks: size`";
                report_dropped(&namespace, dropped, reason, &metrics);
                if std::mem::take(&mut is_failing) {
                    tracing::info!(namespace = &*namespace, "hooks: the engine accepts events again");
                }
                recorder.notify_appended();
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(namespace = &*namespace, %error, "hooks: events not stored; retrying");
                }
                recorder.queue().put_back(events);
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Counts and logs events that were dropped.
fn report_dropped(namespace: &str, dropped: Dropped, reason: &str, metrics: &Metrics) {
    metrics.hooks_dropped.fetch_add(dropped.total(), Relaxed);
    metrics.hooks_connections_dropped.fetch_add(dropped.connections, Relaxed);
    if dropped.connections > 0 {
        let count = dropped.connections;
        let part = "`connected` and `disconnected` get half of the journal, and are dropped first";
        tracing::error!(namespace, dropped = count, reason, "hooks: events of connections dropped; {part}");
    }
    if dropped.others > 0 {
        tracing::error!(namespace, dropped = dropped.others, reason, "hooks: events dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;

    fn event(number: usize) -> HookEvent {
        large(number.to_string())
    }

    fn large(text: String) -> HookEvent {
        HookEvent { key: "".into(), text: text.into(), part: Part::Others }
    }

    fn texts(events: &[HookEvent]) -> Vec<usize> {
        events.iter().map(|event| event.text.parse().unwrap()).collect()
    }

    #[test]
    fn events_that_were_not_stored_are_the_first_again() {
        let mut queue = Queue::default();
        (0..EVENTS_PER_CALL + 5).for_each(|number| queue.push(event(number)));
        let taken = queue.take();
        assert_eq!(texts(&taken), (0..EVENTS_PER_CALL).collect::<Vec<_>>());
        queue.put_back(taken);
        assert_eq!(texts(&queue.take())[..3], [0, 1, 2]);
        assert_eq!(texts(&queue.take()), (EVENTS_PER_CALL..EVENTS_PER_CALL + 5).collect::<Vec<_>>());
        assert_eq!((queue.events.bytes(), queue.dropped.total(), queue.take().len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let mut queue = Queue::default();
        (0..MAX_EVENTS + 3).for_each(|number| queue.push(event(number)));
        assert_eq!((queue.dropped.others, texts(&queue.take())[0]), (3, 3));
        let mut queue = Queue::default();
        (0..3).for_each(|_| queue.push(large("x".repeat(MAX_BYTES / 2))));
        assert_eq!((queue.dropped.others, queue.take().len(), queue.events.bytes()), (2, 1, 0));
        let taken = vec![event(1), event(2)];
        (0..MAX_EVENTS - 1).for_each(|number| queue.push(event(number)));
        queue.put_back(taken);
        assert_eq!((queue.dropped.others, texts(&queue.take())[..2].to_vec()), (3, vec![2, 0]));
    }
}
