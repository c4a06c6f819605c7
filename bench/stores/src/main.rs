//! Measures embedded stores with the access pattern of the memory engine's store: groups of records that are appended
//! under a growing number, with one `fsync` each, read once at the start, and deleted from the old end.
//!
//! `cargo run --release -- FOLDER` prints one line for each store. The folder must be on the disk to be measured.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A publication of a usual size, with what is stored next to it. Bytes.
const RECORD: usize = 250;
/// Groups that are committed one by one.
const SINGLE: u64 = 500;
/// Records of a large group, and how many of them.
const LARGE: usize = 256;
const LARGE_GROUPS: u64 = 200;
/// Records that are loaded at the start.
const LOADED: usize = 1_000_000;

/// What a store must do.
trait Store: Sized {
    const NAME: &'static str;
    fn open(folder: &Path) -> Outcome<Self>;
    /// Appends a group. Afterwards it is on disk.
    fn append(&mut self, number: u64, group: &[u8]) -> Outcome;
    /// Reads everything, in order. Returns the bytes.
    fn read(&self) -> Outcome<usize>;
    /// Deletes the groups before this number.
    fn delete_before(&mut self, number: u64) -> Outcome;
}

struct Redb(redb::Database);
const GROUPS: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("groups");

impl Store for Redb {
    const NAME: &'static str = "redb";
    fn open(folder: &Path) -> Outcome<Self> {
        Ok(Self(redb::Database::builder().set_cache_size(64 << 20).create(folder.join("store"))?))
    }
    fn append(&mut self, number: u64, group: &[u8]) -> Outcome {
        let transaction = self.0.begin_write()?;
        transaction.open_table(GROUPS)?.insert(number, group)?;
        Ok(transaction.commit()?)
    }
    fn read(&self) -> Outcome<usize> {
        let mut bytes = 0;
        for entry in self.0.begin_read()?.open_table(GROUPS)?.range::<u64>(..)? {
            bytes += entry?.1.value().len();
        }
        Ok(bytes)
    }
    fn delete_before(&mut self, number: u64) -> Outcome {
        let transaction = self.0.begin_write()?;
        transaction.open_table(GROUPS)?.retain_in(..number, |_, _| false)?;
        Ok(transaction.commit()?)
    }
}

struct Fjall(fjall::Keyspace, fjall::PartitionHandle);

impl Store for Fjall {
    const NAME: &'static str = "fjall";
    fn open(folder: &Path) -> Outcome<Self> {
        let keyspace = fjall::Config::new(folder).open()?;
        let groups = keyspace.open_partition("groups", fjall::PartitionCreateOptions::default())?;
        Ok(Self(keyspace, groups))
    }
    fn append(&mut self, number: u64, group: &[u8]) -> Outcome {
        self.1.insert(number.to_be_bytes(), group)?;
        Ok(self.0.persist(fjall::PersistMode::SyncData)?)
    }
    fn read(&self) -> Outcome<usize> {
        let mut bytes = 0;
        for entry in self.1.iter() {
            bytes += entry?.1.len();
        }
        Ok(bytes)
    }
    fn delete_before(&mut self, number: u64) -> Outcome {
        for one in 0..number {
            self.1.remove(one.to_be_bytes())?;
        }
        Ok(self.0.persist(fjall::PersistMode::SyncData)?)
    }
}

struct Sqlite(rusqlite::Connection);

