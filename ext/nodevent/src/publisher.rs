//! `NoDevent::Native::Publisher`: the Ruby object in front of a queue.
//!
//! Publishing copies the text into the queue and returns. Only the methods documented to wait do so, without holding
//! Ruby's lock. An object created before a `fork` gets its own queue in the child.

use crate::engine::{Engine, Notifier, NotifyError, PositionReader, random};
use crate::process::{self, Process};
use crate::queue::{Confirmation, FlushMode, PublicationRef, PublishResult, Queue, Receipt, Rejected};
use crate::target::Target;
use crate::trace::Sampler;
use crate::{guard, message, without_gvl, worker};
use bytes::Bytes;
use magnus::rb_sys::AsRawValue;
use magnus::{Error, IntoValue, RArray, RString, Ruby, Symbol, Value};
use std::cell::RefCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// A Ruby object that publishes to one target; see the head of this file.
#[magnus::wrap(class = "NoDevent::Native::Publisher", free_immediately, size)]
pub(crate) struct Publisher {
    target: Target,
    sampler: Sampler,
    address: Arc<str>,
    /// The state of this process, or of an ancestor, or null. Only used while holding Ruby's lock.
    state: AtomicPtr<ProcessState>,
}

/// The queue of one process.
struct ProcessState {
    forks: u32,
    queue: Arc<Queue>,
    process: &'static Process,
    /// Reads positions, if the engine has them.
    reader: Option<PositionReader>,
    /// Stores messages in mailboxes, if the engine is Redis and has them.
    notifier: Option<Notifier>,
    /// The last channel, cached because the next publication nearly always uses it too.
    channel: RefCell<Arc<str>>,
}

// === impl Publisher ===

impl Publisher {
    /// `Publisher.new(json)`: takes the target as JSON.
    pub(crate) fn new(ruby: &Ruby, target: String) -> Result<Self, Error> {
        let target: Target = serde_json::from_str(&target).map_err(|error| argument(ruby, &error.to_string()))?;
        let address = Arc::clone(Engine::new(&target).map_err(|error| argument(ruby, &error))?.address());
        let sampler = Sampler::new(target.trace_sample_rate, target.max_publication);
        Ok(Self { target, sampler, address, state: AtomicPtr::new(ptr::null_mut()) })
    }

    /// `publish(channel, json, idempotency_key)`: returns `true`, `false` if the queue is full, or `nil` if it is
    /// closed. Never waits.
    pub(crate) fn publish(
        ruby: &Ruby,
        this: &Self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
    ) -> Result<Option<bool>, Error> {
        guard(ruby, || {
            let state = this.get_or_start(ruby)?;
            let pushed = this.push(state, state.publication(channel, json, idempotency_key)?);
            Ok(match pushed {
                Ok(()) => Some(true),
                Err(Rejected::Full) => Some(false),
                Err(Rejected::Closed) => None,
            })
        })
    }

    /// `publish_message(channel, room, event, message, max_room, max_size, check)`: publishes the JSON of a message to a
    /// room, and returns as `publish`. Returns `0` and publishes nothing if Ruby must write the text or raise an error:
    /// a name is not plain, the room's is longer than `max_room` bytes, the publication is larger than `max_size`, or
    /// with `check`, the message is not JSON, or is nested too deeply.
    // The arguments are Ruby's.
    #[expect(clippy::too_many_arguments)]
    pub(crate) fn publish_message(
        ruby: &Ruby,
        this: &Self,
        channel: RString,
        room: RString,
        event: RString,
        json: RString,
        max_room: usize,
        max_size: usize,
        check: bool,
    ) -> Result<Value, Error> {
        guard(ruby, || {
            let state = this.get_or_start(ruby)?;
            // SAFETY: the bytes are copied before Ruby can run again.
            let (name, event_name, message) = unsafe { (room.as_slice(), event.as_slice(), json.as_slice()) };
            let fits = name.len() <= max_room && message::size(name, event_name, message) <= max_size;
            let plain = is_ascii_compatible(room) && is_ascii_compatible(event);
            let plain = plain && message::is_plain(name) && message::is_plain(event_name);
            if !fits || !plain || (check && !message::is_json(message)) {
                return Ok(0.into_value_with(ruby));
            }
            let parts = message::publication(name, event_name, message);
            Ok(match this.push_text(state, &state.channel(channel)?, &parts) {
                Ok(()) => true.into_value_with(ruby),
                Err(Rejected::Full) => false.into_value_with(ruby),
                Err(Rejected::Closed) => ruby.qnil().into_value_with(ruby),
            })
        })
    }

