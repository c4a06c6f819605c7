//! Tests of tokens: the vectors, and the rules that they cannot express.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};

pub(super) fn vectors() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/vectors/tokens.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

pub(super) fn list<'a>(vectors: &'a Value, name: &str) -> &'a Vec<Value> {
    vectors[name].as_array().unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|one| text(one).to_owned()).collect()
}

fn secret(text: &str) -> TokenKey {
    TokenKey::secret(&Secret::new(text).unwrap()).unwrap()
}

fn named(id: &str, key: TokenKey) -> TokenKey {
    key.with(Some(id.to_owned()), None)
}

/// The keys of the vectors.
fn keys(vectors: &Value) -> Vec<TokenKey> {
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let secrets = vectors["keys"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(id, value)| secret(text(value)).with(Some(id.clone()), (id == "ended").then_some(now_ms - 1)));
    let public = vectors["public_keys"].as_object().unwrap().iter();
    let public = public.map(|(id, pem)| named(id, TokenKey::public(text(pem)).unwrap()));
    let set = TokenKey::key_set(&vectors["jwks"].to_string()).unwrap();
    secrets.chain(public).chain(set).collect()
}

pub(super) fn settings(vectors: &Value) -> Settings {
    Settings { keys: keys(vectors), max_lifetime: Duration::from_secs(3600), ..Settings::default() }
}

pub(super) fn verifier(settings: Settings) -> TokenVerifier {
    TokenVerifier::new("/nodevent", 255, settings)
}

#[test]
fn every_token_of_the_vectors_is_accepted_or_rejected_as_listed() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let verifier = verifier(settings(&vectors));
    for vector in list(&vectors, "accepted") {
        let name = &vector["name"];
        let identity = verifier.identity(text(&vector["token"]), now_ms).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(&*identity.user, text(&vector["user"]), "{name}");
        assert_eq!(identity.expires_ms, vector["expires_ms"].as_u64().unwrap(), "{name}");
        let rooms: Vec<&str> = identity.rooms.iter().map(|room| &**room).collect();
        assert_eq!(rooms, texts(&vector["rooms"]), "{name}");
        let info = identity.info.map(|info| serde_json::from_str(&info).unwrap());
        assert_eq!(info.unwrap_or(Value::Null), vector["info"], "{name}");
    }
    for vector in list(&vectors, "rejected") {
        let error = verifier.identity(text(&vector["token"]), now_ms).unwrap_err();
        assert_eq!(error.as_str(), text(&vector["error"]), "{}", vector["name"]);
    }
}

#[test]
fn a_token_of_100_kb_is_rejected_before_it_is_read() {
    let vectors = vectors();
    let verifier = verifier(settings(&vectors));
    let token = text(&list(&vectors, "accepted")[0]["token"]);
    let long = token.replacen('.', &format!("{}.", "A".repeat(100 * 1024)), 1);
    for token in [long, ".".repeat(100 * 1024), "a".repeat(MAX_TOKEN_BYTES + 1)] {
        assert_eq!(verifier.identity(&token, 0), Err(TokenError::TooLong));
    }
    assert_eq!(verifier.identity(&"a".repeat(MAX_TOKEN_BYTES), 0), Err(TokenError::Malformed));
}

#[test]
fn a_token_with_a_room_is_a_key_to_it() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let verifier = verifier(settings(&vectors));
    for vector in list(&vectors, "room_keys") {
        let (token, room) = (text(&vector["token"]), text(&vector["room"]));
        let result = verifier.check_room_key(token, room, vector["user"].as_str(), now_ms);
        let error = result.err().map(TokenError::as_str);
        assert_eq!(error, vector["error"].as_str(), "{}", vector["name"]);
    }
}

#[test]
fn audience_and_issuer_are_compared_if_they_are_configured() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    for vector in list(&vectors, "configured") {
        let (audiences, issuers) = (texts(&vector["aud"]), texts(&vector["iss"]));
        let verifier = verifier(Settings { audiences, issuers, ..settings(&vectors) });
        let error = verifier.identity(text(&vector["token"]), now_ms).err().map(TokenError::as_str);
        assert_eq!(error, vector["error"].as_str(), "{}", vector["name"]);
    }
}

