//! The echo application by which the official test suites of Engine.IO 4 and Socket.IO 5 are run.
//!
//! It is the server itself with another dialect, or with none: sessions, transports and packets are the same code.
//!
//! ```text
//! MODE=engine cargo run --example conformance     every Engine.IO message is sent back, at /engine.io/
//! MODE=socket cargo run --example conformance     the events below, at /socket.io/ (the default)
//! PORT=3001   cargo run --example conformance     elsewhere than on port 3000
//! PING="2s 1s"  cargo run --example conformance   other heartbeat times than 300ms and 200ms
//! ```
//!
//! With `MODE=socket`, in the namespaces `/` and `/custom`:
//!
//! | the browser | the application |
//! |---|---|
//! | connects | emits `auth` with the auth object |
//! | connects with `{"refuse": "why"}` | is refused with that message |
//! | emits `message` with any arguments | emits `message-back` with the same |
//! | emits `message-with-ack` | acknowledges with its arguments |
//! | emits `ask` with any arguments | emits `question` with the same, and `answer` with what is acknowledged |

#[path = "conformance/echo.rs"]
mod echo;

use anyhow::{Context as _, anyhow, bail};
use echo::Echo;
use nodevent_server::config::Config;
use nodevent_server::server::{Server, StartError};
use nodevent_server::shard::Above;
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

/// The suites wait for one message at a time, with a listener that is gone when the next is to be heard, and their
/// client library hands out all messages of one read in one go. So where two arrive together they miss the second:
/// before one that nobody asked for, this is waited, long enough for a busy client to have read what went before.
const PAUSE: Duration = Duration::from_millis(20);

// One thread at the edge and one shard: requests count in the order in which they came, as the suites suppose.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let port: u16 = match std::env::var("PORT") {
        Ok(port) => port.parse().with_context(|| format!("PORT is `{port}`; write a number up to 65535"))?,
        Err(_) => 3000,
    };
    let mode = std::env::var("MODE").unwrap_or_else(|_| "socket".to_owned());
    let (above, path) = match mode.as_str() {
        "engine" => (Above::Echo { pause: PAUSE }, "/engine.io/"),
        "socket" => (Above::SocketIo, "/socket.io/"),
        other => bail!("MODE is `{other}`; write engine or socket"),
    };
    let ping = std::env::var("PING").unwrap_or_else(|_| "300ms 200ms".to_owned());
    let Some((interval, timeout)) = ping.split_once(' ') else {
        bail!("PING is `{ping}`; write interval and timeout, like `300ms 200ms`");
    };
    let settings = format!("port: {port}\nping: {{interval: {interval}, timeout: {timeout}}}\n{SETTINGS}");
    let server = start(&settings, above, path).await?;
    println!("{mode} at {}{path}", server.urls().concat());
    server.run(std::future::pending()).await;
    Ok(())
}

/// Starts on every address of this machine; without IPv6, on those that there are.
async fn start(settings: &str, above: Above, path: &str) -> anyhow::Result<Server> {
    let start = async |host: &str| {
        let settings = format!("bind: '{host}'\n{settings}");
        let mut config = Config::from_yaml(&settings).map_err(|report| anyhow!("{report}"))?;
        config.path = path.to_owned();
        anyhow::Ok(Server::start_with(config, above, |_| Arc::new(Echo { pause: PAUSE })).await)
    };
    match start("::").await? {
        Err(StartError::Listen(_)) => Ok(start("0.0.0.0").await??),
        started => Ok(started?),
    }
}
