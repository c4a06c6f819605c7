//! `NoDevent::Native::FastPath`: what `emit` needs if the configuration has not changed since the last call.
//!
//! Ruby decides where a publication goes, creates a `FastPath` after a call that had no special case, and stores it in
//! `@fast_path` of the receiver. The next calls use it, which saves some twenty calls in Ruby. It never decides
//! anything: in any case that it does not know, [`emit`] publishes nothing, and the method in Ruby does all the work.
//! Whatever changes a decision calls `FastPath.invalidate`.

use crate::message;
use crate::process;
use crate::publisher::{Publisher, is_ascii_compatible};
use crate::queue::Rejected;
use crate::record_room::{self, RoomName, is_false};
use magnus::rb_sys::{AsRawValue, FromRawValue, protect};
use magnus::typed_data::Obj;
use magnus::value::{LazyId, Opaque, ReprValue};
use magnus::{
    DataTypeFunctions, Error, IntoValue, Module, Object, RClass, RModule, RString, Ruby, Symbol, TryConvert,
    TypedData, Value,
};
use magnus::{function, gc, method};
use rb_sys::{ID, VALUE};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Grows with each `FastPath.invalidate`.
static GENERATION: AtomicU64 = AtomicU64::new(0);

static OF: LazyId = LazyId::new("of");
static SUBSCRIBED: LazyId = LazyId::new("subscribed?");

/// What is looked up once.
static NAMES: OnceLock<Names> = OnceLock::new();

/// The receiver's way to the engine; see the head of this file.
#[derive(TypedData)]
#[magnus(class = "NoDevent::Native::FastPath", free_immediately, size, mark)]
pub(crate) struct FastPath {
    publisher: Opaque<Obj<Publisher>>,
    /// `ActiveSupport::JSON`, if Active Support converts messages.
    active_support: Option<Opaque<Value>>,
    channel: Arc<str>,
    /// Bytes.
    max_room: usize,
    /// Bytes of a publication.
    max_size: usize,
    generation: u64,
    forks: u32,
}

impl DataTypeFunctions for FastPath {
    fn mark(&self, marker: &gc::Marker) {
        marker.mark(self.publisher);
        if let Some(module) = self.active_support {
            marker.mark(module);
        }
    }
}

/// Names of Ruby, and objects that live as long as the process.
struct Names {
    fast_path: ID,
    default: ID,
    silence: ID,
    encoding: ID,
    to_json: ID,
    encode: ID,
    active_support: ID,
    open_telemetry: ID,
    /// The value of this key is set in the main Ractor only.
    main_ractor: rb_sys::rb_ractor_local_key_t,
    instrumentation: Opaque<RModule>,
    encoder: Opaque<RModule>,
    room: Opaque<RModule>,
    namespace: Opaque<RClass>,
    event: Opaque<RString>,
}

// SAFETY: the key of the Ractor's storage is an address that nothing changes.
unsafe impl Send for Names {}
// SAFETY: as above.
unsafe impl Sync for Names {}

/// The name of a room.
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation in each call")]
enum Room {
    Text(RString),
    Record(RoomName),
}

/// How a message becomes JSON.
enum Kind {
    /// `null`, without a conversion.
    Nil,
    /// Ruby's own `to_json`, which returns JSON.
    Scalar,
    /// Ruby's own `to_json`, which calls those of other objects.
    Collection,
}

/// Defines the class below `NoDevent::Native`.
pub(crate) fn define(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("FastPath", ruby.class_object())?;
    class.define_singleton_method("new", function!(FastPath::new, 5))?;
    class.define_singleton_method("invalidate", function!(invalidate, 0))?;
    class.define_method("current?", method!(FastPath::is_current, 0))?;
    Ok(())
}

/// `FastPath.invalidate`: a decision may be another one from now on.
fn invalidate() {
    GENERATION.fetch_add(1, Ordering::Release);
}

