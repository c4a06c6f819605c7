//! The memory of the last positions, which any number of publications and any engine may fill.

#[path = "../src/positions.rs"]
mod positions;

use nodevent_protocol::history::Position;
use positions::Positions;
use std::time::Duration;

fn at(offset: u64) -> Position {
    Position { epoch: 1, offset }
}

fn last(positions: &Positions, room: &str) -> Option<Position> {
    positions.last("/a", room, Duration::ZERO, Duration::MAX)
}

#[test]
fn rooms_and_positions_per_room_are_limited() {
    let positions = Positions::default();
    for offset in 1..=100_000 {
        positions.record("/a", "busy", at(offset));
    }
    assert_eq!(last(&positions, "busy"), Some(at(100_000)));
    for number in 0..1024 {
        positions.record("/a", &format!("room {number}"), at(number));
    }
    assert_eq!(last(&positions, "busy"), None, "the room that was added first is forgotten");
    assert_eq!(last(&positions, "room 0"), Some(at(0)));
    positions.clear();
    assert_eq!(last(&positions, "room 0"), None);
}

#[test]
fn names_that_no_engine_accepts_are_not_kept() {
    let positions = Positions::default();
    let (longest, longer) = ("r".repeat(1022), "r".repeat(1023));
    positions.record("/a", &longest, at(1));
    positions.record("/a", &longer, at(1));
    assert_eq!((last(&positions, &longest), last(&positions, &longer)), (Some(at(1)), None));
}
