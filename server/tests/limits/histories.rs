//! Limits of histories: their length, their age and their memory. Rooms with histories of their own are not affected.

use crate::rooms::resident;
use crate::server_with_bystander::ServerWithBystander;
use crate::support::wait::until;
use serde_json::{Value, json};

/// The messages in the history of a room.
async fn messages(server: &ServerWithBystander, room: &str) -> Vec<Value> {
    let response = server.get(&format!("/api/nodevent/rooms/{room}/history")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let publications = response.json()["publications"].as_array().unwrap().clone();
    publications.into_iter().map(|publication| publication["message"].clone()).collect()
}

#[tokio::test]
async fn publications_beyond_the_size_of_a_history_are_dropped_from_that_room_alone() {
    let settings = "/nodevent: {history: {size: 5, rooms: {Chat_: {size: 2}}}}";
    let mut server = ServerWithBystander::start(settings).await;
    server.emit("/nodevent", "other", "e", "kept").await;
    for number in 0..10 {
        for room in ["r", "Chat_1"] {
            server.emit("/nodevent", room, "e", number).await;
        }
    }
    assert_eq!(messages(&server, "r").await, [5, 6, 7, 8, 9]);
    assert_eq!(messages(&server, "Chat_1").await, [8, 9]);
    assert_eq!(messages(&server, "other").await, ["kept"]);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn publications_beyond_the_age_of_a_history_are_dropped_from_it() {
    let settings = "/nodevent: {history: {age: 2s, rooms: {Chat_: {age: 1h}}}}";
    let mut server = ServerWithBystander::start(settings).await;
    for room in ["r", "Chat_1"] {
        server.emit("/nodevent", room, "e", room).await;
    }
    assert_eq!(messages(&server, "Chat_1").await, ["Chat_1"]);
    until("the history has ended", async || messages(&server, "r").await.is_empty()).await;
    assert_eq!(messages(&server, "Chat_1").await, ["Chat_1"], "a room with an age of its own");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn histories_of_rooms_with_a_short_age_end_before_the_others() {
    let settings = "/nodevent: {history: {age: 1h, rooms: {Chat_: {age: 1s}}}}";
    let mut server = ServerWithBystander::start(settings).await;
    for room in ["r", "Chat_1"] {
        server.emit("/nodevent", room, "e", room).await;
    }
    until("the history has ended", async || messages(&server, "Chat_1").await.is_empty()).await;
    assert_eq!(messages(&server, "r").await, ["r"]);
    server.bystander_is_unaffected().await;
}

/// The room of the bystander is the most recent one each time, so its history stays.
#[tokio::test]
async fn least_recent_histories_are_dropped_beyond_the_memory_of_all() {
    let mut server = ServerWithBystander::start("/nodevent: {history: {max_memory: 200KB}}").await;
    for number in 0..40 {
        server.emit("/nodevent", &format!("r{number}"), "e", "x".repeat(10_000)).await;
        server.bystander_is_unaffected().await;
    }
    assert!(messages(&server, "r0").await.is_empty(), "the oldest room is evicted");
    assert_eq!(messages(&server, "r39").await.len(), 1);
    assert_eq!(messages(&server, "bystanders").await.len(), 40);
    let mut kept = 0;
    for number in 0..40 {
        kept += messages(&server, &format!("r{number}")).await.len();
    }
    assert!(
        (4..=20).contains(&kept),
        "{kept} rooms of 10 KB within 200 KB, with what they cost besides their text"
    );
}

/// Very many rooms took four times the memory of the limit: their names and positions counted for less than they need.
#[tokio::test]
async fn histories_need_the_memory_of_their_limit_whatever_the_rooms_and_texts_are() {
    // X-05
    const MAX: u64 = 24 << 20;
    for (rooms, size) in [(150_000, 1), (20_000, 1_000), (2_000, 20_000)] {
        let mut server = ServerWithBystander::start("/nodevent: {history: {max_memory: 24MB}}").await;
        let before = resident(&server);
        let text = "x".repeat(size);
        let at_once = (500_000 / (size + 60)).clamp(1, 1_000);
        for first in (0..rooms).step_by(at_once) {
            let publication = |room| json!({"room": format!("x{room}"), "event": "e", "message": text});
            let publications: Vec<Value> = (first..rooms.min(first + at_once)).map(publication).collect();
            let response = server.publish("/nodevent", json!(publications).to_string()).await;
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let grown = resident(&server).saturating_sub(before);
        // Bodies of requests, their responses and what the allocator keeps of them: 6 MB.
        assert!(grown < MAX * 5 / 4 + (6 << 20), "{rooms} rooms with {size} bytes: {} MB", grown >> 20);
        assert!(grown > MAX / 4, "the limit was reached: {} MB", grown >> 20);
        assert_eq!(messages(&server, &format!("x{}", rooms - 1)).await.len(), 1);
        server.bystander_is_unaffected().await;
    }
}
