//! What a client sends to a namespace before it is decided who the client is. It is held, in order and bounded, and runs
//! after the connect packet was answered.

use super::connect_request::ConnectRequest;
use nodevent_protocol::socket_io::session::Input;

/// Packets that are held for one namespace.
const MAX_INPUTS: usize = 64;

/// The namespaces of a connection that wait for a decision. A connection without one uses no heap.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that holds nothing")]
pub(super) struct Held(Option<Box<Vec<HeldConnect>>>);

/// A connect packet that waits for a decision, and what followed it.
#[derive(Debug)]
pub(super) struct HeldConnect {
    namespace: u16,
    /// What the client sent to enter the namespace.
    pub(super) request: ConnectRequest,
    /// What followed.
    pub(super) inputs: Vec<Input>,
    bytes: usize,
}

/// Too much is held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

// === impl Held ===

impl Held {
    /// Starts to hold what follows a connect packet.
    pub(super) fn start(&mut self, namespace: u16, request: ConnectRequest) {
        let bytes = request.size();
        let connect = HeldConnect { namespace, request, inputs: Vec::new(), bytes };
        self.0.get_or_insert_default().push(connect);
    }

    /// What is held. Bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().flat_map(|all| all.iter()).map(|one| one.bytes).sum()
    }

    /// Whether a namespace waits.
    pub(super) fn contains(&self, namespace: u16) -> bool {
        self.0.iter().flat_map(|all| all.iter()).any(|one| one.namespace == namespace)
    }

    /// Returns the input if its namespace does not wait. Otherwise holds it.
    ///
    /// # Errors
    /// [`TooMuch`]: more than 64 packets or `max_bytes` of its namespace.
    pub(super) fn hold(&mut self, input: Input, max_bytes: usize) -> Result<Option<Input>, TooMuch> {
        let (namespace, size) = match &input {
            Input::Event { namespace, args, attachments, .. } | Input::Ack { namespace, args, attachments, .. } => {
                (*namespace, args.len() + attachments.iter().map(Vec::len).sum::<usize>())
            }
            Input::ConnectAgain { namespace } => (*namespace, 0),
            Input::Disconnect { namespace } => {
                self.end(*namespace);
                return Ok(Some(input));
            }
            Input::Connect { .. } | Input::ConnectToUnknown { .. } | Input::EventToUnconnected { .. } => {
                return Ok(Some(input));
            }
        };
        let mut all = self.0.iter_mut().flat_map(|all| all.iter_mut());
        let Some(one) = all.find(|one| one.namespace == namespace) else { return Ok(Some(input)) };
        one.bytes += size;
        if one.inputs.len() >= MAX_INPUTS || one.bytes > max_bytes {
            return Err(TooMuch);
        }
        one.inputs.push(input);
        Ok(None)
    }

    /// Ends the waiting of a namespace. Returns what was held.
    pub(super) fn end(&mut self, namespace: u16) -> Option<HeldConnect> {
        let all = self.0.as_mut()?;
        let index = all.iter().position(|one| one.namespace == namespace)?;
        let held = all.swap_remove(index);
        if all.is_empty() {
            self.0 = None;
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(namespace: u16, args: &str) -> Input {
        Input::Event { namespace, id: None, args: args.to_owned(), attachments: Vec::new() }
    }

    #[test]
    fn packets_of_a_namespace_that_waits_are_held_in_order_and_others_are_not() {
        let mut held = Held::default();
        let request = ConnectRequest { auth: Some("{}".into()), ..ConnectRequest::default() };
        held.start(1, request.clone());
        assert!(held.contains(1) && !held.contains(2));
        assert_eq!(held.hold(event(2, "[1]"), 10), Ok(Some(event(2, "[1]"))));
        assert_eq!(held.hold(event(1, "[1]"), 10), Ok(None));
        assert_eq!(held.hold(event(1, "[2]"), 10), Ok(None));
        let one = held.end(1).unwrap();
        assert_eq!((one.request, one.inputs), (request, vec![event(1, "[1]"), event(1, "[2]")]));
        assert!(held.0.is_none() && held.end(1).is_none());
    }

    #[test]
    fn what_is_held_is_bounded_in_number_and_bytes() {
        let mut held = Held::default();
        held.start(1, ConnectRequest::default());
        assert!((0..MAX_INPUTS).all(|_| held.hold(event(1, ""), 10) == Ok(None)));
        assert_eq!(held.hold(event(1, ""), 10), Err(TooMuch));
        let mut held = Held::default();
        held.start(1, ConnectRequest::default());
        assert_eq!(held.hold(event(1, "12345"), 10), Ok(None));
        assert_eq!(held.hold(event(1, "123456"), 10), Err(TooMuch));
    }

    #[test]
    fn a_client_that_leaves_the_namespace_waits_no_longer() {
        let mut held = Held::default();
        held.start(1, ConnectRequest::default());
        held.hold(event(1, "[1]"), 10).unwrap();
        assert_eq!(held.hold(Input::Disconnect { namespace: 1 }, 10), Ok(Some(Input::Disconnect { namespace: 1 })));
        assert!(!held.contains(1));
    }
}
