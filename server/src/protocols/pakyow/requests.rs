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
    of: Of,
}

/// What was called.
#[derive(Debug)]
enum Of {
    Route,
    /// A route, of whose view one container or partial is wanted.
    Part,
    Handler(Box<str>),
}

// === impl Pakyow ===

impl Pakyow {
    pub(super) fn on_text(&mut self, text: &str, core: &mut dyn Core) {
        match Request::parse(text) {
            Err((error, id)) => core.send_text(&pakyow::reply(id.as_deref(), 400, &error.to_string())),
            Ok(Request { id, action: Action::Ping }) => core.send_text(&pakyow::reply(Some(&id), 200, "pong")),
            Ok(Request { id, action: Action::Call(CallRoute { method, uri, form, is_part }) }) => {
                let body = form.map(|form| CallBody { content_type: FORM, bytes: form.into_boxed_bytes() });
                let of = if is_part { Of::Part } else { Of::Route };
                self.call(id, of, Call::Route { method, path: uri, body }, core);
            }
            Ok(Request { id, action: Action::Handler(name) }) => {
                let call = Call::Handler { name: name.clone(), message: text.trim().into() };
                self.call(id, Of::Handler(name), call, core);
            }
        }
    }

    fn call(&mut self, id: Box<str>, of: Of, call: Call, core: &mut dyn Core) {
        self.last_call += 1;
        let pending = PendingCall { number: self.last_call, id, of };
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
        match (&self.of, result) {
            (Of::Route, Ok(Called { status, headers, body })) => {
                pakyow::call_reply(&self.id, *status, headers, body)
            }
            (Of::Route, Err(error)) => pakyow::call_reply(&self.id, error.status(), "{}", error.as_str()),
            (Of::Part, Ok(Called { status, headers, body })) => {
                pakyow::part_reply(&self.id, *status, headers, body)
            }
            (Of::Part, Err(error)) => pakyow::reply(Some(&self.id), error.status(), error.as_str()),
            (Of::Handler(name), Ok(Called { status: 404, .. }))
            | (Of::Handler(name), Err(CallError::NoHandlers | CallError::NotConfigured)) => {
                pakyow::reply(Some(&self.id), 404, &format!("No message handler named {name}"))
            }
            (Of::Handler(_), Ok(Called { status: 200, body, .. })) => {
                pakyow::handler_reply(&self.id, body).unwrap_or_else(|| self.failed())
            }
            (Of::Handler(_), Ok(_)) => self.failed(),
            (Of::Handler(_), Err(error)) => pakyow::reply(Some(&self.id), error.status(), error.as_str()),
        }
    }

    fn failed(&self) -> String {
        pakyow::reply(Some(&self.id), 500, "the handler failed")
    }
}