    /// Publishes the JSON of a message to a room: `(room, event, message)`. Both names are plain.
    ///
    /// # Errors
    /// The publishing thread could not be started.
    pub(crate) fn publish_plain(
        &self,
        ruby: &Ruby,
        channel: &Arc<str>,
        (room, event, message): (&[u8], &[u8], &[u8]),
    ) -> Result<Result<(), Rejected>, Error> {
        let state = self.get_or_start(ruby)?;
        Ok(self.push_text(state, channel, &message::publication(room, event, message)))
    }

    /// `publish_and_wait(channel, json, idempotency_key, seconds)`: returns `[:ok, confirmation]`, `[:failed, reason]`,
    /// `[:full, nil]`, `[:closed, nil]`, or after the timeout `[:timeout, withdrawn, reason]`. A publication that was
    /// not withdrawn may still arrive. The last `reason` explains why the engine cannot be reached, if it cannot.
    pub(crate) fn publish_and_wait(
        ruby: &Ruby,
        this: &Self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
        seconds: f64,
    ) -> Result<RArray, Error> {
        guard(ruby, || this.wait_for_result(ruby, channel, json, idempotency_key, deadline(ruby, seconds)?))
    }

    fn wait_for_result(
        &self,
        ruby: &Ruby,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
        deadline: Instant,
    ) -> Result<RArray, Error> {
        let state = self.get_or_start(ruby)?;
        let receipt = Arc::new(Receipt::default());
        let mut publication = state.publication(channel, json, idempotency_key)?;
        publication.receipt = Some(Arc::clone(&receipt));
        match self.push(state, publication) {
            Ok(()) => {}
            Err(Rejected::Full) => return pair(ruby, "full", ruby.qnil()),
            Err(Rejected::Closed) => return pair(ruby, "closed", ruby.qnil()),
        }
        let guard = AbandonOnDrop(&receipt);
        let waited = without_gvl::wait(
            ruby,
            |interrupted| receipt.result.wait(Some(deadline), interrupted, Option::take),
            || receipt.result.wake(),
        )?;
        match waited {
            Some(result) => {
                std::mem::forget(guard);
                result_array(ruby, result)
            }
            None => {
                let timeout = pair(ruby, "timeout", guard.0.abandon())?;
                timeout.push(state.queue.last_error().as_deref())?;
                Ok(timeout)
            }
        }
    }

    /// `flush(seconds)`: waits until everything published so far is settled; returns `false` after the timeout.
    pub(crate) fn flush(ruby: &Ruby, this: &Self, seconds: f64) -> Result<bool, Error> {
        guard(ruby, || {
            let queue = this.current().map(|state| Arc::clone(&state.queue));
            flush(ruby, queue.as_slice(), deadline(ruby, seconds)?, FlushMode::UntilDeadline)
        })
    }

