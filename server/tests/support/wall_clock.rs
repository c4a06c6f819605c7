//! A wall clock that jumps, for the processes that a test starts with it. Their monotonic time does not change.
//!
//! `libfaketime` (on Debian: the package `faketime`) is loaded into them. Each time a process asks for the time, it reads from
//! a file how far the clock is off.

use std::ffi::OsString;
use std::path::PathBuf;
use tempfile::TempDir;

/// The clock. Processes that use it must end before it is dropped.
pub struct WallClock {
    folder: TempDir,
}

// === impl WallClock ===

impl WallClock {
    /// A clock that is right.
    pub fn new() -> Self {
        let clock = Self { folder: TempDir::new().expect("a folder") };
        clock.set(0);
        clock
    }

    /// Makes the clock this far off: ahead, or behind.
    pub fn set(&self, seconds: i64) {
        // Processes read it at any time, and must find all of it.
        let new = self.folder.path().join("new");
        std::fs::write(&new, format!("{seconds:+}")).expect("a file is written");
        std::fs::rename(new, self.file()).expect("a file is renamed");
    }

    /// The environment of a process that uses the clock.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", libraries()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().into()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

/// The library, which Debian keeps in a folder of the architecture, and the allocator of libc. Redis would use jemalloc, which
/// asks for the time before the library is ready.
fn libraries() -> OsString {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = folders.map(|folder| [folder.join("faketime/libfaketimeMT.so.1"), folder.join("libc.so.6")]);
    let found = found.find(|files| files.iter().all(|file| file.exists()));
    let [library, libc] = found.expect("libfaketime is installed; on Debian: apt-get install faketime");
    format!("{}:{}", library.display(), libc.display()).into()
}
