//! `NoDevent::Native::RecordEmit`, which is prepended to `NoDevent::Base`, and `RecordNames`, to the macros of classes.
//!
//! What they know, they do as the methods in Ruby would, without allocations: a record emits without keywords by
//! [`fast_path`], and they read what its class says about its namespace and its rooms. In any other case, they call the
//! methods in Ruby.

use crate::record_room::{Names, PUBLIC, RecordClass, is_false};
use crate::{fast_path, guard};
use magnus::rb_sys::{AsRawValue, protect, resume_error};
use magnus::{Error, Module, RModule, Ruby};
use rb_sys::macros::{RB_BUILTIN_TYPE, SPECIAL_CONST_P};
use rb_sys::{ID, Qnil, Qtrue, VALUE, ruby_value_type};
use std::ffi::{CStr, c_int};
use std::sync::OnceLock;

/// The names of methods and of variables.
static IDS: OnceLock<Ids> = OnceLock::new();

struct Ids {
    emit: ID,
    nodevent_emit: ID,
    is_nil: ID,
    room_by: ID,
    room_by_variable: ID,
    namespace: ID,
    namespace_variable: ID,
}

type Function = unsafe extern "C" fn(c_int, *const VALUE, VALUE) -> VALUE;
type Method = unsafe extern "C" fn() -> VALUE;

/// Defines the modules below `NoDevent::Native`.
pub(crate) fn define(native: RModule) -> Result<(), Error> {
    // SAFETY: the texts are C strings.
    let id = |name: &CStr| unsafe { rb_sys::rb_intern(name.as_ptr()) };
    IDS.get_or_init(|| Ids {
        emit: id(c"emit"),
        nodevent_emit: id(c"nodevent_emit"),
        is_nil: id(c"nil?"),
        room_by: id(c"nodevent_room_by"),
        room_by_variable: id(c"@nodevent_room_by"),
        namespace: id(c"nodevent_namespace"),
        namespace_variable: id(c"@nodevent_namespace"),
    });
    let records: [(&CStr, Function); 4] =
        [(c"emit", emit), (c"nodevent_emit", nodevent_emit), (c"room", room), (c"nodevent_room", room)];
    let classes: [(&CStr, Function); 2] = [(c"nodevent_room_by", room_by), (c"nodevent_namespace", namespace)];
    define_module(native.define_module("RecordEmit")?, &records);
    define_module(native.define_module("RecordNames")?, &classes);
    Ok(())
}

fn define_module(module: RModule, functions: &[(&CStr, Function)]) {
    for (name, function) in functions {
        // SAFETY: the functions have the type that the arity -1 requires. They have no state, so all Ractors may call them.
        unsafe {
            let method = std::mem::transmute::<Function, Method>(*function);
            rb_sys::rb_ext_ractor_safe(true);
            rb_sys::rb_define_method(module.as_raw(), name.as_ptr(), Some(method), -1);
            rb_sys::rb_ext_ractor_safe(false);
        }
    }
}

// The following functions own nothing that an exception of Ruby, which jumps over their frames, would have to drop.

/// `emit(event, message = nil)`: calls `nodevent_emit`, unless the application has an `emit` beneath `Base`.
unsafe extern "C" fn emit(count: c_int, arguments: *const VALUE, record: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        let keywords = rb_sys::rb_keyword_given_p();
        match IDS
            .get()
            .filter(|ids| is_plain(count, keywords) && !has_own_emit(&Ruby::get_unchecked(), record, ids))
        {
            Some(ids) => rb_sys::rb_funcallv(record, ids.nodevent_emit, count, arguments),
            None => rb_sys::rb_call_super_kw(count, arguments, keywords),
        }
    }
}

/// `nodevent_emit(event, message = nil)`.
unsafe extern "C" fn nodevent_emit(count: c_int, arguments: *const VALUE, record: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        let keywords = rb_sys::rb_keyword_given_p();
        let Some(ids) = IDS.get().filter(|_| is_plain(count, keywords) && !is_module(record)) else {
            return rb_sys::rb_call_super_kw(count, arguments, keywords);
        };
        let message = if count == 2 { *arguments.add(1) } else { Qnil as VALUE };
        match publish(&Ruby::get_unchecked(), ids, record, *arguments, message) {
            Ok(Some(result)) => result,
            Ok(None) => rb_sys::rb_call_super_kw(count, arguments, keywords),
            Err(error) => resume_error(error),
        }
    }
}

