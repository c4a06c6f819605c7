//! Public keys that the server reads from a URL while it runs.

use crate::support::application::{Application, Behaviour};
use crate::support::tokens::now;
use crate::support::wait::until;
use crate::support::{Browser, TestServer, Transport};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

/// A key of an identity provider.
struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

// === impl Signer ===

impl Signer {
    fn new(id: &'static str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { id, pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap() }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
               "x": encode(&point[1..33]), "y": encode(&point[33..])})
    }

    fn token(&self, kid: &str) -> String {
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(json!({"alg": "ES256", "kid": kid}));
        let input = format!("{header}.{}", encode(json!({"sub": "7", "exp": now() + 60.0})));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn set(signers: &[&Signer]) -> Behaviour {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.public()).collect();
    Behaviour::Respond(200, json!({"keys": keys}).to_string())
}

/// The message of the connect error, if the token is rejected.
async fn connect(server: &TestServer, token: &str) -> Option<String> {
    let mut browser = Browser::open(server, Transport::WebSocket).await;
    let result = browser.enter_with("/nodevent", &json!({"token": token}).to_string()).await;
    result.err().map(|error| error["message"].as_str().unwrap_or_default().to_owned())
}

fn configuration(url: &str, more: &str) -> String {
    format!("/nodevent: {{history: off, token: {{jwks_url: \"{url}\"{more}}}}}\n")
}

#[tokio::test]
async fn keys_are_read_replaced_and_count_while_the_application_is_down() {
    let (one, two, forger) = (Signer::new("one"), Signer::new("two"), Signer::new("one"));
    let application = Application::start(set(&[&one])).await;
    let server = TestServer::start(&configuration(&application.url, "")).await;
    until("the first key counts", async || connect(&server, &one.token("one")).await.is_none()).await;
    assert_eq!(connect(&server, &forger.token("one")).await.as_deref(), Some("Bad token signature"));
    for (kid, message) in
        [("../one", "Bad token kid"), ("http://localhost/one", "Bad token kid"), ("x", "Unknown token kid")]
    {
        assert_eq!(connect(&server, &one.token(kid)).await.as_deref(), Some(message));
    }
    // It is replaced. The first token that names the new one makes the server read it.
    application.set(set(&[&two]));
    until("the second key counts", async || connect(&server, &two.token("two")).await.is_none()).await;
    assert_eq!(connect(&server, &one.token("one")).await.as_deref(), Some("Unknown token kid"));
    let reads = application.requests().len();
    for _ in 0..50 {
        connect(&server, &one.token("unknown")).await;
    }
    assert!(application.requests().len() <= reads + 2, "however many tokens name an unknown key");
    // It is down, or responds with something else: the last keys count.
    for behaviour in [Behaviour::Close, Behaviour::Respond(200, r#"{"keys":[{"kty":"oct","k":"YQ"}]}"#.into())] {
        application.set(behaviour);
        let reads = application.requests().len();
        connect(&server, &one.token("unknown")).await;
        application.received(reads + 1).await;
        assert_eq!(connect(&server, &two.token("two")).await, None);
    }
    for request in application.requests() {
        assert!(request.starts_with("GET /live/visitor?app=secretquery HTTP/1.1\r\n"), "{request}");
    }
}

#[tokio::test]
async fn keys_end_if_the_application_is_down_for_too_long() {
    let one = Signer::new("one");
    let application = Application::start(set(&[&one])).await;
    let settings = ", jwks_refresh: 500ms, jwks_max_age: 2s";
    let server = TestServer::start(&configuration(&application.url, settings)).await;
    until("the key counts", async || connect(&server, &one.token("one")).await.is_none()).await;
    application.received(4).await;
    assert_eq!(connect(&server, &one.token("one")).await, None, "it is read again and again");
    application.set(Behaviour::Close);
    until("the key has ended", async || {
        connect(&server, &one.token("one")).await.as_deref() == Some("Unknown token kid")
    })
    .await;
}
