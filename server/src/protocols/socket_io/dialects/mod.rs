//! One file per dialect.

mod nodevent;

pub use nodevent::NodEvent;