impl FastPath {
    /// `FastPath.new(publisher, channel, max_room, max_size, active_support)`: `active_support` is `ActiveSupport::JSON`
    /// or `nil`. Called in the main Ractor only.
    fn new(
        ruby: &Ruby,
        publisher: Obj<Publisher>,
        channel: String,
        max_room: usize,
        max_size: usize,
        active_support: Option<Value>,
    ) -> Result<Self, Error> {
        if NAMES.get().is_none() {
            let names = Names::look_up(ruby)?;
            NAMES.get_or_init(|| names);
        }
        Ok(Self {
            publisher: publisher.into(),
            active_support: active_support.map(Opaque::from),
            channel: channel.into(),
            max_room,
            max_size,
            generation: GENERATION.load(Ordering::Acquire),
            forks: process::forks(),
        })
    }

    /// `current?`: whether calls use it.
    fn is_current(&self) -> bool {
        self.generation == GENERATION.load(Ordering::Acquire) && self.forks == process::forks()
    }
}

impl Names {
    fn look_up(ruby: &Ruby) -> Result<Self, Error> {
        // SAFETY: the texts are C strings.
        let id = |name: &CStr| unsafe { rb_sys::rb_intern(name.as_ptr()) };
        let nodevent: RModule = ruby.class_object().const_get("NoDevent")?;
        let event = ruby.str_new("emit.nodevent");
        event.freeze();
        ruby.gc_register_mark_object(event);
        // SAFETY: Ruby holds its lock. The key lives as long as the process.
        let main_ractor = unsafe {
            let key = rb_sys::rb_ractor_local_storage_value_newkey();
            rb_sys::rb_ractor_local_storage_value_set(key, rb_sys::Qtrue as VALUE);
            key
        };
        Ok(Self {
            fast_path: id(c"@fast_path"),
            default: id(c"@default"),
            silence: id(c"nodevent_silence"),
            encoding: id(c"nodevent_encoding"),
            to_json: id(c"to_json"),
            encode: id(c"encode"),
            active_support: id(c"ActiveSupport"),
            open_telemetry: id(c"OpenTelemetry"),
            main_ractor,
            // Constants keep these modules.
            instrumentation: nodevent.const_get::<_, RModule>("Instrumentation")?.into(),
            encoder: nodevent.const_get::<_, RModule>("Encoder")?.into(),
            room: nodevent.const_get::<_, RModule>("Room")?.into(),
            namespace: nodevent.const_get::<_, RClass>("Namespace")?.into(),
            event: event.into(),
        })
    }

    /// Whether this is the Ractor that the application's objects belong to.
    fn is_main_ractor(&self) -> bool {
        let mut main = rb_sys::Qnil as VALUE;
        // SAFETY: Ruby holds its lock. The function neither raises nor runs other code of Ruby.
        unsafe { rb_sys::rb_ractor_local_storage_value_lookup(self.main_ractor, &raw mut main) }
    }
}

/// Whether this is the main Ractor; `false` before there is a `FastPath`.
pub(crate) fn is_main_ractor() -> bool {
    NAMES.get().is_some_and(Names::is_main_ractor)
}

/// The namespace that records publish in by default, if it has been used.
pub(crate) fn default_namespace(ruby: &Ruby) -> Option<VALUE> {
    let names = NAMES.get().filter(|names| names.is_main_ractor())?;
    // SAFETY: Ruby holds its lock. The function neither raises nor runs other code of Ruby.
    let namespace = unsafe { rb_sys::rb_ivar_get(ruby.get_inner(names.namespace).as_raw(), names.default) };
    (!is_false(namespace)).then_some(namespace)
}

