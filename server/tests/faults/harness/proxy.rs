//! A TCP link in our hands: it passes on, delays, swallows without a word, or is cut.

use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    /// Every piece is this late, and pieces stay in order.
    Delay(Duration),
    /// Both sides think the link stands, and nothing arrives: a half-open connection.
    Swallow,
    /// All links are cut, and new ones at once.
    Cut,
}

/// A proxy before one port of this machine.
pub struct Proxy {
    pub port: u16,
    way: Arc<watch::Sender<Way>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Proxy ===

impl Proxy {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let way = Arc::new(watch::Sender::new(Way::Pass));
        let told = way.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    if *told.borrow() == Way::Cut {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    link(near, far, told).await;
                });
            }
        });
        Self { port: own, way, task }
    }

    /// From now on the bytes go that way, on links that stand and on new ones.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// The address in front of it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// One link, until a side ends or it is cut.
async fn link(near: TcpStream, far: TcpStream, told: watch::Receiver<Way>) {
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut cut = told.clone();
    tokio::select! {
        () = carry(near_in, far_out, told.clone()) => {}
        () = carry(far_in, near_out, told) => {}
        _ = cut.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    told: watch::Receiver<Way>,
) {
    let mut piece = vec![0; 64 * 1024];
    // A link that has swallowed something is no stream any more: it swallows to its end.
    let mut broken = false;
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            // Of a half-open link neither side hears the end of the other.
            if broken {
                std::future::pending::<()>().await;
            }
            return;
        };
        let way = *told.borrow();
        match way {
            Way::Swallow => broken = true,
            Way::Delay(by) => tokio::time::sleep(by).await,
            Way::Pass | Way::Cut => {}
        }
        if !broken && to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
