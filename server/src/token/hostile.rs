//! Hostile tokens: a generator changes the tokens of the vectors, and signs claims that it invents. Whatever a token
//! says, nothing panics, and what is accepted was signed by a key of the configuration and is within the limits.
//!
//! Each seed is [`TOKENS`] tokens of each kind. `NODEVENT_FUZZ_SECONDS` runs more seeds, until the time is over; `rake
//! fuzz` sets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::tests::{list, settings, text, vectors, verifier};
use super::*;
use crate::seeds::seeds;
use nodevent_protocol::room;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use ring::hmac;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Tokens of one seed, of each kind.
const TOKENS: usize = 500;
/// Seeds without `NODEVENT_FUZZ_SECONDS`.
const SEEDS: u64 = 10;
/// Members of a generated object.
const MAX_MEMBERS: usize = 12;

/// What a token consists of before its signature. Two texts can encode the same.
fn signed_part(token: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part));
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Changes a token: its characters, its decoded parts, or its order.
fn mutate(token: &str, others: &[&str], random: &mut StdRng) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let index = random.random_range(0..parts.len());
    match random.random_range(0..9_u32) {
        0 => {
            let mut bytes: Vec<char> = token.chars().collect();
            let at = random.random_range(0..bytes.len());
            bytes[at] = *b".=_-Aa0\n\0{".map(char::from).choose(random).unwrap();
            return bytes.into_iter().collect();
        }
        1 => return token[..random.random_range(0..token.len())].to_owned(),
        2 => parts[index] = others.choose(random).unwrap().split('.').next_back().unwrap_or_default().to_owned(),
        3 => parts.swap(0, index),
        4 => parts.push(parts[index].clone()),
        5 => {
            parts.remove(index);
        }
        6 => parts[index] = String::new(),
        7 => parts[0] = URL_SAFE_NO_PAD.encode(header(random)),
        _ => {
            let mut bytes = URL_SAFE_NO_PAD.decode(&parts[index]).unwrap_or_default();
            if !bytes.is_empty() {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3_u32) {
                    0 => bytes[at] ^= 1 << random.random_range(0..8),
                    1 => bytes.insert(at, random.random()),
                    _ => bytes.truncate(at),
                }
            }
            parts[index] = URL_SAFE_NO_PAD.encode(bytes);
        }
    }
    parts.join(".")
}

