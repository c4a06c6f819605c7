//! The native half of the gem: room keys, and a publisher that never blocks a web request.
//!
//! Everything here is private to the gem. Ruby owns the public API, its defaults and its errors, in `lib/nodevent`;
//! it calls this crate through `NoDevent::Native`. The path of a publication: [`publisher`] → [`queue`] →
//! [`worker`] → [`engine`].

mod engine;
mod event_log;
mod fast_path;
mod key;
mod message;
mod plain_emit;
mod positions;
mod process;
mod publisher;
mod queue;
mod record_emit;
mod record_room;
mod signal;
mod target;
mod text;
mod trace;
mod wakeup;
mod without_gvl;
mod worker;

use event_log::{Counts, Kind, Report};
use magnus::{Error, Module, Object, RArray, RString, Ruby, function, method};
use process::Process;
use publisher::Publisher;
use queue::FlushMode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The maximum size of one reply of Redis. The gem requests positions and confirmations, and the map of a cluster, which
/// is the largest. Bytes.
const MAX_REDIS_REPLY: usize = 16 * 1024 * 1024;

/// Private, because the macro makes a public function that it does not document.
mod entry {
    /// The function that Ruby calls when it loads the library.
    #[magnus::init(name = "nodevent")]
    fn init(ruby: &magnus::Ruby) -> Result<(), magnus::Error> {
        super::define(ruby)
    }
}

/// Defines `NoDevent::Native`.
fn define(ruby: &Ruby) -> Result<(), Error> {
    process::prepare_for_forks();
    redis_protocol::limit_replies(MAX_REDIS_REPLY);
    let native = ruby.define_module("NoDevent")?.define_module("Native")?;
    native.const_set("VERSION", env!("CARGO_PKG_VERSION"))?;
    native.define_singleton_method("sign", function!(key::sign, 3))?;
    native.define_singleton_method("sign_bound", function!(key::sign_bound, 4))?;
    native.define_singleton_method("verify", function!(key::verify, 5))?;
    native.define_singleton_method("fingerprint", function!(key::fingerprint, 1))?;
    native.define_singleton_method("check", function!(check, 1))?;
    native.define_singleton_method("flush", function!(flush, 2))?;
    native.define_singleton_method("position", function!(position, 4))?;
    native.define_singleton_method("forget_positions", function!(forget_positions, 0))?;
    native.define_singleton_method("stats", function!(stats, 0))?;
    native.define_singleton_method("count", function!(count, 1))?;
    native.define_singleton_method("reports", function!(reports, 0))?;
    native.define_singleton_method("wakeup_fd=", function!(set_wakeup_fd, 1))?;
    native.define_singleton_method("report_sent=", function!(set_report_sent, 1))?;
    native.define_singleton_method("forks", function!(process::forks, 0))?;

    plain_emit::define(native)?;
    fast_path::define(ruby, native)?;
    record_room::define(ruby, native)?;
    record_emit::define(native)?;

    let class = native.define_class("Publisher", ruby.class_object())?;
    class.define_singleton_method("new", function!(Publisher::new, 1))?;
    class.define_method("publish", method!(Publisher::publish, 3))?;
    class.define_method("publish_message", method!(Publisher::publish_message, 7))?;
    class.define_method("publish_and_wait", method!(Publisher::publish_and_wait, 4))?;
    class.define_method("flush", method!(Publisher::flush, 1))?;
    class.define_method("read_position", method!(Publisher::read_position, 5))?;
    class.define_method("notify", method!(Publisher::notify, 2))?;
    class.define_method("close", method!(Publisher::close, 0))?;
    class.define_method("pending", method!(Publisher::pending, 0))?;
    class.define_method("address", method!(Publisher::address, 0))?;
    Ok(())
}

/// `check(json)`: returns why the server would not accept a publication, or `nil` if it would.
fn check(json: RString) -> Option<String> {
    // SAFETY: the bytes are not used after Ruby can run again.
    nodevent_protocol::targets::parse(unsafe { json.as_slice() }).err().map(|error| error.to_string())
}

