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
    TableDefinition,
};
use std::io;
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
/// The name of the file.
const FILE: &str = "nodevent.redb";

/// The file of a store.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    /// `None` after an error, until it is open again.
    database: Option<Database>,
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
    pub(super) group: Option<(u64, &'a [u8])>,
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
        } else if !file.exists() {
            return Err(StoreError::Missing(folder.to_owned()));
        }
        let mut disk = Self { folder: folder.to_owned(), database: None };
        disk.reopen()?;
        Ok(disk)
    }

    /// Opens the file, also again after an error.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.database = None;
        let file = self.folder.join(FILE);
        let is_new = !file.exists();
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        let database =
            builder.create_with_file_format_v3(true).create(&file).map_err(|error| self.explain(error))?;
        self.database = Some(database);
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
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
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
            Ok(false) => Err(StoreError::Damaged {
                folder: self.folder.clone(),
                reason: format!("group {next} is missing or not what was written"),
            }),
            Err(error) => Err(self.failed(&error)),
        }
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
            if let Some((number, group)) = change.group {
                let mut table = transaction.open_table(GROUPS)?;
                let mut value = table.insert_reserve(number, (group.len() + 8) as u32)?;
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
    use std::os::unix::fs::DirBuilderExt as _;
    if folder.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
