//! A publisher with a key for its rooms does not reach beyond them: neither by the ids of copies, nor by the time and memory
//! that one publication takes.

use crate::attacker::{self, PollingClient, join, join_since};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::Raw;
use crate::support::tokens::TOKEN_SECRET;
use crate::support::{RedisServer, Request, Site};
use nodevent_protocol::targets;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const APPLICATION: &str = "the-key-of-the-application";
const GAME: &str = "the-key-of-the-game-server";
/// The key of the game is for its rooms.
const KEYS: &str = "publish_keys: [{id: application, key: the-key-of-the-application}, {id: game, key: the-key-of-the-game-server, rooms: [\"Game_*\"]}]";

async fn publish(site: &Site, namespace: &str, key: &str, idempotency_key: Option<&str>, body: &Value) {
    let request = Request::post(&format!("/api{namespace}/emit"), body.to_string());
    let request = request.header("Authorization", &format!("Bearer {key}"));
    let request = match idempotency_key {
        Some(name) => request.header("Idempotency-Key", name),
        None => request,
    };
    let response = site.send(&request).await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// The name of the next event that a client receives.
async fn next_event(raw: &mut Raw) -> String {
    let text = raw.text().await;
    let start = text.find('[').unwrap_or_else(|| panic!("not an event: {text}"));
    let event: Value = serde_json::from_str(&text[start..]).unwrap();
    event[1]["event"].as_str().unwrap_or_else(|| panic!("not an event: {text}")).to_owned()
}

/// The position in the acknowledgement of a join.
fn position(acknowledgement: &str) -> String {
    let values: Value = serde_json::from_str(acknowledgement).unwrap();
    values[2]["position"].as_str().unwrap_or_else(|| panic!("no position: {acknowledgement}")).to_owned()
}

/// A connection receives one copy of an event. A limited publisher knows the id of another one's event, because it guesses or
/// has received it, and publishes an event of its own with that id first.
#[test]
fn ids_of_copies_hide_no_event_of_another_publisher() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let process = Process::start(&format!("/nodevent: {{{engine}open: true, {KEYS}}}\n")).await;
            process.is_ready().await;
            let site = &process.site;
            let mut victim = Raw::connected(site, "/nodevent").await;
            for room in ["Game_7", "Chat_7"] {
                join(&mut victim, &format!("42/nodevent,1[\"join\",{{\"room\":\"{room}\"}}]")).await;
            }
            let id = format!("{:016x}", targets::id_of("order-8:0"));
            for (name, guessed, key) in
                [("publication_id", "order-7", None), ("publication_id", &*id, Some("order-8"))]
            {
                let forged = json!({"room": "Game_7", "event": "forged", name: guessed});
                publish(site, "/nodevent", GAME, None, &forged).await;
                let mut real = json!({"rooms": ["Chat_7", "Chat_8"], "event": "real"});
                if key.is_none() {
                    real[name] = json!(guessed);
                }
                publish(site, "/nodevent", APPLICATION, key, &real).await;
                publish(site, "/nodevent", APPLICATION, None, &json!({"room": "Chat_7", "event": "end"})).await;
                for expected in ["forged", "real", "end"] {
                    assert_eq!(next_event(&mut victim).await, expected, "{guessed}");
                }
            }
        }
    });
}

/// A sibling: the member of one of the rooms has received the id, and the victim returns later.
#[test]
fn ids_of_copies_hide_no_event_from_clients_that_return() {
    attacker::run(async {
        let process = Process::start(&format!("/nodevent: {{open: true, {KEYS}}}\n")).await;
        let site = &process.site;
        let mut positions = Vec::new();
        let mut victim = Raw::connected(site, "/nodevent").await;
        for room in ["Game_7", "Chat_7"] {
            publish(site, "/nodevent", APPLICATION, None, &json!({"room": room, "event": "first"})).await;
            let joined = join(&mut victim, &format!("42/nodevent,1[\"join\",{{\"room\":\"{room}\"}}]")).await;
            positions.push((room, position(&joined)));
        }
        drop(victim);
        let real = json!({"rooms": ["Chat_7", "lobby"], "event": "real"});
        publish(site, "/nodevent", APPLICATION, None, &real).await;
        // Every member of the lobby may read it.
        let history = site.get("/api/nodevent/rooms/lobby/history").await.json();
        let id = &history["publications"][0]["publication_id"];
        assert!(id.is_string(), "{history}");
        publish(site, "/nodevent", GAME, None, &json!({"room": "Game_7", "event": "forged", "publication_id": id}))
            .await;
        let mut victim = Raw::connected(site, "/nodevent").await;
        for ((room, since), expected) in positions.iter().zip(["forged", "real"]) {
            victim.send_text(&join_since(1, room, since)).await;
            assert_eq!(next_event(&mut victim).await, expected);
            assert!(victim.text().await.contains("[null,true"));
        }
    });
}