    /// `read_position(namespace, room, key, elapsed, seconds)`: reads a room's position from the engine; `key` is a key
    /// for the room. Returns it if nothing was published to the room for `elapsed` seconds, and otherwise `nil`; and
    /// `nil` if the engine does not know that or does not respond within `seconds`.
    pub(crate) fn read_position(
        ruby: &Ruby,
        this: &Self,
        namespace: String,
        room: String,
        key: String,
        elapsed: f64,
        seconds: f64,
    ) -> Result<Option<String>, Error> {
        guard(ruby, || {
            let Some(reader) = &this.get_or_start(ruby)?.reader else { return Ok(None) };
            let since = Duration::try_from_secs_f64(elapsed).unwrap_or(Duration::MAX);
            let deadline = deadline(ruby, seconds)?;
            let Some(reply) = reader.read(namespace, room, key, since, deadline) else { return Ok(None) };
            let waited = without_gvl::wait(
                ruby,
                |interrupted| reply.wait(Some(deadline), interrupted, Option::take),
                || reply.wake(),
            )?;
            // The read ends at the same deadline, and then counts as failed.
            Ok(waited.flatten().map(|position| position.to_string()))
        })
    }

    /// `notify(json, seconds)`: stores a message in the mailboxes of users, in Redis. Returns `[:ok, ids]`, where the
    /// id of a user who is not known is `nil`, `[:invalid, reason]`, `[:failed, reason]`, `[:timeout, nil]`, or
    /// `[:none, nil]` if the target has no mailboxes.
    pub(crate) fn notify(ruby: &Ruby, this: &Self, json: RString, seconds: f64) -> Result<RArray, Error> {
        guard(ruby, || {
            let Some(notifier) = &this.get_or_start(ruby)?.notifier else { return pair(ruby, "none", ruby.qnil()) };
            let deadline = deadline(ruby, seconds)?;
            // SAFETY: the bytes are copied before Ruby can run again.
            let reply = notifier.notify(unsafe { json.as_slice() }.to_vec(), deadline);
            let waited = without_gvl::wait(
                ruby,
                |interrupted| reply.wait(Some(deadline), interrupted, Option::take),
                || reply.wake(),
            )?;
            match waited {
                Some(Ok(ids)) => pair(ruby, "ok", ruby.ary_from_vec(ids)),
                Some(Err(NotifyError::Invalid(reason))) => pair(ruby, "invalid", reason),
                Some(Err(NotifyError::Failed(reason))) => pair(ruby, "failed", reason),
                None => pair(ruby, "timeout", ruby.qnil()),
            }
        })
    }

    /// `close`: accepts no more publications; those in the queue are still published.
    pub(crate) fn close(&self) {
        if let Some(state) = self.current() {
            state.queue.close();
        }
    }

    /// `pending`: the number of publications that are queued or in flight.
    pub(crate) fn pending(&self) -> usize {
        self.current().map_or(0, |state| state.queue.pending())
    }

    /// `address`: the target without user and password.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    fn push(&self, state: &ProcessState, mut publication: PublicationRef) -> Result<(), Rejected> {
        publication.body = self.sampler.sample(publication.body, random);
        self.count_dropped(state, state.queue.push(publication))
    }

    fn push_text(&self, state: &ProcessState, channel: &Arc<str>, parts: &[&[u8]]) -> Result<(), Rejected> {
        if self.sampler.is_on() {
            let body = parts.concat().into();
            return self.push(state, PublicationRef { body, ..PublicationRef::empty(Arc::clone(channel)) });
        }
        self.count_dropped(state, state.queue.push_text(channel, parts))
    }

    fn count_dropped(&self, state: &ProcessState, pushed: Result<(), Rejected>) -> Result<(), Rejected> {
        if pushed == Err(Rejected::Full) {
            state.process.events.dropped(&self.address);
        }
        pushed
    }

    /// The state of this process, if it has one.
    fn current(&self) -> Option<&ProcessState> {
        // SAFETY: null, or from `Box::into_raw`; it is freed only when this object is.
        let state = unsafe { self.state.load(Ordering::Acquire).as_ref() }?;
        (state.forks == process::forks()).then_some(state)
    }

    /// The state of this process; created on first use, together with the task that empties the queue.
    fn get_or_start(&self, ruby: &Ruby) -> Result<&ProcessState, Error> {
        if let Some(state) = self.current() {
            return Ok(state);
        }
        let failed = |text: String| Error::new(ruby.exception_runtime_error(), text);
        let process = Process::get_or_start().map_err(failed)?;
        let queue = Arc::new(Queue::new(self.target.bounds()));
        let engine = Engine::new(&self.target).map_err(failed)?;
        process.spawn(&queue, worker::run(Arc::clone(&queue), engine, &process.events));
        let reader = PositionReader::new(&self.target, process);
        let notifier = Notifier::new(&self.target, process);
        let channel = RefCell::new("".into());
        let state = ProcessState { forks: process::forks(), queue, process, reader, notifier, channel };
        // The state of an ancestor is leaked: see process.rs.
        self.state.store(Box::into_raw(Box::new(state)), Ordering::Release);
        self.current().ok_or_else(|| failed("the publisher was lost".to_owned()))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let state = self.state.swap(ptr::null_mut(), Ordering::AcqRel);
        // SAFETY: as in `current`; this object is the only owner.
        let own = unsafe { state.as_ref() }.is_some_and(|state| state.forks == process::forks());
        if own {
            // SAFETY: it comes from `Box::into_raw`.
            let state = unsafe { Box::from_raw(state) };
            state.queue.close();
        }
    }
}

