//! Limits of Action Cable: identifiers, and commands that wait until it is decided who a client is.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::application::{Application, Behaviour};
use crate::support::cable::{Cable, RAILS, STREAM_KEY, command, rejected, turbo, turbo_with};
use serde_json::json;

#[tokio::test]
async fn identifier_beyond_its_limit_is_rejected_and_its_connection_goes_on() {
    let settings = format!(
        "limits: {{max_identifier: 300}}\n/nodevent: {{}}\n\
         /cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}}}"
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let mut rails = Cable::rails(&server).await;
    let spare = 300 - turbo_with("a", &json!({"x": ""})).len();
    rails.subscribe(&turbo_with("a", &json!({"x": "x".repeat(spare)}))).await;
    let longer = turbo_with("a", &json!({"x": "x".repeat(spare + 1)}));
    assert_eq!(rails.call("subscribe", &longer).await, rejected(&longer));
    rails.subscribe(&turbo("b")).await;
    server.metric_is("nodevent_rejected_joins_total", 1).await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn commands_beyond_those_that_may_wait_close_their_connection() {
    let application = Application::start(Behaviour::Never).await;
    let settings = format!(
        "limits: {{max_pending_commands: 3}}\n/nodevent: {{}}\n\
         /cable: {{protocol: action_cable, action_cable: {{signed_stream_key: {STREAM_KEY}}}, \
         auth: {{url: \"{}\", cookies: [session], timeout: 60s}}}}",
        application.url
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let open = async || {
        let headers = [("Sec-WebSocket-Protocol", RAILS), ("Cookie", "session=7")];
        Cable::open_with(&server, "/cable", &headers).await
    };
    let (mut within, mut beyond) = (open().await, open().await);
    for (client, count) in [(&mut within, 3), (&mut beyond, 4)] {
        for _ in 0..count {
            client.send(&command("subscribe", &turbo("posts"))).await;
        }
    }
    assert_eq!(beyond.ended().await.map(|(code, _)| code), Some(1013));
    server.metric_is("nodevent_disconnects_total{reason=\"too_many_pending_joins\"}", 1).await;
    server.metric_is("nodevent_connections", 2).await;
    server.bystander_is_unaffected().await;
}