impl Store for Sqlite {
    const NAME: &'static str = "SQLite";
    fn open(folder: &Path) -> Outcome<Self> {
        let connection = rusqlite::Connection::open(folder.join("store"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE IF NOT EXISTS groups (number INTEGER PRIMARY KEY, bytes BLOB)", [])?;
        Ok(Self(connection))
    }
    fn append(&mut self, number: u64, group: &[u8]) -> Outcome {
        let mut statement = self.0.prepare_cached("INSERT INTO groups VALUES (?, ?)")?;
        statement.execute((number as i64, group))?;
        Ok(())
    }
    fn read(&self) -> Outcome<usize> {
        let mut statement = self.0.prepare("SELECT bytes FROM groups ORDER BY number")?;
        let (mut rows, mut bytes) = (statement.query([])?, 0);
        while let Some(row) = rows.next()? {
            bytes += row.get_ref(0)?.as_blob()?.len();
        }
        Ok(bytes)
    }
    fn delete_before(&mut self, number: u64) -> Outcome {
        self.0.execute("DELETE FROM groups WHERE number < ?", [number as i64])?;
        Ok(())
    }
}

type Bytes = heed::types::Bytes;
struct Lmdb(heed::Env, heed::Database<Bytes, Bytes>);

impl Store for Lmdb {
    const NAME: &'static str = "LMDB (heed)";
    fn open(folder: &Path) -> Outcome<Self> {
        // SAFETY: no other process has the file, which this program has made.
        let environment = unsafe { heed::EnvOpenOptions::new().map_size(4 << 30).open(folder)? };
        let mut transaction = environment.write_txn()?;
        let database = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Self(environment, database))
    }
    fn append(&mut self, number: u64, group: &[u8]) -> Outcome {
        let mut transaction = self.0.write_txn()?;
        self.1.put(&mut transaction, &number.to_be_bytes(), group)?;
        Ok(transaction.commit()?)
    }
    fn read(&self) -> Outcome<usize> {
        let (transaction, mut bytes) = (self.0.read_txn()?, 0);
        for entry in self.1.iter(&transaction)? {
            bytes += entry?.1.len();
        }
        Ok(bytes)
    }
    fn delete_before(&mut self, number: u64) -> Outcome {
        let mut transaction = self.0.write_txn()?;
        let end = number.to_be_bytes();
        let range = (std::ops::Bound::Unbounded, std::ops::Bound::Excluded(&end[..]));
        self.1.delete_range(&mut transaction, &range)?;
        Ok(transaction.commit()?)
    }
}

/// Groups per second that one file and one `fsync` each allow.
fn bare(folder: &Path, groups: u64, bytes: usize) -> Outcome<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("bare"))?;
    let (group, began) = (vec![7; bytes], Instant::now());
    for _ in 0..groups {
        file.write_all(&group)?;
        file.sync_data()?;
    }
    Ok(groups as f64 / began.elapsed().as_secs_f64())
}

fn size(folder: &Path) -> Outcome<u64> {
    let sizes = std::fs::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        let metadata = entry.metadata()?;
        Ok(if metadata.is_dir() { size(&entry.path())? } else { metadata.len() })
    });
    sizes.sum::<Outcome<u64>>()
}

/// A text that no compression makes small, as different publications are.
fn record(seed: &mut u64) -> [u8; RECORD] {
    std::array::from_fn(|_| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b' ' + (*seed >> 58) as u8
    })
}

fn group(records: usize, seed: &mut u64) -> Vec<u8> {
    (0..records).flat_map(|_| record(seed)).collect()
}

fn measure<S: Store>(base: &Path) -> Outcome {
    let folder = base.join(S::NAME.split(' ').next().unwrap_or_default());
    std::fs::create_dir_all(&folder)?;
    let mut seed = 1;
    let mut store = S::open(&folder)?;
    let mut number = 0;
    let mut rate = |store: &mut S, groups: u64, records: usize| -> Outcome<f64> {
        let all: Vec<Vec<u8>> = (0..groups).map(|_| group(records, &mut seed)).collect();
        let began = Instant::now();
        for one in &all {
            store.append(number, one)?;
            number += 1;
        }
        Ok(groups as f64 / began.elapsed().as_secs_f64())
    };
    let single_bare = bare(base, SINGLE, RECORD)?;
    let single = rate(&mut store, SINGLE, 1)?;
    let large_bare = bare(base, LARGE_GROUPS, RECORD * LARGE)?;
    let large = rate(&mut store, LARGE_GROUPS, LARGE)?;
    rate(&mut store, (LOADED / LARGE) as u64, LARGE)?;
    let full = size(&folder)?;
    drop(store);
    let began = Instant::now();
    let mut store = S::open(&folder)?;
    let bytes = store.read()?;
    let load = began.elapsed();
    let (all, began) = (SINGLE + LARGE_GROUPS + (LOADED / LARGE) as u64, Instant::now());
    store.delete_before(all)?;
    println!(
        "{:<12} one {single:>6.0}/s of {single_bare:>6.0} bare; {LARGE} in a group {:>7.0}/s of {:>7.0} bare; load {} MB \
         {load:.2?}; {} MB on disk; deleted {:.2?}",
        S::NAME,
        large * LARGE as f64,
        large_bare * LARGE as f64,
        bytes >> 20,
        full >> 20,
        began.elapsed(),
    );
    drop(store);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn main() -> Outcome {
    let base = std::env::args().nth(1).ok_or("name a folder on the disk to be measured")?;
    let base = Path::new(&base);
    std::fs::create_dir_all(base)?;
    File::open(base)?;
    for _ in 0..2 {
        measure::<Redb>(base)?;
        measure::<Fjall>(base)?;
        measure::<Sqlite>(base)?;
        measure::<Lmdb>(base)?;
    }
    Ok(())
}
