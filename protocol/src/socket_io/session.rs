//! The life of the Socket.IO side of one connection: which namespaces it is in, and what it may say now.
//!
//! Engine.IO messages go in, inputs for the application come out. It knows namespaces by the number the caller
//! gives them; it does not know what a namespace does. Below it stands [`crate::engine_io::session`].
//!
//! # Source
//! Socket.IO protocol, revision 5; where that is silent, the reference implementation.

use super::decoder::Decoder;
use super::packet::{Malformed, Packet};
use smallvec::SmallVec;

/// What a connection asks of the application.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// To be let into a namespace. Answer with [`Session::admitted`] and a connect packet, or a connect error.
    Connect {
        /// The namespace, as the caller numbers it.
        namespace: u16,
        /// The auth payload: the text of a JSON object.
        auth: Option<String>,
    },
    /// To be let into a namespace that does not exist: answer with a connect error `Invalid namespace`.
    ConnectToUnknown {
        /// Its name, as the browser wrote it.
        namespace: String,
    },
    /// An event.
    Event {
        /// The namespace, as the caller numbers it.
        namespace: u16,
        /// The id under which an acknowledgement is awaited.
        id: Option<u64>,
        /// The text of a JSON array: the event's name, then its arguments.
        args: String,
        /// Binary attachments, in the order of their placeholders.
        attachments: Vec<Vec<u8>>,
    },
    /// The acknowledgement of an event of ours.
    Ack {
        /// The namespace, as the caller numbers it.
        namespace: u16,
        /// The id we gave the event.
        id: u64,
        /// The text of a JSON array.
        args: String,
        /// Binary attachments, in the order of their placeholders.
        attachments: Vec<Vec<u8>>,
    },
    /// The connection has left a namespace.
    Disconnect {
        /// The namespace, as the caller numbers it.
        namespace: u16,
    },
}

/// What a connection may not do; it is closed for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The message is no Socket.IO packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] Malformed),
    /// A packet for a namespace that the connection is not in.
    #[error("a packet for a namespace that was not connected")]
    NotConnected,
    /// A second connect to the same namespace.
    #[error("the namespace is connected already")]
    Connected,
}

/// The state between two messages.
#[derive(Debug, Default)]
pub struct Session {
    decoder: Decoder,
    connected: SmallVec<[u16; 4]>,
}

// === impl Session ===

impl Session {
    /// A text message of the Engine.IO layer. `None`: more is to come (attachments).
    ///
    /// # Errors
    /// [`ProtocolError`]: close the connection.
    pub fn text(
        &mut self,
        text: &str,
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        match self.decoder.text(text)? {
            Some(packet) => self.packet(packet, resolve).map(Some),
            None => Ok(None),
        }
    }

    /// A binary message of the Engine.IO layer. `None`: more is to come.
    ///
    /// # Errors
    /// [`ProtocolError`]: close the connection.
    pub fn binary(
        &mut self,
        bytes: &[u8],
        resolve: impl Fn(&str) -> Option<u16>,
    ) -> Result<Option<Input>, ProtocolError> {
        match self.decoder.binary(bytes)? {
            Some(packet) => self.packet(packet, resolve).map(Some),
            None => Ok(None),
        }
    }

    /// How much is held of a packet that waits for its attachments. Bytes.
    pub fn held(&self) -> usize {
        self.decoder.held()
    }

    /// The application has let the connection into `namespace`.
    pub fn admitted(&mut self, namespace: u16) {
        if !self.connected.contains(&namespace) {
            self.connected.push(namespace);
        }
    }

    /// The application has put the connection out of `namespace`. `false`: it was not in it.
    pub fn remove(&mut self, namespace: u16) -> bool {
        let before = self.connected.len();
        self.connected.retain(|one| *one != namespace);
        before != self.connected.len()
    }

    /// The namespaces the connection is in.
    pub fn connected(&self) -> &[u16] {
        &self.connected
    }

    fn packet(&mut self, packet: Packet, resolve: impl Fn(&str) -> Option<u16>) -> Result<Input, ProtocolError> {
        let member = |name: &str, connected: &[u16]| {
            resolve(name).filter(|number| connected.contains(number)).ok_or(ProtocolError::NotConnected)
        };
        match packet {
            Packet::Connect { namespace, auth } => match resolve(&namespace) {
                None => Ok(Input::ConnectToUnknown { namespace }),
                Some(number) if self.connected.contains(&number) => Err(ProtocolError::Connected),
                Some(number) => Ok(Input::Connect { namespace: number, auth }),
            },
            Packet::Disconnect { namespace } => {
                let number = member(&namespace, &self.connected)?;
                self.remove(number);
                Ok(Input::Disconnect { namespace: number })
            }
            Packet::Event { namespace, id, args, attachments } => {
                Ok(Input::Event { namespace: member(&namespace, &self.connected)?, id, args, attachments })
            }
            Packet::Ack { namespace, id, args, attachments } => {
                Ok(Input::Ack { namespace: member(&namespace, &self.connected)?, id, args, attachments })
            }
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
    fn an_event_is_heard_only_after_its_namespace_was_admitted() {
        let mut session = Session::default();
        assert!(matches!(session.text(r#"2/nodevent,["join",{}]"#, resolve), Err(ProtocolError::NotConnected)));
        let mut session = Session::default();
        let input = session.text(r#"0/nodevent,{"a":1}"#, resolve).unwrap();
        assert_eq!(input, Some(Input::Connect { namespace: 1, auth: Some(r#"{"a":1}"#.into()) }));
        session.admitted(1);
        let input = session.text(r#"2/nodevent,7["join",{}]"#, resolve).unwrap();
        assert!(matches!(input, Some(Input::Event { namespace: 1, id: Some(7), .. })));
    }

    #[test]
    fn a_namespace_that_does_not_exist_is_named_back() {
        let mut session = Session::default();
        let input = session.text("0/nowhere,", resolve).unwrap();
        assert_eq!(input, Some(Input::ConnectToUnknown { namespace: "/nowhere".into() }));
    }

    #[test]
    fn a_second_connect_to_a_namespace_ends_the_connection() {
        let mut session = Session::default();
        session.admitted(0);
        assert!(matches!(session.text("0", resolve), Err(ProtocolError::Connected)));
    }

    #[test]
    fn after_a_disconnect_the_namespace_is_closed_to_events() {
        let mut session = Session::default();
        session.admitted(1);
        assert_eq!(session.text("1/nodevent,", resolve).unwrap(), Some(Input::Disconnect { namespace: 1 }));
        assert!(matches!(session.text(r#"2/nodevent,["x"]"#, resolve), Err(ProtocolError::NotConnected)));
    }
}
