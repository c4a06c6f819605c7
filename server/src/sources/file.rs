//! A file whose new lines are texts, as `tail -F` follows it.
//!
//! What is in the file at the start is not sent. A file that is rotated (another file has its name) is read to its end,
//! and the new one from its beginning. A file that is truncated is read from its beginning. One that does not exist is
//! waited for. A file that is truncated and grows beyond its old length between two looks cannot be distinguished from
//! one that grew.

use super::lines::Lines;
use super::{Sink, Source};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

/// Interval between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(250);
/// Bytes of one read, so that a file that grows fast does not fill the memory.
const PIECE: u64 = 64 * 1024;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct FollowedFile {
    path: PathBuf,
    open: Option<OpenFile>,
    lines: Lines,
    /// Whether the file was looked for before. Then one that appears is new.
    was_looked_for: bool,
    /// Whether the last look failed. Only the first failure in succession is logged.
    is_failing: bool,
}

/// The file that is being read.
#[derive(Debug)]
struct OpenFile {
    file: File,
    /// Device and inode.
    id: (u64, u64),
    /// Bytes that were read.
    offset: u64,
}

// === impl FollowedFile ===

impl FollowedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None, lines: Lines::default(), was_looked_for: false, is_failing: false }
    }

    /// Looks at the file once. Returns new lines, and whether there is more to read now.
    fn look(&mut self) -> (Vec<String>, bool) {
        let at_path = std::fs::metadata(&self.path).ok().filter(Metadata::is_file);
        let was_looked_for = std::mem::replace(&mut self.was_looked_for, true);
        let mut texts = Vec::new();
        if let Some(open) = &mut self.open {
            let length = open.file.metadata().map_or(0, |metadata| metadata.len());
            if length < open.offset {
                texts.extend(self.lines.end());
                open.offset = 0;
            }
            match open.read() {
                Ok(bytes) => {
                    self.is_failing = false;
                    if !bytes.is_empty() {
                        texts.extend(self.lines.push(&bytes));
                        return (texts, true);
                    }
                }
                Err(error) => report(&self.path, &error, &mut self.is_failing),
            }
            // It is read to its end. Is it still the file of that name?
            if at_path.as_ref().is_some_and(|metadata| id_of(metadata) != open.id) {
                texts.extend(self.lines.end());
                self.open = None;
            }
        }
        if self.open.is_none() && at_path.is_some() {
            match OpenFile::open(&self.path, was_looked_for) {
                Ok(open) => {
                    self.open = Some(open);
                    self.is_failing = false;
                }
                Err(error) => report(&self.path, &error, &mut self.is_failing),
            }
            return (texts, self.open.is_some());
        }
        (texts, false)
    }
}

impl Source for FollowedFile {
    fn run(mut self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            loop {
                let looked = tokio::task::spawn_blocking(move || {
                    let found = self.look();
                    (self, found)
                });
                let Ok((follower, (texts, has_more))) = looked.await else { return };
                self = follower;
                for text in texts {
                    sink.send(&text).await;
                }
                if !has_more {
                    tokio::time::sleep(INTERVAL).await;
                }
            }
        })
    }
}

// === impl OpenFile ===

impl OpenFile {
    /// Opens a file at its beginning, if it is new, or at its end.
    fn open(path: &Path, is_new: bool) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let offset = if is_new { 0 } else { metadata.len() };
        Ok(Self { id: id_of(&metadata), file, offset })
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.by_ref().take(PIECE).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

/// Logs that the file cannot be read, unless the look before failed too.
fn report(path: &Path, error: &io::Error, is_failing: &mut bool) {
    if !std::mem::replace(is_failing, true) {
        let path = path.display();
        tracing::warn!(%path, %error, "the followed file cannot be read; let the user of the server read it");
    }
}

fn id_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    fn texts(follower: &mut FollowedFile) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (texts, has_more) = follower.look();
            all.extend(texts);
            if !has_more {
                return all;
            }
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn new_lines_are_sent_also_after_the_file_is_rotated_or_truncated() {
        //
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        append(&path, "old\n");
        let mut follower = FollowedFile::new(path.clone());
        assert!(texts(&mut follower).is_empty(), "what is there at the start is not sent");
        append(&path, "one\ntw");
        assert_eq!(texts(&mut follower), ["one"]);
        append(&path, "o\nthree");
        assert_eq!(texts(&mut follower), ["two"]);
        // Rotated: the rest of the old file comes first.
        fs::rename(&path, folder.path().join("app.log.1")).unwrap();
        append(&folder.path().join("app.log.1"), "\nfour\n");
        assert_eq!(texts(&mut follower), ["three", "four"]);
        append(&path, "five\n");
        assert_eq!(texts(&mut follower), ["five"]);
        // Truncated.
        fs::write(&path, "six\n").unwrap();
        let _ = texts(&mut follower);
        fs::write(&path, "").unwrap();
        assert!(texts(&mut follower).is_empty());
        append(&path, "seven\n");
        assert_eq!(texts(&mut follower), ["seven"]);
    }

    #[test]
    fn a_file_that_appears_later_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut follower = FollowedFile::new(path.clone());
        assert!(texts(&mut follower).is_empty());
        append(&path, "one\n");
        assert_eq!(texts(&mut follower), ["one"]);
        fs::remove_file(&path).unwrap();
        assert!(texts(&mut follower).is_empty());
        append(&path, "two\n");
        assert_eq!(texts(&mut follower), ["two"]);
    }
}
