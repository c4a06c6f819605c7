//! Channels of Redis as sources: texts for notifications, and pushes of TURTED. This server delivers them to its own
//! connections.

use crate::authorize::constant_time_eq;
use crate::config::redis::Redis;
use crate::engine::Fanout;
use crate::engine::redis::channels::{self, ChannelMessage};
use nodevent_protocol::key::Secret;
use nodevent_protocol::notifications;
use nodevent_protocol::targets::{self, Published};
use nodevent_protocol::turted::Push;

/// Starts to deliver the texts of the channels with these names. `max_size` is that of a message, in bytes.
pub(super) fn start_notifications(
    redis: &Redis,
    all: &[String],
    max_size: usize,
    fanout: Fanout,
) -> Result<(), String> {
    let mut messages = channels::listen(redis, all.to_vec(), "notifications", max_size, fanout.shared_metrics())?;
    tokio::spawn(async move {
        while let Some(ChannelMessage { channel, bytes }) = messages.recv().await {
            let text = notifications::publication(&channel, &String::from_utf8_lossy(&bytes));
            if let Ok(publication) = targets::parse(text.as_bytes()) {
                fanout.deliver_here(&publication).await;
            }
        }
    });
    Ok(())
}

/// Starts to deliver the pushes in a channel. Each needs the password.
pub(super) fn start_pushes(
    redis: &Redis,
    channel: &str,
    password: Secret,
    max_size: usize,
    fanout: Fanout,
) -> Result<(), String> {
    let mut messages =
        channels::listen(redis, vec![channel.to_owned()], "pushes", max_size, fanout.shared_metrics())?;
    tokio::spawn(async move {
        while let Some(ChannelMessage { bytes, .. }) = messages.recv().await {
            match publication_of(&bytes, &password) {
                Ok(Some(text)) => deliver(&text, &fanout).await,
                Ok(None) => {}
                Err(reason) => tracing::warn!(namespace = fanout.name(), reason, "push in Redis rejected"),
            }
        }
    });
    Ok(())
}

async fn deliver(text: &str, fanout: &Fanout) {
    let published: Result<Published<'_>, _> = Push::published(text);
    match published {
        Ok(published) => fanout.deliver_here(&published).await,
        Err(invalid) => tracing::warn!(namespace = fanout.name(), reason = %invalid, "push in Redis rejected"),
    }
}

/// The publication of a push. `None`: it has no target.
fn publication_of(bytes: &[u8], password: &Secret) -> Result<Option<String>, &'static str> {
    let not_json = |_| "it is not JSON";
    let sent = Push::password(bytes).map_err(not_json)?;
    if !sent.is_some_and(|sent| constant_time_eq(sent.as_bytes(), password.as_bytes())) {
        return Err("its password is missing or wrong");
    }
    Push::parse(bytes).map(|push| push.publication()).map_err(not_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_in_redis_needs_the_password_too() {
        // T-25, T-44
        let password = Secret::new("IamAllowed2PUSH!!!").unwrap();
        let push = |auth: &str| format!(r#"{{"event":"e","targets":{{"users":"a"}},"auth":{auth}}}"#);
        let publication = |auth: &str| publication_of(push(auth).as_bytes(), &password);
        assert!(publication(r#"{"password":"IamAllowed2PUSH!!!"}"#).unwrap().is_some());
        for auth in ["null", "\"guess\"", "{}", r#"{"hasOwnProperty":1}"#] {
            assert!(publication(auth).is_err(), "{auth}");
        }
        assert!(publication_of(b"null", &password).is_err());
        assert!(publication_of(b"", &password).is_err());
    }
}
