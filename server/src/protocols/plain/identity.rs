//! Who a connection is: the token that comes with its request, or in a line, and the joins that follow.

use super::Plain;
use super::access::Access;
use crate::clock::now_ms;
use crate::history::{RequestId, Since};
use crate::identity::Identity;
use crate::identity_provider::Identify;
use crate::outcome::Outcome;
use crate::protocol::{Core, Joined, NEVER, Subscribe};
use crate::token::TokenError;
use nodevent_protocol::plain::{self, Command};
use nodevent_protocol::topic::Topic;
use std::sync::Arc;

/// The hint for a client whose token is missing or was rejected.
pub(super) const HINT: &str = r#"send {"token": …} with a valid token"#;

/// Up to where a client has received what its token gives it.
#[derive(Debug, Default)]
pub(super) struct Positions {
    /// What was published to its user.
    pub(super) of_user: Option<String>,
    /// The rooms of its token.
    pub(super) of_rooms: Vec<(String, String)>,
}

/// The result of a token.
type Identified = Result<Option<Arc<Identity>>, TokenError>;

// === impl Plain ===

impl Plain {
    /// Decides who a new connection is, unless that follows in a line.
    pub(super) fn identify_on_open(&mut self, core: &mut dyn Core) {
        let namespaces = Arc::clone(&self.settings.namespaces);
        let namespace = namespaces.get(self.namespace);
        let token = core.take_request_token(self.namespace);
        if token.is_none() && namespace.provider.get().is_none() {
            // Most clients cannot send a token with the request.
            let is_required = namespace.tokens.as_ref().is_some_and(|tokens| tokens.settings().is_required);
            self.access = if is_required { Access::Denied(TokenError::Missing) } else { Access::Granted };
            if !is_required {
                core.connected(self.namespace);
            }
            return;
        }
        self.access = Access::Pending(Box::default());
        self.identify(token.as_deref(), RequestId::UNREQUESTED, core);
    }

    /// Presents a token, or lets the application decide.
    pub(super) fn identify(&mut self, token: Option<&str>, request: RequestId, core: &mut dyn Core) {
        let before = core.identity(self.namespace);
        let result = match core.identify(Identify { namespace: self.namespace, token, query: &[], request }) {
            Ok(Outcome::Pending) => {
                if matches!(self.access, Access::Denied(_)) {
                    self.access = Access::Pending(Box::default());
                }
                return;
            }
            Ok(Outcome::Ready(None)) if token.is_some() && request != RequestId::UNREQUESTED => {
                Err(TokenError::NotConfigured)
            }
            Ok(Outcome::Ready(identity)) => Ok(identity),
            Ok(Outcome::Overloaded) => Err(TokenError::ApplicationUnavailable),
            Err(error) => Err(error),
        };
        self.on_identified(request, result, before.as_deref(), core);
    }

    /// It was decided who the connection is. `before`: who it was.
    pub(super) fn on_identified(
        &mut self,
        request: RequestId,
        result: Identified,
        before: Option<&Identity>,
        core: &mut dyn Core,
    ) {
        let positions = self.positions.take().map(|positions| *positions).unwrap_or_default();
        let next = match &result {
            // A connection that may send commands keeps what it is.
            Err(_) if matches!(self.access, Access::Granted) => Access::Granted,
            Err(error) => Access::Denied(*error),
            Ok(_) => Access::Granted,
        };
        if matches!(next, Access::Granted) {
            core.connected(self.namespace);
        }
        let held = self.access.decide(next);
        match result {
            Err(error) => core.send_text(&plain::error(error.as_str(), HINT, None, request.number)),
            Ok(None) => {}
            Ok(Some(identity)) => {
                self.join_by = NEVER;
                let expires_in = identity.expires_ms.saturating_sub(now_ms());
                core.send_text(&plain::identified(&identity.user, expires_in, request.number));
                self.join_by_token(&identity, before, &positions, core);
            }
        }
        self.run_held(held, core);
    }

    /// Receives what is published to the user, and joins the rooms that a token adds. The copy for the user precedes
    /// those for its rooms.
    fn join_by_token(
        &mut self,
        identity: &Identity,
        before: Option<&Identity>,
        positions: &Positions,
        core: &mut dyn Core,
    ) {
        let encoding = Arc::clone(&self.settings.encoding);
        if before.is_none() {
            let since = Since::parse(positions.of_user.as_deref());
            if let Outcome::Ready(joined @ Joined { recovery: Some(_) }) =
                core.join_user(self.namespace, since, &encoding)
            {
                self.on_joined(Topic::User(&identity.user), None, Ok(joined), core);
            }
        }
        let added = identity.rooms.iter().filter(|room| !before.is_some_and(|before| before.opens(room)));
        for room in added {
            let since = positions.of_rooms.iter().find(|(name, _)| **name == **room).map(|(_, at)| &**at);
            let joined = core.subscribe(Subscribe {
                namespace: self.namespace,
                room,
                credential: None,
                kept: None,
                since: Since::parse(since),
                encoding: &encoding,
                request: RequestId::UNREQUESTED,
            });
            self.on_join_outcome(Topic::Room(room), None, joined, core);
        }
    }

    /// Runs what arrived before it was decided who the connection is.
    fn run_held(&mut self, held: Vec<Command>, core: &mut dyn Core) {
        for command in held {
            match self.access.admit(command, 0, usize::MAX) {
                super::access::Admission::Run(command) => self.run(command, core),
                super::access::Admission::Reject(error, id) => {
                    core.send_text(&plain::error(error.as_str(), HINT, None, id));
                }
                // Fewer than before.
                super::access::Admission::Held | super::access::Admission::TooMuch => {}
            }
        }
    }
}