/// A sibling: one connection is in two namespaces, whose applications know nothing of each other.
#[test]
fn ids_of_copies_in_one_namespace_hide_nothing_in_another() {
    attacker::run(async {
        let process = Process::start("/nodevent: {open: true}\n/other: {open: true}\n").await;
        let mut victim = Raw::connected(&process.site, "/nodevent").await;
        victim.send_text("40/other,").await;
        assert!(victim.text().await.starts_with("40/other,"));
        for namespace in ["/nodevent", "/other"] {
            join(&mut victim, &format!("42{namespace},1[\"join\",{{\"room\":\"r\"}}]")).await;
        }
        for namespace in ["/nodevent", "/other"] {
            let body = json!({"rooms": ["r", "s"], "event": namespace}).to_string();
            let request =
                Request::post(&format!("/api{namespace}/emit"), body).header("Idempotency-Key", "order-7");
            assert_eq!(process.site.send(&request).await.status, 200);
            let end =
                Request::post(&format!("/api{namespace}/emit"), json!({"room": "r", "event": "end"}).to_string());
            assert_eq!(process.site.send(&end).await.status, 200);
            for expected in [namespace, "end"] {
                assert_eq!(next_event(&mut victim).await, expected);
            }
        }
    });
}

/// A publication that names as many users as fit into it, who do not receive it.
fn excluding(room: &str, bytes: usize) -> String {
    let (mut text, mut state) = (format!("{{\"room\":\"{room}\",\"event\":\"e\",\"except_users\":[\"0\""), 1_u64);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let _ = write!(text, ",\"{:03x}\"", state >> 52);
    }
    text + "]}"
}

/// Each member of the list was a text of its own, which the lock of all histories was held for.
#[test]
fn lists_of_users_who_do_not_receive_a_publication_delay_no_other_client() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let process = Process::start(&format!("/nodevent: {{{engine}open: true}}\n")).await;
            process.is_ready().await;
            let body = excluding("Game_7", 300_000);
            assert_unnoticed(&process.site.address, async || {
                let request = Request::post("/api/nodevent/emit", body.clone());
                attacker::flood(&process.site, &request, 1).await;
            })
            .await;
        }
    });
}

