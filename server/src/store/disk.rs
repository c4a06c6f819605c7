//! The file of a store, and the only place that knows the library.
//!
//! It contains groups of records under growing numbers, and a few numbers about itself. The library (redb) never changes
//! what is in use: a transaction writes new pages, then one page with the root. Each page has a checksum, so after a crash
//! the last complete transaction counts. See `docs/decisions/015-store.md`.

#![allow(clippy::result_large_err, reason = "the error of the library does not leave this file")]

use super::StoreError;
use super::codec::checksum;
use redb::{
    Database, DatabaseError, Durability, ReadableTable as _, ReadableTableMetadata as _, StorageError,
    TableDefinition, TableHandle as _,
};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Groups of records, by their numbers. Each has its checksum before it.
const GROUPS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("groups");
/// Numbers about the store.
const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The numbers of namespaces.
const NAMESPACES: TableDefinition<'static, &str, u64> = TableDefinition::new("namespaces");

/// The version of everything that is stored.
const FORMAT: u64 = 1;
/// Pages that the library keeps in memory. Bytes. Groups are written once and read once, so more would be of no use.
const CACHE: usize = 16 << 20;
/// The longest group, with its checksum, unless one record is longer. The library needs a page of 2^n bytes for each, which
/// this fills. Bytes.
pub(super) const MAX_VALUE: usize = (1 << 20) - 512;
/// How the library marks its files.
const SIGNATURE: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
/// The longest file that the library has before it marks it. Bytes.
const MAX_UNFINISHED: u64 = 16 << 20;
/// The error of a file that is another user's.
const FOREIGN: &str = "its file belongs to another user of this machine, who can read and change it; move the file away, and name a \
                       folder that only the user of the server may write to";
/// The error of a file that is a symbolic link.
const LINK: &str = "its file is a symbolic link; name the folder to which it leads";
/// The name of the file.
const FILE: &str = "nodevent.redb";

/// The file of a store.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// Who may own the file.
    owner: Owner,
    /// `None` after an error, until it is open again.
    database: Option<Database>,
}

/// Who may own the file of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The user of this process, or root.
    Own,
    /// Also another one, for a command that root runs on the store of a server.
    Any,
}

/// Numbers about a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The first group that counts.
    pub(super) start: u64,
    /// The length of the last checkpoint. Bytes.
    pub(super) checkpoint_bytes: u64,
    /// Whether groups may be missing at the end, unless the store was closed.
    pub(super) may_lack_groups: bool,
}

/// What one transaction changes.
#[derive(Debug, Default)]
pub(super) struct Transaction<'a> {
    pub(super) groups: Vec<(u64, &'a [u8])>,
    pub(super) meta: Option<Meta>,
    /// Deletes the groups before this number.
    pub(super) delete_before: Option<u64>,
}

// === impl Disk ===

impl Disk {
    /// Opens the store in a folder. Without `create` there must be one.
    pub(super) fn open(folder: &Path, create: bool) -> Result<Self, StoreError> {
        let file = folder.join(FILE);
        if create {
            make_folder(folder).map_err(|error| StoreError::cannot(folder, "be written to", &error))?;
            warn_of_writers(folder);
        } else if !file.exists() {
            return Err(StoreError::Missing(folder.to_owned()));
        }
        let owner = if !create && rustix::process::geteuid().is_root() { Owner::Any } else { Owner::Own };
        let mut disk = Self { folder: folder.to_owned(), owner, database: None };
        disk.reopen()?;
        Ok(disk)
    }

