//! The native half of the gem.
