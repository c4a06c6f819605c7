//! The Socket.IO state of one connection: its namespaces, and what it may send now.
//!
//! It turns Engine.IO messages into inputs for the application. It knows namespaces by the caller's ids, and not what
//! they mean. Below it is [`crate::engine_io::session`].
//!
//! # Source
//! Socket.IO protocol, revisions 5 and 4; where they are silent, the reference implementation.

use super::decoder::Decoder;
use super::packet::{Malformed, Packet};
use smallvec::SmallVec;

/// The revision of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Revision {
    /// Of Socket.IO 1 and 2. The server connects the client to `/`, and ignores packets for namespaces that are not
    /// connected.
    V4,
    /// Of Socket.IO 3 and 4.
    #[default]
    V5,
}

/// An input for the application.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// A request to connect to a namespace. Reply with [`Session::admitted`] and a connect packet, or with a connect
    /// error.
    Connect {
        /// The caller's id of the namespace.
        namespace: u16,
        /// The query string behind the name of the namespace, as clients of revision 4 send it. Not decoded.
        query: Option<String>,
        /// The auth payload: the text of a JSON object.
        auth: Option<String>,
    },
    /// Revision 4: another request to connect to a namespace that is connected. Reply with a connect packet.
    ConnectAgain {
        /// The caller's id of the namespace.
        namespace: u16,
    },
    /// Revision 4: an event for a namespace that is not connected, to be ignored.
    EventToUnconnected {
        /// The name of the namespace.
        namespace: String,
    },
    /// A request to connect to a namespace that does not exist. Reply with the connect error `Invalid namespace`.
    ConnectToUnknown {
        /// Its name as it was received.
        namespace: String,
    },
    /// An event.
    Event {
        /// The caller's id of the namespace.
        namespace: u16,
        /// The id for the acknowledgement, if one is expected.
        id: Option<u64>,
        /// The text of a JSON array: the event's name, then its arguments.
        args: String,
        /// Binary attachments, in the order of their placeholders.
        attachments: Vec<Vec<u8>>,
    },
    /// The acknowledgement of an event of the server.
    Ack {
        /// The caller's id of the namespace.
        namespace: u16,
        /// The id of the event.
        id: u64,
        /// The text of a JSON array.
        args: String,
        /// Binary attachments, in the order of their placeholders.
        attachments: Vec<Vec<u8>>,
    },
    /// The connection has disconnected from a namespace.
    Disconnect {
        /// The caller's id of the namespace.
        namespace: u16,
    },
}

/// An error for which the connection must be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The message is not a Socket.IO packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] Malformed),
    /// A packet for a namespace to which the connection is not connected.
    #[error("a packet for a namespace that was not connected")]
    NotConnected,
    /// A second connect to the same namespace.
    #[error("the namespace is connected already")]
    Connected,
}

/// The state between two messages.
#[derive(Debug, Default)]
pub struct Session {
    revision: Revision,
    decoder: Decoder,
    connected: SmallVec<[u16; 4]>,
}

// === impl Session ===

impl Session {
    /// Returns the state of a new connection.
    #[must_use]
    pub fn new(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Takes a text message of the Engine.IO layer. `None`: attachments must follow, or it is ignored.
    ///
    /// # Errors
    /// Returns [`ProtocolError`] if the connection must be closed.
    pub fn text(
        &mut self,
        text: &str,
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        match self.decoder.text(text)? {
            Some(packet) => self.packet(packet, resolve),
            None => Ok(None),
        }
    }

    /// Takes a binary message of the Engine.IO layer. `None`: more attachments must follow, or it is ignored.
    ///
    /// # Errors
    /// Returns [`ProtocolError`] if the connection must be closed.
    pub fn binary(
        &mut self,
        bytes: &[u8],
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        match self.decoder.binary(bytes)? {
            Some(packet) => self.packet(packet, resolve),
            None => Ok(None),
        }
    }

    /// Returns the size of the packet that waits for attachments. Bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes()
    }

    /// Returns whether a packet waits for attachments.
    pub fn awaits_attachments(&self) -> bool {
        self.decoder.is_waiting()
    }

    /// Records that the application has admitted the connection to `namespace`.
    pub fn admitted(&mut self, namespace: u16) {
        if !self.connected.contains(&namespace) {
            self.connected.push(namespace);
        }
    }

