//! `emit` without keywords, which allocates nothing.
//!
//! A method in Ruby that takes `*message, **options` allocates an Array and a Hash in each call. The module
//! `NoDevent::Native::PlainEmit` is prepended to what has such an `emit`. Without keywords, it publishes by
//! [`fast_path`], or calls `publish_plain(room, event, message)` if that does not know the case. With keywords, it calls
//! the method in Ruby.

use crate::{fast_path, guard};
use magnus::rb_sys::{AsRawValue, resume_error};
use magnus::{Error, Module, RModule, Ruby};
use rb_sys::{ID, VALUE};
use std::ffi::{CStr, c_int};
use std::sync::OnceLock;

const EMIT: &CStr = c"emit";
const PUBLISH_PLAIN: &CStr = c"publish_plain";

/// The id of `publish_plain`.
static PUBLISH_PLAIN_ID: OnceLock<ID> = OnceLock::new();

type Emit = unsafe extern "C" fn(c_int, *const VALUE, VALUE) -> VALUE;
type Method = unsafe extern "C" fn() -> VALUE;

/// Defines the module below `NoDevent::Native`.
pub(crate) fn define(native: RModule) -> Result<(), Error> {
    let module = native.define_module("PlainEmit")?;
    // SAFETY: the name is a C string.
    PUBLISH_PLAIN_ID.get_or_init(|| unsafe { rb_sys::rb_intern(PUBLISH_PLAIN.as_ptr()) });
    // SAFETY: the function has the type that the arity -1 requires. It has no state, so all Ractors may call it.
    unsafe {
        let method = std::mem::transmute::<Emit, Method>(emit);
        rb_sys::rb_ext_ractor_safe(true);
        rb_sys::rb_define_method(module.as_raw(), EMIT.as_ptr(), Some(method), -1);
        rb_sys::rb_ext_ractor_safe(false);
    }
    Ok(())
}

/// `emit(room, event, message = nil)`, or any other arguments for the method in Ruby. Owns nothing that an exception of
/// Ruby, which jumps over this frame, would have to drop.
unsafe extern "C" fn emit(count: c_int, arguments: *const VALUE, receiver: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        let keywords = rb_sys::rb_keyword_given_p();
        let Some(id) = PUBLISH_PLAIN_ID.get().filter(|_| keywords == 0 && matches!(count, 2 | 3)) else {
            return rb_sys::rb_call_super_kw(count, arguments, keywords);
        };
        let message = if count == 3 { *arguments.add(2) } else { rb_sys::Qnil as VALUE };
        let ruby = Ruby::get_unchecked();
        let all = [*arguments, *arguments.add(1), message];
        match guard(&ruby, || fast_path::emit(&ruby, receiver, all[0], all[1], all[2])) {
            Ok(Some(result)) => result,
            Ok(None) => rb_sys::rb_funcallv(receiver, *id, 3, all.as_ptr()),
            Err(error) => resume_error(error),
        }
    }
}
