//! Socket.IO packets are read as they were written.

use super::json::value;
use nodevent_protocol::socket_io::{self, Decoder, MAX_ATTACHMENTS, Malformed, Packet};
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../../fuzz/entries/socket_io.rs"]
mod entry;

const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,?]{1,20}"]
}

/// The arguments of an event.
fn args() -> impl Strategy<Value = Vec<Value>> {
    let name = prop_oneof![any::<String>().prop_map(Value::from), any::<i64>().prop_map(Value::from)];
    let name = name.prop_filter("reserved", |name| !name.as_str().is_some_and(|name| RESERVED.contains(&name)));
    (name, proptest::collection::vec(value(), 0..4)).prop_map(|(name, mut rest)| {
        rest.insert(0, name);
        rest
    })
}

/// Attachments, and arguments that hold a placeholder for each, anywhere and in any order.
fn attachments() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<Value>)> {
    proptest::collection::vec(any::<Vec<u8>>(), 1..=MAX_ATTACHMENTS).prop_flat_map(|bytes| {
        let order = Just((0..bytes.len()).collect::<Vec<_>>()).prop_shuffle();
        let around = proptest::collection::vec(0..3, bytes.len());
        (Just(bytes), order, around).prop_map(|(bytes, order, around)| {
            let placeholder =
                |(num, around): (usize, i32)| match (json!({"_placeholder": true, "num": num}), around) {
                    (placeholder, 0) => placeholder,
                    (placeholder, 1) => json!([1, [placeholder], {}]),
                    (placeholder, _) => json!({"num": 99, "in": {"_placeholder": placeholder}}),
                };
            let args = order.into_iter().zip(around).map(placeholder).collect();
            (bytes, args)
        })
    })
}

/// Reads a text and the attachments that follow it.
fn read(text: &str, attachments: &[Vec<u8>]) -> Result<Option<Packet>, Malformed> {
    let mut decoder = Decoder::default();
    let mut read = decoder.text(text)?;
    for bytes in attachments {
        assert_eq!(read, None);
        read = decoder.binary(bytes)?;
    }
    Ok(read)
}

proptest! {
    #[test]
    fn event_is_read_as_it_was_written(namespace in namespace(), id: Option<u64>, args in args()) {
        let args = json!(args).to_string();
        let mut text = String::new();
        socket_io::encode_event(&mut text, &namespace, id, &args);
        prop_assert_eq!(read(&text, &[]), Ok(Some(Packet::Event { namespace, id, args, attachments: vec![] })));
    }

    #[test]
    fn ack_is_read_as_it_was_written(namespace in namespace(), id: u64, args in prop::collection::vec(value(), 0..4)) {
        let args = json!(args).to_string();
        let mut text = String::new();
        socket_io::encode_ack(&mut text, &namespace, id, &args);
        prop_assert_eq!(read(&text, &[]), Ok(Some(Packet::Ack { namespace, id, args, attachments: vec![] })));
    }

    #[test]
    fn disconnect_is_read_as_it_was_written(namespace in namespace()) {
        let mut text = String::new();
        socket_io::encode_disconnect(&mut text, &namespace);
        prop_assert_eq!(read(&text, &[]), Ok(Some(Packet::Disconnect { namespace })));
    }

    #[test]
    fn connect_is_read_as_browsers_write_it(namespace in namespace(), query in "(\\?[^,]{0,9})?", auth in value()) {
        let auth = json!({"auth": auth}).to_string();
        let packet = read(&format!("0{namespace}{query},{auth}"), &[]);
        let query = query.strip_prefix('?').map(str::to_owned);
        prop_assert_eq!(packet, Ok(Some(Packet::Connect { namespace, query, auth: Some(auth) })));
    }

    #[test]
    fn packet_with_attachments_is_read_as_it_was_written(
        namespace in namespace(), id: u64, (attachments, args) in attachments(),
    ) {
        let ack = json!(args).to_string();
        let mut text = String::new();
        socket_io::encode_binary_ack(&mut text, &namespace, id, &ack, attachments.len());
        let expected = Packet::Ack { namespace: namespace.clone(), id, args: ack, attachments: attachments.clone() };
        prop_assert_eq!(read(&text, &attachments), Ok(Some(expected)));

        let event = json!(["x", args]).to_string();
        let mut text = String::new();
        socket_io::encode_binary_event(&mut text, &namespace, Some(id), &event, attachments.len());
        let expected = Packet::Event { namespace, id: Some(id), args: event, attachments: attachments.clone() };
        prop_assert_eq!(read(&text, &attachments), Ok(Some(expected)));
    }

    #[test]
    fn placeholders_that_do_not_fit_are_malformed((attachments, args) in attachments(), claimed in 0..=MAX_ATTACHMENTS) {
        let mut text = String::new();
        let args = json!(["x", args]).to_string();
        socket_io::encode_binary_event(&mut text, "/", None, &args, claimed);
        let read = Decoder::default().text(&text);
        if claimed == attachments.len() {
            prop_assert_eq!(read, Ok(None));
        } else {
            prop_assert_eq!(read, Err(Malformed::BadPlaceholder));
        }
    }

    #[test]
    fn refused_connect_carries_its_reason(namespace in namespace(), message: String) {
        let mut text = String::new();
        socket_io::encode_connect_error(&mut text, &namespace, &message);
        let head = if namespace == "/" { "4".to_owned() } else { format!("4{namespace},") };
        let received: Value = serde_json::from_str(text.strip_prefix(&head).unwrap()).unwrap();
        prop_assert_eq!(received, json!({"message": message}));
    }

    #[test]
    fn every_message_sequence_is_packets_or_malformed(
        text: String,
        likely in "[0-6][0-9]{0,3}-?(/[a-z]{0,3}[?,]?)?[0-9]{0,2}[\\[{]?\"?[a-z]{0,3}\"?[\\]}]?",
        args in args(),
    ) {
        entry::run(text.as_bytes());
        entry::run(likely.as_bytes());
        entry::run(format!("2{}", json!(args)).as_bytes());
    }
}
