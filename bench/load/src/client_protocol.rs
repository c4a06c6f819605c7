//! What a browser says to each kind of server until it is in its room, and what a delivery looks like.
//!
//! One function per protocol: it hears a text and answers in which phase the connection is now.

use serde_json::json;

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Speaks {
    /// Socket.IO 5 over a WebSocket, and the room by `join`.
    SocketIo,
    /// Action Cable, and the room by a subscription to `RoomChannel`.
    ActionCable,
    /// A WebSocket to `/hear?room=`, as a subscriber of Nchan has it.
    Nchan,
    /// No handshake at all: WebSocket frames come over plain TCP, the first says that the server is ready.
    Bare,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not begun, or ended.
    Away,
    /// The socket is being connected.
    Dialling,
    /// The WebSocket handshake is under way.
    Upgrading,
    /// The open packet, or what the protocol calls it, is awaited.
    Opening,
    /// The namespace has been asked for.
    Entering,
    /// The room has been asked for.
    Joining,
    /// In the room.
    Joined,
}

/// Who says it.
#[derive(Debug)]
pub(crate) struct Who<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) room: &'a str,
    pub(crate) key: Option<&'a str>,
    /// The last position it knows, if it has been there before.
    pub(crate) since: Option<&'a str>,
}

/// What a text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing new.
    Nothing,
    /// The next phase.
    Now(Phase),
    /// The server refused; the text says how.
    Refused,
}

// === impl Speaks ===

impl Speaks {
    /// The request that a browser opens with; `None`: there is none.
    pub(crate) fn request(self, host: &str, who: &Who<'_>) -> Option<String> {
        let (target, protocol) = match self {
            Self::SocketIo => ("/socket.io/?EIO=4&transport=websocket".to_owned(), ""),
            Self::ActionCable => ("/cable".to_owned(), "Sec-WebSocket-Protocol: actioncable-v1-json\r\n"),
            Self::Nchan => (format!("/hear?room={}", who.room), ""),
            Self::Bare => return None,
        };
        Some(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bm9kZXZlbnQtYmVuY2gtMQ==\r\n\
             {protocol}User-Agent: nodevent-load\r\n\r\n"
        ))
    }

    /// The phase behind a finished WebSocket handshake, or behind the connect where there is none.
    pub(crate) fn after_request(self) -> Phase {
        match self {
            Self::SocketIo | Self::ActionCable => Phase::Opening,
            Self::Nchan => Phase::Joined,
            Self::Bare => Phase::Joining,
        }
    }

    /// What asks for the room; `None`: nothing does.
    pub(crate) fn join(self, who: &Who<'_>) -> Option<String> {
        match self {
            Self::SocketIo => Some(socket_io_join(who)),
            Self::ActionCable => Some(action_cable_join(who)),
            Self::Nchan | Self::Bare => None,
        }
    }

    /// Hears a text that is no delivery; answers go into `out`.
    pub(crate) fn hear(self, phase: Phase, text: &[u8], who: &Who<'_>, out: &mut String) -> Heard {
        match self {
            Self::SocketIo => socket_io(phase, text, who, out),
            Self::ActionCable => action_cable(phase, text, who, out),
            Self::Nchan => Heard::Nothing,
            Self::Bare => Heard::Now(Phase::Joined),
        }
    }
}

fn socket_io_join(who: &Who<'_>) -> String {
    let mut join = json!({ "room": who.room });
    if let Some(key) = who.key {
        join["key"] = key.into();
    }
    if let Some(since) = who.since {
        join["since"] = since.into();
    }
    format!("42{},0[\"join\",{join}]", who.namespace)
}

fn action_cable_join(who: &Who<'_>) -> String {
    let identifier = json!({"channel": "RoomChannel", "room": who.room}).to_string();
    json!({"command": "subscribe", "identifier": identifier}).to_string()
}

fn socket_io(phase: Phase, text: &[u8], who: &Who<'_>, out: &mut String) -> Heard {
    match (phase, text) {
        (_, [b'2', ..]) => {
            out.push('3');
            Heard::Nothing
        }
        (Phase::Opening, [b'0', ..]) => {
            *out = format!("40{},", who.namespace);
            Heard::Now(Phase::Entering)
        }
        (Phase::Entering, [b'4', b'0', ..]) => {
            *out = socket_io_join(who);
            Heard::Now(Phase::Joining)
        }
        (Phase::Joining, [b'4', b'3', ack @ ..]) => {
            if memchr::memmem::find(ack, b"[null,true").is_some() {
                Heard::Now(Phase::Joined)
            } else {
                Heard::Refused
            }
        }
        (_, [b'4', b'4', ..]) => Heard::Refused,
        _ => Heard::Nothing,
    }
}

fn action_cable(phase: Phase, text: &[u8], who: &Who<'_>, out: &mut String) -> Heard {
    let says = |what: &[u8]| memchr::memmem::find(text, what).is_some();
    if phase == Phase::Opening && says(br#""type":"welcome""#) {
        *out = action_cable_join(who);
        return Heard::Now(Phase::Joining);
    }
    if phase == Phase::Joining && says(br#""type":"confirm_subscription""#) {
        return Heard::Now(Phase::Joined);
    }
    if says(br#""type":"reject_subscription""#) || says(br#""type":"disconnect""#) {
        return Heard::Refused;
    }
    Heard::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(speaks: Speaks, from: Phase, texts: &[&str]) -> (Vec<String>, Phase) {
        let who = Who { namespace: "/n", room: "r", key: Some("k:1"), since: None };
        let (mut said, mut phase) = (Vec::new(), from);
        for text in texts {
            let mut out = String::new();
            if let Heard::Now(next) = speaks.hear(phase, text.as_bytes(), &who, &mut out) {
                phase = next;
            }
            said.push(out);
        }
        (said, phase)
    }

    #[test]
    fn socket_io_connection_enters_its_namespace_and_joins_with_its_key() {
        let (said, phase) = walk(
            Speaks::SocketIo,
            Phase::Opening,
            &["0{\"sid\":\"s\"}", "40/n,{\"sid\":\"t\"}", "43/n,0[null,true]", "2"],
        );
        assert_eq!(said, ["40/n,", "42/n,0[\"join\",{\"key\":\"k:1\",\"room\":\"r\"}]", "", "3"]);
        assert_eq!(phase, Phase::Joined);
    }

    #[test]
    fn action_cable_connection_subscribes_to_the_room() {
        let (said, phase) = walk(
            Speaks::ActionCable,
            Phase::Opening,
            &[
                "{\"type\":\"welcome\"}",
                "{\"type\":\"ping\",\"message\":1}",
                "{\"identifier\":\"…\",\"type\":\"confirm_subscription\"}",
            ],
        );
        assert!(said[0].contains(r#"\"room\":\"r\""#), "{said:?}");
        assert_eq!(phase, Phase::Joined);
    }

    #[test]
    fn refused_join_is_not_counted_as_joined() {
        let who = Who { namespace: "/n", room: "r", key: None, since: None };
        let heard = Speaks::SocketIo.hear(Phase::Joining, b"43/n,0[\"Bad key\",false]", &who, &mut String::new());
        assert_eq!(heard, Heard::Refused);
    }
}
