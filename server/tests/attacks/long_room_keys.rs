//! Clients whose states the server seals (`connection_state_recovery`) join rooms with long keys. The keys must not stay in
//! memory: no state has them.

use crate::attacker;
use crate::process::Process;
use crate::support::raw::Raw;

const CONNECTIONS: usize = 30;
const ROOMS: usize = 40;
/// Bytes. Without a limit, all keys are 72 MB.
const KEY: usize = 60_000;
/// What the process may need to work.
const GROWTH: u64 = 30 << 20;

#[test]
fn room_keys_that_no_state_has_take_no_memory() {
    attacker::run(async {
        let states = "connection_state_recovery: {secret: a-secret-that-seals-the-states-of-clients}";
        // As much in a second as in some minutes with the default.
        let limits = "limits: {bytes_per_second: 100MB, joins_per_second: 1000}";
        let process =
            Process::start(&format!("{limits}\n/nodevent: {{open: true, history: off, {states}}}\n")).await;
        let key = "k".repeat(KEY);
        let join = async |raw: &mut Raw, room: usize| {
            raw.send_text(&format!("42/nodevent,{room}[\"join\",{{\"room\":\"r{room}\",\"key\":\"{key}\"}}]"))
                .await;
            let ack = format!("43/nodevent,{room}[");
            while !raw.text().await.starts_with(&ack) {}
        };
        let mut warm = Raw::connected(&process.site, "/nodevent").await;
        for room in 0..ROOMS {
            join(&mut warm, room).await;
        }
        let before = process.resident();
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut raw = Raw::connected(&process.site, "/nodevent").await;
            for room in 0..ROOMS {
                join(&mut raw, room).await;
            }
            open.push(raw);
        }
        let grown = process.resident().saturating_sub(before);
        assert!(grown < GROWTH, "the server grew by {} MB", grown >> 20);
    });
}
