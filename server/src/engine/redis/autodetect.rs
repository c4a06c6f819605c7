//! Chooses the engine of a server without a configuration: Redis on localhost if it responds, else memory.

use crate::config::Config;
use crate::config::redis::Redis as RedisConfig;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Maximum time for Redis to respond.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Chooses the engine of the only namespace, and logs which one and how to pin it.
pub async fn choose_engine(config: &mut Config) {
    let redis = RedisConfig::default();
    let responds = tokio::time::timeout(TIMEOUT, ping(&redis.hosts[0].0, redis.hosts[0].1)).await;
    if matches!(responds, Ok(Ok(true))) {
        tracing::info!(
            %redis,
            "engine: Redis responds on this machine; to pin it, write `/nodevent: {{open: true, redis: {{host: localhost}}}}`"
        );
        config.namespaces[0].redis = Some(redis);
    } else {
        tracing::info!(
            "engine: memory, because no Redis responds on localhost:6379; to pin it, write `/nodevent: {{open: true}}`"
        );
    }
}

/// Sends `PING` as an inline command. A client of the library would retry, and would log that it cannot connect.
async fn ping(host: &str, port: u16) -> io::Result<bool> {
    let mut connection = TcpStream::connect((host, port)).await?;
    connection.write_all(b"PING\r\n").await?;
    let mut reply = [0; 7];
    connection.read_exact(&mut reply).await?;
    Ok(&reply == b"+PONG\r\n")
}