impl Room {
    fn of(ruby: &Ruby, names: &Names, room: VALUE) -> Result<Self, Error> {
        // SAFETY: `room` is an object of Ruby, which the caller's arguments keep.
        let object = unsafe { Value::from_raw(room) };
        if let Some(text) = RString::from_value(object) {
            return Ok(Self::Text(text));
        }
        match record_room::name(ruby, room)? {
            Some(name) => Ok(Self::Record(name)),
            None => Ok(Self::Text(ruby.get_inner(names.room).funcall(*OF, (object,))?)),
        }
    }

    /// Bytes.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Record(name) => name.as_slice().len(),
        }
    }

    /// # Safety
    /// As for [`RString::as_slice`].
    unsafe fn as_slice(&self) -> &[u8] {
        match self {
            // SAFETY: the caller's.
            Self::Text(text) => unsafe { text.as_slice() },
            Self::Record(name) => name.as_slice(),
        }
    }

    fn is_plain(&self) -> bool {
        match self {
            Self::Text(text) => is_plain(*text),
            Self::Record(_) => true,
        }
    }

    fn text(&self, ruby: &Ruby) -> RString {
        match self {
            Self::Text(text) => *text,
            Self::Record(name) => ruby.str_from_slice(name.as_slice()),
        }
    }
}

/// Publishes, and returns what `emit` returns; or `None` if the method in Ruby must do it.
///
/// # Errors
/// What the application's `to_json` or the name of a room raises.
pub(crate) fn emit(
    ruby: &Ruby,
    receiver: VALUE,
    room: VALUE,
    event: VALUE,
    message: VALUE,
) -> Result<Option<VALUE>, Error> {
    let Some(names) = NAMES.get() else { return Ok(None) };
    // SAFETY: Ruby holds its lock. These functions neither raise nor run other code of Ruby.
    let (found, thread) = unsafe {
        let thread = rb_sys::rb_thread_current();
        if !names.is_main_ractor() || !is_false(rb_sys::rb_thread_local_aref(thread, names.silence)) {
            return Ok(None);
        }
        (Value::from_raw(rb_sys::rb_ivar_get(receiver, names.fast_path)), thread)
    };
    if found.is_nil() {
        return Ok(None);
    }
    let Ok(path) = Obj::<FastPath>::try_convert(found) else { return Ok(None) };
    if !path.is_current() || !path.is_undisturbed(ruby, names)? {
        return Ok(None);
    }
    let Some(kind) = path.kind(message) else { return Ok(None) };
    let Some(event) = name(event) else { return Ok(None) };
    let room = Room::of(ruby, names, room)?;
    if room.len() > path.max_room || !room.is_plain() || !is_plain(event) {
        return Ok(None);
    }
    let check = matches!(kind, Kind::Collection) && path.active_support.is_none();
    let json = match kind {
        Kind::Nil => None,
        Kind::Scalar | Kind::Collection => Some(path.to_json(ruby, names, thread, message, &room, event)?),
    };
    // The application's `to_json` may have changed the names.
    if room.len() > path.max_room || !room.is_plain() || !is_plain(event) {
        return Ok(None);
    }
    // SAFETY: as above; `publish_plain` copies them.
    let texts = unsafe {
        let json = json.as_ref().map_or(b"null".as_slice(), |json| json.as_slice());
        (room.as_slice(), event.as_slice(), json)
    };
    if message::size(texts.0, texts.1, texts.2) > path.max_size || (check && !message::is_json(texts.2)) {
        return Ok(None);
    }
    let pushed = ruby.get_inner(path.publisher).publish_plain(ruby, &path.channel, texts)?;
    Ok(match pushed {
        Ok(()) => Some(true.into_value_with(ruby).as_raw()),
        Err(Rejected::Full) => Some(false.into_value_with(ruby).as_raw()),
        Err(Rejected::Closed) => None,
    })
}

