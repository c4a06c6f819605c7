//! The seeds of generated tests.

use std::time::{Duration, Instant};

/// So many seeds, or as many as fit into `NODEVENT_FUZZ_SECONDS`, which `rake fuzz` sets.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("NODEVENT_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    (0..).take_while(move |seed| until.map_or(*seed < count, |until| Instant::now() < until))
}