    /// Records that the application has removed the connection from `namespace`. Returns whether it was connected.
    pub fn remove(&mut self, namespace: u16) -> bool {
        let before = self.connected.len();
        self.connected.retain(|one| *one != namespace);
        before != self.connected.len()
    }

    /// Returns the namespaces to which the connection is connected.
    pub fn connected(&self) -> &[u16] {
        &self.connected
    }

    fn packet(
        &mut self,
        packet: Packet,
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        let connected = resolve(packet.namespace()).filter(|number| self.connected.contains(number));
        let Some(namespace) = connected else { return self.unconnected(packet, resolve) };
        Ok(Some(match packet {
            Packet::Connect { .. } if self.revision == Revision::V4 => Input::ConnectAgain { namespace },
            Packet::Connect { .. } => return Err(ProtocolError::Connected),
            Packet::Disconnect { .. } => {
                self.remove(namespace);
                Input::Disconnect { namespace }
            }
            Packet::Event { id, args, attachments, .. } => Input::Event { namespace, id, args, attachments },
            Packet::Ack { id, args, attachments, .. } => Input::Ack { namespace, id, args, attachments },
        }))
    }

    /// Takes a packet for a namespace to which the connection is not connected.
    fn unconnected(
        &self,
        packet: Packet,
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        match packet {
            Packet::Connect { namespace, query, auth } => Ok(Some(match resolve(&namespace) {
                None => Input::ConnectToUnknown { namespace },
                Some(namespace) => Input::Connect { namespace, query, auth },
            })),
            _ if self.revision == Revision::V5 => Err(ProtocolError::NotConnected),
            Packet::Event { namespace, .. } => Ok(Some(Input::EventToUnconnected { namespace })),
            Packet::Disconnect { .. } | Packet::Ack { .. } => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(name: &str) -> Option<u16> {
        match name {
            "/" => Some(0),
            "/nodevent" => Some(1),
            _ => None,
        }
    }

    #[test]
    fn event_is_accepted_only_after_its_namespace_was_admitted() {
        let mut session = Session::default();
        assert!(matches!(session.text(r#"2/nodevent,["join",{}]"#, resolve), Err(ProtocolError::NotConnected)));
        let mut session = Session::default();
        let input = session.text(r#"0/nodevent,{"a":1}"#, resolve).unwrap();
        assert_eq!(input, Some(Input::Connect { namespace: 1, query: None, auth: Some(r#"{"a":1}"#.into()) }));
        session.admitted(1);
        let input = session.text(r#"2/nodevent,7["join",{}]"#, resolve).unwrap();
        assert!(matches!(input, Some(Input::Event { namespace: 1, id: Some(7), .. })));
    }

    #[test]
    fn unknown_namespace_is_returned_by_name() {
        let mut session = Session::default();
        let input = session.text("0/nowhere,", resolve).unwrap();
        assert_eq!(input, Some(Input::ConnectToUnknown { namespace: "/nowhere".into() }));
    }

    #[test]
    fn second_connect_to_a_namespace_is_an_error() {
        let mut session = Session::default();
        session.admitted(0);
        assert!(matches!(session.text("0", resolve), Err(ProtocolError::Connected)));
    }

    #[test]
    fn event_after_a_disconnect_is_an_error() {
        let mut session = Session::default();
        session.admitted(1);
        assert_eq!(session.text("1/nodevent,", resolve).unwrap(), Some(Input::Disconnect { namespace: 1 }));
        assert!(matches!(session.text(r#"2/nodevent,["x"]"#, resolve), Err(ProtocolError::NotConnected)));
    }

    #[test]
    fn client_of_revision_4_names_a_query_and_may_be_early_or_late() {
        let mut session = Session::new(Revision::V4);
        let connect = Input::Connect { namespace: 1, query: Some("token=a%20b".into()), auth: None };
        assert_eq!(session.text("0/nodevent?token=a%20b", resolve).unwrap(), Some(connect));
        let early = Input::EventToUnconnected { namespace: "/nodevent".into() };
        assert_eq!(session.text(r#"2/nodevent,["x"]"#, resolve).unwrap(), Some(early));
        assert_eq!(session.text("1/nodevent", resolve).unwrap(), None);
        assert_eq!(session.text("3/nodevent,1[]", resolve).unwrap(), None);
        session.admitted(1);
        let again = Input::ConnectAgain { namespace: 1 };
        assert_eq!(session.text("0/nodevent,", resolve).unwrap(), Some(again));
    }
}
