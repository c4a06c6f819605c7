//! A configuration's text as a tree that remembers where everything stands.
//!
//! It knows YAML and JSON, merge keys, environment sections and `${NAME}`; it does not know what any key means.

use super::report::{Place, Report};
use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Parser, ScalarStyle};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value. Scalars stay text until somebody knows what they are to be, so that `54321` can be a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing was written.
    Null,
    /// A number, a word or a quoted text.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their places, and their values.
    Map(Vec<(String, Place, Node)>),
}

/// Reads YAML or JSON. `None`: the report says why.
pub(super) fn read(text: &str, is_json: bool, report: &mut Report) -> Option<Node> {
    if let Some(line) = text.lines().position(|line| line.contains("<%")) {
        report.mistake(
            Place { line: line + 1, column: 1 },
            "ERB is not understood by the server",
            "write ${NAME} or ${NAME:-default}, which the gem and the server both replace from the environment",
        );
        return None;
    }
    if is_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let place = Place { line: error.line().max(1), column: error.column().max(1) };
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        report.mistake(place, format!("this is not JSON: {said}"), "look for a missing comma or quote before it");
        return None;
    }
    let mut loader = YamlLoader::<MarkedYaml<'_>>::default();
    loader.early_parse(false);
    let mut parser = Parser::new_from_str(text);
    let failed = parser.load(&mut loader, true).err().or_else(|| loader.error().cloned());
    if let Some(error) = failed {
        let place = Place { line: error.marker().line(), column: error.marker().col() + 1 };
        report.mistake(place, format!("this is not YAML: {}", error.info()), "mend the line, or the one before it");
        return None;
    }
    let node = loader
        .into_documents()
        .into_iter()
        .next()
        .map_or(Node { place: Place { line: 1, column: 1 }, value: Value::Null }, |root| convert(&root, report));
    Some(node)
}

fn convert(yaml: &MarkedYaml<'_>, report: &mut Report) -> Node {
    let place = Place { line: yaml.span.start.line(), column: yaml.span.start.col() + 1 };
    let value = match &yaml.data {
        YamlData::Representation(text, style, _) => {
            let plain = *style == ScalarStyle::Plain;
            if plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
                Value::Null
            } else {
                Value::Scalar(text.to_string())
            }
        }
        YamlData::Sequence(list) => Value::List(list.iter().map(|one| convert(one, report)).collect()),
        YamlData::Mapping(map) => {
            let mut entries: Vec<(String, Place, Node)> = Vec::with_capacity(map.len());
            let mut merged = Vec::new();
            for (key, value) in map {
                let key = convert(key, report);
                let node = convert(value, report);
                match key.value {
                    Value::Scalar(name) if name == "<<" => merged.push(node),
                    Value::Scalar(name) => entries.push((name, key.place, node)),
                    _ => report.mistake(key.place, "a key is not text", "write a word before the colon"),
                }
            }
            for node in merged {
                merge_below(&mut entries, node);
            }
            Value::Map(entries)
        }
        YamlData::Tagged(_, inner) => return convert(inner, report),
        _ => {
            report.mistake(place, "this value cannot be read", "write a plain value");
            Value::Null
        }
    };
    Node { place, value }
}

/// Adds what `<<` refers to; keys that stand there already win.
fn merge_below(entries: &mut Vec<(String, Place, Node)>, node: Node) {
    match node.value {
        Value::Map(below) => {
            for entry in below {
                if !entries.iter().any(|(name, ..)| *name == entry.0) {
                    entries.push(entry);
                }
            }
        }
        Value::List(list) => list.into_iter().for_each(|one| merge_below(entries, one)),
        _ => {}
    }
}

/// Replaces `${NAME}` and `${NAME:-default}` in all values below a node: in those that are used, and in no others.
pub(super) fn fill(node: Node, report: &mut Report) -> Node {
    let value = match node.value {
        Value::Scalar(text) => interpolate(&text, node.place, report).map_or(Value::Null, Value::Scalar),
        Value::List(list) => Value::List(list.into_iter().map(|one| fill(one, report)).collect()),
        Value::Map(entries) => {
            Value::Map(entries.into_iter().map(|(name, place, one)| (name, place, fill(one, report))).collect())
        }
        Value::Null => Value::Null,
    };
    Node { value, ..node }
}

/// Replaces `${NAME}` and `${NAME:-default}`. `None`: the environment lacks one, which is reported.
fn interpolate(text: &str, place: Place, report: &mut Report) -> Option<String> {
    let mut whole = true;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start..].find('}') else { break };
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..start + length];
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match (std::env::var(name).ok().filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                whole = false;
                let remedy = format!("set {name}, or write ${{{name}:-default}}");
                report.mistake(place, format!("the environment has no {name}"), remedy);
            }
        }
        rest = &rest[start + length + 1..];
    }
    out.push_str(rest);
    whole.then_some(out)
}

