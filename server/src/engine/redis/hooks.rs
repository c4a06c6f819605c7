//! The journal of hooks in Redis: all servers of a namespace append to it, and the one with the lease sends from it.

use super::script::{Script, ScriptError};
use crate::hooks::{
    BATCH_BYTES, DeadLetter, DeadLetters, Dropped, HookEvent, Journal, JournalLimits, NotSent, Part, Start, Stored,
    Taken,
};
use crate::outcome::Pending;
use fred::clients::Client;
use fred::types::{FromValue, Value};
use nodevent_protocol::hooks;
use std::time::Duration;

/// The journal of one namespace.
#[derive(Debug)]
pub(super) struct JournalInRedis {
    limits: JournalLimits,
    client: Client,
    keys: [String; 7],
    /// Distinguishes this run of this server from all others.
    server: String,
    append: Script,
    take: Script,
    done: Script,
    dead: Script,
}

// === impl JournalInRedis ===

impl JournalInRedis {
    pub(super) fn new(limits: JournalLimits, client: Client, keys: [String; 7]) -> Self {
        Self {
            limits,
            client,
            keys,
            server: format!("{:032x}", rand::random::<u128>()),
            append: Script::new(hooks::APPEND),
            take: Script::new(hooks::TAKE),
            done: Script::new(hooks::DONE),
            dead: Script::new(hooks::DEAD),
        }
    }

    async fn run<R: FromValue>(&self, script: &Script, args: Vec<String>) -> Result<R, ScriptError> {
        let args = args.into_iter().map(Value::from).collect();
        script.run(&self.client, self.keys.to_vec(), args).await
    }

    async fn append_events(&self, events: &[HookEvent]) -> Result<Dropped, ScriptError> {
        let mut args = vec![self.limits.size.to_string(), self.limits.bytes.to_string()];
        let part = |event: &HookEvent| match event.part {
            Part::Connections => "c",
            Part::Members => "m",
            Part::Others => "",
        };
        args.extend(
            events.iter().flat_map(|event| [event.key.to_string(), part(event).to_owned(), event.text.to_string()]),
        );
        let (_waiting, connections, others): (u64, u64, u64) = self.run(&self.append, args).await?;
        Ok(Dropped { connections, others })
    }

    async fn take_events(&self, lease: Duration, max: usize, from: &Start) -> Result<Taken, ScriptError> {
        let start = match from {
            Start::Oldest => "-".to_owned(),
            Start::At(id) => id.to_string(),
            Start::After(id) => format!("({id}"),
        };
        let (lease, max) = (lease.as_millis().to_string(), max.to_string());
        let args = vec![self.server.clone(), lease, max, BATCH_BYTES.to_string(), start];
        type Reply = (u64, u64, u64, u64, Vec<String>);
        let (is_sender, now, waiting, dead, events): Reply = self.run(&self.take, args).await?;
        let age = |id: &str| {
            let stored = id.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or(now);
            Duration::from_millis(now.saturating_sub(stored))
        };
        let events = events.chunks_exact(2).map(|event| Stored {
            id: event[0].as_str().into(),
            text: event[1].as_str().into(),
            age: age(&event[0]),
        });
        Ok(Taken { is_sender: is_sender == 1, events: events.collect(), waiting, dead })
    }

    async fn remove_events(&self, delivered: &[Box<str>], given_up: &[NotSent]) -> Result<u64, ScriptError> {
        let mut args = vec![self.limits.dead_letters.to_string(), delivered.len().to_string()];
        args.extend(delivered.iter().map(ToString::to_string));
        args.extend(given_up.iter().flat_map(|event| [event.id.to_string(), event.reason.clone()]));
        self.run(&self.done, args).await
    }

    async fn read_dead_letters(&self, after: &str, max: usize) -> Result<DeadLetters, ScriptError> {
        let after = if after.is_empty() { "0-0" } else { after };
        let args = vec!["read".to_owned(), after.to_owned(), max.to_string()];
        let (count, letters): (u64, Vec<String>) = self.run(&self.dead, args).await?;
        let letters = letters.chunks_exact(3).map(|letter| DeadLetter {
            id: letter[0].as_str().into(),
            text: letter[1].as_str().into(),
            reason: letter[2].as_str().into(),
        });
        Ok(DeadLetters { count, letters: letters.collect() })
    }

    async fn clear(&self, resend: bool, ids: &[String], max: usize) -> Result<u64, ScriptError> {
        let mut args = vec![if resend { "resend" } else { "delete" }.to_owned(), max.to_string()];
        args.extend_from_slice(ids);
        let (count, _letters): (u64, Vec<String>) = self.run(&self.dead, args).await?;
        Ok(count)
    }
}

impl Journal for JournalInRedis {
    fn append<'a>(&'a self, events: &'a [HookEvent]) -> Pending<'a, Dropped> {
        Box::pin(async { self.append_events(events).await.map_err(|error| error.unavailable) })
    }

    fn take<'a>(&'a self, lease: Duration, max: usize, from: &'a Start) -> Pending<'a, Taken> {
        Box::pin(async move { self.take_events(lease, max, from).await.map_err(|error| error.unavailable) })
    }

    fn remove<'a>(&'a self, delivered: &'a [Box<str>], given_up: &'a [NotSent]) -> Pending<'a, u64> {
        Box::pin(async { self.remove_events(delivered, given_up).await.map_err(|error| error.unavailable) })
    }

    fn dead_letters<'a>(&'a self, after: &'a str, max: usize) -> Pending<'a, DeadLetters> {
        Box::pin(async move { self.read_dead_letters(after, max).await.map_err(|error| error.unavailable) })
    }

    fn clear_dead_letters<'a>(&'a self, resend: bool, ids: &'a [String], max: usize) -> Pending<'a, u64> {
        Box::pin(async move { self.clear(resend, ids, max).await.map_err(|error| error.unavailable) })
    }
}