#[test]
fn a_key_without_an_id_verifies_tokens_with_any_kid_and_without_one() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let keys = vec![secret("another secret of thirty-two byt"), secret(text(&vectors["keys"]["new"]))];
    let verifier = verifier(Settings { keys, ..settings(&vectors) });
    for name in ["without kid", "a kid that is a path of Windows", "an unknown kid", "HS256"] {
        let all = list(&vectors, "rejected").iter().chain(list(&vectors, "accepted"));
        let token =
            all.filter(|vector| vector["name"] == name).map(|vector| text(&vector["token"])).next().unwrap();
        assert_eq!(verifier.identity(token, now_ms).map(|identity| identity.user), Ok("7".into()), "{name}");
    }
}

#[test]
fn a_token_with_any_change_is_rejected_or_says_the_same() {
    // Every byte is replaced, removed and doubled in turn. Nothing may panic, and no change may give another identity.
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let verifier = verifier(settings(&vectors));
    for name in ["HS256", "RS256", "ES256", "rooms and info"] {
        let vector = list(&vectors, "accepted").iter().find(|vector| vector["name"] == name).unwrap();
        let token = text(&vector["token"]);
        let original = verifier.identity(token, now_ms).unwrap();
        for index in 0..token.len() {
            let (before, after) = (&token[..index], &token[index + 1..]);
            let doubled = token[index..=index].repeat(2);
            for middle in ["", "A", "_", ".", "=", "\0", "é", doubled.as_str()] {
                let result = verifier.identity(&format!("{before}{middle}{after}"), now_ms);
                assert!(result.is_err() || result.as_ref() == Ok(&original), "{name}: {middle:?} at {index}");
            }
        }
    }
}

#[test]
fn only_configured_algorithms_are_accepted() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let verifier = verifier(Settings { algorithms: vec![Algorithm::ES256], ..settings(&vectors) });
    for (name, expected) in [
        ("ES256", Ok(())),
        ("HS256", Err(TokenError::AlgorithmNotAllowed)),
        ("RS256", Err(TokenError::AlgorithmNotAllowed)),
    ] {
        let token = list(&vectors, "accepted").iter().find(|vector| vector["name"] == name).unwrap();
        assert_eq!(verifier.identity(text(&token["token"]), now_ms).map(drop), expected, "{name}");
    }
}

#[test]
fn a_secret_ends_at_its_date() {
    let vectors = vectors();
    let now_ms = vectors["now_ms"].as_u64().unwrap();
    let mut keys = keys(&vectors);
    for key in &mut keys {
        key.until_ms = Some(now_ms);
    }
    let verifier = verifier(Settings { keys, ..settings(&vectors) });
    let token = text(&list(&vectors, "accepted")[0]["token"]);
    assert!(verifier.identity(token, now_ms).is_ok());
    assert_eq!(verifier.identity(token, now_ms + 1), Err(TokenError::KeyEnded));
}

#[test]
fn without_keys_no_token_is_valid() {
    let vectors = vectors();
    let verifier = verifier(Settings::default());
    for vector in list(&vectors, "accepted") {
        assert!(verifier.identity(text(&vector["token"]), vectors["now_ms"].as_u64().unwrap()).is_err());
    }
}

#[test]
fn times_at_the_end_of_their_range_do_not_overflow() {
    let vectors = vectors();
    let far = Settings { max_lifetime: Duration::MAX, leeway: Duration::MAX, ..settings(&vectors) };
    let token = text(&list(&vectors, "accepted")[0]["token"]);
    for now_ms in [0, u64::MAX] {
        assert!(verifier(far.clone()).identity(token, now_ms).is_ok());
    }
}

#[test]
fn keys_that_cannot_verify_are_errors_that_do_not_contain_them() {
    let vectors = vectors();
    let rsa = text(&vectors["public_keys"]["rsa"]);
    for (pem, error) in [
        ("", KeyError::NotPublicKey),
        ("a secret", KeyError::NotPublicKey),
        (&rsa.replace("PUBLIC", "PRIVATE"), KeyError::PrivateKey),
        (&rsa.replace("PUBLIC KEY", "CERTIFICATE"), KeyError::NotPublicKey),
        (&rsa[..rsa.len() / 2], KeyError::NotPublicKey),
        (SHORT_RSA, KeyError::ShortRsaKey),
        (P384, KeyError::WrongCurve),
        (ED25519, KeyError::NotPublicKey),
    ] {
        assert_eq!(TokenKey::public(pem).err(), Some(error), "{pem}");
    }
    for (set, error) in [
        ("", KeyError::NotKeySet),
        ("{}", KeyError::NotKeySet),
        (r#"{"keys":[]}"#, KeyError::NoKey),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, KeyError::SecretInKeySet),
        (r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"eA"}]}"#, KeyError::NoKey),
        (r#"{"keys":[{"kty":"RSA","n":"eA","e":"AQAB"}]}"#, KeyError::ShortRsaKey),
        (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"eA","y":"eA"}]}"#, KeyError::WrongCurve),
    ] {
        assert_eq!(TokenKey::key_set(set).err(), Some(error), "{set}");
    }
}

