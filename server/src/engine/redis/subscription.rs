//! Keeps the subscriber of a namespace subscribed to its permanent channels, and reports each new subscription.
//!
//! The channels of single rooms are the concern of [`super::subscriber`].

use super::Shared;
use super::client::force_reconnect;
use fred::interfaces::{EventInterface, PubsubInterface};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, watch};

/// Subscribes after each connect.
pub(super) struct Resubscriber {
    pub(super) shared: Arc<Shared>,
    /// Channels that are always subscribed. The first is the channel of the namespace.
    pub(super) channels: Vec<String>,
    /// Notified by the [`super::health::HealthProbe`] to subscribe although no connection was lost.
    pub(super) resubscribe: Arc<Notify>,
    /// Number of times that the channels were subscribed. [`super::subscriber::Inputs`] holds the receiver.
    pub(super) subscription_gen_tx: watch::Sender<u64>,
}

// === impl Resubscriber ===

impl Resubscriber {
    pub(super) async fn run(self) {
        let mut connected = self.shared.subscriber.reconnect_rx();
        let mut failed = self.shared.subscriber.error_rx();
        let mut is_down = false;
        loop {
            tokio::select! {
                connection = connected.recv() => match connection {
                    Ok(_) | Err(RecvError::Lagged(_)) => is_down = !self.subscribe().await,
                    Err(RecvError::Closed) => return,
                },
                () = self.resubscribe.notified() => is_down = !self.subscribe().await,
                failure = failed.recv() => match failure {
                    Ok((error, _)) if !is_down => {
                        is_down = true;
                        self.shared.health.begin_outage();
                        self.shared.fanout.metrics().engine_disconnects.fetch_add(1, Relaxed);
                        tracing::warn!(
                            redis = self.shared.address,
                            error = error.details(),
                            "lost connection to Redis; retrying (clients stay connected)"
                        );
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    /// Returns whether the channels are subscribed.
    async fn subscribe(&self) -> bool {
        let Shared { subscriber, address, .. } = &*self.shared;
        match subscriber.subscribe(self.channels.clone()).await {
            Ok(()) => {
                tracing::info!(redis = address, channel = self.channels[0], "subscribed");
                self.subscription_gen_tx.send_modify(|generation| *generation += 1);
                true
            }
            Err(error) => {
                tracing::warn!(redis = address, error = error.details(), "could not subscribe; reconnecting");
                force_reconnect(subscriber).await;
                false
            }
        }
    }
}
