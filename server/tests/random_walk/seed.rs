//! The seed of a walk, and the number of its steps.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// A seed. It is printed when the test fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the walk failed; repeat it with NODEVENT_SEED={}", self.0);
        }
    }
}

// === impl Seed ===

impl Seed {
    /// That of `NODEVENT_SEED`, or a random one.
    pub fn choose() -> Self {
        Self(number("NODEVENT_SEED").unwrap_or_else(rand::random))
    }

    pub fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.0)
    }
}

/// The number of steps: that of `NODEVENT_STEPS`, or the default one.
pub fn steps(default: usize) -> usize {
    number("NODEVENT_STEPS").map_or(default, |steps| steps as usize)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}
