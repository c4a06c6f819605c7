//! The demonstration: a random number every five seconds.

use super::{Sink, Source};
use std::pin::Pin;
use std::time::Duration;

/// The interval.
const INTERVAL: Duration = Duration::from_secs(5);

/// See the head of this file.
pub(super) struct Demo;

// === impl Demo ===

impl Source for Demo {
    fn run(self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let number = rand::random_range(0..100);
                sink.send(&format!("Generated random no {number}")).await;
            }
        })
    }
}
