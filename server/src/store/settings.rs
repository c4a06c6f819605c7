//! The settings of a store.

use std::path::PathBuf;
use std::time::Duration;

/// What the configuration says about the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder.
    pub folder: PathBuf,
    /// When it is on disk.
    pub sync: SyncMode,
}

/// When what is confirmed is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before it is confirmed.
    Always,
    /// Within this time.
    Every(Duration),
}
