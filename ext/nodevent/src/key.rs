//! Room keys for Ruby. The formula and its rules are those of `nodevent_protocol::key`, shared with the server.

use magnus::{Error, RArray, RString, Ruby, TryConvert, Value};
use nodevent_protocol::key::{self, Rules, Secret};

/// `sign(room, expires_ms, secret)` returns the key.
pub(crate) fn sign(ruby: &Ruby, room: String, expires_ms: u64, value: RString) -> Result<String, Error> {
    key::sign(&room, expires_ms, &secret(ruby, value)?).map_err(|error| argument_error(ruby, error.to_string()))
}

/// `sign_bound(namespace, room, expires_ms, secret)` returns a key that no other namespace accepts.
pub(crate) fn sign_bound(
    ruby: &Ruby,
    namespace: String,
    room: String,
    expires_ms: u64,
    value: RString,
) -> Result<String, Error> {
    key::sign_bound(&namespace, &room, expires_ms, &secret(ruby, value)?)
        .map_err(|error| argument_error(ruby, error.to_string()))
}

/// `verify([namespace, room, key], secrets, now_ms, max_lifetime_ms, requires_bound)` returns when the key expires, or
/// the refusal as it is sent on the wire.
pub(crate) fn verify(
    ruby: &Ruby,
    (namespace, room, key): (String, String, String),
    secrets: RArray,
    now_ms: u64,
    max_lifetime_ms: Option<u64>,
    requires_bound: bool,
) -> Result<Value, Error> {
    let secrets: Vec<_> = secrets
        .into_iter()
        .map(|value| secret(ruby, RString::try_convert(value)?))
        .collect::<Result<_, Error>>()?;
    let rules = Rules { namespace: &namespace, secrets: &secrets, max_lifetime_ms, requires_bound };
    Ok(match key::verify(&room, &key, &rules, now_ms) {
        Ok(expires_ms) => ruby.into_value(expires_ms),
        Err(refusal) => ruby.into_value(refusal.as_str()),
    })
}

/// `fingerprint(secret)` returns the text that programs with the same secret have in common.
pub(crate) fn fingerprint(ruby: &Ruby, value: RString) -> Result<String, Error> {
    Ok(key::fingerprint(&secret(ruby, value)?))
}

fn secret(ruby: &Ruby, value: RString) -> Result<Secret, Error> {
    // SAFETY: the bytes are copied before Ruby can run again.
    let bytes = unsafe { value.as_slice() }.to_vec();
    Secret::new(bytes).map_err(|error| argument_error(ruby, error.to_string()))
}

fn argument_error(ruby: &Ruby, text: String) -> Error {
    Error::new(ruby.exception_arg_error(), text)
}
