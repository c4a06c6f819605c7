//! The state of a connection, as its client carries it to its next connection: Socket.IO's connection state recovery.
//!
//! A client has a secret id (`pid`) and, as the last argument of every event, an offset: the sealed [`State`] after
//! that event. After a reconnect it presents both, to whichever server it reaches. Servers keep nothing but which
//! states were used. A state says what a connection was in, and never that it may be there: every authorizer decides
//! again.
//!
//! It does not know connections or protocols. `shard/tracked` follows what a connection receives,
//! `protocols/socket_io/recovery` presents states and restores them.

use crate::client::Client;
use crate::clock::now_ms;
use crate::outcome::Outcome;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nodevent_protocol::history::Position;
use nodevent_protocol::key::Secret;
use nodevent_protocol::publication::PublicationId;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The longest state. A connection with a longer one is not restored. Bytes.
pub const MAX_STATE: usize = 4096;
/// Copies of publications for several targets that a state remembers.
pub const MAX_RECEIVED: usize = 8;
/// The longest offset that is read: a state with nonce and tag, in base64. Bytes.
const MAX_OFFSET: usize = (MAX_STATE + 64).div_ceil(3) * 4;
/// How far a state may be from the future: the difference between the clocks of two servers.
const MAX_AHEAD: Duration = Duration::from_secs(30);
/// The first byte of every state.
const FORMAT: u8 = 1;
/// What keys are derived for.
const PURPOSE: &[u8] = b"nodevent connection state 1";

/// How the states of a namespace are sealed, and how long they are valid.
#[derive(Clone)]
pub struct Settings {
    max_disconnection: Duration,
    /// The first one seals, all of them open.
    keys: Vec<hmac::Key>,
}

/// The state of a connection in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Distinguishes the connection from others with the same `pid`: each can be restored once.
    pub instance: u64,
    /// The user of its identity. Empty: it had none.
    pub user: String,
    /// The topics that it received.
    pub topics: Vec<TopicState>,
    /// The last copies of publications for several targets that it has received.
    pub received: Vec<PublicationId>,
}

/// A topic of a state.
#[derive(Clone, PartialEq, Eq)]
pub struct TopicState {
    /// The name of the topic.
    pub name: String,
    /// What the client has presented to join it, if it has.
    pub credential: Option<String>,
    /// The position up to which it has received everything. `None`: the topic has no history.
    pub position: Option<Position>,
}

/// Seals the states of one connection.
pub struct Sealer {
    key: LessSafeKey,
    instance: u64,
    count: u32,
}

/// Remembers which connections were restored.
pub trait ConnectionStates: Send + Sync {
    /// Marks a connection as restored. [`Outcome::Ready`] and the reply: whether it was not before, and its client has not
    /// used too many.
    fn claim(&self, request: ClaimRequest) -> Outcome<bool>;
}

/// A request to mark a connection as restored.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest {
    /// The destination of a later reply. `None`: there is none.
    pub reply_to: Option<ClaimReplyTo>,
    /// Clients share what engines remember.
    pub client: Client,
    /// See [`State::instance`].
    pub instance: u64,
    /// The time for which it must be remembered.
    pub lifetime: Duration,
}

/// The destination of a reply: a connection that enters a namespace, and may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimReplyTo {
    /// The shard.
    pub shard: u8,
    /// The connection's slot on the shard.
    pub slot: u32,
    /// The slot's occupant.
    pub generation: u32,
    /// The namespace's id.
    pub namespace: u16,
}

/// The reply to a [`ClaimRequest`].
#[derive(Debug)]
pub struct ClaimReply {
    /// The connection.
    pub reply_to: ClaimReplyTo,
    /// Whether the state was not used before. `None`: the engine is unavailable.
    pub is_first: Option<bool>,
}

// === impl Settings ===

impl Settings {
    /// States that can be presented for at least `max_disconnection` after the connection was lost. There must be a
    /// secret.
    pub fn new(max_disconnection: Duration, secrets: &[Secret]) -> Arc<Self> {
        let keys = secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
        Arc::new(Self { max_disconnection, keys: keys.collect() })
    }

    /// The interval at which a connection that receives nothing is sent a new state.
    pub fn refresh(&self) -> Duration {
        self.max_disconnection / 2
    }

    /// The time after which a state is not valid any more. It may be as old as the interval when its connection is
    /// lost.
    pub fn lifetime(&self) -> Duration {
        self.max_disconnection + self.refresh()
    }

    /// The time for which it must be remembered that a state was used: longer than any server accepts it.
    pub fn memory(&self) -> Duration {
        self.lifetime() + MAX_AHEAD
    }

    /// Seals the states of a connection in a namespace with this `pid`. `None`: the random numbers of the system are
    /// not available, or there is no secret.
    pub fn sealer(&self, namespace: &str, pid: &str) -> Option<Sealer> {
        Some(Sealer { key: key(self.keys.first()?, namespace, pid)?, instance: rand::random(), count: 0 })
    }

