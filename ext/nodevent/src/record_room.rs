//! The name of a record's room, as `lib/nodevent/room.rb` finds it, but without its reflection.
//!
//! A class can change at any time, so each call asks whether the application names the room. That allocates nothing:
//!
//! * Above `NoDevent::Base`, the methods that may name a room are called with a private object. Those of
//!   [`record_emit`](crate::record_emit) return another one; the application's cannot, and an error of theirs is for Ruby.
//! * Beneath it, no class and no module may have such a method. Ruby keeps these lookups.
//!
//! It knows the names `Class_id` and `Class_to_param`, and those of `nodevent_room_by :name`, if they are plain.
//! Everything else is for Ruby: overrides, several names, blocks, singleton classes, views, and records that have no name
//! yet.

use crate::message;
use crate::publisher::is_ascii_compatible;
use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::typed_data::Obj;
use magnus::value::{LazyId, Opaque, ReprValue};
use magnus::{DataTypeFunctions, Error, Module, RArray, RModule, RString, Ruby, TryConvert, TypedData, Value, gc};
use rb_sys::macros::{FIX2LONG, FIXNUM_P, SPECIAL_CONST_P, STATIC_SYM_P};
use rb_sys::{ID, Qfalse, Qnil, Qtrue, VALUE};
use std::ffi::{CStr, c_int};
use std::fmt::{self, Write};
use std::sync::OnceLock;

/// `Room::MAX_BYTES`.
const MAX_BYTES: usize = 255;

/// For `rb_method_boundp`: methods of any visibility.
const ANY: c_int = 0;
/// For `rb_method_boundp`: methods that an object responds to.
pub(crate) const PUBLIC: c_int = 3;

static OF: LazyId = LazyId::new("of");

/// What is looked up once.
static NAMES: OnceLock<Names> = OnceLock::new();

/// Names of Ruby, and objects that live as long as the process.
pub(crate) struct Names {
    /// The methods that may name a room.
    overrides: [ID; 2],
    /// The variable of a class with its [`RecordClass`], or `false` if Ruby names the rooms. Ruby code cannot see it.
    record_class: ID,
    /// The variable of a record that has the room of another class.
    other_class: ID,
    by: ID,
    room_by: ID,
    name: ID,
    to_param: ID,
    id: ID,
    is_a: ID,
    respond_to_missing: ID,
    owner: ID,
    /// With what the methods that may name a room are called.
    probe: Opaque<Value>,
    /// What those of this extension return then. No other code has it: an application's method may return its argument.
    answer: Opaque<Value>,
    base: Opaque<RModule>,
    room: Opaque<RModule>,
    ancestry: Opaque<RModule>,
}

/// The name of a room, which is plain.
pub(crate) struct RoomName {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

/// What never changes about a class that includes `NoDevent::Base`.
#[derive(TypedData)]
#[magnus(class = "NoDevent::Native::RecordClass", free_immediately, size, mark)]
pub(crate) struct RecordClass {
    class: Opaque<Value>,
    /// The first class beneath `Base`.
    superclass: Opaque<Value>,
    /// A class that includes the modules between both, if there are some: Ruby keeps lookups of classes only.
    modules: Option<Opaque<Value>>,
    /// `ActiveRecord::Integration`, if it is an ancestor.
    integration: Option<Opaque<Value>>,
}

impl DataTypeFunctions for RecordClass {
    fn mark(&self, marker: &gc::Marker) {
        let others = [self.modules, self.integration].into_iter().flatten();
        for value in [self.class, self.superclass].into_iter().chain(others) {
            marker.mark(value);
        }
    }
}

/// Defines the class below `NoDevent::Native`.
pub(crate) fn define(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    native.define_class("RecordClass", ruby.class_object())?;
    // Looks it up now: a signal that ends the lookup later, in a record's first `emit`, would be lost.
    RecordClass::class(ruby);
    Ok(())
}

impl Names {
    /// `None` before `NoDevent::Base` is defined.
    pub(crate) fn get(ruby: &Ruby) -> Option<&'static Self> {
        if let Some(names) = NAMES.get() {
            return Some(names);
        }
        let names = Self::look_up(ruby).ok()?;
        Some(NAMES.get_or_init(|| names))
    }

