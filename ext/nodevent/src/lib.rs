//! The native half of the gem: room keys, and the publisher that never keeps a web request waiting.
//!
//! Everything here is private to the gem. Ruby owns the public API, its defaults and its errors, in `lib/nodevent`;
//! it reaches this through `NoDevent::Native`. The way of a publication: [`publisher`] → [`queue`] → [`worker`] →
//! [`engine`].

mod engine;
mod journal;
mod key;
mod pipe;
mod process;
mod publisher;
mod queue;
mod signal;
mod target;
mod unlocked;
mod worker;

use journal::{Counts, Kind, Report};
use magnus::{Error, Module, Object, RArray, Ruby, function, method};
use process::Process;
use publisher::Publisher;
use queue::Patience;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Private, because the macro makes a public function that it does not document.
mod entry {
    /// Ruby calls it when it loads the library.
    #[magnus::init(name = "nodevent")]
    fn init(ruby: &magnus::Ruby) -> Result<(), magnus::Error> {
        super::define(ruby)
    }
}

/// Defines `NoDevent::Native`.
fn define(ruby: &Ruby) -> Result<(), Error> {
    process::watch_forks();
    let native = ruby.define_module("NoDevent")?.define_module("Native")?;
    native.const_set("VERSION", env!("CARGO_PKG_VERSION"))?;
    native.define_singleton_method("sign", function!(key::sign, 3))?;
    native.define_singleton_method("verify", function!(key::verify, 5))?;
    native.define_singleton_method("flush", function!(flush, 2))?;
    native.define_singleton_method("stats", function!(stats, 0))?;
    native.define_singleton_method("count", function!(count, 1))?;
    native.define_singleton_method("reports", function!(reports, 0))?;
    native.define_singleton_method("ring", function!(ring, 1))?;
    native.define_singleton_method("want_sent", function!(want_sent, 1))?;
    native.define_singleton_method("forks", function!(process::forks, 0))?;

    let class = native.define_class("Publisher", ruby.class_object())?;
    class.define_singleton_method("new", function!(Publisher::new, 1))?;
    class.define_method("publish", method!(Publisher::publish, 3))?;
    class.define_method("publish_and_wait", method!(Publisher::publish_and_wait, 4))?;
    class.define_method("flush", method!(Publisher::flush, 1))?;
    class.define_method("close", method!(Publisher::close, 0))?;
    class.define_method("pending", method!(Publisher::pending, 0))?;
    class.define_method("address", method!(Publisher::address, 0))?;
    Ok(())
}

/// `flush(seconds, at_exit)`: waits until all that this process published so far is settled. At exit, what is away is
/// tried once and not waited for.
fn flush(ruby: &Ruby, seconds: f64, at_exit: bool) -> Result<bool, Error> {
    guard(ruby, || {
        let queues = Process::existing().map(Process::queues).unwrap_or_default();
        let patience = if at_exit { Patience::OneAttempt } else { Patience::UntilDeadline };
        publisher::flush(ruby, &queues, publisher::deadline(ruby, seconds)?, patience)
    })
}

/// `stats`: `[queued, sent, failed, dropped]` of this process.
fn stats() -> (usize, u64, u64, u64) {
    let Some(process) = Process::existing() else { return (0, 0, 0, 0) };
    let queued = process.queues().iter().map(|queue| queue.pending()).sum();
    let Counts { sent, failed, dropped } = process.journal.counts();
    (queued, sent, failed, dropped)
}

/// `count(kind)`: one more publication that another publisher has `"sent"`, `"dropped"`, or else failed to send.
fn count(ruby: &Ruby, kind: String) -> Result<(), Error> {
    let kind = match kind.as_str() {
        "sent" => Kind::Sent,
        "dropped" => Kind::Dropped,
        _ => Kind::Failed,
    };
    let process = Process::current().map_err(|text| Error::new(ruby.exception_runtime_error(), text))?;
    process.journal.count(kind);
    Ok(())
}

/// `reports`: what happened in the background since the last call, as `[kind, count, seconds, text]` each.
fn reports(ruby: &Ruby) -> Result<RArray, Error> {
    list(ruby, Process::existing().map(|process| process.journal.fetch()).unwrap_or_default())
}

/// `ring(fd)`: a byte is written to the pipe whenever there are reports.
fn ring(ruby: &Ruby, fd: i32) -> Result<(), Error> {
    let process = Process::current().map_err(|text| Error::new(ruby.exception_runtime_error(), text))?;
    process.journal.bell.connect(fd);
    Ok(())
}

/// `want_sent(wanted)`: whether what went well is reported too.
fn want_sent(wanted: bool) {
    if let Some(process) = Process::existing() {
        process.journal.want_sent(wanted);
    }
}

fn list(ruby: &Ruby, reports: Vec<Report>) -> Result<RArray, Error> {
    let list = ruby.ary_new_capa(reports.len());
    for Report { kind, count, lasted, text } in reports {
        let kind = match kind {
            Kind::Sent => "sent",
            Kind::Failed => "failed",
            Kind::Dropped => "dropped",
            Kind::Away => "away",
            Kind::Back => "back",
        };
        list.push((ruby.to_symbol(kind), count, lasted.as_secs_f64(), &*text))?;
    }
    Ok(list)
}

/// Runs an entry from Ruby. A panic would arrive there as an exception that nothing rescues; it becomes one that
/// can be rescued.
pub(crate) fn guard<R>(ruby: &Ruby, entry: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or_else(|_| {
        let text = "a mistake inside nodevent's extension; please report it with what was on standard error";
        Err(Error::new(ruby.exception_runtime_error(), text))
    })
}
