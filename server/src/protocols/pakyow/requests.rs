//! The messages of a client, and the replies to them. No message ends the connection.

use super::Pakyow;
use crate::calls::{Call, CallBody, CallError, CallResult, Called};
use crate::protocol::Core;
use nodevent_protocol::calls::FORM;
use nodevent_protocol::pakyow::{self, Action, CallRoute, Request};

/// A call that the application has not replied to.
#[derive(Debug)]
pub(super) struct PendingCall {
    number: u64,
    /// The JSON text of the message's id.
    id: Box<str>,
    /// The handler. `None`: a route was called.
    handler: Option<Box<str>>,
}

// === impl Pakyow ===

impl Pakyow {
    pub(super) fn on_text(&mut self, text: &str, core: &mut dyn Core) {
        match Request::parse(text) {
            Err((error, id)) => core.send_text(&pakyow::reply(id.as_deref(), 400, &error.to_string())),
            Ok(Request { id, action: Action::Ping }) => core.send_text(&pakyow::reply(Some(&id), 200, "pong")),
            Ok(Request { id, action: Action::Call(CallRoute { method, uri, form }) }) => {
                let body = form.map(|form| CallBody { content_type: FORM, bytes: form.into_boxed_bytes() });
                self.call(id, None, Call::Route { method, path: uri, body }, core);
            }
            Ok(Request { id, action: Action::Handler(name) }) => {
                let call = Call::Handler { name: name.clone(), message: text.trim().into() };
                self.call(id, Some(name), call, core);
            }
        }
    }

    fn call(&mut self, id: Box<str>, handler: Option<Box<str>>, call: Call, core: &mut dyn Core) {
        self.last_call += 1;
        let pending = PendingCall { number: self.last_call, id, handler };
        match core.call(self.settings.namespace, call, Some(&self.visitor.connection), pending.number) {
            Ok(()) => self.calls.push(pending),
            Err(error) => core.send_text(&pending.reply(&Err(error))),
        }
    }

    /// The application has replied to a call, or cannot.
    pub(super) fn on_called(&mut self, number: u64, result: &CallResult, core: &mut dyn Core) {
        let Some(index) = self.calls.iter().position(|one| one.number == number) else { return };
        let pending = self.calls.swap_remove(index);
        core.send_text(&pending.reply(result));
    }
}

// === impl PendingCall ===

impl PendingCall {
    fn reply(&self, result: &CallResult) -> String {
        match (&self.handler, result) {
            (None, Ok(Called { status, headers, body })) => pakyow::call_reply(&self.id, *status, headers, body),
            (None, Err(error)) => pakyow::call_reply(&self.id, error.status(), "{}", error.as_str()),
            (Some(name), Ok(Called { status: 404, .. }))
            | (Some(name), Err(CallError::NoHandlers | CallError::NotConfigured)) => {
                pakyow::reply(Some(&self.id), 404, &format!("No message handler named {name}"))
            }
            (Some(_), Ok(Called { status: 200, body, .. })) => {
                pakyow::handler_reply(&self.id, body).unwrap_or_else(|| self.failed())
            }
            (Some(_), Ok(_)) => self.failed(),
            (Some(_), Err(error)) => pakyow::reply(Some(&self.id), error.status(), error.as_str()),
        }
    }

    fn failed(&self) -> String {
        pakyow::reply(Some(&self.id), 500, "the handler failed")
    }
}