    fn look_up(ruby: &Ruby) -> Result<Self, Error> {
        // SAFETY: the texts are C strings.
        let id = |name: &CStr| unsafe { rb_sys::rb_intern(name.as_ptr()) };
        let nodevent: RModule = ruby.class_object().const_get("NoDevent")?;
        let private = |text: &str| {
            let object = ruby.str_new(text).as_value();
            object.freeze();
            ruby.gc_register_mark_object(object);
            object
        };
        let (probe, answer) = (private("nodevent"), private("nodevent_room"));
        Ok(Self {
            overrides: [id(c"nodevent_room"), id(c"room")],
            record_class: id(c"nodevent_record_class"),
            other_class: id(c"@nodevent_class"),
            by: id(c"@by"),
            room_by: id(c"nodevent_room_by"),
            name: id(c"name"),
            to_param: id(c"to_param"),
            id: id(c"id"),
            is_a: id(c"is_a?"),
            respond_to_missing: id(c"respond_to_missing?"),
            owner: id(c"owner"),
            probe: probe.into(),
            answer: answer.into(),
            // Constants keep these modules.
            base: nodevent.const_get::<_, RModule>("Base")?.into(),
            room: nodevent.const_get::<_, RModule>("Room")?.into(),
            ancestry: nodevent.const_get::<_, RModule>("Ancestry")?.into(),
        })
    }

    /// What the methods of this extension return if `argument` is the private object.
    pub(crate) fn answer(&self, ruby: &Ruby, argument: VALUE) -> Option<VALUE> {
        (argument == ruby.get_inner(self.probe).as_raw()).then(|| ruby.get_inner(self.answer).as_raw())
    }
}

// === impl RoomName ===

impl RoomName {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// `None`: it is too long.
    fn push(&mut self, text: &[u8]) -> Option<()> {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end)?.copy_from_slice(text);
        self.length = end;
        Some(())
    }

    /// Appends a String of Ruby. `None`: it is none, or not plain.
    ///
    /// # Safety
    /// Ruby holds its lock, and `value` is alive.
    unsafe fn push_string(&mut self, value: VALUE) -> Option<()> {
        // SAFETY: the caller's; the bytes are copied before Ruby can run again.
        unsafe {
            if SPECIAL_CONST_P(value) || rb_sys::rb_obj_class(value) != rb_sys::rb_cString {
                return None;
            }
            let text = RString::from_value(Value::from_raw(value))?;
            let bytes = text.as_slice();
            (is_ascii_compatible(text) && message::is_plain(bytes)).then(|| self.push(bytes))?
        }
    }

    /// Appends what distinguishes the record from others of its class.
    ///
    /// # Safety
    /// As for [`RoomName::push_string`].
    unsafe fn push_value(&mut self, value: VALUE) -> Option<()> {
        if FIXNUM_P(value) {
            // SAFETY: it is a small Integer.
            return write!(self, "{}", unsafe { FIX2LONG(value) }).ok();
        }
        // SAFETY: the caller's.
        unsafe { self.push_string(value) }
    }
}

impl Write for RoomName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).ok_or(fmt::Error)
    }
}

// === impl RecordClass ===

impl RecordClass {
    /// That of a record; `None` if Ruby names its room.
    ///
    /// # Errors
    /// Those of the application's classes.
    pub(crate) fn of(ruby: &Ruby, names: &Names, record: VALUE) -> Result<Option<Obj<Self>>, Error> {
        if SPECIAL_CONST_P(record) {
            return Ok(None);
        }
        // SAFETY: Ruby holds its lock, and `record` is an object on its heap. These functions run no other code of Ruby.
        let (class, found) = unsafe {
            let class = rb_sys::rb_obj_class(record);
            if (*(record as *const rb_sys::RBasic)).klass != class {
                return Ok(None);
            }
            (class, rb_sys::rb_ivar_get(class, names.record_class))
        };
        if found == Qfalse as VALUE {
            return Ok(None);
        }
        // SAFETY: the class keeps it.
        let known = (found != Qnil as VALUE).then(|| Obj::<Self>::try_convert(unsafe { Value::from_raw(found) }));
        match known {
            // A copy of a class has a copy of its variables.
            Some(Ok(known)) if ruby.get_inner(known.class).as_raw() == class => Ok(Some(known)),
            _ => Self::learn(ruby, names, class),
        }
    }