impl FastPath {
    /// Whether Active Support is loaded or not, as before, OpenTelemetry, which may have a current span, is not, and the
    /// event `emit.nodevent` has no subscriber.
    fn is_undisturbed(&self, ruby: &Ruby, names: &Names) -> Result<bool, Error> {
        // SAFETY: `rb_cObject` is set before any extension is loaded. The function loads nothing.
        let is_defined = |name| unsafe { rb_sys::rb_const_defined_at(rb_sys::rb_cObject, name) } != 0;
        if is_defined(names.open_telemetry) {
            return Ok(false);
        }
        if self.active_support.is_none() {
            return Ok(!is_defined(names.active_support));
        }
        let event = ruby.get_inner(names.event);
        Ok(!ruby.get_inner(names.instrumentation).funcall::<_, _, Value>(*SUBSCRIBED, (event,))?.to_bool())
    }

    /// How a message becomes JSON; `None` if that is not known here.
    fn kind(&self, message: VALUE) -> Option<Kind> {
        // SAFETY: `message` is an object of Ruby, and the classes are set before any extension is loaded.
        unsafe {
            if message == rb_sys::Qnil as VALUE {
                return Some(Kind::Nil);
            }
            if self.active_support.is_some() {
                return Some(Kind::Collection);
            }
            let class = rb_sys::rb_obj_class(message);
            if class == rb_sys::rb_cHash || class == rb_sys::rb_cArray {
                return Some(Kind::Collection);
            }
            let scalars = [
                rb_sys::rb_cString,
                rb_sys::rb_cInteger,
                rb_sys::rb_cSymbol,
                rb_sys::rb_cFloat,
                rb_sys::rb_cTrueClass,
                rb_sys::rb_cFalseClass,
            ];
            scalars.contains(&class).then_some(Kind::Scalar)
        }
    }

    /// The message's JSON. Marks the fiber meanwhile, because a message must not contain keys.
    fn to_json(
        &self,
        ruby: &Ruby,
        names: &Names,
        thread: VALUE,
        message: VALUE,
        room: &Room,
        event: RString,
    ) -> Result<RString, Error> {
        // SAFETY: Ruby holds its lock, and `protect` catches what the application raises.
        let converted = unsafe {
            let before = rb_sys::rb_thread_local_aref(thread, names.encoding);
            rb_sys::rb_thread_local_aset(thread, names.encoding, rb_sys::Qtrue as VALUE);
            let converted = match self.active_support {
                Some(module) => {
                    let module = ruby.get_inner(module).as_raw();
                    protect(|| rb_sys::rb_funcallv(module, names.encode, 1, &raw const message))
                }
                None => protect(|| rb_sys::rb_funcallv(message, names.to_json, 0, std::ptr::null())),
            };
            rb_sys::rb_thread_local_aset(thread, names.encoding, before);
            converted
        };
        let json = match converted {
            // SAFETY: Ruby returned it, and the caller's frame keeps it.
            Ok(json) => RString::try_convert(unsafe { Value::from_raw(json) }),
            Err(error) => Err(error),
        };
        json.map_err(|error| match error.value() {
            Some(exception) => {
                let arguments = (exception, room.text(ruby), event);
                let raised = ruby.get_inner(names.encoder).funcall::<_, _, Value>("reject", arguments);
                raised.err().unwrap_or(error)
            }
            None => error,
        })
    }
}

/// The name of an event: a String, or that of a Symbol.
fn name(event: VALUE) -> Option<RString> {
    // SAFETY: `event` is an object of Ruby, which the caller's arguments keep.
    let value = unsafe { Value::from_raw(event) };
    if let Some(symbol) = Symbol::from_value(value) {
        // SAFETY: it is a Symbol.
        return RString::from_value(unsafe { Value::from_raw(rb_sys::rb_sym2str(symbol.as_raw())) });
    }
    RString::from_value(value)
}

/// Whether the name is written as it is.
fn is_plain(name: RString) -> bool {
    // SAFETY: the bytes are not used after Ruby can run again.
    is_ascii_compatible(name) && message::is_plain(unsafe { name.as_slice() })
}