    /// Opens what a client has presented. `None`: it is not a state with this `pid` of this namespace, it is too old, or it
    /// is from the future: if the clock has gone back, it is not known how old a state is, and whether it was used.
    pub fn open(&self, namespace: &str, pid: &str, offset: &str) -> Option<State> {
        self.open_at(namespace, pid, offset, now_ms())
    }

    fn open_at(&self, namespace: &str, pid: &str, offset: &str, now_ms: u64) -> Option<State> {
        if offset.len() > MAX_OFFSET || pid.len() > 64 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(offset).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let opened = self.keys.iter().find_map(|master| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key(master, namespace, pid)?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
            Some(opened.to_vec())
        })?;
        let (issued_ms, mut state) = decode(&opened)?;
        let (instance, _) = nonce.split_first_chunk::<8>()?;
        state.instance = u64::from_be_bytes(*instance);
        let age = Duration::from_millis(now_ms.saturating_sub(issued_ms));
        let ahead = Duration::from_millis(issued_ms.saturating_sub(now_ms));
        (age <= self.lifetime() && ahead <= MAX_AHEAD).then_some(state)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The keys are secrets.
        f.debug_struct("Settings").field("max_disconnection", &self.max_disconnection).finish_non_exhaustive()
    }
}

/// The key of a `pid`: no two connections share one, unless one continues the other.
fn key(master: &hmac::Key, namespace: &str, pid: &str) -> Option<LessSafeKey> {
    let mut context = hmac::Context::with_key(master);
    for part in [PURPOSE, namespace.as_bytes(), pid.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref()).ok().map(LessSafeKey::new)
}

/// A new `pid`.
pub fn new_pid() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<u128>().to_be_bytes())
}

// === impl Sealer ===

impl Sealer {
    /// Seals a state. `None`: it is too long, or this connection has sealed too many.
    pub fn seal<'a>(
        &mut self,
        user: &str,
        topics: impl ExactSizeIterator<Item = (&'a str, Option<&'a str>, Option<Position>)>,
        received: &[PublicationId],
    ) -> Option<String> {
        let mut state = encode(user, topics, received)?;
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.instance.to_be_bytes());
        nonce[8..].copy_from_slice(&self.count.to_be_bytes());
        self.count = self.count.checked_add(1)?;
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::empty(),
            &mut state[NONCE_LEN..],
        );
        state[..NONCE_LEN].copy_from_slice(&nonce);
        state.extend_from_slice(tag.ok()?.as_ref());
        Some(URL_SAFE_NO_PAD.encode(&state))
    }

    /// See [`State::instance`].
    pub fn instance(&self) -> u64 {
        self.instance
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    /// A topic of the state.
    pub fn topic(&self, name: &str) -> Option<&TopicState> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}

impl fmt::Debug for TopicState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential is a secret.
        f.debug_struct("TopicState").field("position", &self.position).finish_non_exhaustive()
    }
}

/// Encodes a state, behind the place of a nonce. `None`: it is too long.
fn encode<'a>(
    user: &str,
    topics: impl ExactSizeIterator<Item = (&'a str, Option<&'a str>, Option<Position>)>,
    received: &[PublicationId],
) -> Option<Vec<u8>> {
    let mut out = vec![0; NONCE_LEN];
    out.push(FORMAT);
    out.extend_from_slice(&now_ms().to_be_bytes());
    push_text(&mut out, user)?;
    out.extend_from_slice(&u16::try_from(topics.len()).ok()?.to_be_bytes());
    for (name, credential, position) in topics {
        push_text(&mut out, name)?;
        out.push(u8::from(credential.is_some()) | u8::from(position.is_some()) << 1);
        if let Some(credential) = credential {
            push_text(&mut out, credential)?;
        }
        if let Some(Position { epoch, offset }) = position {
            out.extend_from_slice(&epoch.to_be_bytes());
            out.extend_from_slice(&offset.to_be_bytes());
        }
        if out.len() > MAX_STATE {
            return None;
        }
    }
    for id in received.iter().rev().take(MAX_RECEIVED).rev() {
        out.extend_from_slice(&id.number().to_be_bytes());
    }
    (out.len() <= MAX_STATE).then_some(out)
}

fn push_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Some(())
}

