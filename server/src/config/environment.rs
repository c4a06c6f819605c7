//! The environment in a configuration: `${NAME}` in values, and the section of the present environment.
//!
//! Owns the syntax of `${NAME}` and `${NAME:-default}`, which the gem implements as well. Does not know keys.

use super::report::{Location, Report};
use super::tree::{Entry, Node, Value};

/// Environments in which programs on the same machine may publish without a key.
const DEVELOPMENT: [&str; 2] = ["development", "test"];
/// Variables that name the environment whose section is read, in this order.
const VARIABLES: [&str; 3] = ["NODEVENT_ENV", "RAILS_ENV", "RACK_ENV"];
/// Names by which a section is recognized. `shared` is one: alone it would look like a file without settings.
const SECTIONS: [&str; 5] = ["shared", "development", "test", "staging", "production"];

/// What the present environment selects in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The name of the environment.
    pub environment: String,
    /// The variable that names it. `None`: the name is the default.
    pub variable: Option<&'static str>,
    /// The section that counts. `None`: the file has no sections, or there is no file.
    pub section: Option<String>,
}

/// The present environment.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    /// Its name.
    pub(super) name: String,
    /// Whether a variable names it. Otherwise the name is a default, which says nothing about the machine.
    pub(super) is_named: bool,
}

// === impl Selected ===

impl Selected {
    /// Whether the server runs on a developer's machine: a variable or a section of the file says so.
    pub fn is_development(&self) -> bool {
        self.environment == "development" && (self.variable.is_some() || self.section.is_some())
    }

    /// The environment and what names it, for the log.
    pub fn environment_and_source(&self) -> String {
        match self.variable {
            Some(variable) => format!("{} ({variable})", self.environment),
            None => format!("{} (the default: no {} is set)", self.environment, VARIABLES.join(", ")),
        }
    }
}

// === impl Environment ===

impl Environment {
    /// The environment that a variable names, or `development`.
    pub(super) fn current() -> Self {
        let named = VARIABLES.iter().find(|name| is_set(name)).and_then(|name| std::env::var(name).ok());
        let is_named = named.is_some();
        Self { name: named.unwrap_or_else(|| "development".to_owned()), is_named }
    }

    /// What it selects in a file. `None`: there is no file.
    pub(super) fn select(&self, root: Option<&Node>) -> Selected {
        let is_section = |entry: &Entry| entry.name == self.name && entry.node.entries().is_some();
        let has_section = root.and_then(Node::entries).is_some_and(|entries| entries.iter().any(is_section));
        let variable =
            self.is_named.then(|| VARIABLES.into_iter().find(|name| is_set(name)).unwrap_or(VARIABLES[0]));
        Selected { environment: self.name.clone(), variable, section: has_section.then(|| self.name.clone()) }
    }

    /// Whether the server runs for a developer: a variable or a section of the file says so.
    pub(super) fn is_development(&self, selected: &Selected) -> bool {
        self.is_for_developers() && (self.is_named || selected.section.is_some())
    }

    /// Whether its name is that of an environment for developers.
    pub(super) fn is_for_developers(&self) -> bool {
        DEVELOPMENT.contains(&self.name.as_str())
    }
}

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| !value.is_empty())
}

/// Replaces `${NAME}` and `${NAME:-default}` in all scalars below a node.
pub(super) fn interpolate_env(node: Node, report: &mut Report) -> Node {
    let mut is_literal = node.is_literal;
    let value = match node.value {
        Value::Scalar(text) if text.contains("${") => {
            is_literal = false;
            interpolate(&text, node.location, report).map_or(Value::Null, Value::Scalar)
        }
        Value::List(list) => Value::List(list.into_iter().map(|one| interpolate_env(one, report)).collect()),
        Value::Map(entries) => {
            let replace = |entry: Entry| Entry { node: interpolate_env(entry.node, report), ..entry };
            Value::Map(entries.into_iter().map(replace).collect())
        }
        value => value,
    };
    Node { value, is_literal, ..node }
}

