//! Reads the text of a configuration, YAML or JSON, into a tree.

use super::report::{Location, Report};
use super::tree::{Node, Stopped, Value};
use super::{json, yaml};

/// Bytes of a file.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads YAML or JSON. Returns `None` if the syntax is wrong; the report has the reason.
pub(super) fn read(text: &str, is_json: bool, report: &mut Report) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        report.error_without_location("the file is larger than 1 MB", "name the configuration, not another file");
        return None;
    }
    check_characters(text, report).ok()?;
    if is_json {
        return json::read(text, report);
    }
    let root = yaml::read(text, report)?;
    if root.value == Value::Null {
        report.error(
            root.location,
            "the file is empty",
            "write at least `/nodevent:` with `secret:` or `open: true` below it; without a file the defaults apply",
        );
        return None;
    }
    Some(root)
}

/// Rejects what no reader handles well: ERB, and characters that are invisible in an editor.
fn check_characters(text: &str, report: &mut Report) -> Result<(), Stopped> {
    for (index, line) in text.lines().enumerate() {
        let location = |column: usize| Location { line: index + 1, column: column + 1 };
        if let Some(column) = line.find("<%").filter(|_| !line.trim_start().starts_with('#')) {
            let column = line[..column].chars().count();
            let hint =
                "write ${NAME} or ${NAME:-default}, which the gem and the server both replace from the environment";
            report.error(location(column), "ERB is not understood by the server", hint);
            return Err(Stopped);
        }
        let invisible = |c: char| {
            (c.is_control() && c != '\t' && c != '\u{85}')
                || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}')
        };
        if let Some(column) = line.chars().position(invisible) {
            let what = format!(
                "there is an invisible character, {}",
                line.chars().nth(column).unwrap_or(' ').escape_unicode()
            );
            report.error(location(column), what, "delete it; in a text, quote it as \"\\u…\"");
            return Err(Stopped);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut report = Report::about("t.yml");
        read(text, false, &mut report).unwrap_or_else(|| panic!("{report}"))
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let entries = node.entries().unwrap_or_else(|| panic!("not a map: {node:?}"));
        &entries.iter().find(|entry| entry.name == key).unwrap_or_else(|| panic!("no {key}")).node
    }

    fn error(text: &str) -> String {
        let mut report = Report::about("t.yml");
        assert_eq!(read(text, false, &mut report), None, "{text}");
        report.to_string()
    }

    #[test]
    fn a_scalar_keeps_its_text() {
        assert_eq!(get(&tree("apiKey: 0123\n"), "apiKey").scalar(), Some("0123"));
        assert_eq!(get(&tree("a: 'null'\n"), "a").scalar(), Some("null"));
        assert_eq!(get(&tree("a: null\n"), "a").value, Value::Null);
    }

    #[test]
    fn every_value_has_its_location() {
        let root = tree("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n");
        assert_eq!(get(&root, "a").location, Location { line: 1, column: 4 });
        assert_eq!(get(get(&root, "b"), "c").location, Location { line: 3, column: 6 });
    }

    #[test]
    fn anchors_and_merge_keys_work_and_own_keys_take_precedence() {
        let root = tree("base: &base {a: 1, b: 1}\nuse:\n  <<: *base\n  b: 2\nboth: {<<: [*base, {c: 3}]}\n");
        let used = get(&root, "use");
        assert_eq!((get(used, "a").scalar(), get(used, "b").scalar()), (Some("1"), Some("2")));
        assert_eq!(get(get(&root, "both"), "c").scalar(), Some("3"));
    }

    #[test]
    fn an_error_of_the_syntax_has_its_location() {
        // N-08
        for (text, expected) in [
            ("a: [1\nb: 2\n", "this is not YAML"),
            ("a: 1\nb: <%= ENV['X'] %>\n", "t.yml:2:4: ERB"),
            ("a: 1\n\tb: 2\n", "t.yml:2:1: this is not YAML: a tab indents the line; indent with spaces"),
            ("a:\n \tb: 2\n", "t.yml:2:2: this is not YAML: a tab indents the line"),
            ("a: 1\nb: 2\na: 3\n", "t.yml:3:1: the key `a` is written twice, first in line 1"),
            ("a: &x [*x]\n", "t.yml:1:8: an anchor contains itself"),
            ("a: *nowhere\n", "t.yml:1:"),
            ("a: 1\n---\nb: 2\n", "t.yml:2:1: the file has a second document"),
            ("a: !!binary aGk=\n", "t.yml:1:4: the tag `!!binary` is not supported"),
            ("? [a]\n: 1\n", "t.yml:1:3: a key is not text"),
            ("a: {<<: 1}\n", "t.yml:1:9: `<<` does not refer to a map"),
            ("a: 1\n\u{feff}b: 2\n", "t.yml:2:1: there is an invisible character, \\u{feff}"),
            ("# only a comment\n", "the file is empty"),
            ("", "t.yml:1:1: the file is empty"),
        ] {
            let report = error(text);
            assert!(report.contains(expected), "{expected}\nis not in\n{report}");
        }
        assert!(read("# <%= a comment %>\na: 1\n", false, &mut Report::default()).is_some());
    }

    #[test]
    fn aliases_of_aliases_do_not_fill_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
        }
        assert!(error(&text).contains("the aliases of the file expand to too many values"));
        let nested = format!("a: {}{}\n", "[".repeat(100), "]".repeat(100));
        assert!(error(&nested).contains("nested too deeply"));
    }
}
