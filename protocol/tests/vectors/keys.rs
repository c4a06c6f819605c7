//! `keys.json`: N-36 to N-44, and the attack on the key formula.

use crate::vector::{list, load, number, text};
use nodevent_protocol::key::{ExpiryError, Rules, Secret, sign, sign_bound, verify_value};
use serde_json::Value;

fn secrets(vector: &Value) -> Vec<Secret> {
    let secrets = vector["secrets"].as_array().unwrap();
    secrets.iter().map(|secret| Secret::new(secret.as_str().unwrap()).unwrap()).collect()
}

#[test]
fn every_golden_key_is_signed_as_other_programs_sign_it() {
    // N-41
    for vector in list(&load("keys.json"), "golden") {
        let secret = Secret::new(text(vector, "secret")).unwrap();
        let key = sign(text(vector, "room"), number(vector, "ts"), &secret).unwrap();
        assert_eq!(key, text(vector, "key"), "{vector}");
    }
}

#[test]
fn every_golden_bound_key_is_signed_as_other_programs_sign_it() {
    for vector in list(&load("keys.json"), "golden_bound") {
        let secret = Secret::new(text(vector, "secret")).unwrap();
        let (namespace, room) = (text(vector, "namespace"), text(vector, "room"));
        let key = sign_bound(namespace, room, number(vector, "ts"), &secret).unwrap();
        assert_eq!(key, text(vector, "key"), "{vector}");
    }
}

#[test]
fn every_key_is_accepted_or_refused_as_listed() {
    // N-36, N-37, N-38, N-39, N-40, N-42, N-43, N-44
    for vector in list(&load("keys.json"), "verify") {
        let secrets = secrets(vector);
        let rules = Rules {
            namespace: vector.get("namespace").map_or("/nodevent", |namespace| namespace.as_str().unwrap()),
            secrets: &secrets,
            max_lifetime_ms: vector.get("max_ttl").map(|max_ttl| max_ttl.as_u64().unwrap()),
            requires_bound: vector.get("require_bound").is_some_and(|required| required.as_bool().unwrap()),
        };
        let result = verify_value(text(vector, "room"), vector.get("key"), &rules, number(vector, "now"));
        match vector.get("expires") {
            Some(expires) => assert_eq!(result, Ok(expires.as_u64().unwrap()), "{vector}"),
            None => assert_eq!(result.unwrap_err().to_string(), text(vector, "refusal"), "{vector}"),
        }
    }
}

#[test]
fn expiry_of_a_dead_or_ambiguous_key_is_not_signed() {
    // N-42
    let secret = Secret::new("asdf").unwrap();
    for vector in list(&load("keys.json"), "unsignable") {
        let ts = number(vector, "ts");
        assert_eq!(sign("User_1", ts, &secret), Err(ExpiryError::OutOfRange(ts)), "{vector}");
    }
}
