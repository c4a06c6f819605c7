//! Pushes of `turted` have their password in the body, so anyone may send a body that is expensive to read.

use crate::attacker::{self, PollingClient};
use crate::bystander::assert_unnoticed;
use crate::process::Process;
use crate::support::Request;
use futures_util::future::join_all;
use std::fmt::Write as _;

/// Connections that push.
const CONNECTIONS: usize = 4;
/// Bytes.
const BODY: usize = 1_000_000;

/// A body of very many short parts.
fn body(before: &str, part: impl Fn(usize) -> String, after: &str) -> String {
    let mut body = before.to_owned();
    for number in 0.. {
        if body.len() > BODY {
            break;
        }
        let _ = write!(body, "{},", part(number));
    }
    body + after
}

#[test]
fn pushes_without_the_password_delay_no_other_client() {
    attacker::run(async {
        let turted = "dialect: turted, turted: {push: {password: a-password-of-a-backend}}";
        let process = Process::start(&format!("/nodevent: {{open: true}}\n/: {{{turted}}}\n")).await;
        let bodies = [
            body("{", |number| format!("\"{number}\":1"), "\"auth\":\"wrong\"}"),
            body("{\"auth\":{", |number| format!("\"{number}\":1"), "\"password\":\"wrong\"}}"),
            body("{\"auth\":\"wrong\",\"targets\":{\"users\":[", |number| number.to_string(), "1]}}"),
        ];
        for body in bodies {
            let request = Request::post("/push/", body);
            assert_unnoticed(&process.site.address, async || {
                let senders = (0..CONNECTIONS).map(async |_| {
                    let mut client = PollingClient::connect(&process.site).await;
                    attacker::repeat(async || {
                        let response = client.send(&request).await.expect("the server keeps the connection");
                        assert!([401, 429].contains(&response.status), "{}: {}", response.status, response.text());
                    })
                    .await;
                });
                join_all(senders).await;
            })
            .await;
        }
    });
}
