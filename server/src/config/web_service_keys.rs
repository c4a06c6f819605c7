//! The keys of a namespace with `dialect: web_service`, the defaults of such a namespace, and what it cannot do without.
//!
//! Above it is `namespace`, which reads everything else. The configuration files of SocketIO Web Service itself are not
//! read here.

use super::application::{self, Auth};
use super::history::History;
use super::mailbox::Mailbox;
use super::reader::MapReader;
use super::report::{Location, Report};
use crate::web_service::Settings;
use nodevent_protocol::room;

/// The name of the dialect.
const DIALECT: &str = "web_service";
/// The keys that only it reads.
const KEYS: [&str; 4] = ["user_room_prefix", "public_room", "event_prefix", "update_user_url"];

/// Reads the keys. `None`: none is written.
pub(super) fn read(map: &mut MapReader<'_>, report: &mut Report) -> Option<(Settings, Location)> {
    let written = KEYS.into_iter().find(|key| map.has(key)).map(|key| map.location_of(key));
    let (name, public) = (map.name("public_room"), map.location_of("public_room"));
    let mut settings = Settings {
        // An empty prefix, which would make every room the room of one user, is an error.
        user_room_prefix: map.text("user_room_prefix", report).map(Into::into),
        public_room: map.text("public_room", report).map(Into::into),
        ..Settings::default()
    };
    if let Some(room) = &settings.public_room {
        if room::check(room, room::MAX_BYTES).is_err() {
            report.error(public, format!("{name} is not the name of a room"), "write 1 to 255 bytes of text");
        } else if settings.is_user_room(room) {
            let what = format!("{name} begins with user_room_prefix, so it would be the room of one user");
            report.error(public, what, "choose another name");
        }
    }
    let (name, location_of_prefix) = (map.name("event_prefix"), map.location_of("event_prefix"));
    let prefix = map.text("event_prefix", report).unwrap_or_default();
    settings.has_underscore = prefix == "_";
    if !matches!(&*prefix, "" | "_") {
        report.error(location_of_prefix, format!("{name} is neither `_` nor empty"), "write `_`, or delete it");
    }
    let (name, location) = (map.name("update_user_url"), map.location_of("update_user_url"));
    settings.update_user_url = application::url(map, "update_user_url", report);
    if settings.update_user_url.is_some() && settings.user_room_prefix.is_none() {
        let what = format!("{name} is written without user_room_prefix, so no room belongs to a user");
        report.error(location, what, "write `user_room_prefix`, or delete it");
    }
    written.map(|location| (settings, location))
}

/// What such a namespace has instead of the general defaults.
pub(super) struct Defaults {
    /// Its settings.
    pub(super) settings: Settings,
    /// Its mailboxes.
    pub(super) mailbox: Option<Mailbox>,
    /// Its history.
    pub(super) history: History,
}

/// Whether this is the name of the dialect.
pub(super) fn is_dialect(name: &str) -> bool {
    name == DIALECT
}

/// The defaults of such a namespace. Its clients cannot recover, so its rooms have no history. The messages of users are
/// stored as soon as there are rooms of users.
pub(super) fn defaults(settings: Option<Settings>) -> Defaults {
    let settings = settings.unwrap_or_default();
    let mailbox = settings.user_room_prefix.is_some().then(Mailbox::default);
    Defaults { settings, mailbox, history: History::off() }
}

