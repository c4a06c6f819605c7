//! Runs every committed seed of the fuzz targets through the same entry functions that libFuzzer calls.
#![cfg(test)]

#[path = "../fuzz/entries/action_cable.rs"]
mod action_cable;
#[path = "../fuzz/entries/join_args.rs"]
mod join_args;
#[path = "../fuzz/entries/pakyow.rs"]
mod pakyow;
#[path = "../fuzz/entries/plain.rs"]
mod plain;
#[path = "../fuzz/entries/polling_payload.rs"]
mod polling_payload;
#[path = "../fuzz/entries/polling_payload_3.rs"]
mod polling_payload_3;
#[path = "../fuzz/entries/position.rs"]
mod position;
#[path = "../fuzz/entries/publication.rs"]
mod publication;
#[path = "../fuzz/entries/socket_io.rs"]
mod socket_io;
#[path = "../fuzz/entries/websocket.rs"]
mod websocket;

use std::path::Path;

/// Runs the seeds of `target` and every prefix of each: truncated input is hostile too.
fn run_all(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let seed = std::fs::read(file.unwrap().path()).unwrap();
        entry(&seed);
        for cut in (0..seed.len()).step_by(1 + seed.len() / 200) {
            entry(&seed[..cut]);
        }
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", folder.display());
}

#[test]
fn websocket_decoder_survives_every_seed() {
    run_all("websocket", websocket::run);
}

#[test]
fn polling_payload_decoder_survives_every_seed() {
    run_all("polling_payload", polling_payload::run);
}

#[test]
fn polling_payload_decoder_of_version_3_survives_every_seed() {
    run_all("polling_payload_3", polling_payload_3::run);
}

#[test]
fn socket_io_decoder_survives_every_seed() {
    run_all("socket_io", socket_io::run);
}

#[test]
fn pakyow_messages_survive_every_seed() {
    run_all("pakyow", pakyow::run);
}

#[test]
fn publication_parser_survives_every_seed() {
    run_all("publication", publication::run);
}

#[test]
fn position_parser_and_arithmetic_survive_every_seed() {
    run_all("position", position::run);
}

#[test]
fn join_argument_seeds_open_no_room() {
    run_all("join_args", join_args::run);
}

#[test]
fn no_seed_of_action_cable_breaks_the_parser() {
    run_all("action_cable", action_cable::run);
}

#[test]
fn no_seed_of_plain_lines_breaks_the_parser() {
    run_all("plain", plain::run);
}
