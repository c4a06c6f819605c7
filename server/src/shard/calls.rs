//! The calls of connections: their way to the application, and the replies.
//!
//! Each connection may have a few that are pending, and a shard a number of them, of which each client has a share.

use super::Shard;
use crate::calls::{Call, CallError, CallReply, CallReplyTo, CallRequest, ConnectionEvent, CookieRule};
use crate::client::Client;
use crate::connect_info::ConnectInfo;
use crate::origin::Origins;
use crate::outcome::Outcome;
use crate::protocol::Protocol;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;

/// Calls that may be pending, per shard.
pub(super) const MAX_PENDING: usize = 16_384;
/// Hexadecimal digits of the id of a connection for the application.
const ID_DIGITS: usize = 32;

// === impl Shard ===

impl Shard {
    /// Calls the application; see [`crate::protocol::Core::call`].
    pub(super) fn call(
        &mut self,
        slot: u32,
        namespace: u16,
        call: Call,
        connection: Option<&str>,
        number: u64,
    ) -> Result<(), CallError> {
        let result = self.try_call(slot, namespace, call, connection, number);
        if let Err(error) = result {
            self.metrics.count_call(error.name());
        }
        result
    }

    fn try_call(
        &mut self,
        slot: u32,
        namespace: u16,
        call: Call,
        connection: Option<&str>,
        number: u64,
    ) -> Result<(), CallError> {
        let namespaces = Arc::clone(&self.namespaces);
        let caller = namespaces.get(namespace).caller.get().ok_or(CallError::NotConfigured)?;
        let shard = self.number;
        let address = self.session_mut(slot).ok_or(CallError::Busy)?.info.peer();
        let client = Client::of(address);
        let has_share = self.calls_pending.check(client).is_ok();
        let session = self.session_mut(slot).ok_or(CallError::Busy)?;
        if !may_call(&session.info, caller.origins()) {
            return Err(CallError::BadOrigin);
        }
        if matches!(call, Call::Handler { .. } | Call::Command { .. }) && !caller.has_handlers() {
            return Err(CallError::NoHandlers);
        }
        // An event is not the client's, and has no reply.
        let is_event = matches!(call, Call::Event(_));
        if !is_event && session.calls >= caller.max_per_connection() {
            return Err(CallError::TooManyCalls);
        }
        if !is_event && !has_share {
            return Err(CallError::Busy);
        }
        let generation = session.generation;
        let reply_to = CallReplyTo { shard, slot, generation, namespace, number };
        let request = CallRequest {
            reply_to: (!is_event).then_some(reply_to),
            client,
            address,
            call,
            connection: connection.map_or_else(|| public_id(&session.id.to_string()), Into::into),
            cookies: cookies(&session.info, caller.cookies()),
            is_secure: session.info.origin().is_some_and(|origin| origin.starts_with("https:")),
        };
        match caller.call(request) {
            Outcome::Ready(error) => Err(error),
            Outcome::Overloaded => Err(CallError::Busy),
            Outcome::Pending => {
                if !is_event {
                    self.calls_pending.add(client);
                    if let Some(session) = self.session_mut(slot) {
                        session.calls += 1;
                    }
                }
                Ok(())
            }
        }
    }

    /// Notifies the application, if it wants to know.
    pub(super) fn notify_call(
        &mut self,
        slot: u32,
        namespace: u16,
        event: ConnectionEvent,
        connection: Option<&str>,
    ) {
        let caller = self.namespaces.get(namespace).caller.get();
        if caller.is_some_and(|caller| caller.notifies(event)) {
            let _ = self.call(slot, namespace, Call::Event(event), connection, 0);
        }
    }

    /// The application has replied to a call, or cannot.
    pub(super) fn on_called(&mut self, reply: CallReply) {
        let CallReply { reply_to: CallReplyTo { slot, generation, namespace, number, .. }, client, mut result } =
            reply;
        self.calls_pending.remove(client);
        // One that does not fit would close its caller.
        let passes_on = |protocol: &dyn Protocol| protocol.passes_responses_on();
        if self.is_open(slot, generation)
            && self.session_mut(slot).and_then(|session| session.protocol.as_deref()).is_some_and(passes_on)
        {
            let space = self.settings.send_buffer.saturating_sub(self.waiting(slot));
            if result.as_ref().is_ok_and(|called| called.is_longer_than(space)) {
                result = Err(CallError::TooLarge);
            }
        }
        self.metrics.count_call(result.as_ref().map_or_else(|error| error.name(), |_| "ok"));
        if !self.is_open(slot, generation) {
            return;
        }
        if let Some(session) = self.session_mut(slot) {
            session.calls = session.calls.saturating_sub(1);
        }
        self.with_protocol(slot, |protocol, core| {
            protocol.called(namespace, number, &result, core);
            Ok(())
        });
    }
}

/// Whether the application accepts calls of a page without a CSRF token. A request without an origin is not one of a page.
fn may_call(info: &ConnectInfo, origins: &Origins) -> bool {
    info.origin().is_none_or(|origin| origins.allow(origin, info.header("host")))
}

/// The id of a connection for the application. Its own id would give access to it.
fn public_id(id: &str) -> Box<str> {
    let hash = Sha256::digest(format!("nodevent:connection:{id}").as_bytes());
    let mut text = String::with_capacity(ID_DIGITS);
    for byte in &hash[..ID_DIGITS / 2] {
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}

/// The cookies that are passed on, as one header.
fn cookies(info: &ConnectInfo, rule: &CookieRule) -> Option<Box<str>> {
    match rule {
        CookieRule::All => info.all_cookies().map(Into::into),
        CookieRule::Listed(names) => {
            let pairs = names.iter().filter_map(|name| Some(format!("{name}={}", info.cookie(name)?)));
            let pairs: Vec<String> = pairs.collect();
            (!pairs.is_empty()).then(|| pairs.join("; ").into())
        }
    }
}
