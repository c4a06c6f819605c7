//! `docs/configuration.md`, printed from the registry of keys.

use super::keys::{DefaultValue, Key, Kind, SECTIONS, Section};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

Every key that the server reads. This page is generated from the server's source; a test keeps the two equal. Keys that only
the gem reads are described in [rails.md](rails.md).

The file is YAML or JSON. The server uses the file that is named on the command line, or the one that `NODEVENT_CONFIG`
names, or the first of `config/nodevent.yml`, `/etc/nodevent.json`, `/etc/nodevent.yml`, `/etc/nodevent/nodevent.yml`.
Without a file it listens on port 8080 with one open namespace, `/nodevent`, and uses Redis on localhost if it responds.

`nodevent check FILE` reports every error at once, with line, column and what to write instead. The server does not start
with an error: it exits with status 64. Unknown keys are reported with the most similar known one.

## Values

| type | written as |
|---|---|
| text, word | One value. It is used as it is written: `0123`, `yes` and `2026-01-01` are the texts \"0123\", \"yes\" and \"2026-01-01\". |
| secret | A text of one line. It is never printed. |
| number | Digits, without a leading `0`, sign or underscore. |
| duration | A number with a unit: `500ms`, `30s`, `5m`, `1h`, `2d`. Without a unit: seconds. |
| size | A number with a unit: `64KB`, `1MB`, `1GB` (1 KB is 1,024 bytes). Without a unit: bytes. |
| flag | `true` or `false`; `yes`, `no`, `on` and `off` as well. |
| texts | One text, or a list of them. |
| file | A path, relative to the folder of the configuration file. |
| map | Keys of its own. |

`${NAME}` and `${NAME:-default}` in a value are replaced from the environment. A variable that is empty counts as missing. If
a secret cannot be written this way, put it in a file (`secret_file`).

A key without a value, a duplicate key, a YAML tag and a second YAML document are errors. Anchors, aliases and merge keys
work.

If the file has sections (`shared`, `development`, `test`, `staging`, `production`), the section of the environment is merged
over `shared`. `NODEVENT_ENV`, else `RAILS_ENV`, else `RACK_ENV` names the environment; the default is `development`.

## Open namespaces

A namespace without a secret is open: every client may join its rooms. The server reports such a namespace at its start; write
`open: true` if that is intended. It does not start if a namespace seems to be open by mistake: a secret without a value, an
unknown key next to it, a secret at the top of a file with several namespaces, a missing slash before its name.
";

/// Returns the text of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        write_section(&mut out, section);
    }
    let _ = write!(out, "\n## Names in older files\n\n| key | old names |\n|---|---|\n");
    for section in SECTIONS {
        for key in section.keys.iter().filter(|key| !key.old_names.is_empty()) {
            let names: Vec<String> = key.old_names.iter().map(|name| format!("`{name}`")).collect();
            let _ = writeln!(out, "| `{}` ({}) | {} |", key.name, section.title, names.join(", "));
        }
    }
    out
}

/// Explains every key of that name, which may have the name of its section before it: `send_buffer`,
/// `limits.send_buffer`.
///
/// # Errors
/// Returns the most similar names if there is no such key.
pub fn explain(name: &str) -> Result<String, Vec<String>> {
    let all =
        || SECTIONS.into_iter().flat_map(|section| section.keys.iter().map(move |key| (path(section, key), key)));
    let is_meant = |path: &str| path == name || path.strip_suffix(name).is_some_and(|before| before.ends_with('.'));
    let mut out = String::new();
    for (path, key) in all().filter(|(path, key)| is_meant(path) || key.old_names.contains(&name)) {
        let (default, meaning, change) = (default(key).replace('`', ""), key.meaning, key.change);
        let _ =
            write!(out, "{path}: {}; default: {default}\n  {meaning}\n  When to change it: {change}\n", kind(key));
        if !key.example.is_empty() {
            let _ = writeln!(out, "  Example: {}: {}", key.name, key.example);
        }
    }
    if out.is_empty() {
        let mut near: Vec<(f64, String)> = all()
            .map(|(path, key)| (strsim::jaro_winkler(name, key.name).max(strsim::jaro_winkler(name, &path)), path))
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0));
        return Err(near.into_iter().take(3).map(|(_, path)| path).collect());
    }
    Ok(out)
}

/// Returns a key's name with the names before it.
fn path(section: &Section, key: &Key) -> String {
    match section.title {
        "Server" => key.name.to_owned(),
        "Namespace" => format!("/<namespace>.{}", key.name),
        title => format!("{}.{}", title.trim_matches('`'), key.name),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        DefaultValue::Value(value) => format!("`{value}`"),
        DefaultValue::Words(words) => words.to_owned(),
    }
}

