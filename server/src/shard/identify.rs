//! Who a connection is: verify its token or ask the namespace's provider, keep its identity, and act when it expires.

use super::Shard;
use super::pending_identities::PendingIdentity;
use crate::client::Client;
use crate::clock::now_ms;
use crate::close_reason::CloseReason;
use crate::identity::Identity;
use crate::identity_provider::{
    Identify, IdentityProvider, IdentityReply, IdentityReplyTo, IdentityRequest, IdentityResult,
};
use crate::log::AUDIT;
use crate::outcome::Outcome;
use crate::protocol::{IdentifyError, IdentifyReply, Millis};
use crate::token::TokenError;
use std::sync::Arc;

/// The result of [`Shard::identify`].
pub(super) type IdentifyOutcome = Result<Outcome<Option<Arc<Identity>>>, IdentifyError>;

// === impl Shard ===

impl Shard {
    /// Verifies a token, or asks who the connection is, and makes its user the connection's; see
    /// [`crate::protocol::Core::identify`].
    pub(super) fn identify(&mut self, slot: u32, identify: Identify<'_>) -> IdentifyOutcome {
        let Identify { namespace, token, .. } = identify;
        let namespaces = Arc::clone(&self.namespaces);
        let one = namespaces.get(namespace);
        // The first that recognises the connection decides. The application that has handed it over comes before the others.
        if let Some(identity) = self.session_mut(slot).and_then(|session| session.info.identity(namespace).cloned())
        {
            let decided = if identity.expires_ms > now_ms() { Ok(identity) } else { Err(TokenError::Expired) };
            return self.accept_identity(slot, namespace, decided).map(|identity| Outcome::Ready(Some(identity)));
        }
        if let Some(provider) = one.provider.get() {
            let has_own = token.is_some_and(|token| one.tokens.as_ref().is_some_and(|own| own.recognises(token)));
            if !has_own {
                return self.ask_provider(slot, identify, &**provider);
            }
        }
        let verified = match (one.tokens.as_ref(), token) {
            (None, None) => return Ok(Outcome::Ready(None)),
            (None, Some(_)) => {
                // Pages may send one for another program.
                let namespace = &*one.name;
                tracing::info!(namespace, "token ignored: the namespace has no `token:` in its configuration");
                return Ok(Outcome::Ready(None));
            }
            (Some(tokens), None) if tokens.settings().is_required => Err(TokenError::Missing),
            (Some(_), None) => return Ok(Outcome::Ready(None)),
            (Some(tokens), Some(token)) => tokens.identity(token, now_ms()).map(Arc::new),
        };
        self.accept_identity(slot, namespace, verified).map(|identity| Outcome::Ready(Some(identity)))
    }

    /// Asks a provider, which may reply later.
    fn ask_provider(
        &mut self,
        slot: u32,
        identify: Identify<'_>,
        provider: &dyn IdentityProvider,
    ) -> IdentifyOutcome {
        let Identify { namespace, token, query, request } = identify;
        self.generation = self.generation.wrapping_add(1);
        let (id, shard) = (self.generation, self.number);
        let Some(session) = self.session_mut(slot) else { return Ok(Outcome::Overloaded) };
        let (generation, client) = (session.generation, Client::of(session.info.peer()));
        let listed = provider.listed();
        let pairs = |names: &[Box<str>], find: &dyn Fn(&str) -> Option<Box<str>>| {
            names.iter().filter_map(|name| Some((name.clone(), find(name)?))).collect()
        };
        let info = &session.info;
        let headers = pairs(&listed.headers, &|name| info.header(name).map(Into::into));
        let cookies = pairs(&listed.cookies, &|name| info.cookie(name).map(Into::into));
        if !self.pending_identities.may_add(slot, namespace, generation, client) {
            return Err(self.reject_token(slot, namespace, TokenError::ApplicationUnavailable));
        }
        let reply_to = IdentityReplyTo { shard, slot, namespace, id };
        let (token, query) = (token.map(Into::into), query.to_vec());
        match provider.identify(IdentityRequest { reply_to, client, headers, cookies, query, token }) {
            Outcome::Ready(result) => {
                self.accept_identity(slot, namespace, result).map(|identity| Outcome::Ready(Some(identity)))
            }
            Outcome::Pending => {
                let pending = PendingIdentity { id, generation, request, client };
                self.pending_identities.add(slot, namespace, pending);
                Ok(Outcome::Pending)
            }
            Outcome::Overloaded => Err(self.reject_token(slot, namespace, TokenError::ApplicationUnavailable)),
        }
    }

