//! The arguments of a `join`: any JSON where `{"room": …, "key": …}` is expected.

use nodevent_protocol::key::{Refusal, Rules, Secret, sign, sign_bound, verify, verify_value};
use nodevent_protocol::room;
use serde_json::Value;

const NOW: u64 = 1_750_000_000_000;

/// No room is opened but with a key that the secret signs, and every key that it signs opens.
pub(crate) fn run(data: &[u8]) {
    let Ok(arguments) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(room) = room::from_json(&arguments["room"], room::MAX_BYTES) else { return };
    let secrets = [Secret::new("asdf").unwrap(), Secret::new("another").unwrap()];
    let key = arguments.get("key");
    let rules = Rules { namespace: "/a", secrets: &secrets, max_lifetime_ms: None, requires_bound: false };
    match verify_value(&room, key, &rules, NOW) {
        Ok(expires_ms) => {
            let signed = secrets.iter().flat_map(|secret| {
                [sign(&room, expires_ms, secret), sign_bound("/a", &room, expires_ms, secret)].map(Result::unwrap)
            });
            assert!(signed.into_iter().any(|signed| key.and_then(Value::as_str) == Some(&signed)));
        }
        Err(Refusal::MustProvideKey) => assert!(key.is_none_or(Value::is_null)),
        Err(Refusal::TimeHasPassed) => {
            let in_time = verify_value(&room, key, &Rules { max_lifetime_ms: Some(u64::MAX), ..rules }, 0);
            assert!(matches!(in_time, Ok(expires_ms) if expires_ms < NOW) || in_time == Err(Refusal::BadKey));
        }
        Err(_) => {}
    }
    // The key of this room is the key of no part of it (N-42).
    let key = sign(&room, NOW, &secrets[0]).unwrap();
    assert_eq!(verify(&room, &key, &rules, NOW), Ok(NOW));
    if let Some((cut, _)) = room.char_indices().last() {
        let (hash, ts) = key.split_once(':').unwrap();
        let moved = format!("{hash}:{}{ts}", &room[cut..]);
        assert!(verify(&room[..cut], &moved, &rules, 0).is_err());
    }
}
