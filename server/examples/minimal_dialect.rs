//! A dialect of Socket.IO in one file: the starting point for a new one.
//!
//! Its clients emit `hello` with a name, enter the room of that name, and receive each publication as an event of its own
//! name with its message. `CONTRIBUTING.md` has the recipe that turns it into a dialect of the configuration.
//!
//! ```text
//! cargo run -p nodevent-server --example minimal_dialect
//! curl -d '{"room":"ann","event":"greeting","message":"hi"}' http://localhost:8080/api/chat/emit
//! ```

use nodevent_protocol::history::Position;
use nodevent_protocol::room;
use nodevent_protocol::topic::Topic;
use nodevent_server::config::Config;
use nodevent_server::history::RequestId;
use nodevent_server::http::Endpoint;
use nodevent_server::outcome::Outcome;
use nodevent_server::protocol::{JoinError, Joined};
use nodevent_server::protocols::Mount;
use nodevent_server::protocols::socket_io::{self, dialect};
use nodevent_server::server::Server;
use serde_json::{Value, json};
use std::sync::Arc;

/// The configuration, except of the listener.
pub(crate) const SETTINGS: &str = "publish: local\n/chat: {open: true}\n";

/// The dialect.
#[derive(Debug)]
pub(crate) struct Hello;

impl dialect::Dialect for Hello {
    fn event(&self, operations: &mut dyn dialect::Operations, event: dialect::Event) {
        let args: Vec<Value> = serde_json::from_str(&event.args).unwrap_or_default();
        let text = |index: usize| args.get(index).and_then(Value::as_str);
        let (Some("hello"), Some(name)) = (text(0), text(1)) else { return };
        let request = RequestId::from(event.ack_id);
        // The core joins whatever the dialect names.
        if room::check(name, room::MAX_BYTES).is_err() {
            return self.joined(operations, request, Err(JoinError::BadRoom));
        }
        match operations.join(name, None, None, request) {
            Ok(Outcome::Ready(joined)) => self.joined(operations, request, Ok(joined)),
            // The reply follows, or the connection will be closed.
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => self.joined(operations, request, Err(error)),
        }
    }

    fn joined(
        &self,
        operations: &mut dyn dialect::Operations,
        request: RequestId,
        result: Result<Joined, JoinError>,
    ) {
        if let Some(ack_id) = request.number {
            let reply = result.map_or_else(|error| json!([error.as_str()]), |_| json!(["welcome"]));
            operations.acknowledge(ack_id, &reply.to_string(), &[]);
        }
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        let published: Value = serde_json::from_str(text).unwrap_or_default();
        packet.push_str(&json!([published["event"], published["message"]]).to_string());
    }

    fn gap(&self, topic: Topic<'_>, _position: Position) -> String {
        json!(["missed", topic.name()]).to_string()
    }
}

/// The endpoint of Socket.IO, with the dialect in the only namespace.
pub(crate) fn endpoint(mount: &Mount<'_>) -> Arc<dyn Endpoint> {
    socket_io::endpoint(mount, vec![Some(Arc::new(Hello) as Arc<dyn dialect::Dialect>)])
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let settings = format!("port: {port}\nbind: 127.0.0.1\n{SETTINGS}");
    let config = Config::from_yaml(&settings).map_err(|report| anyhow::anyhow!("{report}"))?;
    let server = Server::start_with(config, |mount| vec![endpoint(mount)]).await?;
    println!("listening at {}", server.urls().concat());
    server.run(std::future::pending()).await;
    Ok(())
}