/// Decodes a state, and when it was sealed.
fn decode(bytes: &[u8]) -> Option<(u64, State)> {
    let mut rest = bytes;
    if take::<1>(&mut rest)? != [FORMAT] {
        return None;
    }
    let issued_ms = u64::from_be_bytes(take(&mut rest)?);
    let user = take_text(&mut rest)?;
    let mut topics = Vec::new();
    for _ in 0..u16::from_be_bytes(take(&mut rest)?) {
        let name = take_text(&mut rest)?;
        let [has] = take(&mut rest)?;
        let credential = if has & 1 != 0 { Some(take_text(&mut rest)?) } else { None };
        let position = match has & 2 != 0 {
            true => Some(Position {
                epoch: u64::from_be_bytes(take(&mut rest)?),
                offset: u64::from_be_bytes(take(&mut rest)?),
            }),
            false => None,
        };
        topics.push(TopicState { name, credential, position });
    }
    let mut received = Vec::new();
    while !rest.is_empty() {
        received.push(PublicationId::from_number(u64::from_be_bytes(take(&mut rest)?)));
    }
    Some((issued_ms, State { instance: 0, user, topics, received }))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(secrets: &[&str], max_disconnection: Duration) -> Arc<Settings> {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
        Settings::new(max_disconnection, &secrets)
    }

    fn seal(settings: &Settings, pid: &str) -> String {
        let topics = [("turted:chat", None, Some(Position { epoch: 7, offset: 3 })), ("r", Some("\"key\""), None)];
        let mut sealer = settings.sealer("/a", pid).unwrap();
        sealer.seal("42", topics.into_iter(), &[PublicationId::from_number(9)]).unwrap()
    }

    #[test]
    fn a_state_opens_with_its_pid_namespace_and_secret_and_with_nothing_else() {
        let two_minutes = Duration::from_secs(120);
        let one = settings(&["a-secret-of-32-characters-or-more"], two_minutes);
        let offset = seal(&one, "pid");
        let state = one.open("/a", "pid", &offset).unwrap();
        assert_eq!((&*state.user, state.received.len()), ("42", 1));
        assert_eq!(state.topic("turted:chat").unwrap().position, Some(Position { epoch: 7, offset: 3 }));
        assert_eq!(state.topic("r").unwrap().credential.as_deref(), Some("\"key\""));
        assert!(one.open("/a", "other", &offset).is_none());
        assert!(one.open("/b", "pid", &offset).is_none());
        let two = settings(&["another-secret-of-32-characters-or-more"], two_minutes);
        assert!(two.open("/a", "pid", &offset).is_none());
        let both = ["another-secret-of-32-characters-or-more", "a-secret-of-32-characters-or-more"];
        assert!(
            settings(&both, two_minutes).open("/a", "pid", &offset).is_some(),
            "a secret that is being replaced"
        );
    }

    #[test]
    fn no_change_of_an_offset_is_accepted() {
        let settings = settings(&["a-secret-of-32-characters-or-more"], Duration::from_secs(120));
        let offset = seal(&settings, "pid");
        let bytes = URL_SAFE_NO_PAD.decode(&offset).unwrap();
        for index in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[index] ^= 1;
            assert!(settings.open("/a", "pid", &URL_SAFE_NO_PAD.encode(forged)).is_none(), "byte {index}");
        }
        for text in ["", "!", "AAAA", &"A".repeat(MAX_OFFSET + 1), &offset[1..]] {
            assert!(settings.open("/a", "pid", text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_state_that_is_too_old_is_not_accepted() {
        let settings = settings(&["a-secret-of-32-characters-or-more"], Duration::ZERO);
        let offset = seal(&settings, "pid");
        let sealed_ms = now_ms();
        while now_ms() == sealed_ms {
            std::hint::spin_loop();
        }
        assert!(settings.open("/a", "pid", &offset).is_none());
    }

    #[test]
    fn a_state_is_valid_for_its_time_whichever_way_the_clock_jumps() {
        let settings = settings(&["a-secret-of-32-characters-or-more"], Duration::from_secs(120));
        let offset = seal(&settings, "pid");
        let sealed_ms = now_ms();
        let opens_at = |now_ms: u64| settings.open_at("/a", "pid", &offset, now_ms).is_some();
        assert!(opens_at(sealed_ms) && opens_at(sealed_ms + 170_000) && opens_at(sealed_ms - 20_000));
        for jump in [-24, -3, 3, 24] {
            assert!(!opens_at(sealed_ms.saturating_add_signed(jump * 3_600_000)), "{jump} hours");
        }
        assert!(settings.memory() >= settings.lifetime() + MAX_AHEAD);
    }

    #[test]
    fn a_state_that_is_too_long_is_not_sealed() {
        let settings = settings(&["a-secret-of-32-characters-or-more"], Duration::from_secs(120));
        let mut sealer = settings.sealer("/a", "pid").unwrap();
        let name = "x".repeat(200);
        let topics = |count| std::iter::repeat_n((&*name, None, Some(Position { epoch: 1, offset: 1 })), count);
        let longest = sealer.seal("", topics(17), &[]).unwrap();
        assert!(longest.len() <= MAX_OFFSET && settings.open("/a", "pid", &longest).is_some());
        assert!(sealer.seal("", topics(25), &[]).is_none());
    }

    #[test]
    fn nothing_secret_is_printed() {
        // X-07
        let settings = settings(&["a-secret-of-32-characters-or-more"], Duration::from_secs(120));
        let state = settings.open("/a", "pid", &seal(&settings, "pid")).unwrap();
        let text = format!("{settings:?} {state:?} {:?}", settings.sealer("/a", "pid"));
        assert!(!text.contains("a-secret") && !text.contains("key\\\""), "{text}");
    }
}