/// `flush(seconds, at_exit)`: waits until everything that this process published so far is settled. At exit, an
/// unavailable engine gets one attempt and no more waiting.
fn flush(ruby: &Ruby, seconds: f64, at_exit: bool) -> Result<bool, Error> {
    guard(ruby, || {
        let queues = Process::current().map(Process::queues).unwrap_or_default();
        let mode = if at_exit { FlushMode::OneAttempt } else { FlushMode::UntilDeadline };
        publisher::flush(ruby, &queues, publisher::deadline(ruby, seconds)?, mode)
    })
}

/// `stats`: `[queued, sent, failed, dropped, rejected]` of this process.
fn stats() -> (usize, u64, u64, u64, u64) {
    let Some(process) = Process::current() else { return (0, 0, 0, 0, 0) };
    let queued = process.queues().iter().map(|queue| queue.pending()).sum();
    let Counts { sent, failed, dropped, rejected } = process.events.counts();
    (queued, sent, failed, dropped, rejected)
}

/// `count(kind)`: adds one to the count of `"sent"`, `"dropped"`, `"rejected"`, or (any other kind) failed
/// publications, for publishers that are not native.
fn count(ruby: &Ruby, kind: String) -> Result<(), Error> {
    let kind = match kind.as_str() {
        "sent" => Kind::Sent,
        "dropped" => Kind::Dropped,
        "rejected" => Kind::Rejected,
        _ => Kind::Failed,
    };
    let process = Process::get_or_start().map_err(|text| Error::new(ruby.exception_runtime_error(), text))?;
    process.events.count(kind);
    Ok(())
}

/// `position(namespace, room, since, max_age)`: returns the last position of a room that this process published to, if
/// it was recorded at least `since` and at most `max_age` seconds ago.
fn position(namespace: String, room: String, since: f64, max_age: f64) -> Option<String> {
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let positions = &Process::current()?.events.positions;
    positions.last(&namespace, &room, seconds(since), seconds(max_age)).map(|position| position.to_string())
}

/// `forget_positions`: the configuration was replaced.
fn forget_positions() {
    if let Some(process) = Process::current() {
        process.events.positions.clear();
    }
}

/// `reports`: the background events since the last call, each as `[kind, count, seconds, text]`.
fn reports(ruby: &Ruby) -> Result<RArray, Error> {
    list(ruby, Process::current().map(|process| process.events.fetch()).unwrap_or_default())
}

/// `wakeup_fd = fd`: the pipe that receives a byte whenever there are reports.
fn set_wakeup_fd(ruby: &Ruby, fd: i32) -> Result<(), Error> {
    let process = Process::get_or_start().map_err(|text| Error::new(ruby.exception_runtime_error(), text))?;
    process.events.wakeup.connect(fd);
    Ok(())
}

/// `report_sent = wanted`: whether successful publishes are reported too.
fn set_report_sent(wanted: bool) {
    if let Some(process) = Process::current() {
        process.events.set_report_sent(wanted);
    }
}

fn list(ruby: &Ruby, reports: Vec<Report>) -> Result<RArray, Error> {
    let list = ruby.ary_new_capa(reports.len());
    for Report { kind, count, duration, text } in reports {
        let kind = match kind {
            Kind::Sent => "sent",
            Kind::Failed => "failed",
            Kind::Dropped => "dropped",
            Kind::Rejected => "rejected",
            Kind::Unavailable => "unavailable",
            Kind::Restored => "restored",
            Kind::Warning => "warning",
        };
        list.push((ruby.to_symbol(kind), count, duration.as_secs_f64(), &*text))?;
    }
    Ok(list)
}

/// Runs a function called from Ruby. Turns a panic, which would reach Ruby as an exception that nothing can rescue,
/// into a RuntimeError.
pub(crate) fn guard<R>(ruby: &Ruby, entry: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(entry)).unwrap_or_else(|_| {
        let text = "internal error in the nodevent extension; please report it with the output on standard error";
        Err(Error::new(ruby.exception_runtime_error(), text))
    })
}
