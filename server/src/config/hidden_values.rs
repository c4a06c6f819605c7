//! Tests that no diagnostic contains a value: any of them may be a secret that was written in the wrong place.
//!
//! A recognisable secret takes the place of the value of every key in the registry, in every form that people write by
//! mistake. Only the name of a namespace is shown.

use super::environment::Environment;
use super::keys::{SECTIONS, Section};
use super::report::Report;
use super::{Config, read};
use std::path::Path;

/// A secret with letters and digits.
const SECRET: &str = "sesame7Q";
/// What all of its recognisable parts have in common.
const TRACE: &str = "sesame";

/// Values with the secret in them, and documents that are cut off in it.
const VALUES: [&str; 41] = [
    "sesame7Q",
    "\"sesame7Q\"",
    "'sesame7Q'",
    "\"sesame7Q",
    "'sesame7Q",
    "!sesame7Q",
    "!sesame7Q x",
    "!!sesame7Q x",
    "!<sesame7Q> x",
    "!sesame7Q!x y",
    "*sesame7Q",
    "&sesame7Q",
    "&sesame7Q *sesame7Q",
    "@sesame7Q",
    "`sesame7Q",
    "%sesame7Q",
    "[sesame7Q]",
    "[sesame7Q",
    "[[sesame7Q]]",
    "[{sesame7Q: 1}]",
    "{sesame7Q}",
    "{sesame7Q: 1}",
    "{sesame7Q: 1, sesame7Q: 2}",
    "{sesame7Q",
    "sesame7Q: 1",
    "sesame7Q: sesame7Q: 1",
    "| sesame7Q",
    "|\n      sesame7Q\n      sesame7Q",
    ">-\n      sesame7Q",
    "- sesame7Q",
    "? sesame7Q",
    "$sesame7Q",
    "${sesame7Q",
    "${sesame7Q-x}",
    "${SURELY_NOT_SET:-sesame7Q}",
    "<%= sesame7Q %>",
    "\"sesame7Q\\q\"",
    "redis://:sesame7Q@h:1/0",
    "redis://me:12?sesame7Q@h",
    "http://me:sesame7Q@h/x",
    "12 sesame7Q",
];

/// Lines in which the blank, the colon or the order is wrong. `KEY` is for the key.
const LINES: [&str; 9] = [
    "KEY:sesame7Q",
    "KEY:sesame7Q:",
    "KEY=sesame7Q",
    "KEY sesame7Q: x",
    "sesame7Q: KEY",
    "sesame7Q:",
    "sesame7Q",
    "KEY: 1\nKEY: sesame7Q",
    "\tKEY: sesame7Q",
];

/// Reads a document and returns everything about it that is printed.
fn printed(text: &str, is_json: bool) -> String {
    let mut report = Report::about("c");
    let environment = Environment { name: "development".to_owned(), is_named: false };
    let config = read(text, is_json, Path::new("/nowhere"), &environment, &mut report);
    let mut lines: Vec<String> = report.warning_lines().collect();
    lines.push(report.to_string());
    lines.extend(config.filter(|_| report.errors.is_empty()).iter().flat_map(summary));
    lines.join("\n")
}

/// What the commands print about a valid configuration.
fn summary(config: &Config) -> Vec<String> {
    let redis = config.namespaces.iter().filter_map(|one| one.redis.as_ref()).map(ToString::to_string);
    let hosts = config.listen.iter().map(|listen| listen.host.clone());
    let texts = redis.chain(hosts).chain(config.public_url.clone()).chain([config.publishing()]);
    // A plain word can be a host or a path, and is one then.
    texts.filter(|text| text.contains(['@', '?'])).collect()
}

/// The document with `line` where a key of the section belongs.
fn document(section: &Section, line: &str) -> String {
    let indent = " ".repeat(section.frame.indent);
    let lines: Vec<String> = line.lines().map(|line| format!("{indent}{line}")).collect();
    format!("{}\n{}\n", section.frame.above.trim_end(), lines.join("\n"))
}

#[test]
fn no_value_is_printed_whatever_key_it_is_written_for() {
    let mut count = 0;
    for section in SECTIONS {
        for key in section.keys {
            let names = key.old_names.iter().chain([&key.name]);
            for name in names.filter(|name| **name != "namespace") {
                let lines = VALUES.iter().map(|value| format!("{name}: {value}"));
                for line in lines.chain(LINES.iter().map(|line| line.replace("KEY", name))) {
                    let text = document(section, &line);
                    let printed = printed(&text, false);
                    assert!(!printed.contains(TRACE), "{text}\nis printed as\n{printed}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 5_000, "only {count} documents");
}

#[test]
fn no_value_of_json_is_printed() {
    for section in SECTIONS {
        for key in section.keys {
            let name = key.name;
            for value in [
                format!("\"{SECRET}\""),
                SECRET.to_owned(),
                format!("\"{SECRET}"),
                format!("[\"{SECRET}\", \"redis://:{SECRET}@h\"]"),
                format!("{{\"{SECRET}\": 1}}"),
                format!("{{\"{SECRET}\": 1, \"{SECRET}\": 1}}"),
                format!("\"{SECRET}\\ud800\""),
                format!("1, \"{SECRET}\": null"),
                format!("1 {SECRET}"),
            ] {
                let below = [format!("{{\"{name}\": {value}}}"), format!("{{\"/a\": {{\"{name}\": {value}}}}}")];
                for text in below.iter().filter(|_| name != "namespace") {
                    let printed = printed(text, true);
                    assert!(!printed.contains(TRACE), "{text}\nis printed as\n{printed}");
                }
            }
        }
    }
}

#[test]
fn name_of_a_namespace_that_is_not_one_is_not_printed() {
    for name in ["sesame7Q+", "redis://:sesame7Q@h", "sesame7Q sesame", "a//sesame7Q", "sesame7Q/emit"] {
        for text in [
            format!("namespace: \"{name}\"\nsecret: \"\"\n"),
            format!("\"/{name}\":\n  port: sesame7Q\n  open: sesame7Q\n"),
            format!("\"/{name}\": {{secret: abcdefghijklmnop, open: true}}\n"),
            format!("\"/{name}\": sesame7Q\n"),
        ] {
            let printed = printed(&text, false);
            assert!(!printed.is_empty() && !printed.contains(TRACE), "{text}\nis printed as\n{printed}");
        }
    }
}
