//! Attack 16: joins whose arguments are valid JSON but cannot be represented. They must get an acknowledgement, like any
//! other join, instead of leaving the client waiting.

use crate::attacker;
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::raw::{Raw, TEXT, last};
use std::time::Duration;
use tokio::time::timeout;

/// Time for an acknowledgement.
const PROMPT: Duration = Duration::from_secs(3);

/// Arguments of a join or leave that are valid JSON and cannot be represented.
fn arguments() -> Vec<(&'static str, String)> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    vec![
        ("a number beyond any range", "{\"room\":\"r\",\"extra\":1e999999}".to_owned()),
        ("a room that is such a number", "{\"room\":1e999999}".to_owned()),
        ("a lone surrogate", "{\"room\":\"r\",\"extra\":\"\\ud800\"}".to_owned()),
        ("a room with a lone surrogate", "{\"room\":\"\\ud800\"}".to_owned()),
        ("a depth of 200", format!("{{\"room\":\"r\",\"extra\":{deep}}}")),
        ("a deep room", format!("{{\"room\":{deep}}}")),
        ("a deep key", format!("{{\"room\":\"r\",\"key\":{deep}}}")),
        ("a deep position", format!("{{\"room\":\"r\",\"since\":{deep}}}")),
        ("a room twice", "{\"room\":\"r\",\"room\":1e999999}".to_owned()),
    ]
}

#[test]
fn join_with_unrepresentable_arguments_is_acknowledged() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        let mut silent = Vec::new();
        for event in ["join", "leave"] {
            for (name, argument) in arguments() {
                let mut raw = Raw::connected(&process.site, "/nodevent").await;
                raw.send_text(&format!("42/nodevent,7[\"{event}\",{argument}]")).await;
                match timeout(PROMPT, raw.try_text()).await {
                    Ok(Some(reply)) if reply.starts_with("43/nodevent,7[") => {}
                    other => silent.push(format!("{event} with {name}: {other:?}")),
                }
            }
        }
        assert!(silent.is_empty(), "{silent:#?}");
    });
}

/// A sibling: the same over the protocol `plain`, where a join is an object with the room under `join`.
#[test]
fn plain_join_with_unrepresentable_arguments_gets_a_reply() {
    attacker::run(async {
        let process = Process::start("/nodevent: {protocol: [socket_io, plain]}").await;
        let mut silent = Vec::new();
        for (name, argument) in arguments() {
            let mut raw = attacker::plain(&process.site).await;
            raw.send_text(&format!("{{\"id\":7,{}", argument[1..].replace("\"room\"", "\"join\""))).await;
            match timeout(PROMPT, raw.try_text()).await {
                Ok(Some(reply)) if reply.contains("\"joined\"") || reply.contains("\"error\"") => {}
                other => silent.push(format!("{name}: {other:?}")),
            }
        }
        assert!(silent.is_empty(), "{silent:#?}");
    });
}

#[test]
fn flood_of_unparsable_joins_delays_no_other_client() {
    attacker::run(async {
        let process = Process::start("/nodevent: {}").await;
        assert_unnoticed(&process.site.address, async || {
            attacker::repeat(async || {
                let mut raw = Raw::connected(&process.site, "/nodevent").await;
                for (_, argument) in arguments().iter().cycle().take(200) {
                    if raw.try_send(last(TEXT, format!("42/nodevent,7[\"join\",{argument}]"))).await.is_none() {
                        break;
                    }
                }
            })
            .await;
        })
        .await;
    });
}
