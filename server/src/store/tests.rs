use super::*;
use tempfile::TempDir;

fn settings(folder: &TempDir) -> Settings {
    Settings { folder: folder.path().join("store"), sync: SyncMode::Always }
}

fn open(settings: &Settings) -> Result<(OpenStore, Vec<String>), StoreError> {
    let mut loading = Loading::open(settings)?;
    let texts = read(&mut loading)?;
    let open = loading.start(Arc::default())?;
    open.allow_checkpoints();
    Ok((open, texts))
}

fn read(loading: &mut Loading) -> Result<Vec<String>, StoreError> {
    let mut texts = Vec::new();
    loading.read(|mut record| {
        texts.push(format!("{} {}", record.kind, record.contents.text()?));
        Some(())
    })?;
    Ok(texts)
}

fn append(store: &Store, text: &str) -> LogPosition {
    store.append(7, 1, |one| {
        one.text(text);
    })
}

#[test]
fn what_was_appended_is_there_after_the_store_was_closed_in_the_same_order() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let mut expected = Vec::new();
    for round in 0..3 {
        let (open, texts) = open(&settings).unwrap();
        assert_eq!(texts, expected);
        for number in 0..100 {
            let position = append(open.store(), &format!("{round} {number}"));
            expected.push(format!("7 {round} {number}"));
            if number % 10 == 0 {
                open.store().flush();
                assert!(open.store().is_written(position));
            }
        }
    }
}

#[tokio::test]
async fn a_record_is_written_soon_after_it_was_appended() {
    let folder = TempDir::new().unwrap();
    let (open, _) = open(&settings(&folder)).unwrap();
    for number in 0..10 {
        let position = append(open.store(), &number.to_string());
        open.store().written(position).await;
        assert!(open.store().is_written(position) && !open.store().is_written(position + 1));
    }
    assert_eq!(open.store().0.metrics.store_commits.load(Relaxed), 10);
}

/// Much that a checkpoint contains.
struct Large(usize);

impl Source for Large {
    fn write_all(&self, store: &Store) {
        let text = "x".repeat(CHECKPOINT_PART / 4);
        for _ in 0..self.0 {
            store.append_part(8, 1, |one| {
                one.text(&text);
            });
            store.pause();
        }
    }
}

/// A publisher that never lets the disk rest. Otherwise the log would grow until the disk is full, and then no client could
/// publish.
#[test]
fn appending_without_end_does_not_keep_a_checkpoint_from_its_end() {
    let folder = TempDir::new().unwrap();
    let (open, _) = open(&settings(&folder)).unwrap();
    let store = open.store().clone();
    store.add_source(Arc::new(Large(40)));
    let (flooding, stop) = (store.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let flood = thread::spawn(move || {
        let text = "x".repeat(CHECKPOINT_PAUSE / 4);
        while !stopped.load(Relaxed) {
            let mut state = flooding.0.state();
            // As much as several publishers have waiting, whatever the writer takes.
            while state.records.len() <= 2 * CHECKPOINT_PAUSE {
                flooding.append_to(&mut state, 7, 1, true, |one| {
                    one.text(&text);
                });
            }
            drop(state);
            thread::yield_now();
        }
    });
    store.request_checkpoint();
    let began = std::time::Instant::now();
    while store.0.metrics.store_checkpoints.load(Relaxed) == 0 && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Relaxed);
    flood.join().unwrap();
    assert!(
        store.0.metrics.store_checkpoints.load(Relaxed) > 0,
        "the checkpoint waits for a pause that never comes"
    );
}

struct Rest(Mutex<Vec<String>>);

impl Source for Rest {
    fn write_all(&self, store: &Store) {
        for text in self.0.lock().unwrap().iter() {
            append(store, text);
            store.pause();
        }
    }
}

