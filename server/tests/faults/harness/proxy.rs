//! A TCP link under the control of a test: it forwards, delays or discards the bytes, or closes the connections.

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The treatment of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Every piece is this late; pieces keep their order.
    Delay(Duration),
    /// Both sides keep an open connection on which nothing arrives: a half-open connection.
    BlackHole,
    /// All links are closed, and new ones are closed immediately.
    Cut,
}

/// A proxy in front of a port of this machine.
pub struct Proxy {
    pub port: u16,
    mode: Arc<watch::Sender<Mode>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Proxy ===

impl Proxy {
    pub async fn in_front_of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let mode_tx = Arc::new(watch::Sender::new(Mode::Forward));
        let mode_rx = mode_tx.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mode = mode_rx.clone();
                tokio::spawn(async move {
                    if *mode.borrow() == Mode::Cut {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    link(near, far, mode).await;
                });
            }
        });
        Self { port: own, mode: mode_tx, task }
    }

    /// Changes the mode of open and new links.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The address of the proxy.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Serves one link until a side closes it or the test cuts it.
async fn link(near: TcpStream, far: TcpStream, mode: watch::Receiver<Mode>) {
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut cut = mode.clone();
    tokio::select! {
        () = forward(near_in, far_out, mode.clone()) => {}
        () = forward(far_in, near_out, mode) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn forward(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
) {
    let mut piece = vec![0; 64 * 1024];
    // A link that has discarded bytes is no longer a valid stream, so it discards everything until it ends.
    let mut is_broken = false;
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            // On a half-open link neither side learns that the other one ended.
            if is_broken {
                std::future::pending::<()>().await;
            }
            return;
        };
        let mode = *mode.borrow();
        match mode {
            Mode::BlackHole => is_broken = true,
            Mode::Delay(by) => tokio::time::sleep(by).await,
            Mode::Forward | Mode::Cut => {}
        }
        if !is_broken && to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