/// Returns `None` after reporting an error.
fn interpolate(text: &str, location: Location, report: &mut Report) -> Option<String> {
    const SYNTAX: &str = "write ${NAME} or ${NAME:-default}";
    let mut is_complete = true;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let Some(length) = inside.find('}') else {
            report.error(location, "a `${` has no `}`", SYNTAX);
            return None;
        };
        let (inside, after) = (&inside[..length], &inside[length + 1..]);
        if inside.contains("${") {
            let hint =
                "write ${NAME:-default} with a plain default, and decide which variable counts before the start";
            report.error(location, "`${…}` inside `${…}` is not supported", hint);
            return None;
        }
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            report.error(location, "`${…}` does not contain the name of a variable", SYNTAX);
            return None;
        }
        match (std::env::var(name).ok().filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => {
                is_complete = false;
                let hint = format!("set {name}, or write ${{{name}:-default}}");
                report.error(location, format!("the environment has no {name}"), hint);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    is_complete.then_some(out)
}

/// Whether `text` can be the name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the section of an environment merged over `shared`, or the file itself if it has no sections.
pub(super) fn section(root: Node, environment: &str) -> Node {
    let Some(entries) = root.entries() else { return root };
    let find = |wanted: &str| entries.iter().find(|entry| entry.name == wanted && entry.node.entries().is_some());
    let Some(chosen) = find(environment) else { return root };
    match find("shared") {
        Some(shared) => merge_deep(shared.node.clone(), chosen.node.clone()),
        None => chosen.node.clone(),
    }
}

/// Returns the sections of a file that has some, but not the wanted one.
pub(super) fn missing_section(root: &Node, environment: &str) -> Option<Vec<String>> {
    let is_section = |entry: &&Entry| SECTIONS.contains(&entry.name.as_str()) && entry.node.entries().is_some();
    let sections: Vec<String> = root.entries()?.iter().filter(is_section).map(|entry| entry.name.clone()).collect();
    (!sections.is_empty() && !sections.iter().any(|name| name == environment)).then_some(sections)
}

fn merge_deep(below: Node, above: Node) -> Node {
    match (below.value, above.value) {
        (Value::Map(mut entries), Value::Map(over)) => {
            for entry in over {
                match entries.iter_mut().find(|one| one.name == entry.name) {
                    Some(one) => {
                        let old = std::mem::replace(&mut one.node, Node::new(entry.location, Value::Null));
                        one.node = merge_deep(old, entry.node);
                        one.location = entry.location;
                    }
                    None => entries.push(entry),
                }
            }
            Node::new(above.location, Value::Map(entries))
        }
        (_, value) => Node { value, ..above },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Node, Report) {
        let mut report = Report::about("t.yml");
        let root = crate::config::syntax::read(text, false, &mut report).unwrap_or_else(|| panic!("{report}"));
        let root = interpolate_env(root, &mut report);
        (root, report)
    }

    fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
        let entries = node.entries().unwrap_or_else(|| panic!("not a map: {node:?}"));
        &entries.iter().find(|entry| entry.name == key).unwrap_or_else(|| panic!("no {key}")).node
    }

    #[test]
    fn a_section_is_merged_over_what_is_shared() {
        let (root, _) = read("shared:\n  a: 1\n  n: {x: 1, y: 1}\nproduction:\n  b: 2\n  n: {y: 2}\n");
        assert_eq!(missing_section(&root, "production"), None);
        assert_eq!(missing_section(&root, "test"), Some(vec!["shared".into(), "production".into()]));
        assert_eq!(missing_section(&read("shared: {a: 1}").0, "test"), Some(vec!["shared".into()]));
        let chosen = section(root, "production");
        assert_eq!(get(&chosen, "a").scalar(), Some("1"));
        assert_eq!(get(get(&chosen, "n"), "x").scalar(), Some("1"));
        assert_eq!(get(get(&chosen, "n"), "y").scalar(), Some("2"));
    }

    #[test]
    fn what_is_selected_has_the_section_only_if_the_file_has_one() {
        let (root, _) = read("shared: {a: 1}\nproduction: {b: 2}\ndevelopment: off\n");
        let selected = |name: &str, is_named, root| Environment { name: name.into(), is_named }.select(root);
        let production = selected("production", false, Some(&root));
        assert_eq!((production.section.as_deref(), production.is_development()), (Some("production"), false));
        assert_eq!(selected("development", false, Some(&root)).section, None);
        assert!(!selected("development", false, Some(&root)).is_development());
        assert!(selected("development", true, None).is_development());
        assert!(!selected("test", true, None).is_development());
        let text = selected("development", false, None).environment_and_source();
        assert_eq!(text, "development (the default: no NODEVENT_ENV, RAILS_ENV, RACK_ENV is set)");
    }

    #[test]
    fn variables_are_replaced_and_a_missing_one_is_named() {
        let (root, report) = read("a: x${NODEVENT_SURELY_UNSET:-7}y\nhome: ${PATH}\nb: plain\n");
        assert_eq!(report.to_string(), "");
        assert_eq!(get(&root, "a").scalar(), Some("x7y"));
        assert_ne!(get(&root, "home").scalar(), Some("${PATH}"));
        assert!(!get(&root, "home").is_literal && get(&root, "b").is_literal);
        let (_, report) = read("a: ${NODEVENT_SURELY_UNSET}\n");
        assert!(report.to_string().contains("t.yml:1:4: the environment has no NODEVENT_SURELY_UNSET"));
    }

    #[test]
    fn what_is_not_a_variable_is_an_error_and_never_a_text() {
        for text in
            ["${A:-${B}}", "${A", "${}", "${A-b}", "${A:=b}", "${A:?b}", "${1A}", "${A B}", "x${ A }", "${A:-${B}"]
        {
            let (root, report) = read(&format!("a: '{text}'\n"));
            assert!(report.to_string().starts_with("t.yml:1:4: "), "{text}: {report}");
            assert_eq!(get(&root, "a").value, Value::Null, "{text}");
        }
        let (root, report) = read("a: $A\nb: $$\nc: a{b}\n");
        assert_eq!(report.to_string(), "");
        assert_eq!(get(&root, "a").scalar(), Some("$A"));
    }
}
