//! A key opens the room that it was signed for, and nothing else.

use nodevent_protocol::key::{ExpiryError, Refusal, Rules, Secret, sign, sign_bound};
use nodevent_protocol::{room, topic};
use proptest::prelude::*;
use serde_json::json;

#[path = "../../fuzz/entries/join_args.rs"]
mod join_args;

const EXPIRIES: std::ops::RangeInclusive<u64> = 1_000_000_000_000..=9_999_999_999_999;

fn secret() -> impl Strategy<Value = Secret> {
    "\\PC{1,40}".prop_map(|text| Secret::new(text).unwrap())
}

/// Verifies a key for the namespace `/a`, where both formats are accepted.
fn verify(
    room: &str,
    key: &str,
    secrets: &[Secret],
    now_ms: u64,
    max_lifetime_ms: Option<u64>,
) -> Result<u64, Refusal> {
    let rules = Rules { namespace: "/a", secrets, max_lifetime_ms, requires_bound: false };
    nodevent_protocol::key::verify(room, key, &rules, now_ms)
}

/// Signs a key in one of the two formats.
fn sign_in(is_bound: bool, room: &str, ts: u64, secret: &Secret) -> Result<String, ExpiryError> {
    if is_bound { sign_bound("/a", room, ts, secret) } else { sign(room, ts, secret) }
}

proptest! {
    #[test]
    fn key_opens_its_room_until_it_expires(
        is_bound: bool, room in ".{1,60}", ts in EXPIRIES, secret in secret(),
    ) {
        // N-40, N-38
        let key = sign_in(is_bound, &room, ts, &secret).unwrap();
        let secrets = [secret];
        prop_assert_eq!(verify(&room, &key, &secrets, ts, None), Ok(ts));
        prop_assert_eq!(verify(&room, &key, &secrets, ts + 1, None), Err(Refusal::TimeHasPassed));
        prop_assert_eq!(verify(&room, &key, &secrets, ts - 10, Some(9)), Err(Refusal::LifetimeTooLong));
        prop_assert_eq!(verify(&room, &key, &secrets, ts - 10, Some(10)), Ok(ts));
    }

    #[test]
    fn key_opens_nothing_with_another_room_time_or_secret(
        is_bound: bool, (room, other) in (".{1,20}", ".{1,20}"), (ts, later) in (EXPIRIES, EXPIRIES),
        (secret, wrong) in ("[a-z]{1,9}", "[A-Z]{1,9}"),
    ) {
        // N-39
        let secrets = [Secret::new(secret).unwrap()];
        let key = sign_in(is_bound, &room, ts, &secrets[0]).unwrap();
        let (hash, _) = key.split_once(':').unwrap();
        if room != other {
            prop_assert_eq!(verify(&other, &key, &secrets, 0, Some(u64::MAX)), Err(Refusal::BadKey));
        }
        if ts != later {
            let moved = format!("{hash}:{later}");
            prop_assert_eq!(verify(&room, &moved, &secrets, 0, Some(u64::MAX)), Err(Refusal::BadKey));
        }
        prop_assert_eq!(verify(&room, &key, &[Secret::new(wrong).unwrap()], 0, Some(u64::MAX)), Err(Refusal::BadKey));
    }

    #[test]
    fn other_splits_of_room_and_time_are_refused(room in "[A-Za-z]{1,8}_[0-9]{1,15}", ts in EXPIRIES, secret in secret()) {
        // N-42
        let key = sign(&room, ts, &secret).unwrap();
        let (hash, ts) = key.split_once(':').unwrap();
        let joined = format!("{room}{ts}");
        for split in (0..=joined.len()).filter(|&split| split != room.len()) {
            let moved = format!("{hash}:{}", &joined[split..]);
            let refusal = verify(&joined[..split], &moved, std::slice::from_ref(&secret), 0, None);
            prop_assert_eq!(refusal, Err(Refusal::BadTime));
        }
    }

    #[test]
    fn bound_key_opens_nothing_in_another_namespace(
        (namespace, other) in ("/[a-z0-9:]{1,5}", "/[a-z0-9:]{1,5}"), (room, second) in ("[a-z0-9:]{1,6}", "[a-z0-9:]{1,6}"),
        ts in EXPIRIES, secret in secret(),
    ) {
        let key = sign_bound(&namespace, &room, ts, &secret).unwrap();
        let secrets = [secret];
        for (other, second) in [(&other, &room), (&namespace, &second), (&other, &second)] {
            let rules = Rules { namespace: other, secrets: &secrets, max_lifetime_ms: None, requires_bound: true };
            let opened = nodevent_protocol::key::verify(second, &key, &rules, ts).is_ok();
            prop_assert_eq!(opened, *other == namespace && *second == room);
        }
    }

    #[test]
    fn random_text_is_never_a_key(key in ".{0,100}") {
        let secrets = [Secret::new("asdf").unwrap()];
        prop_assert!(verify("r", &key, &secrets, 0, None).is_err());
    }

    #[test]
    fn text_within_the_limit_names_itself(text in "\u{1}?.{0,300}") {
        let named = room::from_json(&json!(text), room::MAX_BYTES);
        let is_name = (1..=room::MAX_BYTES).contains(&text.len()) && !text.starts_with(topic::MARK);
        prop_assert_eq!(named.ok(), Some(text).filter(|_| is_name));
    }

    #[test]
    fn integer_names_its_decimal_text(number: i64) {
        // N-29
        prop_assert_eq!(room::from_json(&json!(number), room::MAX_BYTES), Ok(number.to_string()));
    }

    #[test]
    fn every_join_argument_is_accepted_or_refused(value in super::json::value(), room in super::json::value()) {
        // N-44
        join_args::run(json!({"room": room, "key": value}).to_string().as_bytes());
        join_args::run(value.to_string().as_bytes());
    }
}