/// A key of a new type made all keys of a set useless.
#[test]
fn keys_of_unknown_types_in_a_set_do_not_affect_the_others() {
    let mut set = vectors()["jwks"].clone();
    let known = TokenKey::key_set(&set.to_string()).unwrap().len();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.insert(0, json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": "eA"}));
    keys.insert(0, json!({"kty": "RSA", "alg": "RS999", "n": "eA", "e": "AQAB"}));
    keys.insert(0, json!({"kid": "no-type"}));
    assert_eq!(TokenKey::key_set(&set.to_string()).unwrap().len(), known);
    set["keys"].as_array_mut().unwrap().push(json!({"kty": "oct", "alg": "XS1", "k": "eA"}));
    assert_eq!(TokenKey::key_set(&set.to_string()).err(), Some(KeyError::SecretInKeySet));
}

#[test]
fn tokens_keys_and_identities_cannot_be_printed() {
    let key = named("a", secret("a secret of thirty-two bytes, a.."));
    assert!(
        !format!("{key:?} {:?}", Settings { keys: vec![key.clone()], ..Settings::default() }).contains("thirty")
    );
    let token = RequestToken { source: TokenSource::Query("token".into()), text: "eyJ.eyJ.x".into() };
    assert!(!format!("{token:?}").contains("eyJ"));
    let identity = Identity {
        user: "ann".into(),
        expires_ms: 1,
        issued_ms: 0,
        info: Some("{}".into()),
        rooms: Box::default(),
        site: None,
    };
    assert!(!format!("{identity:?}").contains("ann"));
}

#[test]
fn nesting_is_counted_outside_of_texts_only() {
    for (json, expected) in [
        ("", 0),
        ("1", 0),
        ("{}", 1),
        ("[[],[[]]]", 3),
        (r#"{"a":"[[[["}"#, 1),
        (r#"{"a":"\"[[[["}"#, 1),
        (r#"{"a\\":[[1]]}"#, 3),
        ("]]]]", 0),
        ("[[[[", 4),
    ] {
        assert_eq!(depth(json.as_bytes()), expected, "{json}");
    }
}

const SHORT_RSA: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDl840wIcI1uXxal1PmnBXTA+sm\n\
IUaBa7r8fRfa9f0CEtv7SXfgWpi3bO9xyRC4xkVoDJ/OrFbq1deQ7D6wrfHTqPTL\n\
fVEdUfkKld4uKQxIhxIPq19qx+Gy5xMugSzsNZXjQ9FIs437yAzD+Q3UTFds2xHD\n\
XUf10D3GBRcRr3LxJwIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
const P384: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEURY58wAgywhYXhYPKYBNW1DsgU52c/pa\n\
IFAOeLvrt+pyqGb/j9HOx1Ow4CV6mb8HjBGFxMnLVqXtRt1sjVxUGjAS3XpktCQJ\n\
xlGSflfpBy0EVdp7dgA+iBSw/Mu+tqiL\n\
-----END PUBLIC KEY-----\n\
";
const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MCowBQYDK2VwAyEAVPV15syPBd3Mdg1fIXVbJ6HY7tMJaHH7r5B1nBu80Yg=\n\
-----END PUBLIC KEY-----\n\
";

#[test]
fn keys_that_are_read_from_elsewhere_count_for_a_time_that_no_wall_clock_changes() {
    let (remote, now, hour) = (RemoteKeys::default(), Instant::now(), Duration::from_secs(3600));
    let count = |later: Duration| remote.get(now + later).len();
    assert_eq!(count(Duration::ZERO), 0);
    remote.set(vec![secret("a-secret-of-more-than-32-characters!")], hour);
    assert_eq!((count(Duration::ZERO), count(hour * 9 / 10), count(hour * 11 / 10)), (1, 1, 0));
    remote.set(vec![secret("a-secret-of-more-than-32-characters!")], Duration::MAX);
    assert_eq!(count(1000 * hour), 1);
}
