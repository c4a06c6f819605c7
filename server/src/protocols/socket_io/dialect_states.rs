//! What dialects remember of one connection, one state for each namespace. A connection without any uses no heap.

use std::any::Any;
use std::fmt;

/// A dialect's state of a connection.
pub type DialectState = Box<dyn Any + Send>;

/// The states of one connection.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "8 bytes instead of 24 in a connection that has none")]
pub(super) struct DialectStates(Option<Box<Vec<(u16, DialectState)>>>);

// === impl DialectStates ===

impl DialectStates {
    /// Takes the state in a namespace.
    pub(super) fn take(&mut self, namespace: u16) -> Option<DialectState> {
        let states = self.0.as_mut()?;
        let index = states.iter().position(|(one, _)| *one == namespace)?;
        let (_, state) = states.swap_remove(index);
        if states.is_empty() {
            self.0 = None;
        }
        Some(state)
    }

    /// Sets the state in a namespace.
    pub(super) fn set(&mut self, namespace: u16, state: DialectState) {
        self.take(namespace);
        self.0.get_or_insert_default().push((namespace, state));
    }

    /// The state in a namespace.
    pub(super) fn get_mut(&mut self, namespace: u16) -> Option<&mut DialectState> {
        self.0.as_mut()?.iter_mut().find(|(one, _)| *one == namespace).map(|(_, state)| state)
    }
}

impl fmt::Debug for DialectStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialectStates").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_own_state_and_none_uses_no_memory() {
        let mut states = DialectStates::default();
        states.set(1, Box::new("a"));
        states.set(2, Box::new("b"));
        states.set(1, Box::new("c"));
        let text = |state: &mut DialectState| state.downcast_ref::<&str>().copied();
        assert_eq!(states.get_mut(1).and_then(text), Some("c"));
        assert!(states.get_mut(3).is_none() && states.take(3).is_none());
        assert!(states.take(1).is_some() && states.take(1).is_none());
        assert!(states.take(2).is_some() && states.0.is_none());
    }
}
