//! Attack 9: namespaces that are open by mistake: a blank or misspelt secret. The server must refuse to start.
//!
//! No bystander is measured: nothing runs that could have one.

use crate::attacker;
use crate::support::Program;

/// Configurations whose author meant to close a namespace.
const MISTAKES: [(&str, &str); 10] = [
    ("a blank secret", "/nodevent:\n  secret:\n"),
    ("a null secret", "/nodevent: {secret: ~}\n"),
    ("an empty secret", "/nodevent: {secret: \"\"}\n"),
    ("no secrets", "/nodevent: {secrets: []}\n"),
    ("blank secrets", "/nodevent:\n  secrets:\n"),
    ("a misspelt secret", "/nodevent: {sceret: a-long-random-secret-of-32-chars}\n"),
    ("a misplaced secret", "secret: a-long-random-secret-of-32-chars\n/nodevent: {}\n/other: {}\n"),
    ("a variable without braces", "/nodevent: {secret: $NODEVENT_SECRET}\n"),
    ("a nested default", "/nodevent: {secret: \"${SURELY_NOT_SET:-${NOT_SET_EITHER}}\"}\n"),
    ("an empty default", "/nodevent: {secret: \"${SURELY_NOT_SET:-}\"}\n"),
];

#[test]
fn namespace_meant_to_be_closed_is_never_open() {
    attacker::run(async {
        let mut accepted = Vec::new();
        for (mistake, text) in MISTAKES {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("c.yml"), text).unwrap();
            let output = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
            if output.status.code() != Some(64) {
                accepted.push(mistake);
            }
        }
        assert!(accepted.is_empty(), "configurations with these mistakes are accepted: {accepted:?}");
    });
}
