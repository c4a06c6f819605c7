//! What ended the old programs, one by one: behaviour.md 2.6 and 4. Each of them is followed by a normal delivery.
//!
//! | the old program | what ended it | test |
//! |---|---|---|
//! | TURTED | `IDENT`, `JOIN` or `message` without data, `message {}` | `whatever_ended_turted_…` |
//! | TURTED | `IDENT null`, `message "JOIN"`, `"IDENT"`, `null`, `42` | `whatever_ended_turted_…` |
//! | TURTED | `JOIN` to `constructor` or `__proto__`, `IDENT` as `toString` | `whatever_ended_turted_…` |
//! | TURTED | `{"auth": {"hasOwnProperty": 1}}` in an `IDENT` | `whatever_ended_turted_…` |
//! | TURTED | a push whose body is `null`, without a password | `whatever_ended_turted_…` |
//! | TURTED | `{"auth": {"hasOwnProperty": 1}}` in a push, without a password | `whatever_ended_turted_…` |
//! | TURTED | a push of an event `error`, with the password | `whatever_ended_turted_…` |
//! | TURTED | a push to the user `constructor`, or to other names of prototypes | `whatever_ended_turted_…` |
//! | TURTED | a reconnect left pages without users and channels | `connection_state`, `a_page_has_its_users_…` |
//! | TURTED | each repeated `JOIN` added a listener | `turted`, `users_channels_and_broadcasts_…`, `a_connection_that_ends_leaves_nothing_behind` |
//! | TURTED | a body of unlimited size | `turted`, `a_large_push_is_accepted_up_to_the_limit` |
//! | realtime-notifications | `subscribe` without data | `whatever_ended_realtime_notifications_…` |
//! | realtime-notifications | Redis is unavailable at the start, or goes away | `notifications`, `redis_may_be_unavailable_at_the_start_and_restart` |

use crate::support::wait::in_time;
use crate::support::{Browser, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};

const PASSWORD: &str = "IamAllowed2PUSH!!!";

async fn push(site: &Site, body: Value) -> Response {
    site.send(&Request::post("/push/", body.to_string())).await
}

async fn next(page: &mut Browser) -> Value {
    in_time("an event", page.next_packet()).await.expect("the connection is open").value()
}

/// A page that is the user `ann` and in the channel `chat`.
async fn page(site: &Site) -> Browser {
    let mut page = Browser::connect(site, "/", Transport::WebSocket).await;
    page.send(&[r#"42["IDENT",{"username":"ann"}]"#, r#"42["JOIN",{"channel":"chat"}]"#]).await;
    assert_eq!(next(&mut page).await, json!(["OK", {"username": "ann"}]));
    assert_eq!(next(&mut page).await, json!(["OK", {"channel": "chat"}]));
    page
}

/// A push to the user and one to the channel arrive.
async fn delivers(site: &Site, page: &mut Browser, after: &str) {
    for targets in [json!({"users": "ann"}), json!({"channels": "chat"})] {
        let body = json!({"event": after, "targets": targets, "payload": {"n": 1}, "auth": PASSWORD});
        let response = push(site, body).await;
        assert_eq!((response.status, &*response.text()), (200, "OK"), "after {after}");
        assert_eq!(next(page).await, json!(["EVENT", {"event": after, "payload": {"n": 1}}]), "after {after}");
    }
}

#[tokio::test]
async fn whatever_ended_turted_is_followed_by_a_normal_delivery() {
    // T-33, T-40
    let server = TestServer::start(&format!(
        "/: {{dialect: turted, turted: {{ident: accept_all, join: open, push: {{password: {PASSWORD}}}}}}}\n"
    ))
    .await;
    let mut bystander = page(&server).await;
    for packet in [
        r#"42["IDENT"]"#,
        r#"42["JOIN"]"#,
        r#"42["message"]"#,
        r#"42["message",{}]"#,
        r#"42["IDENT",null]"#,
        r#"42["message","JOIN"]"#,
        r#"42["message","IDENT"]"#,
        r#"42["message",null]"#,
        r#"42["message",42]"#,
        r#"42["message","CLOSE"]"#,
        r#"42["JOIN",{"channel":"constructor"}]"#,
        r#"42["JOIN",{"channel":"__proto__"}]"#,
        r#"42["IDENT",{"username":"toString"}]"#,
        r#"42["IDENT",{"username":"a","auth":{"hasOwnProperty":1}}]"#,
    ] {
        let mut attacker = Browser::connect(&server, "/", Transport::WebSocket).await;
        attacker.send(&[packet, r#"42["ECHO","still here"]"#]).await;
        while next(&mut attacker).await != json!(["ECHO", "still here"]) {}
        delivers(&server, &mut bystander, packet).await;
        let mut again = page(&server).await;
        delivers(&server, &mut again, packet).await;
        // The bystander is the same user, in the same channel.
        assert_eq!([next(&mut bystander).await, next(&mut bystander).await].len(), 2);
        again.close().await;
    }
    for (body, status) in [
        (Value::Null, 401),
        (json!({"auth": {"hasOwnProperty": 1}}), 401),
        (json!({"event": "error", "targets": {"users": "unknown"}, "auth": PASSWORD}), 200),
        (json!({"event": "e", "targets": {"users": "constructor"}, "auth": PASSWORD}), 200),
        (
            json!({"event": "e", "targets": {"users": ["__proto__"], "channels": ["toString"]}, "auth": PASSWORD}),
            200,
        ),
        (json!({"event": "e", "targets": {"hasOwnProperty": 1}, "auth": PASSWORD}), 200),
    ] {
        assert_eq!(push(&server, body.clone()).await.status, status, "{body}");
        delivers(&server, &mut bystander, &body.to_string()).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn whatever_ended_realtime_notifications_is_followed_by_a_normal_delivery() {
    // R-13
    let server = TestServer::start(
        "/: {dialect: notifications, publish_key: a-publish-key-0123456789, notifications: {channels: [notif], http: true}}\n",
    )
    .await;
    let mut bystander = Browser::connect(&server, "/", Transport::WebSocket).await;
    assert_eq!(next(&mut bystander).await, json!(["message", {"text": "Welcome!"}]));
    bystander.send(&[r#"42["subscribe",{"channel":"notif"}]"#]).await;
    server.metric_is("nodevent_joins_total", 1).await;
    for packet in [r#"42["subscribe"]"#, r#"42["subscribe",null]"#, r#"42["subscribe",{}]"#] {
        let mut attacker = Browser::connect(&server, "/", Transport::WebSocket).await;
        attacker.send(&[packet]).await;
        attacker.close().await;
        let text = Request::post("/notifications/notif", packet);
        let text = text.header("Authorization", "Bearer a-publish-key-0123456789");
        assert_eq!(server.send(&text).await.status, 200);
        assert_eq!(next(&mut bystander).await, json!(["message", {"text": packet, "channel": "notif"}]));
    }
    server.stop().await;
}
