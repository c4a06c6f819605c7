//! Revocations on Redis: stored and announced by one script, and read by every server.
//!
//! A server reads those that it does not know at its start, after each new subscription, when one is announced, and
//! from time to time. So a server that was cut off from Redis applies what it has missed as soon as it is back. An
//! announcement contains nothing: a program that can only publish can make servers read, and not revoke.
//!
//! Redis numbers revocations in the order in which they were stored. A Redis that has lost its memory has another epoch, and
//! then everything is read again. What a server knows it keeps until it expires.

use super::{Shared, client};
use crate::capability::Unavailable;
use crate::revocation::{ListFull, MAX_REVOCATIONS, Revocation, Target};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two checks without an announcement.
const INTERVAL: Duration = Duration::from_secs(10);
/// The shortest time between two reads, however many are announced.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Time after which a read that failed is repeated.
const RETRY: Duration = Duration::from_secs(1);
/// Pages of one read: twice as many as all revocations have, of 500 each. What is left is read at the next check.
const MAX_PAGES: usize = 2 * MAX_REVOCATIONS / 500;

/// A revocation as it is stored: the text of a JSON object. The target is the text of an array, and names the entry.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    before: u64,
    until: u64,
}

/// The place up to which a server has read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    epoch: String,
    order: u64,
}

/// The keys of a namespace's revocations.
fn keys(shared: &Shared) -> Vec<String> {
    shared.scope.revocations(shared.fanout.name()).to_vec()
}

/// Stores a revocation, announces it, and applies it here.
///
/// # Errors
/// Redis did not confirm it, or there are too many.
pub(super) async fn revoke(shared: &Shared, revocation: &Revocation) -> Result<(), Unavailable> {
    let Revocation { target: Target { user, room }, before_ms, until_ms } = revocation;
    let target = serde_json::json!([user, room]).to_string();
    let args = vec![
        target,
        serde_json::json!({"user": user, "room": room}).to_string(),
        before_ms.to_string(),
        until_ms.to_string(),
        crate::clock::now_ms().to_string(),
        MAX_REVOCATIONS.to_string(),
        format!("{:016x}", rand::random::<u64>()),
        shared.channel.clone(),
    ];
    shared.scripts.revoke(&shared.publisher, keys(shared), args).await?;
    apply(shared, vec![revocation.clone()]);
    Ok(())
}

/// Reads for as long as the process lives. `subscription_gen` changes with each new subscription.
pub(super) async fn run(shared: Arc<Shared>, mut subscription_gen: watch::Receiver<u64>) {
    let (mut place, mut is_failing) = (Place::default(), false);
    loop {
        client::wait_connected(&shared.publisher).await;
        let pause = match read(&shared, &mut place).await {
            Ok(()) => INTERVAL,
            Err(error) => {
                // Once, because this continues for as long as Redis is unavailable or the user lacks permissions.
                if !is_failing {
                    let namespace = shared.fanout.name();
                    tracing::warn!(namespace, %error, "revocations cannot be read; those of other servers have no effect until then");
                }
                RETRY
            }
        };
        is_failing = pause == RETRY;
        shared.fanout.revocations().remove_expired();
        tokio::time::sleep(MIN_INTERVAL).await;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.revoked.notified() => {}
            changed = subscription_gen.changed() => match changed {
                // This Redis may have gone back in time, and have used numbers again.
                Ok(()) => place = Place::default(),
                Err(_) => return,
            },
        }
    }
}

/// Reads and applies what was stored after a place.
async fn read(shared: &Shared, place: &mut Place) -> Result<(), Unavailable> {
    for _ in 0..MAX_PAGES {
        let after = (place.epoch.as_str(), place.order);
        let page = shared.scripts.read_revocations(&shared.publisher, keys(shared), after).await;
        let (epoch, order, entries) = page.map_err(|error| error.unavailable)?;
        let next = Place { epoch, order };
        let is_last = entries.is_empty() || !place.is_before(&next);
        let parsed = entries.iter().filter_map(|entry| {
            let revocation = parse(entry);
            if revocation.is_none() {
                tracing::warn!(namespace = shared.fanout.name(), "ignored a revocation in Redis that is malformed");
            }
            revocation
        });
        apply(shared, parsed.collect());
        *place = next;
        if is_last {
            break;
        }
    }
    Ok(())
}

// === impl Place ===

impl Place {
    /// Whether a page that ends at `next` has led on. What another program has stored may not.
    fn is_before(&self, next: &Self) -> bool {
        self.epoch != next.epoch || self.order < next.order
    }
}

fn apply(shared: &Shared, revocations: Vec<Revocation>) {
    if let Err(ListFull) = shared.fanout.revoke(revocations) {
        tracing::error!(namespace = shared.fanout.name(), "revocations could not be applied: {ListFull}");
    }
}

fn parse(entry: &str) -> Option<Revocation> {
    let Stored { user, room, before, until } = serde_json::from_str(entry).ok()?;
    let target = Target { user: user.map(Into::into), room: room.map(Into::into) };
    let has_target = target.user.is_some() || target.room.is_some();
    has_target.then_some(Revocation { target, before_ms: before, until_ms: until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_on_if_its_number_is_larger_or_its_epoch_another() {
        let place = |epoch: &str, order| Place { epoch: epoch.to_owned(), order };
        assert!(place("a", 1).is_before(&place("a", 2)) && place("a", 9).is_before(&place("b", 1)));
        assert!(!place("a", 1).is_before(&place("a", 1)) && !place("a", 2).is_before(&place("a", 1)));
    }

    #[test]
    fn a_stored_revocation_is_read_and_a_malformed_one_is_not() {
        let entry = r#"{"user":"a\"b","room":null,"before":5,"until":9}"#;
        let expected = Revocation { target: Target::user("a\"b"), before_ms: 5, until_ms: 9 };
        assert_eq!(parse(entry), Some(expected));
        for entry in
            ["", "{}", r#"{"user":null,"room":null,"before":5,"until":9}"#, r#"{"user":"a","before":-1,"until":9}"#]
        {
            assert_eq!(parse(entry), None, "{entry}");
        }
    }
}