#[test]
fn a_checkpoint_replaces_the_log_before_it_and_the_file_stays_small() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let (mut opened, _) = open(&settings).unwrap();
    let store = opened.store().clone();
    store.add_source(Arc::new(Rest(Mutex::new(vec!["all".into()]))));
    let text = "x".repeat(100_000);
    let mut sizes = Vec::new();
    for _ in 0..4 {
        for _ in 0..20 {
            append(&store, &text);
            store.flush();
        }
        store.checkpoint();
        append(&store, "later");
        store.flush();
        sizes.push(store.0.metrics.store_bytes.load(Relaxed));
    }
    assert!(sizes[3] <= sizes[0] * 2, "{sizes:?}");
    opened.close();
    let mut loading = Loading::open_existing(&settings).unwrap();
    assert_eq!(read(&mut loading).unwrap(), ["7 all", "7 later"]);
    let before = loading.file_size();
    loading.compact().unwrap();
    assert!(loading.file_size() < before, "{before} and {}", loading.file_size());
    assert_eq!(read(&mut loading).unwrap(), ["7 all", "7 later"]);
}

#[test]
fn a_log_that_grows_gets_a_checkpoint_by_itself() {
    let folder = TempDir::new().unwrap();
    let (open, _) = open(&settings(&folder)).unwrap();
    let (store, text) = (open.store(), "x".repeat(1 << 20));
    for _ in 0..=MIN_LOG >> 20 {
        append(store, &text);
        store.flush();
    }
    let began = std::time::Instant::now();
    while store.0.metrics.store_checkpoints.load(Relaxed) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60));
        thread::yield_now();
    }
}

#[test]
fn only_the_owner_can_read_the_file_also_in_a_folder_of_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    std::fs::create_dir(&settings.folder).unwrap();
    std::fs::set_permissions(&settings.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&settings).unwrap());
    let file = settings.folder.join("nodevent.redb");
    let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    // As an earlier version has made it, or an operator for a group.
    for (before, after) in [(0o644, 0o640), (0o660, 0o660)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(before)).unwrap();
        drop(open(&settings).unwrap());
        assert_eq!(mode(), after);
    }
}

