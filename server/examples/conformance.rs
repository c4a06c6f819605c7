//! The echo application with which the official test suites of Engine.IO 4 and Socket.IO 5 are run.
//!
//! It is the server itself with other layers on top: connections, transports and packets are the same code.
//!
//! ```text
//! MODE=engine cargo run --example conformance     sends back every Engine.IO message, at /engine.io/
//! MODE=socket cargo run --example conformance     the events below, at /socket.io/ (the default)
//! PORT=3001   cargo run --example conformance     listens on this port instead of 3000
//! PING="2s 1s"  cargo run --example conformance   other heartbeat times than 300ms and 200ms
//! ```
//!
//! With `MODE=socket`, in the namespaces `/` and `/custom`:
//!
//! | the client | the application |
//! |---|---|
//! | connects | emits `auth` with the auth object |
//! | connects with `{"refuse": "why"}` | rejects it with that message |
//! | emits `message` with any arguments | emits `message-back` with the same |
//! | emits `message-with-ack` | acknowledges with its arguments |
//! | emits `ask` with any arguments | emits `question` with the same, and `answer` with what is acknowledged |

#[path = "conformance/echo.rs"]
mod echo;
#[path = "conformance/engine.rs"]
mod engine_echo;

use anyhow::{Context as _, anyhow, bail};
use echo::EchoDialect;
use nodevent_server::config::Config;
use nodevent_server::http::Endpoint;
use nodevent_server::protocols::{Mount, socket_io};
use nodevent_server::server::{Server, StartError};
use std::sync::Arc;
use std::time::Duration;

/// What the suites expect, and limits that they do not test.
const SETTINGS: &str = "
origins: ['*']
drain_timeout: 0s
limits: { max_message_size: 1000000, connect_timeout: 1s, packets_per_second: 1000000 }
shards: 1
/: {}
/custom: {}
";

/// The suites wait for one message at a time, and remove the listener before they add the next. Their client library
/// delivers all messages of one read at once. So they miss the second of two messages that arrive together. Before a
/// message that was not requested, the application pauses long enough for a busy client to have read what came before.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the endpoint of a mode.
type MakeEndpoint = fn(&Mount<'_>) -> Arc<dyn Endpoint>;

// One thread for HTTP and one shard: requests count in the order in which they arrive, as the suites assume.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port: u16 = match std::env::var("PORT") {
        Ok(port) => port.parse().with_context(|| format!("PORT is `{port}`; write a number up to 65535"))?,
        Err(_) => 3000,
    };
    let mode = std::env::var("MODE").unwrap_or_else(|_| "socket".to_owned());
    let (path, endpoint): (_, MakeEndpoint) = match mode.as_str() {
        "engine" => ("/engine.io/", engine),
        "socket" => ("/socket.io/", socket),
        other => bail!("MODE is `{other}`; write engine or socket"),
    };
    let ping = std::env::var("PING").unwrap_or_else(|_| "300ms 200ms".to_owned());
    let Some((interval, timeout)) = ping.split_once(' ') else {
        bail!("PING is `{ping}`; write interval and timeout, like `300ms 200ms`");
    };
    let settings = format!("port: {port}\nping: {{interval: {interval}, timeout: {timeout}}}\n{SETTINGS}");
    let server = start(&settings, path, endpoint).await?;
    println!("{mode} at {}{path}", server.urls().concat());
    server.run(std::future::pending()).await;
    Ok(())
}

/// Engine.IO alone: every message is sent back.
fn engine(mount: &Mount<'_>) -> Arc<dyn Endpoint> {
    engine_echo::endpoint(mount, PAUSE, false)
}

/// Socket.IO with the events of the suite.
fn socket(mount: &Mount<'_>) -> Arc<dyn Endpoint> {
    let dialects = mount.namespaces.iter().map(|_| Some(Arc::new(EchoDialect { pause: PAUSE }) as _)).collect();
    socket_io::endpoint(mount, dialects)
}

/// Starts on every address of this machine, or on the IPv4 addresses if there is no IPv6.
async fn start(settings: &str, path: &str, endpoint: MakeEndpoint) -> anyhow::Result<Server> {
    let start = async |host: &str| {
        let settings = format!("bind: '{host}'\n{settings}");
        let mut config = Config::from_yaml(&settings).map_err(|report| anyhow!("{report}"))?;
        config.path = path.to_owned();
        anyhow::Ok(Server::start_with(config, |mount| vec![endpoint(mount)]).await)
    };
    match start("::").await? {
        Err(StartError::Listen(_)) => Ok(start("0.0.0.0").await??),
        started => Ok(started?),
    }
}
