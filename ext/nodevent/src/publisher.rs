//! `NoDevent::Native::Publisher`: the Ruby object in front of a queue.
//!
//! Publishing copies the text into the queue and returns. Only the methods that say so wait, and they wait without
//! Ruby's lock. An object that was made before a `fork` gets a queue of its own in the child.

use crate::engine::Engine;
use crate::process::{self, Process};
use crate::queue::{Answer, Patience, PublicationRef, Queue, Receipt, Refused, Settled};
use crate::target::Target;
use crate::{guard, unlocked, worker};
use bytes::Bytes;
use magnus::{Error, RArray, RString, Ruby, Symbol, Value};
use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// See the head of this file.
#[magnus::wrap(class = "NoDevent::Native::Publisher", free_immediately, size)]
pub(crate) struct Publisher {
    target: Target,
    address: Arc<str>,
    /// This process's queue, or an ancestor's, or null. Only used with Ruby's lock held.
    live: AtomicPtr<Live>,
}

/// What belongs to one process.
struct Live {
    forks: u32,
    queue: Arc<Queue>,
    process: &'static Process,
    /// The last channel: nearly always that of the next publication too.
    channel: RefCell<Arc<str>>,
}

// === impl Publisher ===

impl Publisher {
    /// `Publisher.new(json)`: the target as JSON.
    pub(crate) fn new(ruby: &Ruby, target: String) -> Result<Self, Error> {
        let target: Target = serde_json::from_str(&target).map_err(|error| argument(ruby, &error.to_string()))?;
        let address = Arc::clone(Engine::new(&target).map_err(|error| argument(ruby, &error))?.address());
        Ok(Self { target, address, live: AtomicPtr::new(ptr::null_mut()) })
    }

    /// `publish(channel, json, idempotency_key)`: `true`, `false` where the queue is full, or `nil` where it is closed.
    /// Never waits.
    pub(crate) fn publish(
        ruby: &Ruby,
        this: &Self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
    ) -> Result<Option<bool>, Error> {
        guard(ruby, || {
            let live = this.live(ruby)?;
            let pushed = this.push(live, live.publication(channel, json, idempotency_key)?);
            Ok(match pushed {
                Ok(()) => Some(true),
                Err(Refused::Full) => Some(false),
                Err(Refused::Closed) => None,
            })
        })
    }

    /// `publish_and_wait(channel, json, idempotency_key, seconds)`: `[:ok, answer]`, `[:failed, why]`, `[:full, nil]`,
    /// `[:closed, nil]`,
    /// or after the time `[:late, withdrawn, trouble]`: where it is not withdrawn it may yet arrive, and `trouble` says
    /// why the engine cannot be reached, if it cannot.
    pub(crate) fn publish_and_wait(
        ruby: &Ruby,
        this: &Self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
        seconds: f64,
    ) -> Result<RArray, Error> {
        guard(ruby, || this.wait_for_answer(ruby, channel, json, idempotency_key, deadline(ruby, seconds)?))
    }

    fn wait_for_answer(
        &self,
        ruby: &Ruby,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
        deadline: Instant,
    ) -> Result<RArray, Error> {
        let live = self.live(ruby)?;
        let receipt = Arc::new(Receipt::default());
        let mut publication = live.publication(channel, json, idempotency_key)?;
        publication.receipt = Some(Arc::clone(&receipt));
        match self.push(live, publication) {
            Ok(()) => {}
            Err(Refused::Full) => return pair(ruby, "full", ruby.qnil()),
            Err(Refused::Closed) => return pair(ruby, "closed", ruby.qnil()),
        }
        let leaves = Leaves(&receipt);
        let waited = unlocked::wait(
            ruby,
            |interrupted| receipt.settled.wait(Some(deadline), interrupted, Option::take),
            || receipt.settled.wake(),
        )?;
        match waited {
            Some(settled) => {
                std::mem::forget(leaves);
                answer(ruby, settled)
            }
            None => {
                let late = pair(ruby, "late", leaves.0.abandon())?;
                late.push(live.queue.trouble().as_deref())?;
                Ok(late)
            }
        }
    }

    /// `flush(seconds)`: waits until all that was published so far is settled; `false` where time ran out.
    pub(crate) fn flush(ruby: &Ruby, this: &Self, seconds: f64) -> Result<bool, Error> {
        guard(ruby, || {
            let queue = this.existing().map(|live| Arc::clone(&live.queue));
            flush(ruby, queue.as_slice(), deadline(ruby, seconds)?, Patience::UntilDeadline)
        })
    }

    /// `close`: no more is taken; what waits is still published.
    pub(crate) fn close(&self) {
        if let Some(live) = self.existing() {
            live.queue.close();
        }
    }

    /// `pending`: publications that wait or are under way.
    pub(crate) fn pending(&self) -> usize {
        self.existing().map_or(0, |live| live.queue.pending())
    }

