//! The arguments of a `join`: any JSON where `{"room": …, "key": …}` is expected.

use nodevent_protocol::key::{Refusal, Secret, sign, verify, verify_value};
use nodevent_protocol::room;
use serde_json::Value;

const NOW: u64 = 1_750_000_000_000;

/// No room is opened but with a key that the secret signs, and every key that it signs opens.
pub(crate) fn run(data: &[u8]) {
    let Ok(arguments) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(room) = room::from_json(&arguments["room"], room::MAX_BYTES) else { return };
    let secrets = [Secret::new("asdf").unwrap(), Secret::new("another").unwrap()];
    let key = arguments.get("key");
    match verify_value(&room, key, &secrets, NOW, None) {
        Ok(expires_ms) => {
            let signed = secrets.iter().map(|secret| sign(&room, expires_ms, secret).unwrap());
            assert!(signed.into_iter().any(|signed| key.and_then(Value::as_str) == Some(&signed)));
        }
        Err(Refusal::MustProvideKey) => assert!(key.is_none_or(Value::is_null)),
        Err(Refusal::TimeHasPassed) => {
            let in_time = verify_value(&room, key, &secrets, 0, None);
            assert!(matches!(in_time, Ok(expires_ms) if expires_ms < NOW) || in_time == Err(Refusal::BadKey));
        }
        Err(_) => {}
    }
    // The key of this room is the key of no part of it (N-42).
    let key = sign(&room, NOW, &secrets[0]).unwrap();
    assert_eq!(verify(&room, &key, &secrets, NOW, None), Ok(NOW));
    if let Some((cut, _)) = room.char_indices().last() {
        let (hash, ts) = key.split_once(':').unwrap();
        let moved = format!("{hash}:{}{ts}", &room[cut..]);
        assert!(verify(&room[..cut], &moved, &secrets, 0, None).is_err());
    }
}