    fn learn(ruby: &Ruby, names: &Names, class: VALUE) -> Result<Option<Obj<Self>>, Error> {
        let base = ruby.get_inner(names.base);
        // SAFETY: both are classes or modules.
        let is_record = unsafe {
            rb_sys::rb_class_inherited_p(class, base.as_raw()) == Qtrue as VALUE
                && rb_sys::rb_obj_frozen_p(class) != Qtrue as VALUE
        };
        if !is_record {
            return Ok(None);
        }
        // SAFETY: the record keeps its class.
        let class = unsafe { Value::from_raw(class) };
        let ancestry: Option<(Value, RArray, Option<Value>)> =
            ruby.get_inner(names.ancestry).funcall(*OF, (class,))?;
        let known = match ancestry {
            None => None,
            Some((superclass, modules, integration)) => {
                let modules = holder(modules)?;
                let known = ruby.obj_wrap(Self {
                    class: class.into(),
                    superclass: superclass.into(),
                    modules: modules.map(Opaque::from),
                    integration: integration.map(Opaque::from),
                });
                // Until the object exists, only this frame keeps the class.
                std::hint::black_box(&modules);
                Some(known)
            }
        };
        let stored = known.map_or(Qfalse as VALUE, |known| known.as_raw());
        protect(|| unsafe { rb_sys::rb_ivar_set(class.as_raw(), names.record_class, stored) })?;
        Ok(known)
    }

    /// Whether a class or module beneath `Base` has such a method.
    pub(crate) fn has_beneath(&self, ruby: &Ruby, name: ID) -> bool {
        let holders = [Some(self.superclass), self.modules].into_iter().flatten();
        // SAFETY: they are classes, which this object keeps. The function runs no other code of Ruby.
        holders
            .into_iter()
            .any(|holder| unsafe { rb_sys::rb_method_boundp(ruby.get_inner(holder).as_raw(), name, ANY) != 0 })
    }
}

/// A class that includes `modules`, so that their methods can be looked up; without calling `included`.
fn holder(modules: RArray) -> Result<Option<Value>, Error> {
    if modules.is_empty() {
        return Ok(None);
    }
    let modules: Vec<Value> = modules.into_iter().collect();
    // SAFETY: `protect` catches exceptions, and the closure owns nothing.
    let class = protect(|| unsafe {
        let class = rb_sys::rb_class_new(rb_sys::rb_cBasicObject);
        for module in &modules {
            rb_sys::rb_include_module(class, module.as_raw());
        }
        class
    })?;
    // SAFETY: Ruby returned it.
    Ok(Some(unsafe { Value::from_raw(class) }))
}

