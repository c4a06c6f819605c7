//! Clients of Action Cable send long texts with their commands, which the server must not keep: what they say about themselves,
//! positions of streams that wait behind another command, and identifiers.

use crate::attacker;
use crate::process::Process;
use crate::support::application::{Application, Behaviour};
use crate::support::cable::{Cable, EXTENDED, STREAM_KEY, confirmed, turbo_with};
use crate::support::tokens::{TOKEN_SECRET, token};
use serde_json::{Value, json};
use std::time::Duration;

/// What the process may need to work. Bytes.
const GROWTH: u64 = 30 << 20;
/// As much in a second as in some minutes with the default.
const LIMITS: &str = "limits: {bytes_per_second: 100MB, joins_per_second: 1000, packets_per_second: 1000}";
/// Bytes.
const TEXT: usize = 60_000;

fn with(name: &str, identifier: &str, more: &Value) -> String {
    let mut command = json!({"command": name, "identifier": identifier});
    for (name, value) in more.as_object().into_iter().flatten() {
        command[name] = value.clone();
    }
    command.to_string()
}

async fn user(process: &Process, id: &str) -> Cable {
    let path = format!("/cable?jid={}", token(json!({"sub": id})));
    let mut client = Cable::open(&process.site, &path, EXTENDED).await;
    assert_eq!(client.next().await["type"], "welcome");
    client
}

/// Enters streams with long texts, each kept with a membership.
#[test]
fn what_members_say_about_themselves_takes_no_memory_beyond_its_limit() {
    attacker::run(async {
        let (connections, streams) = (20, 100);
        let process = Process::start(&format!(
            "{LIMITS}\n/cable: {{protocol: action_cable, history: off, presence: true, \
             token: {{secret: {TOKEN_SECRET}, required: true, query: jid}}, \
             action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n"
        ))
        .await;
        let info = json!({"presence": {"info": "i".repeat(TEXT)}});
        let enter_all = async |client: &mut Cable, name: &str| {
            for stream in 0..streams {
                let identifier = turbo_with(&format!("{name}-{stream}"), &json!({}));
                client.send(&with("subscribe", &identifier, &json!({}))).await;
                // Events of presence arrive, too.
                while client.next().await != confirmed(&identifier) {}
                client.send(&with("join", &identifier, &info)).await;
            }
        };
        let mut warm = user(&process, "warm").await;
        enter_all(&mut warm, "warm").await;
        let before = process.resident();
        let mut open = Vec::new();
        for number in 0..connections {
            let mut client = user(&process, &format!("u{number}")).await;
            enter_all(&mut client, &number.to_string()).await;
            open.push(client);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let grown = process.resident().saturating_sub(before);
        println!("the server grew by {} MB", grown >> 20);
        assert!(grown < GROWTH, "the server grew by {} MB", grown >> 20);
    });
}

/// The application responds slowly, and commands with very long positions wait.
#[test]
fn positions_in_commands_that_wait_count() {
    attacker::run(async {
        let (connections, commands) = (30, 60);
        let welcome = Behaviour::Respond(200, json!({"status": "ok", "connection": {}}).to_string());
        let slowly = Behaviour::Slowly(Duration::from_secs(20), json!({"status": "ok"}).to_string());
        let application =
            Application::start(Behaviour::If(r#""command":"connect""#, Box::new(welcome), Box::new(slowly))).await;
        let url = application.url.split("/live").next().unwrap();
        let process = Process::start(&format!(
            "{LIMITS}\n/cable: {{protocol: action_cable, history: off, \
             action_cable: {{signed_stream_key: {STREAM_KEY}}}, \
             calls: {{url: \"{url}\", secret: a-secret-for-calls-of-more-than-32-bytes, handlers: /commands, \
             timeout: 30s}}}}\n"
        ))
        .await;
        let position = json!({"epoch": "00000000000000ab", "offset": 1});
        let history = |command: usize| {
            let name = format!("{command}{}", "s".repeat(TEXT));
            json!({"history": {"streams": {name: position}}})
        };
        let before = process.resident();
        let mut open = Vec::new();
        for _ in 0..connections {
            let mut client = Cable::open(&process.site, "/cable", EXTENDED).await;
            assert_eq!(client.next().await["type"], "welcome");
            open.push(client);
        }
        for client in &mut open {
            for command in 0..commands {
                let identifier = json!({"channel": "ChatChannel", "n": command}).to_string();
                // The server may have closed the connection.
                let text = with("subscribe", &identifier, &history(command));
                if client.0.try_send(&text).await.is_none() {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let grown = process.resident().saturating_sub(before);
        println!("the server grew by {} MB", grown >> 20);
        assert!(grown < GROWTH, "the server grew by {} MB", grown >> 20);
    });
}

/// One visitor with one signed name subscribes with long identifiers, on very many connections.
#[test]
fn long_identifiers_count_towards_the_budget_of_buffers() {
    attacker::run(async {
        let (connections, identifiers) = (300, 100);
        let process = Process::start(&format!(
            "shards: 1\nlimits: {{send_buffers_total: 8MB, bytes_per_second: 100MB, joins_per_second: 1000, packets_per_second: 1000}}\n\
             /cable: {{protocol: action_cable, history: off, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}\n"
        ))
        .await;
        // A page with short ones, which is the oldest connection.
        let mut page = Cable::rails(&process.site).await;
        page.subscribe(&turbo_with("posts", &json!({}))).await;
        let (before, mut open) = (process.resident(), Vec::new());
        for number in 0..connections {
            let mut client = Cable::rails(&process.site).await;
            for identifier in 0..identifiers {
                let more = json!({"n": format!("{number}-{identifier}{}", "x".repeat(1_700))});
                // The server may have closed the connection.
                let text = with("subscribe", &turbo_with("posts", &more), &json!({}));
                if client.0.try_send(&text).await.is_none() {
                    break;
                }
            }
            open.push(client);
            // The budget is compared a few times per second: what arrives between two scans is beyond it, whatever the budget is.
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let grown = process.resident().saturating_sub(before);
        println!(
            "the server grew by {} MB, {} bytes per subscription",
            grown >> 20,
            grown / (connections * identifiers)
        );
        // Without a limit it is 140 MB.
        assert!(grown < 2 * GROWTH, "the server grew by {} MB", grown >> 20);
        page.receives_nothing_else().await;
    });
}