/// A user of the machine who may write to the folder puts the file there before the server does: a file of its own, in which it
/// reads what is stored, or a link to another file of the server's user.
#[test]
fn a_file_that_another_user_has_planted_is_neither_written_to_nor_changed() {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    std::fs::create_dir(&settings.folder).unwrap();
    let (file, other) = (settings.folder.join("nodevent.redb"), folder.path().join("other"));
    let refused = |content: &str| {
        let error = open(&settings).unwrap_err().to_string();
        let found = std::fs::metadata(&file).unwrap();
        assert_eq!(
            (std::fs::read_to_string(&file).unwrap().as_str(), found.permissions().mode() & 0o777),
            (content, 0o644)
        );
        error
    };
    for content in ["", "\0\0\0\0\0\0\0\0\0\0", "a text"] {
        std::fs::write(&other, content).unwrap();
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&other, &file).unwrap();
        let error = refused(content);
        assert!(error.contains("is a symbolic link"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
    // Only root can give a file to another user.
    if rustix::process::geteuid().is_root() {
        std::fs::rename(&other, &file).unwrap();
        chown(&file, Some(65_534), None).unwrap();
        let error = refused("a text");
        assert!(error.contains("belongs to another user"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
    drop(open(&settings).unwrap());
}

#[test]
fn one_server_has_a_store_and_another_one_says_so() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let (first, _) = open(&settings).unwrap();
    let error = open(&settings).unwrap_err();
    assert!(
        matches!(error, StoreError::InUse(_)) && error.to_string().contains("is used by another server"),
        "{error}"
    );
    drop(first);
    open(&settings).unwrap();
}

#[test]
fn a_store_that_cannot_be_used_is_one_clear_sentence() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    assert!(matches!(Loading::open_existing(&settings).unwrap_err(), StoreError::Missing(_)));
    std::fs::write(&settings.folder, "a file").unwrap();
    let error = open(&settings).unwrap_err().to_string();
    assert!(error.contains("cannot be written to"), "{error}");
    // A file system that refuses every write, also from root.
    let sys = Settings { folder: "/sys/kernel/nodevent".into(), ..settings.clone() };
    let error = open(&sys).unwrap_err().to_string();
    assert!(error.starts_with("the store /sys/kernel/nodevent cannot be written to: "), "{error}");
}

#[test]
fn a_store_of_a_newer_version_is_not_touched() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    drop(open(&settings).unwrap());
    Disk::open(&settings.folder, false).unwrap().set_format(2);
    let error = open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Newer { format: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("was written by a newer version of NoDevent"), "{error}");
}

#[test]
fn what_has_changed_on_disk_is_never_served() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let (mut opened, _) = open(&settings).unwrap();
    append(opened.store(), &"a text that is stored".repeat(100));
    opened.close();
    let file = settings.folder.join("nodevent.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(21).rposition(|one| one == b"a text that is stored").unwrap();
    bytes[at + 3] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let error = open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    std::fs::write(&file, b"not a store").unwrap();
    let error = open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// The disk was full, or the machine has lost power, while the file was created. Nothing was ever stored in it.
#[test]
fn a_file_that_could_not_be_created_completely_is_created_again_and_no_other_one() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let (mut opened, _) = open(&settings).unwrap();
    append(opened.store(), "stored");
    opened.close();
    let file = settings.folder.join("nodevent.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[..9].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let error = open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "it has been in use: {error}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    std::fs::write(&file, vec![0; bytes.len()]).unwrap();
    let (mut opened, texts) = open(&settings).unwrap();
    assert!(texts.is_empty());
    opened.close();
    // What the header says is longer than the file.
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let error = open(&settings).unwrap_err().to_string();
    let expected = format!("it was truncated to {} of {} bytes", whole.len() / 2, whole.len());
    assert!(error.contains(&expected), "{error}");
}

/// Checkpoints delete the log before them. One that began before everything in the log was a source would delete the rest.
#[test]
fn a_checkpoint_waits_until_everything_that_was_read_is_a_source() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let (mut opened, _) = open(&settings).unwrap();
    append(opened.store(), "read");
    opened.close();
    let mut loading = Loading::open(&settings).unwrap();
    assert_eq!(read(&mut loading).unwrap(), ["7 read"]);
    let mut opened = loading.start(Arc::default()).unwrap();
    let store = opened.store().clone();
    store.request_checkpoint();
    for _ in 0..100 {
        append(&store, "new");
        store.flush();
    }
    assert_eq!(store.0.metrics.store_checkpoints.load(Relaxed), 0);
    store.add_source(Arc::new(Rest(Mutex::new(vec!["all".into()]))));
    opened.allow_checkpoints();
    store.checkpoint();
    opened.close();
    let mut texts = read(&mut Loading::open(&settings).unwrap()).unwrap();
    // The one that was requested first may have begun another checkpoint, which the end interrupts.
    texts.dedup();
    assert_eq!(texts, ["7 all"]);
}

/// With an interval nothing waits until it is written, so what is appended has to wait if the disk is slow.
#[tokio::test]
async fn what_waits_for_the_disk_is_bounded_although_it_is_confirmed_before() {
    let folder = TempDir::new().unwrap();
    let sync = SyncMode::Every(Duration::from_millis(500));
    let mut loading = Loading::open(&Settings { sync, ..settings(&folder) }).unwrap();
    read(&mut loading).unwrap();
    let open = loading.start(Arc::default()).unwrap();
    let (store, text) = (open.store().clone(), "x".repeat(1 << 20));
    for _ in 0..120 {
        store.admitted().await;
        append(&store, &text);
        assert!(store.0.state().records.len() <= MAX_BUFFERED + (2 << 20));
    }
    assert!(store.0.metrics.store_commits.load(Relaxed) > 0, "it had to wait");
    store.flush();
}
