//! Rooms on the wire: delivery to members, and the acknowledgements of `join` and `leave`.

use crate::support::raw::{End, Raw, TEXT, last};
use crate::support::{Browser, PLAIN, RedisServer, TestServer, Transport, vectors};
use serde_json::{Value, json};

#[tokio::test]
async fn members_receive_and_other_connections_do_not() {
    // N-25
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut inside = Browser::connect(&server, "/nodevent", transport).await;
        let mut outside = Browser::connect(&server, "/nodevent", transport).await;
        inside.join("r").await;
        server.emit("/nodevent", "r", "e", 1).await;
        let event = inside.next_event().await;
        assert_eq!(event.publication, json!({"room": "r", "event": "e", "message": 1}), "{transport:?}");
        inside.receives_nothing_else(&server).await;
        outside.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn room_that_is_joined_twice_is_delivered_once() {
    // N-33
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for _ in 0..2 {
            assert_eq!(browser.call("join", &[json!({"room": "r"})]).await, json!([null, true]));
        }
        server.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
        browser.receives_nothing_else(&server).await;
        // One membership ends with one leave.
        browser.leave("r").await;
        server.emit("/nodevent", "r", "e", 2).await;
        browser.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn replies_to_messages_that_arrive_together_leave_together_and_before_the_close_frame() {
    const JOINS: u32 = 5;
    let server = TestServer::start(PLAIN).await;
    let mut raw = Raw::connected(&server, "/nodevent").await;
    let join = |number| last(TEXT, format!("42/nodevent,{number}[\"join\",{{\"room\":\"r{number}\"}}]"));
    let malformed = last(TEXT, "9");
    raw.send((0..JOINS).map(join).chain([malformed]).collect::<Vec<_>>().concat()).await;
    for number in 0..JOINS {
        assert_eq!(raw.text().await, format!("43/nodevent,{number}[null,true]"));
        // One read takes two of them.
        assert!(number > 0 || raw.has_frame(), "the replies are one write");
    }
    assert!(matches!(raw.ended().await, End::Closed(..)));
}

#[tokio::test]
async fn room_42_is_the_room_of_that_text() {
    // N-29
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut number = Browser::connect(&server, "/nodevent", transport).await;
        let mut text = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(number.call("join", &[json!({"room": 42})]).await, json!([null, true]));
        assert_eq!(text.call("join", &[json!({"room": "42"})]).await, json!([null, true]));
        for room in [json!(42), json!("42")] {
            let publication = json!({"room": room, "event": "e", "message": 1});
            assert_eq!(server.publish("/nodevent", publication.to_string()).await.status, 200);
            assert_eq!(number.next_event().await.publication, publication);
            assert_eq!(text.next_event().await.publication, publication);
        }
    }
}

#[tokio::test]
async fn every_room_of_the_vectors_is_joined_or_refused_as_listed() {
    // N-29, N-44
    let server = TestServer::start("limits: {joins_per_second: 1000}\n/nodevent: {history: off}").await;
    let rooms = vectors("rooms");
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for vector in rooms["accepted"].as_array().unwrap() {
            let room = vector["room"].as_str().unwrap();
            let ack = browser.call("join", &[json!({"room": vector["value"]})]).await;
            assert_eq!(ack, json!([null, true]), "{vector}");
            server.emit("/nodevent", room, "e", 1).await;
            assert_eq!(browser.next_event().await.room, room, "{vector}");
            assert_eq!(browser.call("leave", &[json!({"room": vector["value"]})]).await, json!([null]));
        }
        for vector in rooms["refused"].as_array().unwrap() {
            let data = vector.get("value").map_or(json!({}), |value| json!({"room": value}));
            assert_eq!(browser.call("join", &[data]).await, json!(["Bad room", false]), "{vector}");
        }
        browser.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn room_of_the_same_name_in_another_namespace_is_another_room() {
    // N-30
    let server = TestServer::start("/a: {history: off}\n/b: {history: off}").await;
    for transport in Transport::BOTH {
        let mut a = Browser::connect(&server, "/a", transport).await;
        let mut b = Browser::connect(&server, "/b", transport).await;
        a.join("r").await;
        b.join("r").await;
        server.emit("/a", "r", "e", "for a").await;
        server.emit("/b", "r", "e", "for b").await;
        assert_eq!(a.next_event().await.message, "for a");
        assert_eq!(b.next_event().await.message, "for b");
        a.receives_nothing_else(&server).await;
        b.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn connection_may_be_in_two_namespaces() {
    let server = TestServer::start("/a: {history: off}\n/b: {history: off}").await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/a", transport).await;
        browser.join("r").await;
        browser.enter("/b").await.expect("the second namespace admits it");
        server.emit("/a", "r", "e", 1).await;
        browser.receives_nothing_else(&server).await;
        browser.join("r").await;
        server.emit("/b", "r", "e", 2).await;
        assert_eq!(browser.next_event().await.message, 2);
    }
}

#[tokio::test]
async fn join_and_leave_work_without_an_acknowledgement() {
    // N-45
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        browser.send_event("join", &[json!({"room": "r"})]).await;
        browser.join("other").await;
        server.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
        browser.send_event("leave", &[json!({"room": "r"})]).await;
        browser.leave("other").await;
        server.emit("/nodevent", "r", "e", 2).await;
        browser.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn arguments_of_the_wrong_type_are_refused_and_the_connection_stays_usable() {
    // N-44
    let server = TestServer::start("/nodevent: {history: off, secret: sesame-of-more-than-sixteen}").await;
    let good = crate::support::keys::key("r", crate::support::keys::LATER, "sesame-of-more-than-sixteen");
    let cases: [(&[Value], &str); 12] = [
        (&[], "Bad room"),
        (&[json!(null)], "Bad room"),
        (&[json!("r")], "Bad room"),
        (&[json!(7)], "Bad room"),
        (&[json!([])], "Bad room"),
        (&[json!({})], "Bad room"),
        (&[json!({"room": ["r"], "key": good})], "Bad room"),
        (&[json!({"room": {"room": "r"}, "key": good})], "Bad room"),
        (&[json!({"room": true, "key": good})], "Bad room"),
        (&[json!({"room": "r", "key": 7})], "Bad sig"),
        (&[json!({"room": "r", "key": {"key": good}})], "Bad sig"),
        (&[json!({"room": "r", "key": [good]})], "Bad sig"),
    ];
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for (arguments, refusal) in &cases {
            assert_eq!(browser.call("join", arguments).await, json!([refusal, false]), "{arguments:?}");
            // It must be harmless without an acknowledgement too.
            browser.send_event("join", arguments).await;
        }
        for arguments in [&[][..], &[json!(null)], &[json!(["r"])], &[json!({"room": {}})]] {
            assert_eq!(browser.call("leave", arguments).await, json!(["Bad room"]), "{arguments:?}");
            browser.send_event("leave", arguments).await;
        }
        assert_eq!(browser.join_with("r", good.as_str()).await, json!([null, true]));
        server.emit("/nodevent", "r", "e", 1).await;
        assert_eq!(browser.next_event().await.message, 1);
    }
}

#[tokio::test]
async fn member_receives_nothing_after_leaving() {
    // N-46: the object that browsers send; N-47: the bare name that NoDevent 3 accepted.
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        for form in [json!({"room": "r"}), json!("r")] {
            browser.join("r").await;
            server.emit("/nodevent", "r", "e", 1).await;
            assert_eq!(browser.next_event().await.message, 1);
            assert_eq!(browser.call("leave", &[form]).await, json!([null]));
            server.emit("/nodevent", "r", "e", 2).await;
            browser.receives_nothing_else(&server).await;
        }
    }
}

#[tokio::test]
async fn leaving_a_room_without_membership_is_acknowledged() {
    // N-48
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        assert_eq!(browser.call("leave", &[json!({"room": "r"})]).await, json!([null]));
        assert_eq!(browser.call("leave", &[json!("r")]).await, json!([null]));
    }
}

#[tokio::test]
async fn new_connection_is_in_no_room() {
    // N-50
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut before = Browser::connect(&server, "/nodevent", transport).await;
        before.join("r").await;
        before.close().await;
        server.metric_is("nodevent_connections", 0).await;
        server.metric_is("nodevent_rooms", 0).await;
        let mut after = Browser::connect(&server, "/nodevent", transport).await;
        server.emit("/nodevent", "r", "e", 1).await;
        after.receives_nothing_else(&server).await;
        after.close().await;
        server.metric_is("nodevent_connections", 0).await;
    }
}

