//! The client side of each protocol, from the handshake to the acknowledged join.
//!
//! It exists apart from the test clients of the server because it serves several kinds of servers, tens of thousands of
//! connections in one thread, and must cost almost nothing: a function per protocol maps a text to the next phase.

use serde_json::json;

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ClientProtocol {
    /// Socket.IO 5 over WebSocket; a connection joins its room with `join`.
    SocketIo,
    /// Action Cable; a connection subscribes to its room with `RoomChannel`.
    ActionCable,
    /// Action Cable as pages with Turbo speak it; a connection subscribes to the signed name of its room.
    Turbo,
    /// A WebSocket to `/subscribe?room=`, the subscriber endpoint of the Nchan configuration.
    Nchan,
    /// WebSocket frames over plain TCP without a handshake; the first frame signals that the server is ready.
    Bare,
}

/// The progress of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started, or closed.
    Disconnected,
    /// The socket is being connected.
    Connecting,
    /// The WebSocket handshake is in progress.
    Upgrading,
    /// The connection waits for the open packet, or its equivalent in the protocol.
    Opening,
    /// The connect packet of the namespace is sent.
    Entering,
    /// The join is sent.
    Joining,
    /// The join is acknowledged.
    Joined,
}

/// What a connection connects to and joins.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) room: &'a str,
    pub(crate) key: Option<&'a str>,
    /// What distinguishes the connection's identifier from those of others, if they differ.
    pub(crate) identifier: Option<usize>,
    /// The token of the connection's user.
    pub(crate) token: Option<&'a str>,
    /// The last known position, if the connection was in the room before.
    pub(crate) since: Option<&'a str>,
}

/// The effect of a received text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No effect.
    Ignored,
    /// The connection is in another phase.
    Phase(Phase),
    /// The server refused; the text contains the reason.
    Refused,
}

// === impl ClientProtocol ===

impl ClientProtocol {
    /// Returns the handshake request, if the protocol has one.
    pub(crate) fn request(self, host: &str, target: &Target<'_>) -> Option<String> {
        let (path, subprotocol) = match self {
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket".to_owned(), ""),
            Self::ActionCable | Self::Turbo => {
                ("/cable".to_owned(), "Sec-WebSocket-Protocol: actioncable-v1-json, actioncable-unsupported\r\n")
            }
            Self::Nchan => (format!("/subscribe?room={}", target.room), ""),
            Self::Bare => return None,
        };
        Some(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9kZXZlbnQtYmVuY2gtMQ==\r\n\
             {subprotocol}User-Agent: nodevent-load\r\n\r\n"
        ))
    }

    /// Returns the phase after the WebSocket handshake, or after the TCP connect if there is none.
    pub(crate) fn after_request(self) -> Phase {
        match self {
            Self::SocketIo | Self::ActionCable | Self::Turbo => Phase::Opening,
            Self::Nchan => Phase::Joined,
            Self::Bare => Phase::Joining,
        }
    }

    /// Returns the text that joins the room, if the protocol has one.
    pub(crate) fn join(self, target: &Target<'_>) -> Option<String> {
        match self {
            Self::SocketIo => Some(socket_io_join(target)),
            Self::ActionCable => Some(action_cable_join(target)),
            Self::Turbo => Some(turbo_join(target)),
            Self::Nchan | Self::Bare => None,
        }
    }

    /// Returns the text that leaves the room. Only our server has presence, so there is one form.
    pub(crate) fn leave(self, target: &Target<'_>) -> String {
        format!("42{},[\"leave\",{}]", target.namespace, json!({ "room": target.room }))
    }

    /// Handles a text that is not a delivery, and writes a reply to `out`.
    pub(crate) fn on_text(self, phase: Phase, text: &[u8], target: &Target<'_>, out: &mut String) -> Outcome {
        match self {
            Self::SocketIo => socket_io(phase, text, target, out),
            Self::ActionCable => action_cable(phase, text, || action_cable_join(target), out),
            Self::Turbo => action_cable(phase, text, || turbo_join(target), out),
            Self::Nchan => Outcome::Ignored,
            Self::Bare => Outcome::Phase(Phase::Joined),
        }
    }
}

fn socket_io_join(target: &Target<'_>) -> String {
    let mut join = json!({ "room": target.room });
    if let Some(key) = target.key {
        join["key"] = key.into();
    }
    if let Some(since) = target.since {
        join["since"] = since.into();
    }
    format!("42{},0[\"join\",{join}]", target.namespace)
}

fn action_cable_join(target: &Target<'_>) -> String {
    let identifier = json!({"channel": "RoomChannel", "room": target.room}).to_string();
    json!({"command": "subscribe", "identifier": identifier}).to_string()
}

/// The key is the signed name of the room.
fn turbo_join(target: &Target<'_>) -> String {
    let mut identifier = json!({"channel": "Turbo::StreamsChannel", "signed_stream_name": target.key});
    if let Some(number) = target.identifier {
        identifier["number"] = number.into();
    }
    json!({"command": "subscribe", "identifier": identifier.to_string()}).to_string()
}

