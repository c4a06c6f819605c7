//! The engine in this process: what is published goes straight to the shards.

use super::Outlet;
use nodevent_protocol::emission::Emission;
use tokio::sync::Mutex;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Memory {
    /// Locked while an emission is passed on, so that all shards see one order.
    outlet: Mutex<Outlet>,
}

// === impl Memory ===

impl Memory {
    /// An engine that pushes into `outlet`.
    pub fn new(outlet: Outlet) -> Self {
        Self { outlet: Mutex::new(outlet) }
    }

    /// Passes an emission on.
    pub async fn publish(&self, emission: &Emission<'_>) {
        self.outlet.lock().await.pass(emission).await;
    }
}
