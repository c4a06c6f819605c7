//! The references in `docs/`: each is what the source prints.
//!
//! With `NODEVENT_WRITE_REFERENCE=1` the tests write the files instead.

use crate::support::TestServer;
use nodevent_server::config::{Config, keys, reference};
use nodevent_server::metrics;
use std::path::Path;

/// Compares a file of `docs/` with the text that the source prints.
fn is_current(name: &str, text: &str) {
    let file = format!("{}/../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NODEVENT_WRITE_REFERENCE").is_some() {
        // Other tests read the file at the same time.
        let written = format!("{file}.new");
        std::fs::write(&written, text).unwrap();
        std::fs::rename(&written, &file).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = written.lines().zip(text.lines()).position(|(one, other)| one != other);
    assert!(
        written == text,
        "docs/{name} differs from the source, first in line {:?}; run this test with NODEVENT_WRITE_REFERENCE=1",
        differs.map(|line| line + 1)
    );
}

#[test]
fn configuration_reference_lists_every_key_that_the_server_reads() {
    let text = reference::markdown();
    is_current("configuration.md", &text);
    for section in keys::SECTIONS {
        for key in section.keys {
            assert!(text.contains(&format!("| `{}` |", key.name)), "{} is missing", key.name);
        }
    }
}

/// Replaces `${NAME}` and `${NAME:-default}`, as if the reader had set the variables without a default.
fn with_variables(sample: &str) -> String {
    let mut parts = sample.split("${");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').expect("a closing brace");
        let default = variable.split_once(":-").map_or("", |(_, default)| default);
        out.push_str(if default.is_empty() { "sesame-of-more-than-sixteen" } else { default });
        out.push_str(rest);
    }
    out
}

/// Every configuration that the README and the guides show is one: it has no errors and no unknown keys.
#[test]
fn every_configuration_in_the_documents_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    files.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(file).unwrap();
        for block in text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let indent = block.len() - block.trim_start_matches(' ').len();
            let lines = block.lines().map(|line| line.get(indent..).unwrap_or_default());
            let sample = with_variables(&lines.collect::<Vec<_>>().join("\n"));
            let first = sample.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
            let key = first.split(':').next().unwrap_or_default();
            let sections = ["shared", "development", "test", "production"];
            let is_configuration = key.starts_with('/')
                || sections.contains(&key)
                || [&keys::TOP, &keys::NAMESPACE].iter().any(|section| section.find(key).is_some());
            if !is_configuration {
                continue;
            }
            count += 1;
            let errors = Config::from_yaml(&sample).err().map_or(String::new(), |report| report.to_string());
            let errors: Vec<&str> =
                errors.lines().filter(|line| !line.contains("cannot be read: No such file")).collect();
            assert!(errors.is_empty(), "{}:\n{sample}\n{errors:?}", file.display());
        }
    }
    assert!(count >= 10, "only {count} configurations were found");
}

#[tokio::test]
async fn metrics_reference_lists_exactly_the_series_that_the_server_returns() {
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