fn socket_io(phase: Phase, text: &[u8], target: &Target<'_>, out: &mut String) -> Outcome {
    match (phase, text) {
        (_, [b'2', ..]) => {
            out.push('3');
            Outcome::Ignored
        }
        (Phase::Opening, [b'0', ..]) => {
            *out = match target.token {
                Some(token) => format!("40{},{{\"token\":\"{token}\"}}", target.namespace),
                None => format!("40{},", target.namespace),
            };
            Outcome::Phase(Phase::Entering)
        }
        (Phase::Entering, [b'4', b'0', ..]) => {
            *out = socket_io_join(target);
            Outcome::Phase(Phase::Joining)
        }
        (Phase::Joining, [b'4', b'3', ack @ ..]) => {
            if memchr::memmem::find(ack, b"[null,true").is_some() {
                Outcome::Phase(Phase::Joined)
            } else {
                Outcome::Refused
            }
        }
        (_, [b'4', b'4', ..]) => Outcome::Refused,
        _ => Outcome::Ignored,
    }
}

fn action_cable(phase: Phase, text: &[u8], join: impl Fn() -> String, out: &mut String) -> Outcome {
    let contains = |what: &[u8]| memchr::memmem::find(text, what).is_some();
    if phase == Phase::Opening && contains(br#""type":"welcome""#) {
        *out = join();
        return Outcome::Phase(Phase::Joining);
    }
    if phase == Phase::Joining && contains(br#""type":"confirm_subscription""#) {
        return Outcome::Phase(Phase::Joined);
    }
    if contains(br#""type":"reject_subscription""#) || contains(br#""type":"disconnect""#) {
        return Outcome::Refused;
    }
    Outcome::Ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(protocol: ClientProtocol, from: Phase, texts: &[&str]) -> (Vec<String>, Phase) {
        let target =
            Target { namespace: "/n", room: "r", key: Some("k:1"), identifier: None, token: None, since: None };
        let (mut sent, mut phase) = (Vec::new(), from);
        for text in texts {
            let mut out = String::new();
            if let Outcome::Phase(next) = protocol.on_text(phase, text.as_bytes(), &target, &mut out) {
                phase = next;
            }
            sent.push(out);
        }
        (sent, phase)
    }

    #[test]
    fn socket_io_connection_enters_its_namespace_and_joins_with_its_key() {
        let (sent, phase) = walk(
            ClientProtocol::SocketIo,
            Phase::Opening,
            &["0{\"sid\":\"s\"}", "40/n,{\"sid\":\"t\"}", "43/n,0[null,true]", "2"],
        );
        assert_eq!(sent, ["40/n,", "42/n,0[\"join\",{\"key\":\"k:1\",\"room\":\"r\"}]", "", "3"]);
        assert_eq!(phase, Phase::Joined);
    }

    #[test]
    fn socket_io_connection_sends_its_token() {
        let target =
            Target { namespace: "/n", room: "r", key: None, identifier: None, token: Some("t"), since: None };
        let mut out = String::new();
        ClientProtocol::SocketIo.on_text(Phase::Opening, b"0{}", &target, &mut out);
        assert_eq!(out, r#"40/n,{"token":"t"}"#);
    }

    #[test]
    fn action_cable_connection_subscribes_to_the_room() {
        let (sent, phase) = walk(
            ClientProtocol::ActionCable,
            Phase::Opening,
            &[
                "{\"type\":\"welcome\"}",
                "{\"type\":\"ping\",\"message\":1}",
                "{\"identifier\":\"…\",\"type\":\"confirm_subscription\"}",
            ],
        );
        assert!(sent[0].contains(r#"\"room\":\"r\""#), "{sent:?}");
        assert_eq!(phase, Phase::Joined);
    }

    #[test]
    fn turbo_connection_subscribes_to_the_signed_name_of_the_room() {
        let target =
            Target { namespace: "/n", room: "r", key: Some("n--s"), identifier: Some(7), token: None, since: None };
        let mut out = String::new();
        let outcome = ClientProtocol::Turbo.on_text(Phase::Opening, b"{\"type\":\"welcome\"}", &target, &mut out);
        assert_eq!(outcome, Outcome::Phase(Phase::Joining));
        assert!(out.contains(r#"\"signed_stream_name\":\"n--s\""#) && out.contains(r#"\"number\":7"#), "{out}");
    }

    #[test]
    fn refused_join_is_not_counted_as_joined() {
        let target = Target { namespace: "/n", room: "r", key: None, identifier: None, token: None, since: None };
        let outcome = ClientProtocol::SocketIo.on_text(
            Phase::Joining,
            b"43/n,0[\"Bad key\",false]",
            &target,
            &mut String::new(),
        );
        assert_eq!(outcome, Outcome::Refused);
    }
}