/// Returns the example of a section as a file.
pub fn example(section: &Section) -> String {
    let mut out = String::new();
    if !section.frame.above.is_empty() {
        out.push_str(section.frame.above);
        out.push('\n');
    }
    let mut keys = section.keys.iter().filter(|key| !key.example.is_empty());
    // The first key of a list entry follows the dash.
    if out.ends_with("-\n")
        && let Some(key) = keys.next()
    {
        out.pop();
        let _ = writeln!(out, " {}: {}", key.name, key.example);
    }
    for key in keys {
        let _ = writeln!(out, "{:indent$}{}: {}", "", key.name, key.example, indent = section.frame.indent);
    }
    out
}

fn write_section(out: &mut String, section: &Section) {
    let _ = write!(out, "\n## {}\n\n{}\n\n", section.title, section.about);
    let _ = writeln!(out, "| key | type | default | meaning | when to change it |\n|---|---|---|---|---|");
    for key in section.keys {
        let default = default(key);
        let _ = writeln!(out, "| `{}` | {} | {default} | {} | {} |", key.name, kind(key), key.meaning, key.change);
    }
    let _ = write!(out, "\n```yaml\n{}```\n", example(section));
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::File => "file".to_owned(),
        Kind::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
        Kind::Number(min, max) => format!("number, {min} to {max}"),
        Kind::Duration => "duration".to_owned(),
        Kind::Size => "size".to_owned(),
        Kind::Flag => "flag".to_owned(),
        Kind::Texts => "texts".to_owned(),
        Kind::Map(what) => format!("map: {what}"),
        Kind::Gem => "text, for the gem".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::environment::Environment;
    use crate::config::{Config, read, report::Report};

    fn read_example(text: &str) -> (Option<Config>, Report) {
        let folder = tempfile::tempdir().unwrap();
        for file in ["cert.pem", "key.pem", "ca.pem"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let mut report = Report::about("example");
        let environment = Environment { name: "development".to_owned(), is_named: false };
        let config = read(text, false, folder.path(), &environment, &mut report);
        (config, report)
    }

    #[test]
    fn every_example_is_a_configuration_without_errors_or_unknown_keys() {
        for section in SECTIONS {
            let text = example(section);
            let (_, report) = read_example(&text);
            assert_eq!(report.to_string(), "", "{text}");
            let warnings: Vec<String> =
                report.warning_lines().filter(|line| line.contains("unknown key")).collect();
            assert!(warnings.is_empty(), "{text}\n{warnings:?}");
        }
    }

    /// What is required in a section of a dialect, or in one that has required keys. Further keys can be appended.
    fn required_file(section: &str) -> Option<&'static str> {
        Some(match section {
            "`action_cable`" => {
                "/cable:\n  protocol: action_cable\n  action_cable:\n    secret_key_base: a-secret-of-more-than-sixteen\n"
            }
            "`turted`" => "/:\n  dialect: turted\n  turted:\n    ident: accept_all\n",
            "`turted.application`" => {
                "/:\n  dialect: turted\n  turted:\n    ident: application\n    application:\n      url: http://localhost/\n"
            }
            "`turted.push`" => {
                "/:\n  dialect: turted\n  turted:\n    push:\n      password: IamAllowed2PUSH!!!\n      port: 7117\n"
            }
            "`hooks`" => {
                "/a:\n  open: true\n  presence: true\n  hooks:\n    url: http://localhost/\n    secret: a-secret-of-more-than-sixteen\n    events: left\n"
            }
            "`connection_state_recovery`" => {
                "/a:\n  open: true\n  connection_state_recovery:\n    secret: a-secret-of-more-than-sixteen\n"
            }
            "`pages`" => "/live:\n  protocol: pakyow\n  pages:\n    secret: a-secret-of-more-than-sixteen\n",
            "`calls`" => {
                "/a:\n  open: true\n  calls:\n    url: http://localhost/\n    secret: a-secret-of-more-than-sixteen\n"
            }
            "`store`" => "/a:\n  open: true\nstore:\n  folder: /storage\n",
            "`traces`" => "/a:\n  open: true\ntraces:\n  url: http://localhost/v1/traces\n",
            "`notifications`" => "/:\n  dialect: notifications\n  notifications:\n    channels: notif\n",
            _ => return None,
        })
    }

    /// A file that writes every default of the registry means the same as a file that writes nothing.
    #[test]
    fn every_default_of_the_registry_is_the_default_of_the_server() {
        let plain =
            "/nodevent:\n  secret: a-secret-of-more-than-sixteen\n  redis:\n    password: x\nadmin: {port: 1}\n";
        let (expected, _) = read_example(&plain.replace("{port: 1}", "{}"));
        let token_file = |line: &str| {
            let section = format!("  token:\n    secret: a-secret-of-more-than-thirty-two-bytes\n{line}  redis:");
            plain.replace("{port: 1}", "{}").replace("  redis:", &section)
        };
        let with_mailbox = |value: &str| plain.replace("  redis:", &format!("  mailbox: {value}\n  redis:"));
        let auth_file = |line: &str| {
            let section = format!("  auth:\n    url: http://localhost/\n{line}  redis:");
            plain.replace("{port: 1}", "{}").replace("  redis:", &section)
        };
        for section in SECTIONS {
            for key in section.keys {
                let DefaultValue::Value(value) = key.default else { continue };
                // The lines above the keys of this section, completed by those of the plain file.
                let mut text =
                    section.frame.above.replace("/nodevent:", plain.split("admin").next().unwrap().trim_end());
                let text = match section.title {
                    title if required_file(title).is_some() => {
                        let minimal = required_file(title).unwrap_or_default();
                        format!("{minimal}{:indent$}{}: {value}\n", "", key.name, indent = section.frame.indent)
                    }
                    "Server" => format!("{plain}{}: {value}\n", key.name)
                        .replace("admin: {port: 1}\nadmin: off", "admin: off"),
                    "Namespace" if key.name == "open" => continue,
                    "Namespace" => plain.replace("  redis:", &format!("  {}: {value}\n  redis:", key.name)),
                    "`redis`" => plain.replace("password: x", &format!("password: x\n    {}: {value}", key.name)),
                    "`token`" => token_file(&format!("    {}: {value}\n", key.name)),
                    "`auth`" => auth_file(&format!("    {}: {value}\n", key.name)),
                    "`redis.sentinel`" | "`listen`" => continue,
                    "`admin`" => plain.replace("{port: 1}", &format!("{{{}: {value}}}", key.name)),
                    "`mailbox`" => with_mailbox(&format!("{{{}: {value}}}", key.name)),
                    "`presence`" => {
                        plain.replace("  redis:", &format!("  presence: {{{}: {value}}}\n  redis:", key.name))
                    }
                    "`history`" => {
                        plain.replace("  redis:", &format!("  history: {{{}: {value}}}\n  redis:", key.name))
                    }
                    _ => {
                        let _ = write!(
                            text,
                            "\n{:indent$}{}: {value}\n{plain}",
                            "",
                            key.name,
                            indent = section.frame.indent
                        );
                        text
                    }
                };
                let text = text.replace("{port: 1}", "{}");
                let (config, report) = read_example(&text);
                assert_eq!(report.to_string(), "", "{text}");
                // A name that is written has a location.
                let config = config.map(|mut config| {
                    let namespace = &mut config.namespaces[0];
                    namespace.protocols.iter_mut().for_each(|name| name.location = None);
                    namespace.dialects.iter_mut().for_each(|name| name.location = None);
                    config
                });
                let mut expected = expected.clone();
                if let Some(minimal) = required_file(section.title) {
                    expected = read_example(minimal).0.map(|mut config| {
                        let namespace = &mut config.namespaces[0];
                        namespace.protocols.iter_mut().for_each(|name| name.location = None);
                        namespace.dialects.iter_mut().for_each(|name| name.location = None);
                        config
                    });
                }
                if section.title == "`presence`" {
                    let text = plain.replace("{port: 1}", "{}").replace("  redis:", "  presence: true\n  redis:");
                    expected = read_example(&text).0;
                }
                if section.title == "`token`" {
                    expected = read_example(&token_file("")).0;
                }
                if section.title == "`mailbox`" {
                    expected = read_example(&with_mailbox("on").replace("{port: 1}", "{}")).0;
                }
                if section.title == "`auth`" {
                    expected = read_example(&auth_file("")).0;
                }
                match (section.title, key.name) {
                    // These keys say where there was nothing: the value is the same in another form.
                    ("Server", "admin") => expected.as_mut().unwrap().admin = None,
                    ("`redis`", "db") => {
                        expected.as_mut().unwrap().namespaces[0].redis.as_mut().unwrap().db = Some(0)
                    }
                    _ => {}
                }
                assert_eq!(
                    format!("{config:?}"),
                    format!("{expected:?}"),
                    "{}.{}\n{text}",
                    section.title,
                    key.name
                );
            }
        }
    }
}
