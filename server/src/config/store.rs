//! `store`: the folder in which the memory engine keeps what it has, and when it is on disk.

use super::keys;
use super::reader::MapReader;
use super::report::Report;
use super::values::parse_duration;
use crate::store::{Settings, SyncMode};
use std::path::Path;
use std::time::Duration;

/// The shortest and the longest interval of `sync`.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
const MAX_INTERVAL: Duration = Duration::from_secs(60);

/// Reads `store`. `None`: there is none, or it is wrong.
pub(super) fn read(top: &mut MapReader<'_>, folder: &Path, report: &mut Report) -> Option<Settings> {
    let node = top.take("store")?;
    if node.is_off() {
        return None;
    }
    // `store: storage/nodevent` is short for the folder.
    if let Some(text) = node.scalar() {
        return Some(Settings { folder: folder.join(text), sync: SyncMode::Always });
    }
    let mut map = MapReader::open(node, "store", &keys::STORE, report)?;
    let (location, sync) = (map.location_of("sync"), map.text("sync", report));
    let path = map.text("folder", report);
    let sync = match sync.as_deref() {
        None | Some("always") => SyncMode::Always,
        Some(text) => match parse_duration(text).filter(|one| (MIN_INTERVAL..=MAX_INTERVAL).contains(one)) {
            Some(interval) => SyncMode::Every(interval),
            None => {
                let hint = "write `always`, or an interval between `1ms` and `60s`";
                report.error(location, "store.sync is neither `always` nor an interval", hint);
                SyncMode::Always
            }
        },
    };
    if path.is_none() {
        report.error(node.location, "store has no folder", "write `folder: storage/nodevent` below it");
    }
    map.finish(report);
    Some(Settings { folder: folder.join(path?), sync })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn store(text: &str) -> Result<Option<Settings>, String> {
        let text = format!("store: {text}\n/a: {{open: true}}\n");
        Config::from_yaml(&text).map(|config| config.store).map_err(|report| report.to_string())
    }

    #[test]
    fn a_store_is_a_folder_and_syncs_always_by_default() {
        let settings = |sync| Ok(Some(Settings { folder: "data".into(), sync }));
        assert_eq!(store("data"), settings(SyncMode::Always));
        assert_eq!(store("{folder: data}"), settings(SyncMode::Always));
        assert_eq!(store("{folder: data, sync: always}"), settings(SyncMode::Always));
        let every = SyncMode::Every(Duration::from_millis(100));
        assert_eq!(store("{folder: data, sync: 100ms}"), settings(every));
        assert_eq!(store("off"), Ok(None));
    }

    #[test]
    fn a_wrong_store_is_an_error_with_its_place_and_what_to_write() {
        let error = store("{folder: data, sync: sometimes}").unwrap_err();
        assert!(error.contains(":1:29: store.sync is neither `always` nor an interval"), "{error}");
        let error = store("{sync: always}").unwrap_err();
        assert!(error.contains("store has no folder") && error.contains("folder: storage/nodevent"), "{error}");
        assert!(store("{folder: data, sync: 2h}").is_err());
    }
}