/// The header of a token, which need not be valid JSON.
fn header(random: &mut StdRng) -> String {
    let algorithms = ["HS256", "HS384", "HS512", "RS256", "ES256", "none", "NONE", "hs256", "PS256", "EdDSA", ""];
    let ids =
        [r#""new""#, r#""old""#, r#""rsa""#, r#""../../etc/passwd""#, r#""""#, "null", "1", "[]", r#""\u0000""#];
    let algorithm = algorithms.choose(random).unwrap();
    match random.random_range(0..4_u32) {
        0 => format!(r#"{{"alg":"{algorithm}"}}"#),
        1 => format!(r#"{{"alg":{}}}"#, value(random, 0)),
        _ => format!(r#"{{"alg":"{algorithm}","kid":{}}}"#, ids.choose(random).unwrap()),
    }
}

/// The text of a JSON value, sometimes of an invalid one.
fn value(random: &mut StdRng, depth: usize) -> String {
    let choice = if depth > 20 { random.random_range(0..6) } else { random.random_range(0..9_u32) };
    match choice {
        0 => ["null", "true", "NaN", "-0", "", "\"", "1e999999", "{", "18446744073709551616", "-1"]
            .choose(random)
            .unwrap()
            .to_string(),
        1 => random.random_range(1_799_990_000_u64..1_800_100_000).to_string(),
        2 => format!("{}.5", random.random_range(1_799_999_000_u64..1_800_001_000)),
        3 => format!("{}e3", random.random::<i16>()),
        4 => format!("\"{}\"", "u".repeat(random.random_range(0..400))),
        5 => [r#""7""#, r#""\ud800""#, r#""a\u0000b""#, r#""é\u2028""#, r#""/nodevent""#]
            .choose(random)
            .unwrap()
            .to_string(),
        6 => format!("[{}]", values(random, depth)),
        7 => format!("{{\"a\":{}}}", value(random, depth + 1)),
        _ => format!("{}{}", "[".repeat(random.random_range(0..40)), "]".repeat(random.random_range(0..40))),
    }
}

fn values(random: &mut StdRng, depth: usize) -> String {
    let count = random.random_range(0..4);
    let values: Vec<String> = (0..count).map(|_| value(random, depth + 1)).collect();
    values.join(",")
}

/// The claims of a token. Most of them are valid for some time, so that the other claims count.
fn claims(random: &mut StdRng) -> String {
    let names = ["sub", "exp", "nbf", "iat", "rooms", "info", "room", "ns", "aud", "iss", "jti", "exp"];
    let mut json = String::from("{");
    if random.random_range(0..4_u32) > 0 {
        json.push_str(r#""sub":"7","exp":1800000600"#);
    }
    for _ in 0..random.random_range(0..MAX_MEMBERS) {
        let separator = if json.len() > 1 { "," } else { "" };
        let name = names.choose(random).unwrap();
        let _ = write!(json, "{separator}\"{name}\":{}", value(random, 0));
    }
    json.push('}');
    json
}

fn sign(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

/// Checks what the server would keep of an accepted token.
fn check(identity: &Identity, now_ms: u64, token: &str) {
    assert!((1..=MAX_USER_BYTES).contains(&identity.user.len()), "{token}");
    assert!(!identity.user.chars().any(char::is_control), "{token}");
    let latest = now_ms + 3_600_000 + LEEWAY.as_millis() as u64;
    let earliest = now_ms - LEEWAY.as_millis() as u64;
    assert!((earliest..=latest).contains(&identity.expires_ms), "{token}");
    for name in &identity.rooms {
        assert_eq!(room::check(name, room::MAX_BYTES), Ok(()), "{token}");
    }
    if let Some(info) = &identity.info {
        assert!(info.len() <= MAX_INFO_BYTES, "{token}");
        assert!(serde_json::from_str::<&RawValue>(info).is_ok(), "{token}");
    }
}

#[test]
fn hostile_tokens_cause_neither_panics_nor_unsigned_identities() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let verifier = verifier(settings(&vectors));
    let all = ["accepted", "rejected", "room_keys"].map(|name| list(&vectors, name)).into_iter().flatten();
    let all: Vec<&str> = all.map(|vector| text(&vector["token"])).filter(|token| !token.is_empty()).collect();
    // A rejected token may be signed too, and valid without its flaw. So only accepted ones are changed.
    let accepted: Vec<&str> = list(&vectors, "accepted").iter().map(|vector| text(&vector["token"])).collect();
    let signed: HashSet<_> = accepted.iter().map(|token| signed_part(token).unwrap()).collect();
    let secret = text(&vectors["keys"]["new"]);
    let (mut valid, mut invalid) = (0, 0);
    for seed in seeds(SEEDS) {
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..TOKENS {
            let mut token = (*accepted.choose(&mut random).unwrap()).to_owned();
            for _ in 0..random.random_range(1..4) {
                if token.is_ascii() && !token.is_empty() {
                    token = mutate(&token, &all, &mut random);
                }
            }
            if let Ok(identity) = verifier.identity(&token, now_ms) {
                assert!(signed.contains(&signed_part(&token).unwrap()), "seed {seed}: no key signed {token}");
                check(&identity, now_ms, &token);
            }
            let _ = verifier.check_room_key(&token, "Discussion_12", None, now_ms);

            let token = sign(r#"{"alg":"HS256","kid":"new"}"#, &claims(&mut random), secret);
            match verifier.identity(&token, now_ms) {
                Ok(identity) => {
                    valid += 1;
                    check(&identity, now_ms, &token);
                }
                Err(error) => {
                    invalid += 1;
                    assert!(!token.contains(error.as_str()) && error.as_str().len() < 100, "{error:?}");
                }
            }
        }
    }
    assert!(valid > 100 && invalid > 100, "the generator makes both: {valid} valid, {invalid} invalid");
}

/// RFC 7515, section 4.1.11: an extension that is not understood must not be ignored.
#[test]
fn tokens_with_critical_headers_are_rejected() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let (verifier, secret) = (verifier(settings(&vectors)), text(&vectors["keys"]["new"]));
    let claims = format!(r#"{{"sub":"7","exp":{}}}"#, now_ms / 1000 + 60);
    let of = |more: &str| {
        let header = format!(r#"{{"alg":"HS256","kid":"new","b64":true{more}}}"#);
        verifier.identity(&sign(&header, &claims, secret), now_ms).map(drop)
    };
    assert_eq!(of(""), Ok(()));
    for crit in [r#"["b64"]"#, r#"["exp"]"#, "[]", "1"] {
        assert_eq!(of(&format!(r#","crit":{crit}"#)), Err(TokenError::Malformed), "{crit}");
    }
}