/// Reports what is missing, or has no meaning.
pub(super) fn check(
    name: &str,
    is_used: bool,
    settings: Option<&(Settings, Location)>,
    auth: Option<&Auth>,
    mailbox: Option<&Option<Mailbox>>,
    location: Location,
    report: &mut Report,
) {
    if !is_used {
        if let Some((_, location)) = settings {
            let what = format!("{name} has keys that only `dialect: web_service` reads: {}", KEYS.join(", "));
            report.error(*location, what, "write `dialect: web_service`, or delete them");
        }
        return;
    }
    match auth {
        None => {
            let what = format!("{name} has `dialect: web_service` and no `auth`, so no client could connect");
            report.error(
                location,
                what,
                "write `auth: {url: …, scheme: …}`, which were `authUrl` and `authScheme`",
            );
        }
        Some(auth) if auth.is_post => {
            let what = format!("{name}.auth has `method: POST`, but `dialect: web_service` sends GET");
            report.error(location, what, "delete `method`");
        }
        Some(_) => {}
    }
    if settings.is_some_and(|(settings, _)| settings.user_room_prefix.is_some()) && matches!(mailbox, Some(None)) {
        let what = format!("{name} has a user_room_prefix and `mailbox: off`, so its users could receive nothing");
        report.error(location, what, "delete one of them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::namespace::Namespace;
    use std::time::Duration;

    fn read(text: &str) -> Result<Namespace, String> {
        let text = format!("/newsite: {{dialect: web_service, publish_key: \"54321\", {text}}}\n");
        let config = Config::from_yaml(&text).map_err(|report| report.to_string())?;
        Ok(config.namespaces[0].clone())
    }

    #[test]
    fn w43_without_a_prefix_nothing_is_stored_and_with_one_for_an_hour() {
        let auth = "auth: {url: \"http://newsite.com/socketrooms\", scheme: Bearer}";
        let site = read(auth).unwrap();
        assert_eq!((site.web_service, site.mailbox), (Some(Settings::default()), None));
        assert!(!site.history.is_on());
        let site = read(&format!("{auth}, user_room_prefix: user_, event_prefix: _, public_room: all")).unwrap();
        let settings = site.web_service.unwrap();
        assert_eq!(settings.user_room_prefix.as_deref(), Some("user_"));
        assert_eq!((settings.public_room.as_deref(), settings.has_underscore), (Some("all"), true));
        assert_eq!(site.mailbox.unwrap().age, Duration::from_secs(3600));
        let old = read(&format!("{auth}, userRoomPrefix: user_, mailbox: {{age: 0}}, history: 1m")).unwrap();
        assert_eq!(old.mailbox.unwrap().age, Duration::ZERO);
        assert!(old.history.is_on());
    }

    #[test]
    fn w49_the_url_of_user_updates_has_its_old_name_too() {
        let auth = "auth: {url: \"http://newsite.com/socketrooms\"}, user_room_prefix: user_";
        for key in ["update_user_url", "updateUserUrl"] {
            let site = read(&format!("{auth}, {key}: \"https://newsite.com/users/:id\"")).unwrap();
            let url = site.web_service.unwrap().update_user_url.unwrap();
            assert_eq!(url.path(), "/users/:id");
        }
    }

    #[test]
    fn every_connection_asks_the_application_and_lasts_unless_something_else_is_written() {
        let auth = read("auth: {url: \"http://newsite.com/socketrooms\"}").unwrap().auth.unwrap();
        assert_eq!((auth.cache, auth.cache_rejected), (Duration::ZERO, Duration::ZERO));
        assert!(auth.lifetime > Duration::from_secs(10 * 365 * 24 * 3600));
        let auth = read("auth: {url: \"http://newsite.com/socketrooms\", cache: 3s, lifetime: 1h}").unwrap();
        let auth = auth.auth.unwrap();
        assert_eq!((auth.cache, auth.lifetime), (Duration::from_secs(3), Duration::from_secs(3600)));
    }

    #[test]
    fn what_cannot_work_is_an_error_that_says_what_to_write() {
        let auth = "auth: {url: \"http://a.com/\"}";
        for (text, part) in [
            ("open: true".to_owned(), "has `dialect: web_service` and no `auth`"),
            ("auth: {url: \"http://a.com/\", method: POST}".to_owned(), "sends GET"),
            ("auth: {url: \"http://a.com/\", scheme: \"a b\"}".to_owned(), "scheme is not one word"),
            (format!("{auth}, user_room_prefix: u, mailbox: off"), "could receive nothing"),
            (format!("{auth}, user_room_prefix: u, public_room: us"), "the room of one user"),
            (format!("{auth}, user_room_prefix: \"\""), "user_room_prefix is empty"),
            (format!("{auth}, event_prefix: x"), "event_prefix is neither `_` nor empty"),
            (format!("{auth}, update_user_url: \"http://a.com/:id\""), "so no room belongs to a user"),
            (format!("{auth}, user_room_prefix: u, updateUserUrl: \"/users/:id\""), "update_user_url has no host"),
        ] {
            let error = read(&text).map(drop).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = Config::from_yaml("/a: {secret: 0123456789abcdef, user_room_prefix: u}\n").unwrap_err();
        assert!(error.to_string().contains("only `dialect: web_service` reads"), "{error}");
    }
}