/// What a history keeps of such a list counts.
#[test]
fn lists_of_users_who_do_not_receive_a_publication_take_no_memory_that_does_not_count() {
    /// The memory that the history may have. Bytes.
    const MAX: u64 = 32 << 20;

    attacker::run(async {
        let settings = "history: {size: 1000, max_memory: 32MB}";
        let process = Process::start(&format!("/nodevent: {{open: true, {settings}}}\n")).await;
        let body = excluding("Game_7", 900_000);
        let mut client = PollingClient::connect(&process.site).await;
        let before = process.resident();
        for _ in 0..80 {
            let response = client.send(&Request::post("/api/nodevent/emit", body.clone())).await.unwrap();
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let grown = process.resident().saturating_sub(before);
        println!("the server grew by {} MB", grown >> 20);
        assert!(grown < 2 * MAX, "the server grew by {} MB", grown >> 20);
    });
}

/// As many publications as fit into a request, and as many copies as they may have.
#[test]
fn arrays_of_publications_delay_no_other_client() {
    const CLIENTS: usize = 4;

    attacker::run(async {
        let process = Process::start("/nodevent: {open: true}\n").await;
        let small = vec!["{\"room\":\"Game_7\",\"event\":\"e\"}"; 32_000].join(",");
        let rooms: Vec<String> = (0..1_000).map(|room| format!("\"{room}\"")).collect();
        let copies =
            format!("{{\"rooms\":[{}],\"event\":\"e\",\"message\":\"{}\"}}", rooms.join(","), "x".repeat(9_000));
        let several = vec![copies; 60].join(",");
        let short = vec![format!("{{\"rooms\":[{}],\"event\":\"e\"}}", rooms.join(",")); 140].join(",");
        for body in [format!("[{small}]"), format!("[{several}]"), format!("[{short}]")] {
            println!("a body of {} bytes", body.len());
            assert_unnoticed(&process.site.address, async || {
                let request = Request::post("/api/nodevent/emit", body.clone());
                attacker::flood(&process.site, &request, CLIENTS).await;
            })
            .await;
        }
    });
}

/// Rooms that a publisher has filled expire at once, and the next publication removed all of them while everyone waited.
#[test]
fn rooms_that_expire_at_once_delay_no_other_client() {
    const ROOMS: usize = 400_000;
    /// The longest wait of a client, in the best of three rounds. Without steps it was 27 to 52 ms in a build for tests.
    const MAX: Duration = Duration::from_millis(20);

    attacker::run(async {
        let settings = format!("open: true, history: {{age: 4s, max_memory: 1GB}}, {KEYS}");
        let mut longest = Vec::new();
        for _ in 0..3 {
            // A new server: what expires while rooms are filled again is little at a time.
            let process = Process::start(&format!("/nodevent: {{{settings}}}\n")).await;
            let site = &process.site;
            let mut bystander = Raw::connected(site, "/nodevent").await;
            for first in (0..ROOMS).step_by(2_000) {
                let rooms = first..first + 2_000;
                let body = rooms.map(|room| json!({"room": format!("Game_{room}"), "event": "e"})).collect();
                publish(site, "/nodevent", GAME, None, &Value::Array(body)).await;
            }
            tokio::time::sleep(Duration::from_millis(4_100)).await;
            let others = async {
                for _ in 0..20 {
                    publish(site, "/nodevent", GAME, None, &json!({"room": "Game_0", "event": "e"})).await;
                }
            };
            let waits = async {
                let mut longest = Duration::ZERO;
                for number in 0..100 {
                    let began = Instant::now();
                    join(&mut bystander, &format!("42/nodevent,1[\"join\",{{\"room\":\"r{number}\"}}]")).await;
                    longest = longest.max(began.elapsed());
                }
                longest
            };
            longest.push(tokio::join!(waits, others).0);
        }
        println!("the longest waits: {longest:?}");
        assert!(longest.iter().any(|wait| *wait < MAX), "{longest:?}");
    });
}

/// A publisher that is limited to its users fills all mailboxes, so that nothing is stored for others.
#[test]
fn messages_to_users_of_a_limited_publisher_leave_mailboxes_to_others() {
    /// The mailboxes, and the length of a message that fills a part of their memory.
    const MAILBOXES: usize = 100;
    const LONG: usize = 60_000;

    attacker::run(async {
        let redis = RedisServer::start().await;
        let keys = KEYS.replace("rooms: [\"Game_*\"]", "users: [\"bot-*\"]");
        let settings = format!("open: true, mailbox: {{unknown: keep}}, {keys}");
        let token = format!("token: {{secret: {TOKEN_SECRET}}}");
        for (engine, length) in [("", 10), ("redis", 10), ("", LONG)] {
            let engine = if engine.is_empty() { String::new() } else { format!("redis: \"{}\", ", redis.url()) };
            let limits = if length == LONG {
                "max_mailbox_memory: 1MB".to_owned()
            } else {
                format!("max_mailboxes: {MAILBOXES}")
            };
            let process =
                Process::start(&format!("limits: {{{limits}}}\n/nodevent: {{{engine}{settings}, {token}}}\n"))
                    .await;
            process.is_ready().await;
            let notify = async |key: &str, user: &str, length: usize| {
                let body = json!({"user": user, "event": "e", "message": "x".repeat(length)}).to_string();
                let request = Request::post("/api/nodevent/notify", body);
                process.site.send(&request.header("Authorization", &format!("Bearer {key}"))).await.status
            };
            let mut stored = 0;
            for number in 0..=MAILBOXES {
                match notify(GAME, &format!("bot-{number}"), length).await {
                    200 => stored += 1,
                    507 => break,
                    status => panic!("{status}"),
                }
            }
            println!("the limited publisher has stored {stored} messages");
            assert!(stored > 0);
            assert_eq!(notify(APPLICATION, "7", length).await, 200);
        }
    });
}

/// A body that is text where an object is expected was part of the error, and of the log.
#[test]
fn errors_contain_nothing_of_a_body() {
    attacker::run(async {
        let process = Process::start(&format!(
            "/nodevent: {{open: true, token: {{secret: {TOKEN_SECRET}}}, mailbox: {{unknown: keep}}, {KEYS}}}\n\
             /site: {{dialect: web_service, auth: {{url: \"http://127.0.0.1:1/\"}}, {KEYS}}}\n"
        ))
        .await;
        for path in ["/api/nodevent/notify", "/send?site=site"] {
            let request = Request::post(path, "\"a-private-message\"".to_owned());
            let request = request.header("Content-Type", "application/json");
            let response =
                process.site.send(&request.header("Authorization", &format!("Bearer {APPLICATION}"))).await;
            assert_eq!(response.status, 400, "{path}: {}", response.text());
            assert!(!response.text().contains("private"), "{}", response.text());
        }
        let line = process.logs("rejected").await;
        assert!(!line.contains("private"), "{line}");
    });
}