/// The name of a record's room; `None` if Ruby must find it, or raise an error.
///
/// # Errors
/// Those of the application's methods.
pub(crate) fn name(ruby: &Ruby, record: VALUE) -> Result<Option<RoomName>, Error> {
    let Some(names) = Names::get(ruby) else { return Ok(None) };
    let Some(known) = RecordClass::of(ruby, names, record)? else { return Ok(None) };
    let mut name = RoomName { bytes: [0; MAX_BYTES], length: 0 };
    let (mut is_ours, mut found) = (None, None);
    // SAFETY: `protect` catches exceptions, and nothing in these functions has to be dropped.
    let outcome = protect(|| unsafe {
        is_ours = Some(has_own_names(ruby, names, &known, record));
        if is_ours == Some(true) {
            found = find(ruby, names, &known, record, &mut name);
        }
        Qnil as VALUE
    });
    match outcome {
        Ok(_) => Ok(found.map(|()| name)),
        // A method of the application that was defined later and does not expect the object.
        Err(error) if is_ours.is_none() && error.is_kind_of(ruby.exception_standard_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether neither the class nor its ancestors name the room.
///
/// # Safety
/// Ruby holds its lock. An exception of Ruby jumps over this frame, which owns nothing.
unsafe fn has_own_names(ruby: &Ruby, names: &Names, known: &RecordClass, record: VALUE) -> bool {
    // SAFETY: the caller's.
    unsafe {
        let class = rb_sys::rb_obj_class(record);
        let (probe, answer) = (ruby.get_inner(names.probe).as_raw(), ruby.get_inner(names.answer).as_raw());
        // Most methods of an application take no argument, and are not called.
        names.overrides.into_iter().all(|name| {
            rb_sys::rb_mod_method_arity(class, name) == -1
                && rb_sys::rb_funcallv(record, name, 1, &raw const probe) == answer
                && !known.has_beneath(ruby, name)
        })
    }
}

/// Writes the name of a record's room. `None` if that is for Ruby.
///
/// # Safety
/// As for [`has_own_names`].
unsafe fn find(ruby: &Ruby, names: &Names, known: &RecordClass, record: VALUE, out: &mut RoomName) -> Option<()> {
    // SAFETY: the caller's.
    unsafe {
        let class = rb_sys::rb_obj_class(record);
        let is_plain = rb_sys::rb_method_basic_definition_p(class, names.is_a) != 0
            && is_false(rb_sys::rb_ivar_get(record, names.other_class));
        if !is_plain {
            return None;
        }
        out.push_string(rb_sys::rb_funcallv(class, names.name, 0, std::ptr::null()))?;
        out.push(b"_")?;
        out.push_value(distinction(ruby, names, known, record, class)?)
    }
}

/// What distinguishes the record from others of its class: what `Room.param` returns, or something that is neither a
/// String nor an Integer.
///
/// # Safety
/// As for [`has_own_names`].
unsafe fn distinction(
    ruby: &Ruby,
    names: &Names,
    known: &RecordClass,
    record: VALUE,
    class: VALUE,
) -> Option<VALUE> {
    // SAFETY: the caller's.
    unsafe {
        let call = |name| rb_sys::rb_funcallv_public(record, name, 0, std::ptr::null());
        let responds = |name| rb_sys::rb_method_boundp(class, name, PUBLIC) != 0;
        let mut rule = rb_sys::rb_funcallv_public(class, names.room_by, 0, std::ptr::null());
        if is_false(rule) {
            rule = rb_sys::rb_ivar_get(ruby.get_inner(names.room).as_raw(), names.by);
        }
        if !is_false(rule) {
            let name = STATIC_SYM_P(rule).then(|| rb_sys::rb_sym2id(rule))?;
            return responds(name).then(|| call(name));
        }
        if !responds(names.to_param) {
            let is_missing = rb_sys::rb_method_basic_definition_p(class, names.respond_to_missing) != 0;
            return (is_missing && responds(names.id)).then(|| call(names.id));
        }
        // Active Support's, which is not a name, is that of Object.
        let is_general = known.integration.is_none()
            && rb_sys::rb_method_boundp(rb_sys::rb_cObject, names.to_param, ANY) != 0
            && owner(names, record) == rb_sys::rb_cObject;
        if is_general {
            return responds(names.id).then(|| call(names.id));
        }
        let param = call(names.to_param);
        let Some(integration) = known.integration else { return Some(param) };
        // Active Record's joins the parts of a composite key without escapes; a number has no parts.
        let is_number = RString::from_value(Value::from_raw(param))
            .is_some_and(|text| text.as_slice().iter().all(u8::is_ascii_digit));
        let is_joined = !is_number
            && owner(names, record) == ruby.get_inner(integration).as_raw()
            && rb_sys::rb_obj_is_kind_of(call(names.id), rb_sys::rb_cArray) == Qtrue as VALUE;
        (!is_joined).then_some(param)
    }
}

/// The class or module that defines `to_param`.
///
/// # Safety
/// As for [`has_own_names`].
unsafe fn owner(names: &Names, record: VALUE) -> VALUE {
    // SAFETY: the caller's.
    unsafe {
        let method = rb_sys::rb_obj_method(record, rb_sys::rb_id2sym(names.to_param));
        rb_sys::rb_funcallv(method, names.owner, 0, std::ptr::null())
    }
}

/// Whether a value is `nil` or `false`.
pub(crate) fn is_false(value: VALUE) -> bool {
    value == Qnil as VALUE || value == Qfalse as VALUE
}