    /// The reply of a provider arrived.
    pub(super) fn on_identity_reply(&mut self, reply: IdentityReply) {
        let IdentityReply { reply_to: IdentityReplyTo { slot, namespace, id, .. }, result, reason } = reply;
        let Some(pending) = self.pending_identities.take(slot, namespace, id) else { return };
        if !self.is_open(slot, pending.generation) {
            return;
        }
        let (result, close) = match self.accept_identity(slot, namespace, result) {
            Ok(identity) => (Ok(identity), None),
            Err(rejected) => (Err(rejected.error), rejected.close),
        };
        let reply = IdentifyReply { namespace, request: pending.request, result, reason };
        self.with_protocol(slot, |protocol, core| {
            protocol.identified(reply, core)?;
            close.map_or(Ok(()), Err)
        });
    }

    /// Makes an identity the connection's, unless it belongs to another user or was revoked in the meantime.
    fn accept_identity(
        &mut self,
        slot: u32,
        namespace: u16,
        decided: IdentityResult,
    ) -> Result<Arc<Identity>, IdentifyError> {
        let namespaces = Arc::clone(&self.namespaces);
        let one = namespaces.get(namespace);
        let current = self.session_mut(slot).and_then(|session| session.identities.get(namespace));
        let decided = decided.and_then(|identity| {
            if current.is_some_and(|current| current.user != identity.user) {
                return Err(TokenError::WrongUser);
            }
            match one.revocations.rejects_user(&identity.user, identity.issued_ms) {
                true => Err(TokenError::Revoked),
                false => {
                    one.revocations.accepted(identity.issued_ms);
                    Ok(identity)
                }
            }
        });
        let identity = match decided {
            Ok(identity) => identity,
            Err(error) => return Err(self.reject_token(slot, namespace, error)),
        };
        self.count_user(slot, namespace, &identity.user);
        let lifetime = identity.expires_ms.saturating_sub(now_ms());
        let (now, grace) = (self.now, one.grace().as_millis() as Millis);
        if let Some(session) = self.session_mut(slot) {
            session.identities.set(namespace, Arc::clone(&identity), now, lifetime, grace);
        }
        self.add_mailbox(slot, namespace, &identity.mailbox());
        self.update_presence(slot, namespace);
        Ok(identity)
    }

    /// A connection has a user from now on, unless it has had before.
    fn count_user(&mut self, slot: u32, namespace: u16, user: &str) {
        let has_user = self.session_mut(slot).is_none_or(|session| session.identities.get(namespace).is_some());
        let connections = self.engines.get(namespace).and_then(|engine| engine.connections.as_ref());
        if let Some(connections) = connections.filter(|_| !has_user && !user.is_empty()) {
            connections.local().connected(user);
        }
    }

    /// A connection does not have its user in a namespace any more. `None`: in no namespace.
    pub(super) fn forget_identity(&mut self, slot: u32, namespace: Option<u16>) {
        let Some(session) = self.session_mut(slot) else { return };
        let ended = session.identities.all().filter(|(one, _)| namespace.is_none_or(|ended| ended == *one));
        let ended: Vec<_> = ended.map(|(namespace, identity)| (namespace, Arc::clone(identity))).collect();
        for (namespace, identity) in ended {
            if let Some(session) = self.session_mut(slot) {
                session.identities.remove(namespace);
            }
            let connections = self.engines.get(namespace).and_then(|engine| engine.connections.as_ref());
            if let Some(connections) = connections {
                connections.local().disconnected(&identity.user);
            }
        }
    }

    /// Counts and logs a rejected token.
    fn reject_token(&mut self, slot: u32, namespace: u16, error: TokenError) -> IdentifyError {
        self.metrics.count_rejected_token(error);
        let client = self.peer(slot);
        let namespace = &*self.namespaces.get(namespace).name;
        tracing::info!(namespace, reason = error.name(), %client, "token rejected");
        tracing::info!(target: AUDIT, namespace, %client, reason = error.name(), "audit: token rejected");
        let is_guess = matches!(error, TokenError::BadSignature | TokenError::ApplicationRejected);
        let is_too_many = is_guess && !self.count_wrong_key(slot);
        IdentifyError { error, close: is_too_many.then_some(CloseReason::WrongKeys) }
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
