//! Tokens of the connections' users: JSON Web Tokens, signed with HS256.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Signs a token for each of so many users, valid for an hour.
pub(crate) fn sign_all(users: usize, secret: &str) -> anyhow::Result<Vec<String>> {
    let expires = (SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(3600)).as_secs();
    (0..users).map(|user| sign(user, expires, secret)).collect()
}

/// The name of a connection's user.
pub(crate) fn user(connection: usize) -> String {
    format!("user-{connection}")
}

fn sign(user: usize, expires: u64, secret: &str) -> anyhow::Result<String> {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    let info = json!({"name": format!("User {user}")});
    let claims = json!({"sub": self::user(user), "exp": expires, "info": info}).to_string();
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("the secret cannot be used")?;
    mac.update(message.as_bytes());
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
}
