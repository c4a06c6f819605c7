//! socketioxide with rooms and nothing else: `join` with an acknowledgement, and publications as lines over TCP.
//!
//! Usage: `oxide <port of connections> <port of the publisher>`.
#![forbid(unsafe_code)]

use serde::Deserialize;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct Join {
    room: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut ports = std::env::args().skip(1);
    let mut port = || ports.next().ok_or("usage: oxide <port> <port>");
    let (connections, publishers) = (format!("127.0.0.1:{}", port()?), format!("127.0.0.1:{}", port()?));
    // The queue of each connection must hold a burst, which exceeds the default of 128 packets.
    let (layer, io) = SocketIo::builder().max_buffer_size(4096).build_layer();
    io.ns("/nodevent", async |socket: SocketRef| {
        socket.on("join", async |socket: SocketRef, Data::<Join>(join), ack: AckSender| {
            socket.join(join.room);
            let _ = ack.send(&(Value::Null, true));
        });
    });
    let publishers = TcpListener::bind(publishers).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = publishers.accept().await {
            let io = io.clone();
            tokio::spawn(async move {
                let mut lines = BufReader::new(stream).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let Ok(publication) = serde_json::from_str::<Value>(&line) else { continue };
                    let room = publication["room"].as_str().unwrap_or_default().to_owned();
                    if let Some(namespace) = io.of("/nodevent") {
                        let _ = namespace.to(room).emit("event", &publication).await;
                    }
                }
            });
        }
    });
    let listener = TcpListener::bind(connections).await?;
    axum::serve(listener, axum::Router::new().layer(layer)).await?;
    Ok(())
}