    /// Opens the file, also again after an error.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let file = self.folder.join(FILE);
        let is_new = !file.exists();
        self.make_private(&file)?;
        let missing = self.lengthen(&file)?;
        let database = match self.open_file(&file) {
            Err(error) if is_invalid(&error) && self.is_unfinished(&file) => {
                tracing::info!(file = %file.display(), "a store that could not be created completely is created again");
                std::fs::remove_file(&file)
                    .map_err(|error| StoreError::cannot(&self.folder, "be written to", &error))?;
                self.open_file(&file)
            }
            result => result,
        };
        self.database = Some(match (database, missing) {
            (Ok(database), Some(Missing { length, expected, .. })) => {
                let file = file.display();
                tracing::warn!(
                    %file, length, expected,
                    "the file of the store was shorter than its header says, as after a loss of power while it grew; the \
                     last complete write counts"
                );
                database
            }
            (Ok(database), None) => database,
            (Err(_), Some(missing)) => {
                // As long as it was.
                let _ = self.set_length(&file, missing.length);
                return Err(missing.error);
            }
            (Err(error), None) => return Err(self.explain(error)),
        });
        let set_up = || -> Result<u64, redb::Error> {
            let transaction = self.database()?.begin_write()?;
            let found = {
                transaction.open_table(GROUPS)?;
                transaction.open_table(NAMESPACES)?;
                let mut meta = transaction.open_table(META)?;
                let found = meta.get("format")?.map(|value| value.value());
                if found.is_none() {
                    meta.insert("format", FORMAT)?;
                }
                found
            };
            match found {
                None => transaction.commit()?,
                Some(_) => transaction.abort()?,
            }
            if is_new {
                // The entry of the file in its folder.
                std::fs::File::open(&self.folder)?.sync_all()?;
            }
            Ok(found.unwrap_or(FORMAT))
        };
        match set_up().map_err(|error| self.failed(&error))? {
            FORMAT => Ok(()),
            format => Err(StoreError::Newer { folder: self.folder.clone(), format, known: FORMAT }),
        }
    }

    /// The library expects a file of at least the length that its header says. If a server was using it, the machine may have lost
    /// power while the file grew: with zeros at its end, the library finds the last complete transaction. Otherwise it was
    /// truncated. Returns what is wrong if the library does not find any.
    fn lengthen(&self, file: &Path) -> Result<Option<Missing>, StoreError> {
        let Some((expected, length, was_used)) =
            self.expected_length(file).filter(|(expected, length, _)| length < expected)
        else {
            return Ok(None);
        };
        let reason = format!("it was truncated to {length} of {expected} bytes");
        let error = StoreError::Damaged { folder: self.folder.clone(), reason };
        let missing = Missing { length, expected, error };
        if !was_used {
            return Err(missing.error);
        }
        self.set_length(file, expected).map_err(|error| StoreError::cannot(&self.folder, "be opened", &error))?;
        Ok(Some(missing))
    }

    /// Opens the file. In a folder to which others may write, it could be a link to another file of this user, or a file of
    /// theirs, in which they read what is stored.
    fn open_own(&self, file: &Path) -> io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file).map_err(|error| {
            let is_link = error.raw_os_error() == Some(libc::ELOOP);
            if is_link { io::Error::other(LINK) } else { error }
        })?;
        let owner = file.metadata()?.uid();
        let is_own = self.owner == Owner::Any || owner == 0 || owner == rustix::process::geteuid().as_raw();
        if is_own { Ok(file) } else { Err(io::Error::other(FOREIGN)) }
    }

    /// Makes the file, also in a folder that others may read. Takes it away from users who are not in the group of one that
    /// exists.
    fn make_private(&self, file: &Path) -> Result<(), StoreError> {
        let opened = self.open_own(file).map_err(|error| StoreError::cannot(&self.folder, "be opened", &error))?;
        let mode = opened.metadata().map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o007 != 0 {
            // The owner may be root.
            let _ = opened.set_permissions(std::fs::Permissions::from_mode(mode & 0o770));
        }
        Ok(())
    }

    fn open_file(&self, file: &Path) -> Result<Database, DatabaseError> {
        let opened = self.open_own(file).map_err(StorageError::Io)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE).create_with_file_format_v3(true);
        // What the library does not expect of a file may be a panic.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.create_file(opened))).unwrap_or_else(
            |_| Err(DatabaseError::Storage(StorageError::Corrupted("the library cannot read the file".into()))),
        )
    }

    fn set_length(&self, file: &Path, length: u64) -> io::Result<()> {
        self.open_own(file)?.set_len(length)
    }

    /// Whether a file is what remains if the disk is full, or the machine loses power, while the library creates it: it begins with
    /// zeros, because the library writes its signature last, and does not have the names of the tables.
    fn is_unfinished(&self, file: &Path) -> bool {
        let mut content = Vec::new();
        let read = self.open_own(file).and_then(|file| file.take(MAX_UNFINISHED + 1).read_to_end(&mut content));
        read.is_ok_and(|length| {
            let name = GROUPS.name().as_bytes();
            length as u64 <= MAX_UNFINISHED
                && content.iter().take(SIGNATURE.len()).all(|byte| *byte == 0)
                && !content.windows(name.len()).any(|part| part == name)
        })
    }

    /// The length of a file according to its header, the one that it has, and whether it was not closed. `None`: it has no header.
    fn expected_length(&self, file: &Path) -> Option<(u64, u64, bool)> {
        let mut header = [0; 32];
        let mut file = self.open_own(file).ok()?;
        file.read_exact(&mut header).ok()?;
        let number = |at: usize| Some(u64::from(u32::from_le_bytes(header.get(at..at + 4)?.try_into().ok()?)));
        // The sizes are in pages, after the signature and two flags: design.md of redb, "Super-header".
        let (page, before_data, data) = (number(12)?, number(16)?, number(20)?);
        let (full, rest) = (number(24)?, number(28)?);
        let regions = full.checked_mul(before_data + data)?;
        let last = if rest == 0 { 0 } else { before_data + rest };
        let expected = regions.checked_add(last + 1)?.checked_mul(page)?;
        header.starts_with(SIGNATURE).then(|| Some((expected, file.metadata().ok()?.len(), header[9] & 2 != 0)))?
    }

    fn database(&self) -> Result<&Database, StorageError> {
        self.database.as_ref().ok_or(StorageError::PreviousIo)
    }

    fn explain(&self, error: DatabaseError) -> StoreError {
        let folder = self.folder.clone();
        match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(folder),
            DatabaseError::UpgradeRequired(format) => {
                StoreError::Newer { folder, format: u64::from(format), known: FORMAT }
            }
            DatabaseError::Storage(StorageError::Io(error)) if !is_of_content(&error) => {
                StoreError::cannot(&folder, "be opened", &error)
            }
            error => StoreError::Damaged { folder, reason: error.to_string() },
        }
    }

    fn failed(&self, error: &redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => StoreError::cannot(&self.folder, "be used", error),
            error => StoreError::Damaged { folder: self.folder.clone(), reason: error.to_string() },
        }
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Numbers about the store.
    pub(super) fn meta(&self) -> Result<Meta, StoreError> {
        let read = || -> Result<Meta, redb::Error> {
            let table = self.database()?.begin_read()?.open_table(META)?;
            let number =
                |name| -> Result<u64, redb::Error> { Ok(table.get(name)?.map_or(0, |value| value.value())) };
            Ok(Meta {
                start: number("start")?,
                checkpoint_bytes: number("checkpoint_bytes")?,
                may_lack_groups: number("may_lack_groups")? != 0,
            })
        };
        read().map_err(|error| self.failed(&error))
    }

    /// The number of a namespace, which gets one if it has none.
    pub(super) fn namespace(&mut self, name: &str) -> Result<u16, StoreError> {
        if let Some((_, number)) = self.namespaces()?.into_iter().find(|(one, _)| one == name) {
            return Ok(number);
        }
        let add = || -> Result<u64, redb::Error> {
            let transaction = self.database()?.begin_write()?;
            let number = {
                let mut table = transaction.open_table(NAMESPACES)?;
                let number = table.len()?;
                table.insert(name, number)?;
                number
            };
            transaction.commit()?;
            Ok(number)
        };
        let number = add().map_err(|error| self.failed(&error))?;
        u16::try_from(number).map_err(|_| StoreError::Damaged {
            folder: self.folder.clone(),
            reason: "it has too many namespaces".into(),
        })
    }

    /// All namespaces with their numbers.
    pub(super) fn namespaces(&self) -> Result<Vec<(String, u16)>, StoreError> {
        let read = || -> Result<Vec<(String, u16)>, redb::Error> {
            let table = self.database()?.begin_read()?.open_table(NAMESPACES)?;
            let mut all = Vec::new();
            for entry in table.iter()? {
                let (name, number) = entry?;
                all.push((name.value().to_owned(), number.value() as u16));
            }
            Ok(all)
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Reads the groups from a number on, in order. Returns the number after the last one.
    pub(super) fn read(&self, start: u64, mut each: impl FnMut(&[u8]) -> Option<()>) -> Result<u64, StoreError> {
        let mut next = start;
        let mut read = || -> Result<bool, redb::Error> {
            let table = self.database()?.begin_read()?.open_table(GROUPS)?;
            for entry in table.range(start..)? {
                let (number, value) = entry?;
                let is_whole = value.value().split_first_chunk().is_some_and(|(sum, group)| {
                    number.value() == next && u64::from_le_bytes(*sum) == checksum(group) && each(group).is_some()
                });
                if !is_whole {
                    return Ok(false);
                }
                next = number.value() + 1;
            }
            Ok(true)
        };
        match read() {
            Ok(true) => Ok(next),
            Ok(false) => Err(self.is_not_what_was_written(next)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// A group was damaged.
    pub(super) fn is_not_what_was_written(&self, group: u64) -> StoreError {
        let reason = format!("group {group} is missing or not what was written");
        StoreError::Damaged { folder: self.folder.clone(), reason }
    }

    /// The number of the newest group.
    pub(super) fn newest(&self) -> Result<Option<u64>, StoreError> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let table = self.database()?.begin_read()?.open_table(GROUPS)?;
            Ok(table.last()?.map(|(number, _)| number.value()))
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Changes everything, or nothing. Afterwards it is on disk.
    pub(super) fn commit(&mut self, change: &Transaction<'_>) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let mut transaction = self.database()?.begin_write()?;
            transaction.set_durability(Durability::Immediate);
            for (number, group) in &change.groups {
                let mut table = transaction.open_table(GROUPS)?;
                let mut value = table.insert_reserve(*number, (group.len() + 8) as u32)?;
                let (sum, contents) = value.as_mut().split_at_mut(8);
                sum.copy_from_slice(&checksum(group).to_le_bytes());
                contents.copy_from_slice(group);
            }
            if let Some(end) = change.delete_before {
                transaction.open_table(GROUPS)?.retain_in(..end, |_, _| false)?;
            }
            if let Some(meta) = change.meta {
                let mut table = transaction.open_table(META)?;
                table.insert("start", meta.start)?;
                table.insert("checkpoint_bytes", meta.checkpoint_bytes)?;
                table.insert("may_lack_groups", u64::from(meta.may_lack_groups))?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.failed(&error))
    }

    /// Verifies every page.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        let folder = self.folder.clone();
        let Some(database) = &mut self.database else { return Ok(()) };
        match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Damaged { folder, reason: "it was repaired; check it again".into() }),
            Err(error) => Err(StoreError::Damaged { folder, reason: error.to_string() }),
        }
    }

    /// Gives unused space back to the file system.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        match database.compact() {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::Damaged { folder: self.folder.clone(), reason: error.to_string() }),
        }
    }

    /// Writes the number of another version.
    #[cfg(test)]
    pub(super) fn set_format(&self, format: u64) {
        let transaction = self.database().unwrap().begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    }

    /// The size of the file. Bytes.
    pub(super) fn size(&self) -> u64 {
        std::fs::metadata(self.folder.join(FILE)).map_or(0, |file| file.len())
    }
}

/// Makes the folder, which only its owner may read: it contains messages of users.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Warns if other users of the machine may replace or delete the file.
fn warn_of_writers(folder: &Path) {
    let Ok(metadata) = std::fs::metadata(folder) else { return };
    let is_own = metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw();
    // In a folder like /tmp, others cannot.
    let is_shared = metadata.mode() & 0o1002 == 0o002;
    if !is_own || is_shared {
        tracing::warn!(
            folder = %folder.display(),
            "other users of this machine may replace or delete the store, because they may write to its folder; \
             let only the user of the server write to it"
        );
    }
}

/// A file that is shorter than its header says. Lengths in bytes.
struct Missing {
    length: u64,
    expected: u64,
    error: StoreError,
}

fn is_of_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn is_invalid(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Storage(StorageError::Io(error)) if is_of_content(error))
}
