//! The signatures of tokens, verified by *ring*: the cryptography behind `jsonwebtoken`.
//!
//! The server uses *ring* for TLS. Without this file `jsonwebtoken` would need a second cryptographic library. It verifies
//! only: no code of the server signs a token.
//!
//! # Source
//! RFC 7518, section 3: HS256, HS384, HS512, RS256 and ES256.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{hmac, signature};

/// What `jsonwebtoken` uses.
static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: UTILS };

/// Operations on keys, none of which verification needs.
const UTILS: KeyUtils = KeyUtils {
    rsa_pub_components_from_private_key: |_| unsupported(),
    rsa_pub_components_from_public_key: |_| unsupported(),
    ec_pub_components_from_private_key: |_, _| unsupported(),
    ed_pub_components_from_private_key: |_, _| unsupported(),
    compute_digest: |_, _| unsupported(),
};

/// Verifies the signatures of one key and algorithm.
struct RingVerifier {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Hmac(hmac::Key),
    /// A public key: the point of prime256v1, or PKCS #1.
    Public(&'static dyn signature::VerificationAlgorithm, Vec<u8>),
    /// A public key: modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
}

/// Makes `jsonwebtoken` use this file. Further calls change nothing.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

fn unsupported<T>() -> Result<T> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    unsupported()
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if algorithm.family() != key.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    let hmac = |algorithm| key.try_get_as_bytes().map(|secret| Key::Hmac(hmac::Key::new(algorithm, secret)));
    let key = match (algorithm, key.kind()) {
        (Algorithm::HS256, _) => hmac(hmac::HMAC_SHA256)?,
        (Algorithm::HS384, _) => hmac(hmac::HMAC_SHA384)?,
        (Algorithm::HS512, _) => hmac(hmac::HMAC_SHA512)?,
        (Algorithm::ES256, _) => Key::Public(&ECDSA_P256_SHA256_FIXED, key.try_get_as_bytes()?.to_vec()),
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => Key::Rsa(n.clone(), e.clone()),
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            Key::Public(&RSA_PKCS1_2048_8192_SHA256, der.clone())
        }
        _ => return unsupported(),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

// === impl RingVerifier ===

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match &self.key {
            Key::Hmac(key) => hmac::verify(key, message, signature),
            Key::Public(algorithm, key) => UnparsedPublicKey::new(*algorithm, key).verify(message, signature),
            Key::Rsa(n, e) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