/// `room` and `nodevent_room`; see [`record_room`](crate::record_room).
unsafe extern "C" fn room(count: c_int, arguments: *const VALUE, _record: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        let ruby = Ruby::get_unchecked();
        let names = (count == 1).then(|| Names::get(&ruby)).flatten();
        if let Some(answer) = names.and_then(|names| names.answer(&ruby, *arguments)) {
            return answer;
        }
        rb_sys::rb_call_super_kw(count, arguments, rb_sys::rb_keyword_given_p())
    }
}

/// `nodevent_room_by`, without arguments.
unsafe extern "C" fn room_by(count: c_int, arguments: *const VALUE, class: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        match IDS.get().filter(|_| count == 0 && rb_sys::rb_block_given_p() == 0 && is_class(class)) {
            Some(ids) => setting(class, ids.room_by_variable, ids.room_by),
            None => rb_sys::rb_call_super_kw(count, arguments, rb_sys::rb_keyword_given_p()),
        }
    }
}

/// `nodevent_namespace`, without arguments.
unsafe extern "C" fn namespace(count: c_int, arguments: *const VALUE, class: VALUE) -> VALUE {
    // SAFETY: Ruby holds its lock and passes `count` arguments.
    unsafe {
        match IDS.get().filter(|_| count == 0 && is_class(class)) {
            Some(ids) => setting(class, ids.namespace_variable, ids.namespace),
            None => rb_sys::rb_call_super_kw(count, arguments, rb_sys::rb_keyword_given_p()),
        }
    }
}

/// The value of a class, or of the superclass that has such a method.
unsafe fn setting(class: VALUE, variable: ID, method: ID) -> VALUE {
    // SAFETY: the caller's.
    unsafe {
        let own = rb_sys::rb_ivar_get(class, variable);
        if !is_false(own) {
            return own;
        }
        let superclass = rb_sys::rb_class_superclass(class);
        // Not `respond_to?`: Active Record's would compare the name with those of its dynamic finders.
        if is_false(superclass) || rb_sys::rb_method_boundp(singleton(superclass), method, PUBLIC) == 0 {
            return Qnil as VALUE;
        }
        rb_sys::rb_funcallv_public(superclass, method, 0, std::ptr::null())
    }
}

/// The class that has the methods of a class itself.
unsafe fn singleton(class: VALUE) -> VALUE {
    // SAFETY: the caller's: it is a class.
    unsafe { (*(class as *const rb_sys::RBasic)).klass }
}

/// Whether `emit` and `nodevent_emit` have no special case in their arguments.
fn is_plain(count: c_int, keywords: c_int) -> bool {
    // SAFETY: Ruby holds its lock.
    keywords == 0 && matches!(count, 1 | 2) && unsafe { rb_sys::rb_block_given_p() } == 0
}

/// Whether the application has an `emit` beneath `Base`, or that is not known.
fn has_own_emit(ruby: &Ruby, record: VALUE, ids: &Ids) -> bool {
    let Some(names) = Names::get(ruby).filter(|_| fast_path::is_main_ractor()) else { return true };
    let known = RecordClass::of(ruby, names, record).ok().flatten();
    known.is_none_or(|known| known.has_beneath(ruby, ids.emit))
}

fn publish(ruby: &Ruby, ids: &Ids, record: VALUE, event: VALUE, message: VALUE) -> Result<Option<VALUE>, Error> {
    guard(ruby, || {
        let Some(receiver) = fast_path::default_namespace(ruby) else { return Ok(None) };
        let is_special = SPECIAL_CONST_P(message);
        // SAFETY: Ruby holds its lock. `protect` catches what the class raises.
        let namespace = protect(|| unsafe {
            let class = rb_sys::rb_obj_class(record);
            // A proxy may be nil, and then the record is the message.
            let is_known =
                is_special || rb_sys::rb_method_basic_definition_p(rb_sys::rb_obj_class(message), ids.is_nil) != 0;
            match is_known {
                true => rb_sys::rb_funcallv_public(class, ids.namespace, 0, std::ptr::null()),
                false => Qtrue as VALUE,
            }
        })?;
        if !is_false(namespace) {
            return Ok(None);
        }
        let message = if message == Qnil as VALUE { record } else { message };
        fast_path::emit(ruby, receiver, record, event, message)
    })
}

fn is_module(value: VALUE) -> bool {
    is_class(value) || has_type(value, ruby_value_type::RUBY_T_MODULE)
}

fn is_class(value: VALUE) -> bool {
    has_type(value, ruby_value_type::RUBY_T_CLASS)
}

fn has_type(value: VALUE, wanted: ruby_value_type) -> bool {
    // SAFETY: `value` is an object of Ruby.
    !SPECIAL_CONST_P(value) && unsafe { RB_BUILTIN_TYPE(value) == wanted }
}
