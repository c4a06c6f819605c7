//! A message of the protocol `pakyow`, and the paths that it may name.

use nodevent_protocol::calls::is_path;
use nodevent_protocol::pages::{matches, redis_pattern};
use nodevent_protocol::pakyow::{self, Action, Request};
use serde_json::Value;

/// A message is a request or an error, its reply has its id, and a path that may be called stays below the root.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let id = match Request::parse(text) {
        Ok(Request { id, action }) => {
            if let Action::Call(call) = action {
                if is_path(&call.uri) {
                    assert!(call.uri.starts_with('/') && !call.uri.starts_with("//"), "{}", call.uri);
                    assert!(call.uri.bytes().all(|byte| byte.is_ascii_graphic()), "{}", call.uri);
                }
                let is_form = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%=&".contains(&byte);
                assert!(call.form.is_none_or(|form| form.bytes().all(is_form)));
            }
            Some(id)
        }
        Err((_, id)) => id,
    };
    let reply: Value = serde_json::from_str(&pakyow::reply(id.as_deref(), 400, text)).unwrap();
    assert_eq!(reply["body"], text);
    if let Some(id) = id {
        let id: Value = serde_json::from_str(&id).unwrap();
        assert_eq!(reply["id"], id);
    }
    assert!(matches("*", text) && redis_pattern(text).len() >= text.len());
}
