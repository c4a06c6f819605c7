//! Who a connection is: verify its token, keep its identity, and act when it expires.

use super::Shard;
use crate::clock::now_ms;
use crate::close_reason::CloseReason;
use crate::identity::Identity;
use crate::log::AUDIT;
use crate::protocol::{IdentifyError, Millis};
use crate::token::TokenError;
use std::sync::Arc;

// === impl Shard ===

impl Shard {
    /// Verifies a token and makes its user the connection's; see [`crate::protocol::Core::identify`].
    pub(super) fn identify(
        &mut self,
        slot: u32,
        namespace: u16,
        token: Option<&str>,
    ) -> Result<Option<Arc<Identity>>, IdentifyError> {
        let namespaces = Arc::clone(&self.namespaces);
        let tokens = namespaces.get(namespace).tokens.as_ref();
        let now_ms = now_ms();
        let verified = match (tokens, token) {
            (None, None) => return Ok(None),
            (None, Some(_)) => {
                // Pages may send one for another program.
                let namespace = &*namespaces.get(namespace).name;
                tracing::info!(namespace, "token ignored: the namespace has no `token:` in its configuration");
                return Ok(None);
            }
            (Some(tokens), None) if tokens.settings().is_required => Err(TokenError::Missing),
            (Some(_), None) => return Ok(None),
            (Some(tokens), Some(token)) => tokens.identity(token, now_ms).and_then(|identity| {
                let current = self.session_mut(slot).and_then(|session| session.identities.get(namespace));
                match current {
                    Some(current) if current.user != identity.user => Err(TokenError::WrongUser),
                    _ => Ok(identity),
                }
            }),
        };
        let identity = match verified {
            Ok(identity) => Arc::new(identity),
            Err(error) => return Err(self.reject_token(slot, namespace, error)),
        };
        let lifetime = identity.expires_ms.saturating_sub(now_ms);
        let grace = tokens.map_or(0, |tokens| tokens.settings().grace.as_millis() as Millis);
        let now = self.now;
        if let Some(session) = self.session_mut(slot) {
            session.identities.set(namespace, Arc::clone(&identity), now, lifetime, grace);
        }
        self.update_presence(slot, namespace);
        Ok(Some(identity))
    }

    /// Counts and logs a rejected token.
    fn reject_token(&mut self, slot: u32, namespace: u16, error: TokenError) -> IdentifyError {
        self.metrics.count_rejected_token(error);
        let client = self.peer(slot);
        let namespace = &*self.namespaces.get(namespace).name;
        tracing::info!(namespace, reason = error.name(), %client, "token rejected");
        tracing::info!(target: AUDIT, namespace, %client, reason = error.name(), "audit: token rejected");
        let is_forged = error == TokenError::BadSignature && !self.count_wrong_key(slot);
        IdentifyError { error, close: is_forged.then_some(CloseReason::WrongKeys) }
    }

    /// Does what is due for identities that have expired. Returns `false` if the connection was closed.
    pub(super) fn expire_identities(&mut self, slot: u32) -> bool {
        let now = self.now;
        while let Some(namespace) = self.session_mut(slot).and_then(|session| session.identities.take_expired(now))
        {
            let closed = self.with_protocol(slot, |protocol, core| {
                protocol.identity_expired(namespace, core);
                Ok(())
            });
            if closed.is_some() {
                return false;
            }
        }
        let must_close = self.session_mut(slot).is_some_and(|session| session.identities.must_close(now));
        if must_close {
            self.close(slot, CloseReason::TokenExpired);
        }
        !must_close
    }
}