/// Chooses the section of the environment, where the file has sections: `shared:` below `development:` and so on.
pub(super) fn section(root: Node, environment: &str) -> Node {
    let Value::Map(entries) = &root.value else { return root };
    let find =
        |wanted: &str| entries.iter().find(|(name, _, node)| name == wanted && matches!(node.value, Value::Map(_)));
    let Some((.., chosen)) = find(environment) else { return root };
    match find("shared") {
        Some((.., shared)) => merge_deep(shared.clone(), chosen.clone()),
        None => chosen.clone(),
    }
}

/// Whether a file has sections, but not the one that is asked for: then which it has.
pub(super) fn missing_section(root: &Node, environment: &str) -> Option<Vec<String>> {
    // `shared` is one too: alone it would be taken for a file without settings.
    const USUAL: [&str; 5] = ["shared", "development", "test", "staging", "production"];
    let Value::Map(entries) = &root.value else { return None };
    let sections: Vec<String> = entries
        .iter()
        .filter(|(name, _, node)| USUAL.contains(&name.as_str()) && matches!(node.value, Value::Map(_)))
        .map(|(name, ..)| name.clone())
        .collect();
    (!sections.is_empty() && !sections.iter().any(|name| name == environment)).then_some(sections)
}

fn merge_deep(below: Node, above: Node) -> Node {
    match (below.value, above.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for (name, place, node) in over {
                match entries.iter_mut().find(|(one, ..)| *one == name) {
                    Some(entry) => {
                        let old = std::mem::replace(&mut entry.2, Node { place, value: Value::Null });
                        entry.2 = merge_deep(old, node);
                        entry.1 = place;
                    }
                    None => entries.push((name, place, node)),
                }
            }
            Node { place: above.place, value: Value::Map(entries) }
        }
        (_, value) => Node { place: above.place, value },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        let mut report = Report::about("t.yml");
        let node = read(text, false, &mut report);
        assert_eq!(report.to_string(), "");
        node.unwrap()
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let Value::Map(entries) = &node.value else { panic!("no map: {node:?}") };
        &entries.iter().find(|(name, ..)| name == key).unwrap_or_else(|| panic!("no {key}")).2
    }

    #[test]
    fn a_number_keeps_its_text() {
        assert_eq!(get(&tree("apiKey: 0123\n"), "apiKey").value, Value::Scalar("0123".into()));
    }

    #[test]
    fn every_value_knows_its_place() {
        let root = tree("a: 1\nb:\n  c: 2\n");
        assert_eq!(get(get(&root, "b"), "c").place, Place { line: 3, column: 6 });
    }

    #[test]
    fn a_section_stands_above_what_is_shared() {
        let root = tree("shared:\n  a: 1\n  n: {x: 1, y: 1}\nproduction:\n  b: 2\n  n: {y: 2}\n");
        assert_eq!(missing_section(&root, "production"), None);
        assert_eq!(missing_section(&root, "test"), Some(vec!["shared".into(), "production".into()]));
        assert_eq!(missing_section(&tree("shared: {a: 1}"), "test"), Some(vec!["shared".into()]));
        let chosen = section(root, "production");
        assert_eq!(get(&chosen, "a").value, Value::Scalar("1".into()));
        assert_eq!(get(get(&chosen, "n"), "x").value, Value::Scalar("1".into()));
        assert_eq!(get(get(&chosen, "n"), "y").value, Value::Scalar("2".into()));
    }

    #[test]
    fn anchors_and_merge_keys_are_followed_and_own_keys_win() {
        let root = tree("base: &base {a: 1, b: 1}\nuse:\n  <<: *base\n  b: 2\n");
        let used = get(&root, "use");
        assert_eq!(get(used, "a").value, Value::Scalar("1".into()));
        assert_eq!(get(used, "b").value, Value::Scalar("2".into()));
    }

    #[test]
    fn names_of_the_environment_are_replaced_and_a_missing_one_is_named() {
        let root = fill(tree("a: x${NODEVENT_SURELY_UNSET:-7}y\nhome: ${PATH}\n"), &mut Report::default());
        assert_eq!(get(&root, "a").value, Value::Scalar("x7y".into()));
        assert_ne!(get(&root, "home").value, Value::Scalar("${PATH}".into()));
        let mut report = Report::about("t.yml");
        let root = read("a: ${NODEVENT_SURELY_UNSET}\n", false, &mut report).unwrap();
        fill(root, &mut report);
        assert!(report.to_string().contains("t.yml:1:4: the environment has no NODEVENT_SURELY_UNSET"));
    }

    #[test]
    fn broken_text_is_told_with_its_place() {
        // N-08
        let mut report = Report::about("c.json");
        assert!(read("{\n  \"port\": 8080\n  \"x\": 1\n}", true, &mut report).is_none());
        assert!(report.to_string().starts_with("c.json:3:3: this is not JSON: expected `,` or `}`"), "{report}");
        let mut report = Report::about("c.yml");
        assert!(read("a: [1\nb: 2\n", false, &mut report).is_none());
        assert!(report.to_string().contains("this is not YAML"), "{report}");
        let mut report = Report::about("c.yml");
        assert!(read("a: 1\nb: <%= ENV['X'] %>\n", false, &mut report).is_none());
        assert!(report.to_string().contains("c.yml:2:1: ERB"), "{report}");
    }
}
