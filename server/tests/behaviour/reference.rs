//! The references in `docs/`: each is what the source prints.
//!
//! With `NODEVENT_WRITE_REFERENCE=1` the tests write the files instead.

use crate::support::TestServer;
use nodevent_server::config::{keys, reference};
use nodevent_server::metrics;

/// Compares a file of `docs/` with the text that the source prints.
fn is_current(name: &str, text: &str) {
    let file = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NODEVENT_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, text).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).position(|(one, other)| one != other);
    assert_eq!(
        written,
        text,
        "docs/{name} differs from the source, first in line {:?}; run this test with NODEVENT_WRITE_REFERENCE=1",
        differs.map(|line| line + 1)
    );
}

#[test]
fn the_reference_of_the_configuration_lists_every_key_that_the_server_reads() {
    let text = reference::markdown();
    is_current("configuration.md", &text);
    for section in keys::SECTIONS {
        for key in section.keys {
            assert!(text.contains(&format!("| `{}` |", key.name)), "{} is missing", key.name);
        }
    }
}

#[tokio::test]
async fn the_reference_of_the_metrics_lists_every_series_that_the_server_returns_and_no_other() {
    let text = metrics::reference();
    is_current("metrics.md", &text);
    let server = TestServer::start("/nodevent: {}").await;
    let output = server.admin.get("/metrics").await.text();
    let mut returned: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `nodevent_")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').trim_end_matches("{reason}").to_owned();
        Some(format!("nodevent_{name} {}", cells.next()?))
    };
    let mut listed: Vec<String> = text.lines().filter_map(row).collect();
    returned.sort_unstable();
    listed.sort_unstable();
    assert_eq!(returned, listed);
    for line in output.lines().filter(|line| line.contains("{reason=")) {
        let reason = line.split('"').nth(1).unwrap();
        assert!(text.contains(&format!("| `{reason}` |")), "{reason} is missing");
    }
}
