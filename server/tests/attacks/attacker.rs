//! The parts of attacks: a runtime with low priority, and hostile clients.

use crate::support::raw::Raw;
use std::sync::{Mutex, PoisonError};

/// Runs a test, and no other one of this program at the same time: it would distort the measurement. Its tasks have a
/// lower priority than the server and the bystander, with which they share the cores.
pub(crate) fn run(test: impl Future<Output = ()>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(|| {
            let _ = rustix::process::nice(10);
        })
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(test);
}

/// The packet of a join with a position.
pub(crate) fn join_since(id: usize, room: &str, since: &str) -> String {
    format!("42/nodevent,{id}[\"join\",{{\"room\":\"{room}\",\"since\":\"{since}\"}}]")
}

/// Joins a room, and returns the acknowledgement without its prefix.
pub(crate) async fn join(raw: &mut Raw, packet: &str) -> String {
    raw.send_text(packet).await;
    let reply = raw.text().await;
    let start = reply.find('[').unwrap_or_else(|| panic!("not an acknowledgement: {reply}"));
    reply[start..].to_owned()
}