#[tokio::test]
async fn leaving_a_namespace_drops_its_rooms_and_allows_reentry() {
    // N-50: NoDevent 3 continued to deliver after a disconnect of the namespace only.
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server, "/nodevent", transport).await;
        browser.join("r").await;
        browser.send(&["41/nodevent,"]).await;
        browser.enter("/nodevent").await.expect("it may enter again");
        server.emit("/nodevent", "r", "e", 1).await;
        browser.receives_nothing_else(&server).await;
        browser.join("r").await;
        server.emit("/nodevent", "r", "e", 2).await;
        assert_eq!(browser.next_event().await.message, 2);
    }
}

#[tokio::test]
async fn undeclared_namespace_refuses_the_connect() {
    // N-04
    let server = TestServer::start(PLAIN).await;
    for transport in Transport::BOTH {
        let mut browser = Browser::open(&server, transport).await;
        for name in ["/other", "/nodevent2", "/Nodevent", "/"] {
            assert_eq!(browser.enter(name).await, Err(json!({"message": "Invalid namespace"})), "{name}");
        }
        browser.enter("/nodevent").await.expect("the declared namespace admits it");
    }
}

#[tokio::test]
async fn many_rooms_are_joined_in_one_packet_and_each_has_its_own_result() {
    let redis = RedisServer::start().await;
    let secret = "sesame-open-wide-1234567890";
    for engine in [String::new(), format!(", redis: \"{}\"", redis.url())] {
        let limits = "limits: {max_rooms_per_connection: 600}";
        let server = TestServer::start(&format!("{limits}\n/nodevent: {{secret: {secret}{engine}}}")).await;
        server.ready().await;
        let key = |room: &str| crate::support::keys::key(room, crate::support::keys::LATER, secret);
        for transport in Transport::BOTH {
            let mut browser = Browser::connect(&server, "/nodevent", transport).await;
            let names: Vec<String> = (0..400).map(|number| format!("room-{number}")).collect();
            let mut rooms: Vec<Value> = names.iter().map(|name| json!({"room": name, "key": key(name)})).collect();
            rooms.insert(1, json!({"room": "secret", "key": "wrong:4102444800000"}));
            rooms.insert(3, json!({"key": "no room"}));
            let ack = browser.call("join", &[json!({"rooms": rooms})]).await;
            assert_eq!((&ack[0], &ack[1]), (&Value::Null, &json!(true)));
            let results = ack[2].as_array().unwrap();
            assert_eq!(results.len(), rooms.len());
            assert_eq!(results[1], json!(["Bad key", false]));
            assert_eq!(results[3], json!(["Bad room", false]));
            for (index, result) in results.iter().enumerate().filter(|(index, _)| ![1, 3].contains(index)) {
                assert_eq!((&result[0], &result[1]), (&Value::Null, &json!(true)), "{index}: {result}");
                assert_eq!(result[2]["recovered"], true, "{index}: {result}");
            }
            let message = json!({"room": "room-399", "event": "e", "message": 1}).to_string();
            assert_eq!(server.publish("/nodevent", message).await.status, 200);
            assert_eq!(browser.next_event().await.room, "room-399");
            assert_eq!(browser.call("join", &[json!({"rooms": []})]).await, json!([null, true, []]));
        }
    }
}
