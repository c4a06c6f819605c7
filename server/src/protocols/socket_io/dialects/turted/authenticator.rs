//! Whether a client may be a user. A pure decision, except that the application may have to be asked.

use crate::authorize::constant_time_eq;
use crate::config::turted::{Hash, Ident};
use crate::protocols::socket_io::arguments::Argument;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write as _;
use subtle::ConstantTimeEq as _;

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is the user.
    Yes,
    /// It is not.
    No,
    /// The application decides.
    Application,
}

/// Decides about the data of an `IDENT` for a user.
pub(super) fn verify(ident: &Ident, name: &str, data: Argument<'_>) -> Decision {
    let is_verified = match ident {
        Ident::Closed => false,
        Ident::AcceptAll => true,
        Ident::Application => return Decision::Application,
        Ident::Password(password) => {
            text(data, "password").is_some_and(|sent| constant_time_eq(sent.as_bytes(), password.as_bytes()))
        }
        Ident::Token { prefix, suffix, hash } => {
            let expected = token(*hash, &[prefix.as_str(), name, suffix.as_str()].concat());
            text(data, "token").is_some_and(|sent| sent.as_bytes().ct_eq(expected.as_bytes()).into())
        }
    };
    if is_verified { Decision::Yes } else { Decision::No }
}

/// A field that is a text.
fn text(data: Argument<'_>, name: &str) -> Option<String> {
    data.field(name).value()?.as_str().map(str::to_owned)
}

/// The hash of a text in hexadecimal digits.
fn token(hash: Hash, text: &str) -> String {
    match hash {
        Hash::Md5 => hex(&Md5::digest(text)),
        Hash::Sha1 => hex(&Sha1::digest(text)),
        Hash::Sha256 => hex(&Sha256::digest(text)),
        Hash::Sha512 => hex(&Sha512::digest(text)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodevent_protocol::key::Secret;

    fn decide(ident: &Ident, data: &str) -> Decision {
        verify(ident, "UserName", Argument::of_value(data))
    }

    #[test]
    fn tokens_are_those_of_turteds_own_test() {
        // T-06
        let tokens = |hash| Ident::Token { prefix: "qwer".into(), suffix: "asdf".into(), hash };
        for (hash, token) in [
            (Hash::Md5, "4111869600c9b953ea9c5558158b6aa6"),
            (Hash::Sha1, "038558ffa794e664b5225a399f1262ff1d6c1789"),
        ] {
            assert_eq!(decide(&tokens(hash), &format!("{{\"token\":\"{token}\"}}")), Decision::Yes);
            let of_other =
                verify(&tokens(hash), "Other", Argument::of_value(&format!("{{\"token\":\"{token}\"}}")));
            assert_eq!(of_other, Decision::No);
        }
        for (hash, length) in [(Hash::Sha256, 64), (Hash::Sha512, 128)] {
            let right = token(hash, "qwerUserNameasdf");
            assert_eq!(right.len(), length);
            assert_eq!(decide(&tokens(hash), &format!("{{\"token\":\"{right}\"}}")), Decision::Yes);
        }
        for data in ["{}", "{\"token\":null}", "{\"token\":[]}", "{\"token\":\"\"}", "null", "7"] {
            assert_eq!(decide(&tokens(Hash::Md5), data), Decision::No, "{data}");
        }
    }

    #[test]
    fn a_password_is_compared_and_nothing_is_accepted_without_an_authenticator() {
        // T-04, T-07, T-08
        let password = Ident::Password(Secret::new("IamAllowed2PUSH!!!").unwrap());
        assert_eq!(decide(&password, r#"{"password":"IamAllowed2PUSH!!!"}"#), Decision::Yes);
        for data in [r#"{"password":"IamAllowed2PUSH!!"}"#, r#"{"password":true}"#, r#"{"hasOwnProperty":1}"#, "{}"]
        {
            assert_eq!(decide(&password, data), Decision::No, "{data}");
        }
        assert_eq!(decide(&Ident::Closed, r#"{"password":"IamAllowed2PUSH!!!"}"#), Decision::No);
        assert_eq!(decide(&Ident::AcceptAll, "{}"), Decision::Yes);
        assert_eq!(decide(&Ident::Application, "{}"), Decision::Application);
    }
}
