//! Users who enter rooms that they make up, so that the events of hooks push out those of others while the application does not
//! respond.

use crate::attacker::{self, enter};
use crate::process::Process;
use crate::support::RedisServer;
use crate::support::application::{Application, Behaviour};
use crate::support::raw::Raw;
use crate::support::tokens::{TOKEN_SECRET, token};
use crate::support::wait::until;
use serde_json::json;

/// Events that the journal may hold, publications, and rooms.
const SIZE: usize = 20;
const PUBLICATIONS: usize = 6;
const ROOMS: usize = 40;

#[test]
fn users_who_enter_rooms_push_no_other_event_out_of_the_journal() {
    attacker::run(async {
        let redis = RedisServer::start().await;
        for engine in [String::new(), format!("redis: \"{}\", ", redis.url())] {
            let application = Application::start(Behaviour::Close).await;
            let hooks = format!(
                "{{url: \"{}\", secret: a-secret-for-hooks-of-more-than-32-bytes, timeout: 2s, events: [entered, left], \
                 delivered: e, size: {SIZE}}}",
                application.url
            );
            let process = Process::start(&format!(
                "/nodevent: {{{engine}open: true, history: 1000, token: {{secret: {TOKEN_SECRET}}}, \
                 presence: {{lease: 3s, grace: 0s}}, hooks: {hooks}}}\n"
            ))
            .await;
            process.is_ready().await;
            // Redis reports what is delivered to members.
            let mut member = Raw::connected(&process.site, "/nodevent").await;
            attacker::join(&mut member, "42/nodevent,1[\"join\",{\"room\":\"orders\"}]").await;
            for number in 0..PUBLICATIONS {
                process.site.emit("/nodevent", "orders", "e", json!({"order": number})).await;
            }
            process.metric_is("nodevent_hooks_waiting", PUBLICATIONS as i64).await;
            let mut user = Raw::opened(&process.site).await;
            enter(&mut user, "/nodevent", &token(json!({"sub": "7"}))).await;
            for room in 0..ROOMS {
                user.send_text(&format!("42/nodevent,1[\"join\",{{\"room\":\"made-up-{room}\"}}]")).await;
                while !user.text().await.starts_with("43/nodevent,1[null,true") {}
            }
            until("the journal has been full", async || {
                process.metric("nodevent_presence_events_total").await >= ROOMS as i64
            })
            .await;
            process.metric_is("nodevent_hooks_waiting", SIZE as i64).await;
            let before = application.requests().len();
            application.set(Behaviour::Respond(200, "{}".to_owned()));
            process.metric_is("nodevent_hooks_waiting", 0).await;
            until("the events of publications", async || {
                let all = application.requests()[before..].join("");
                (0..PUBLICATIONS).all(|number| all.contains(&format!("{{\"order\":{number}}}")))
            })
            .await;
        }
    });
}
