//! Attacks through the application that says who a connection is: one client's requests must not keep others out.

use crate::attacker::{self, enter, open_from};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::application::{Application, Behaviour, yes};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

/// Connections of the attacker, each with one request at a time. Two are sent at a time, and 100 may wait.
const FLOOD: usize = 150;
/// How long the application needs for a request of the attacker.
const SLOW: Duration = Duration::from_millis(300);
const VICTIM: [u8; 4] = [127, 0, 0, 3];
/// Decisions about made-up visitors. Unbounded, they hold 40 MB.
const VISITORS: usize = 1500;
/// What they may hold, and what the process needs to work.
const GROWTH: u64 = 26 << 20;
/// Connections that send two `IDENT`s each.
const IDENTS: usize = 60;
/// What these 120 texts of 60 KB may hold while they wait, and what their sockets need. As values they held 1.1 GB.
const IDENT_GROWTH: u64 = 64 << 20;

fn settings(application: &Application) -> String {
    let auth = "timeout: 5s, concurrency: 2, queue: 100, cache: 0s, cache_rejected: 0s";
    format!("/nodevent: {{open: true}}\n/app: {{history: off, auth: {{url: \"{}\", {auth}}}}}\n", application.url)
}

#[test]
fn requests_of_one_client_do_not_keep_others_from_the_application() {
    attacker::run(async {
        let slowly = Behaviour::Slowly(SLOW, r#"{"user":"flood"}"#.to_owned());
        let behaviour = Behaviour::If("flood", Box::new(slowly), Box::new(yes("victim")));
        let application = Application::start(behaviour).await;
        let process = Process::start(&settings(&application)).await;
        let mut flood = JoinSet::new();
        for number in 0..FLOOD {
            let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
            flood.spawn(async move {
                for round in 0.. {
                    if enter(&mut raw, "/app", &format!("flood-{number}-{round}")).await.starts_with("40/app,") {
                        assert!(raw.text().await.contains("identified"));
                        raw.send_text("41/app,").await;
                    } else {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            });
        }
        application.received(4).await;
        assert_unnoticed(&process.site.address, async || {
            for round in 0..4 {
                let mut victim = open_from(&process.site, VICTIM).await;
                let reply = enter(&mut victim, "/app", &format!("victim-{round}")).await;
                assert!(reply.starts_with("40/app,"), "the victim is kept out: {reply}");
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
        })
        .await;
        assert!(flood.try_join_next().is_none(), "the flood goes on");
        flood.abort_all();
    });
}

/// The application has an error that a client can cause. The circuit breaker must not stop other clients for that.
#[test]
fn requests_that_make_the_application_fail_stop_their_sender_only() {
    attacker::run(async {
        let failing = Behaviour::Respond(500, String::new());
        let behaviour = Behaviour::If("poison", Box::new(failing), Box::new(yes("victim")));
        let application = Application::start(behaviour).await;
        let process = Process::start(&settings(&application)).await;
        for round in 0..3 {
            for number in 0..8 {
                let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
                let reply = enter(&mut raw, "/app", &format!("poison-{round}-{number}")).await;
                assert!(reply.starts_with("44/app,"), "{reply}");
            }
            let mut victim = open_from(&process.site, VICTIM).await;
            let reply = enter(&mut victim, "/app", &format!("victim-{round}")).await;
            assert!(reply.starts_with("40/app,"), "the victim is kept out: {reply}");
        }
        let open = process.metric("nodevent_application_requests_total{reason=\"breaker_open\"}").await;
        assert!(open > 0, "the attacker itself has to wait");
    });
}

/// As before, from several addresses, whose failures alternate. Some of them get an error, and some no response.
#[test]
fn requests_of_four_addresses_that_fail_stop_no_other_address() {
    attacker::run(async {
        let failing =
            Behaviour::If("close", Box::new(Behaviour::Close), Box::new(Behaviour::Respond(500, String::new())));
        let behaviour = Behaviour::If("poison", Box::new(failing), Box::new(yes("victim")));
        let application = Application::start(behaviour).await;
        let process = Process::start(&settings(&application)).await;
        for failure in ["500", "close"] {
            for round in 0..4 {
                for number in 10..14 {
                    let mut raw = open_from(&process.site, [127, 0, 0, number]).await;
                    let reply = enter(&mut raw, "/app", &format!("poison-{failure}-{round}-{number}")).await;
                    assert!(reply.starts_with("44/app,"), "{reply}");
                }
            }
            let mut victim = open_from(&process.site, VICTIM).await;
            let reply = enter(&mut victim, "/app", &format!("victim-{failure}")).await;
            assert!(reply.starts_with("40/app,"), "the victim is kept out: {reply}");
        }
    });
}

/// The dialect `turted` asks the application about each `IDENT`. One client sends more than may wait.
#[test]
fn users_of_one_client_do_not_keep_others_from_the_application() {
    attacker::run(async {
        let slowly = Behaviour::Slowly(SLOW, "{}".to_owned());
        let behaviour = Behaviour::If("flood", Box::new(slowly), Box::new(yes("victim")));
        let application = Application::start(behaviour).await;
        let asked = format!("{{url: \"{}\", timeout: 20s, concurrency: 1, queue: 10}}", application.url);
        let process = Process::start(&format!(
            "/nodevent: {{open: true}}\n/t: {{dialect: turted, turted: {{ident: application, application: {asked}}}}}\n"
        ))
        .await;
        let connect = async |address| {
            let mut raw = open_from(&process.site, address).await;
            raw.send_text("40/t,").await;
            assert!(raw.text().await.starts_with("40/t,"));
            raw
        };
        let mut flood = connect([127, 0, 0, 1]).await;
        for number in 0..30 {
            flood.send_text(&format!("42/t,[\"IDENT\",{{\"username\":\"flood-{number}\"}}]")).await;
        }
        // It learns that nothing was decided, and not that its password was wrong.
        assert_eq!(flood.text().await, "42/t,[\"ERROR\",\"IDENT failed: Cannot be decided now\"]");
        let mut victim = connect(VICTIM).await;
        for _ in 0..3 {
            victim.send_text("42/t,[\"IDENT\",{\"username\":\"victim\"}]").await;
            assert_eq!(victim.text().await, "42/t,[\"OK\",{\"username\":\"victim\"}]", "the victim is kept out");
        }
    });
}

/// A client sends an `IDENT` of very many small values, each of which would take many times as much memory as its text.
#[test]
fn values_of_idents_that_wait_for_the_application_are_held_as_text() {
    attacker::run(async {
        let slowly = Behaviour::Slowly(Duration::from_secs(2), "{}".to_owned());
        let application = Application::start(slowly).await;
        let asked = format!("{{url: \"{}\", timeout: 20s}}", application.url);
        let process = Process::start(&format!(
            "/nodevent: {{open: true}}\n/t: {{dialect: turted, turted: {{ident: application, application: {asked}}}}}\n"
        ))
        .await;
        let mut flood = Vec::new();
        for _ in 0..IDENTS {
            let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
            raw.send_text("40/t,").await;
            assert!(raw.text().await.starts_with("40/t,"));
            flood.push(raw);
        }
        let data = vec![r#"{"":0}"#; 8_500].join(",");
        let before = process.resident();
        let mut most = before;
        assert_unnoticed(&process.site.address, async || {
            for (number, raw) in flood.iter_mut().enumerate() {
                for half in 0..2 {
                    raw.send_text(&format!(
                        "42/t,[\"IDENT\",{{\"username\":\"{number}-{half}\",\"data\":[{data}]}}]"
                    ))
                    .await;
                }
                most = most.max(process.resident());
            }
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                most = most.max(process.resident());
            }
            // Before the bystander is: it has to wait as well.
            let grown = most.saturating_sub(before);
            assert!(
                grown < IDENT_GROWTH,
                "the server grew by {} MB for {} texts of 60 KB",
                grown >> 20,
                2 * IDENTS
            );
        })
        .await;
        application.received(4).await;
        let bodies = application.requests();
        assert!(bodies.iter().all(|request| request.contains(&data)), "the application receives the data");
    });
}

/// The application says much about each visitor, and a visitor makes up token after token. What is kept of the decisions has a
/// limit, and the decision about another one is still used again.
#[test]
fn decisions_about_made_up_visitors_need_bounded_memory() {
    attacker::run(async {
        let rooms: Vec<String> = (0..100).map(|number| format!("{number:0>250}")).collect();
        let application =
            Application::start(Behaviour::Respond(200, json!({"user": "7", "rooms": rooms}).to_string())).await;
        let auth = format!("{{url: \"{}\", cache: 1h}}", application.url);
        let process =
            Process::start(&format!("/nodevent: {{open: true}}\n/app: {{history: off, auth: {auth}}}\n")).await;
        let visit = async |token: String| {
            let mut raw = open_from(&process.site, [127, 0, 0, 1]).await;
            let reply = enter(&mut raw, "/app", &token).await;
            assert!(reply.starts_with("40/app,"), "{reply}");
        };
        for number in 0..50 {
            visit(format!("warm-{number}")).await;
        }
        let before = process.resident();
        for number in 0..VISITORS {
            visit(format!("made-up-{number}")).await;
        }
        let grown = process.resident().saturating_sub(before);
        assert!(grown < GROWTH, "the server grew by {} MB for {VISITORS} decisions of 27 KB", grown >> 20);
        // A decision is used again.
        visit("last".to_owned()).await;
        let count = application.requests().len();
        assert_eq!(count, 50 + VISITORS + 1);
        visit("last".to_owned()).await;
        assert_eq!(application.requests().len(), count, "it was kept");
    });
}
