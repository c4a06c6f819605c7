//! Mailboxes in the dialect `nodevent`: `mailbox`, `acknowledge` and `acknowledged`, as `protocol/README.md` defines them.

use crate::mailbox::{
    Acknowledgement, MAX_IDS, MailboxError, MessageId, Removed, acknowledged_text, messages_text,
};
use crate::outcome::Outcome;
use crate::protocol::MailboxDelivery;
use crate::protocols::socket_io::arguments::Argument;
use crate::protocols::socket_io::dialect::Operations;
use serde_json::{Value, json};

/// What a client receives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    /// The arguments of an event, with its name first.
    Event(String),
    /// The arguments of an acknowledgement, and the number of the request.
    Ack(Option<u64>, String),
}

/// `mailbox`: the client wants what is in the mailbox of its user. Returns the arguments of the acknowledgement.
pub(super) fn open(operations: &mut dyn Operations) -> String {
    match operations.open_mailbox() {
        Ok(()) => "[null,true]".to_owned(),
        Err(error) => json!([error.as_str()]).to_string(),
    }
}

/// `acknowledge {ids}` or `{up_to}`. Returns the arguments of the acknowledgement, unless they follow.
pub(super) fn acknowledge(
    operations: &mut dyn Operations,
    data: Argument<'_>,
    request: Option<u64>,
) -> Option<String> {
    let outcome = read(data).and_then(|acknowledgement| operations.acknowledge_messages(acknowledgement, request));
    match outcome {
        Ok(Outcome::Pending) => None,
        Ok(Outcome::Ready(removed)) => Some(reply(Ok(removed))),
        Ok(Outcome::Overloaded) => Some(reply(Err(MailboxError::Busy))),
        Err(error) => Some(reply(Err(error))),
    }
}

/// Reads which messages are acknowledged.
fn read(data: Argument<'_>) -> Result<Acknowledgement, MailboxError> {
    let id =
        |value: &Argument<'_>| value.text().and_then(|text| MessageId::parse(&text)).ok_or(MailboxError::BadIds);
    let [ids, up_to] = data.fields(["ids", "up_to"]);
    let up_to = match up_to.value() {
        None | Some(Value::Null) => None,
        Some(_) => Some(id(&up_to)?),
    };
    let ids = match (ids.value(), ids.elements()) {
        (None | Some(Value::Null), _) if up_to.is_some() => Vec::new(),
        (_, Some(ids)) if ids.len() > MAX_IDS => return Err(MailboxError::TooManyIds),
        (_, Some(ids)) => ids.iter().map(id).collect::<Result<_, _>>()?,
        _ => return Err(MailboxError::BadIds),
    };
    Ok(Acknowledgement { up_to, ids })
}

fn reply(result: Result<Removed, MailboxError>) -> String {
    match result {
        Ok(removed) => json!([null, {"removed": removed.count, "unread": removed.unread}]).to_string(),
        Err(error) => json!([error.as_str()]).to_string(),
    }
}

/// Encodes what comes from the mailbox.
pub(super) fn encode(delivery: &MailboxDelivery<'_>) -> Encoded {
    match delivery {
        MailboxDelivery::Messages { messages, unread, is_first, is_last } => {
            let delivery = messages_text(messages, *unread, *is_first, *is_last);
            Encoded::Event(format!("[\"mailbox\",{delivery}]"))
        }
        MailboxDelivery::Acknowledged { acknowledgement, unread } => {
            Encoded::Event(format!("[\"acknowledged\",{}]", acknowledged_text(acknowledgement, *unread)))
        }
        MailboxDelivery::Reply { request, result } => Encoded::Ack(*request, reply(*result)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::StoredMessage;
    use std::sync::Arc;

    fn ids(texts: &[&str]) -> Vec<MessageId> {
        texts.iter().map(|text| MessageId::parse(text).unwrap()).collect()
    }

    #[test]
    fn acknowledgements_name_ids_or_the_last_one_and_anything_else_is_rejected() {
        let read = |text: &str| read(Argument::of_value(text));
        assert_eq!(read(r#"{"ids":["7","9"]}"#), Ok(Acknowledgement { up_to: None, ids: ids(&["7", "9"]) }));
        let up_to = MessageId::parse("7");
        assert_eq!(read(r#"{"up_to":"7"}"#), Ok(Acknowledgement { up_to, ids: Vec::new() }));
        assert_eq!(read(r#"{"up_to":"7","ids":["9"]}"#), Ok(Acknowledgement { up_to, ids: ids(&["9"]) }));
        for text in [
            "{}",
            "[]",
            "7",
            r#"{"ids":7}"#,
            r#"{"ids":"7"}"#,
            r#"{"ids":[7]}"#,
            r#"{"ids":["x"]}"#,
            r#"{"ids":[null]}"#,
            r#"{"up_to":7}"#,
            r#"{"up_to":"-1","ids":[]}"#,
            r#"{"ids":[["7"]]}"#,
        ] {
            assert_eq!(read(text), Err(MailboxError::BadIds), "{text}");
        }
        let many = json!({"ids": vec!["7"; MAX_IDS + 1]}).to_string();
        assert_eq!(read(&many), Err(MailboxError::TooManyIds));
    }

    #[test]
    fn messages_are_sent_as_they_were_stored() {
        let message = |id: &str| {
            let text = format!("{{\"event\":\"e\",\"message\":1,\"sent\":5,\"id\":\"{id}\"}}").into();
            Arc::new(StoredMessage { id: MessageId::parse(id).unwrap(), text })
        };
        let messages = [message("7"), message("9")];
        let delivery = MailboxDelivery::Messages { messages: &messages, unread: 3, is_first: true, is_last: false };
        let Encoded::Event(args) = encode(&delivery) else { panic!() };
        let one = |id: &str| json!({"event": "e", "message": 1, "sent": 5, "id": id});
        let expected =
            json!(["mailbox", {"messages": [one("7"), one("9")], "unread": 3, "first": true, "last": false}]);
        assert_eq!(serde_json::from_str::<Value>(&args).unwrap(), expected);
    }
}
