//! The WebSocket of one client of these tests. Unlike [`crate::support::websocket`] it survives the loss of its server: an
//! operation returns `None` then.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

/// An open connection.
pub struct Link {
    stream: WebSocketStream<TcpStream>,
    /// Longest time between two heartbeats of the server.
    pub heartbeat: Duration,
}

// === impl Link ===

impl Link {
    /// Connects, and reads the open packet.
    pub async fn open(address: &str) -> Option<Self> {
        let tcp = TcpStream::connect(address).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
        let (stream, _) = tokio_tungstenite::client_async_with_config(url, tcp, Some(config)).await.ok()?;
        let mut link = Self { stream, heartbeat: Duration::ZERO };
        let open = link.next().await?;
        let open: Value = serde_json::from_str(open.strip_prefix('0')?).ok()?;
        let heartbeat = open["pingInterval"].as_u64()? + open["pingTimeout"].as_u64()?;
        link.heartbeat = Duration::from_millis(heartbeat);
        Some(link)
    }

    /// Sends the connect packet of a namespace, and returns the reply to it: one that begins with `40` or `44`.
    pub async fn enter(&mut self, namespace: &str, auth: &str) -> Option<String> {
        self.send(format!("40{namespace},{auth}")).await?;
        loop {
            let packet = self.next().await?;
            if packet.starts_with("40") || packet.starts_with("44") {
                return Some(packet);
            }
            if packet == "2" {
                self.send("3").await?;
            }
        }
    }

    /// Sends an Engine.IO packet.
    pub async fn send(&mut self, packet: impl Into<String>) -> Option<()> {
        self.stream.send(Message::text(packet.into())).await.ok()
    }

    /// Returns the next Engine.IO packet, or `None` if the connection ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                _ => return None,
            }
        }
    }

    /// Closes the connection.
    pub async fn close(mut self) {
        let _ = self.stream.close(None).await;
    }
}
