//! Limits of presence: users beyond them are in the room, and not in its list.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::{Browser, Transport};
use serde_json::{Value, json};

/// An open namespace with presence in rooms that begin with `room`; `more` are further keys of it.
fn configuration(limits: &str, more: &str) -> String {
    format!(
        "limits: {{{limits}}}\n/nodevent: {{open: true, token: {{secret: {TOKEN_SECRET}}}, \
         presence: {{rooms: [\"room\"]{more}}}}}"
    )
}

/// A connection of a user in a room.
async fn joined(server: &ServerWithBystander, user: &str, info: Value, room: &str) -> Browser {
    let mut browser = Browser::open(&server.site, Transport::WebSocket).await;
    let auth = json!({"token": token(json!({"sub": user, "info": info}))}).to_string();
    browser.enter_with("/nodevent", &auth).await.expect("the token is accepted");
    browser.join(room).await;
    browser
}

/// The list of a room, as a member sees it.
async fn list(browser: &mut Browser, room: &str) -> Value {
    let ack = browser.call("presence", &[json!({"room": room})]).await;
    assert!(ack[0].is_null(), "{ack}");
    ack[1].clone()
}

/// Whether a connection receives what is published to the room.
async fn receives(server: &ServerWithBystander, browser: &mut Browser, room: &str) {
    server.emit("/nodevent", room, "e", "for all members").await;
    while browser.next_publication().await.message != "for all members" {}
}

#[tokio::test]
async fn users_beyond_the_members_of_a_room_join_and_are_not_present() {
    let mut server = ServerWithBystander::start(&configuration("max_present_per_room: 2", "")).await;
    let mut members = Vec::new();
    for user in ["a", "b", "c"] {
        members.push(joined(&server, user, Value::Null, "room").await);
    }
    server.metric_is("nodevent_presence_rejected_total", 1).await;
    assert_eq!(list(&mut members[2], "room").await["count"], 2);
    for member in &mut members {
        receives(&server, member, "room").await;
    }
    // Another room has its own number.
    let mut other = joined(&server, "c", Value::Null, "room of c").await;
    assert_eq!(list(&mut other, "room of c").await["count"], 1);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn users_beyond_the_members_of_a_namespace_join_and_are_not_present() {
    let mut server = ServerWithBystander::start(&configuration("max_present: 4", "")).await;
    let mut members = Vec::new();
    for number in 0..8 {
        let room = format!("room {number}");
        let mut member = joined(&server, &number.to_string(), Value::Null, &room).await;
        receives(&server, &mut member, &room).await;
        members.push(member);
    }
    let rejected = server.metric("nodevent_presence_rejected_total").await;
    assert!((4..8).contains(&rejected), "{rejected}");
    assert_eq!(server.metric("nodevent_presence_members").await, 8 - rejected);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn info_beyond_its_limit_is_left_out_and_its_user_is_present() {
    let mut server = ServerWithBystander::start(&configuration("max_presence_info: 16", "")).await;
    let mut a = joined(&server, "a", json!({"name": "x".repeat(20)}), "room").await;
    let _b = joined(&server, "b", json!({"name": "b"}), "room").await;
    server.metric_is("nodevent_presence_members", 2).await;
    let members = list(&mut a, "room").await["members"].clone();
    let info_of = |user: &str| {
        let member = members.as_array().and_then(|all| all.iter().find(|member| member["user"] == user));
        member.map(|member| member["info"].clone())
    };
    assert_eq!((info_of("a"), info_of("b")), (Some(Value::Null), Some(json!({"name": "b"}))), "{members}");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn room_with_more_members_than_its_list_shows_only_their_number() {
    let mut server = ServerWithBystander::start(&configuration("", ", max_size: 2")).await;
    let mut members = Vec::new();
    for user in ["a", "b", "c"] {
        members.push(joined(&server, user, Value::Null, "room").await);
    }
    server.metric_is("nodevent_presence_members", 3).await;
    let large = list(&mut members[0], "room").await;
    assert_eq!((&large["count"], &large["large"], &large["members"]), (&json!(3), &json!(true), &json!([])));
    for member in &mut members {
        receives(&server, member, "room").await;
    }
    server.bystander_is_unaffected().await;
}