    /// `address`: where it publishes, without user and password.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    fn push(&self, live: &Live, publication: PublicationRef) -> Result<(), Refused> {
        let pushed = live.queue.push(publication);
        if pushed == Err(Refused::Full) {
            live.process.journal.dropped(&self.address);
        }
        pushed
    }

    /// The queue of this process, if there is one.
    fn existing(&self) -> Option<&Live> {
        // SAFETY: null, or from `Box::into_raw`; it is freed only when this object is.
        let live = unsafe { self.live.load(Ordering::Acquire).as_ref() }?;
        (live.forks == process::forks()).then_some(live)
    }

    /// The queue of this process; made, with the task behind it, when it is first asked for.
    fn live(&self, ruby: &Ruby) -> Result<&Live, Error> {
        if let Some(live) = self.existing() {
            return Ok(live);
        }
        let failed = |text: String| Error::new(ruby.exception_runtime_error(), text);
        let process = Process::current().map_err(failed)?;
        let queue = Arc::new(Queue::new(self.target.bounds()));
        let engine = Engine::new(&self.target).map_err(failed)?;
        process.spawn(&queue, worker::run(Arc::clone(&queue), engine, &process.journal));
        let live = Live { forks: process::forks(), queue, process, channel: RefCell::new("".into()) };
        // What an ancestor left here is leaked: see process.rs.
        self.live.store(Box::into_raw(Box::new(live)), Ordering::Release);
        self.existing().ok_or_else(|| failed("the publisher was lost".to_owned()))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let live = self.live.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: as in `existing`; nobody else has it any more.
        let own = unsafe { live.as_ref() }.is_some_and(|live| live.forks == process::forks());
        if own {
            // SAFETY: it comes from `Box::into_raw`.
            let live = unsafe { Box::from_raw(live) };
            live.queue.close();
        }
    }
}

// === impl Live ===

impl Live {
    fn publication(
        &self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
    ) -> Result<PublicationRef, Error> {
        Ok(PublicationRef {
            channel: self.channel(channel)?,
            // SAFETY: the bytes are copied before Ruby can run again.
            body: Bytes::copy_from_slice(unsafe { json.as_slice() }),
            number: 0,
            idempotency_key: idempotency_key.map(String::into_boxed_str),
            receipt: None,
            since: Instant::now(),
        })
    }

    fn channel(&self, channel: RString) -> Result<Arc<str>, Error> {
        let Ok(mut last) = self.channel.try_borrow_mut() else { return Ok(channel.to_string()?.into()) };
        // SAFETY: the slice is not used once Ruby can run again.
        if unsafe { channel.as_slice() } != last.as_bytes() {
            *last = channel.to_string()?.into();
        }
        Ok(Arc::clone(&last))
    }
}

/// A caller that waits; when it goes without an answer, its publication is withdrawn if it can be.
struct Leaves<'a>(&'a Receipt);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Flushes all of `queues` by one deadline.
pub(crate) fn flush(
    ruby: &Ruby,
    queues: &[Arc<Queue>],
    deadline: Instant,
    patience: Patience,
) -> Result<bool, Error> {
    let mut all = true;
    for queue in queues {
        let flush = queue.flush(patience);
        let waited = unlocked::wait(ruby, |interrupted| flush.wait(Some(deadline), interrupted), || flush.wake())?;
        all &= waited == Some(true);
    }
    Ok(all)
}

/// The moment `seconds` from now.
///
/// # Errors
/// A number that is negative, not a number, or longer than a year.
pub(crate) fn deadline(ruby: &Ruby, seconds: f64) -> Result<Instant, Error> {
    const YEAR: f64 = 365.0 * 24.0 * 3600.0;
    if !(0.0..=YEAR).contains(&seconds) {
        return Err(argument(ruby, &format!("{seconds} is no time to wait; give seconds, at least 0")));
    }
    Ok(Instant::now() + Duration::from_secs_f64(seconds))
}

fn answer(ruby: &Ruby, settled: Settled) -> Result<RArray, Error> {
    match settled {
        Ok(Answer::Receivers(count)) => pair(ruby, "ok", count),
        Ok(Answer::Position(position)) => pair(ruby, "ok", &*position),
        Ok(Answer::Accepted) => pair(ruby, "ok", true),
        Err(why) => pair(ruby, "failed", &*why),
    }
}

fn pair(ruby: &Ruby, first: &str, second: impl magnus::IntoValue) -> Result<RArray, Error> {
    let first: Symbol = ruby.to_symbol(first);
    let second: Value = second.into_value_with(ruby);
    let pair = ruby.ary_new_capa(2);
    pair.push(first)?;
    pair.push(second)?;
    Ok(pair)
}

fn argument(ruby: &Ruby, text: &str) -> Error {
    Error::new(ruby.exception_arg_error(), text.to_owned())
}
