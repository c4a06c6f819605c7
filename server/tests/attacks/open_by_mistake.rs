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

/// Configurations whose author meant to restrict clients or publishers, with a typo in the key. Ignored, it would allow
/// more.
const TYPOS: [(&str, &str); 14] = [
    ("rooms of a publish key", "/nodevent: {secret: SECRET, publish_keys: [{key: SECRET, room: Chat_*}]}\n"),
    ("users of a publish key", "/nodevent: {secret: SECRET, publish_keys: [{key: SECRET, user: [7]}]}\n"),
    ("a required token", "/nodevent: {open: true, token: {secret: SECRET, requird: true}}\n"),
    ("the issuer of tokens", "/nodevent: {token: {secret: SECRET, issuer: https://www.example.com}}\n"),
    ("the audience of tokens", "/nodevent: {token: {secret: SECRET, audience: live}}\n"),
    ("the lifetime of tokens", "/nodevent: {token: {secret: SECRET, max_lifetme: 1h}}\n"),
    ("the algorithms of tokens", "/nodevent: {token: {secret: SECRET, algorithm: HS512}}\n"),
    ("the end of a secret", "/nodevent: {token: {secrets: [{id: a, secret: SECRET, untill: 2030-01-01}]}}\n"),
    ("the lifetime of identities", "/nodevent: {auth: {url: \"https://www.example.com/live\", life_time: 1m}}\n"),
    ("an empty list of issuers", "/nodevent: {token: {secret: SECRET, iss: []}}\n"),
    ("an empty list of audiences", "/nodevent: {token: {secret: SECRET, aud: []}}\n"),
    ("an empty list of algorithms", "/nodevent: {token: {secret: SECRET, algorithms: []}}\n"),
    ("bound keys", "/nodevent: {secret: SECRET, bound_key: require}\n"),
    ("the lifetime of keys", "/nodevent: {secret: SECRET, max_key_lifetme: 1h}\n"),
];

#[test]
fn restriction_with_a_misspelt_key_is_never_ignored() {
    attacker::run(async {
        let mut accepted = Vec::new();
        for (mistake, text) in TYPOS {
            let folder = tempfile::tempdir().unwrap();
            let text = text.replace("SECRET", "a-long-random-secret-of-32-chars-and-more");
            std::fs::write(folder.path().join("c.yml"), text).unwrap();
            let output = Program::run(folder.path(), &["check", "--offline", "c.yml"]).await;
            let errors =
                String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            if output.status.code() != Some(64)
                || !["unknown key", "is an empty list"].iter().any(|part| errors.contains(part))
            {
                accepted.push((mistake, errors));
            }
        }
        assert!(accepted.is_empty(), "configurations with these typos are accepted: {accepted:#?}");
    });
}

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
