//! The namespaces of this process: their number, name, admission, limits and dialect.
//!
//! Built once at start and never changed; everybody holds the same one.

use crate::admission::Admission;
use crate::dialect::Dialect;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What a connection may ask for in a namespace.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Rooms one connection may be in, over all namespaces.
    pub rooms: usize,
    /// Length of a room's name. Bytes.
    pub name: usize,
}

/// One namespace.
pub struct Namespace {
    /// Its number in this process.
    pub number: u16,
    /// Its name with the leading slash.
    pub name: Arc<str>,
    /// Who is let in.
    pub admission: Admission,
    /// What a connection may ask for.
    pub limits: RoomLimits,
    /// The language its browsers speak.
    pub dialect: Arc<dyn Dialect>,
}

/// All namespaces, by number and by name.
#[derive(Debug, Default)]
pub struct Namespaces {
    list: Vec<Namespace>,
    numbers: HashMap<Arc<str>, u16>,
}

// === impl Namespace ===

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("number", &self.number).field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Namespaces ===

impl Namespaces {
    /// Adds a namespace under the next number, and answers that number.
    pub fn add(&mut self, name: &str, admission: Admission, limits: RoomLimits, dialect: Arc<dyn Dialect>) -> u16 {
        let number = self.list.len() as u16;
        let name: Arc<str> = name.into();
        self.numbers.insert(Arc::clone(&name), number);
        self.list.push(Namespace { number, name, admission, limits, dialect });
        number
    }

    /// The number of the namespace of that name.
    pub fn number(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    /// The namespace of that name.
    pub fn find(&self, name: &str) -> Option<&Namespace> {
        self.number(name).map(|number| self.get(number))
    }

    /// The namespace of that number, which [`Namespaces::add`] or [`Namespaces::number`] answered.
    pub fn get(&self, number: u16) -> &Namespace {
        &self.list[usize::from(number)]
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.list.iter()
    }
}