// === impl ProcessState ===

impl ProcessState {
    fn publication(
        &self,
        channel: RString,
        json: RString,
        idempotency_key: Option<String>,
    ) -> Result<PublicationRef, Error> {
        // SAFETY: the bytes are copied before Ruby can run again.
        let body = Bytes::copy_from_slice(unsafe { json.as_slice() });
        let idempotency_key = idempotency_key.map(String::into_boxed_str);
        Ok(PublicationRef { body, idempotency_key, ..PublicationRef::empty(self.channel(channel)?) })
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

/// Whether ASCII in this text means ASCII: it does not in UTF-16 and UTF-7, for example.
pub(crate) fn is_ascii_compatible(text: RString) -> bool {
    // SAFETY: it is a String, and Ruby's lock is held.
    unsafe {
        let encoding = rb_sys::rb_enc_get_index(text.as_raw());
        encoding == rb_sys::rb_utf8_encindex() || encoding == rb_sys::rb_usascii_encindex()
    }
}

/// Withdraws the publication, if that is still possible, when the waiting caller leaves without a result.
struct AbandonOnDrop<'a>(&'a Receipt);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Flushes `queues`, all by one deadline.
pub(crate) fn flush(ruby: &Ruby, queues: &[Arc<Queue>], deadline: Instant, mode: FlushMode) -> Result<bool, Error> {
    let mut all = true;
    for queue in queues {
        let flush = queue.flush(mode);
        let waited =
            without_gvl::wait(ruby, |interrupted| flush.wait(Some(deadline), interrupted), || flush.wake())?;
        all &= waited == Some(true);
    }
    Ok(all)
}

/// The moment `seconds` from now.
///
/// # Errors
/// `seconds` is negative, not a number, or more than a year.
pub(crate) fn deadline(ruby: &Ruby, seconds: f64) -> Result<Instant, Error> {
    const YEAR: f64 = 365.0 * 24.0 * 3600.0;
    if !(0.0..=YEAR).contains(&seconds) {
        return Err(argument(ruby, &format!("invalid timeout {seconds}: give seconds, at least 0")));
    }
    Ok(Instant::now() + Duration::from_secs_f64(seconds))
}

fn result_array(ruby: &Ruby, result: PublishResult) -> Result<RArray, Error> {
    match result {
        Ok(Confirmation::Receivers(count) | Confirmation::Stored(count, _)) => pair(ruby, "ok", count),
        Ok(Confirmation::Position(position)) => pair(ruby, "ok", position.to_string()),
        Ok(Confirmation::Accepted) => pair(ruby, "ok", true),
        Err(reason) => pair(ruby, "failed", &*reason),
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
