use super::*;
use crate::config::{Config, load as load_ours};
use std::collections::BTreeMap;
use std::time::Duration;

/// The files as the documentation of SocketIO Web Service has them.
const CONFIG: &str = "production:\n  port: 80\n  client_ttl: 3600\n  redis:\n    port: 6379\n    host: 127.0.0.1\n    \
                      auth_pass: 12345\n  flakeid:\n    datacenter: 0\n    worker: 0\n  io:\n    pingTimeout: 60000\n";
const SITES: &str = "newsite:\n  authUrl: http://newsite.com/socketrooms\n  authScheme: Bearer\n  apiKey: 54321\n  \
                     userRoomPrefix: user_\n";

/// A folder with the files of the old program, and its environment.
struct Old {
    folder: tempfile::TempDir,
    variables: BTreeMap<&'static str, &'static str>,
}

/// What was read.
struct Outcome {
    result: Option<(Config, Vec<String>, Migration)>,
    report: Report,
}

// === impl Old ===

impl Old {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("config")).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, variables: BTreeMap::new() }
    }

    fn documented() -> Self {
        Self::new(&[("config/config.yml", CONFIG), ("config/sites.yml", SITES)])
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.insert(name, value);
        self
    }

    fn read(&self) -> Outcome {
        let variable = |name: &str| self.variables.get(name).map(|value| (*value).to_owned());
        let mut report = Report::about("the folder");
        let Some(files) = Files::read(self.folder.path(), &variable, &mut report) else {
            return Outcome { result: None, report };
        };
        let (result, report) = read(self.folder.path(), &files, &variable, report);
        Outcome { result, report }
    }
}

// === impl Outcome ===

impl Outcome {
    fn config(&self) -> &Config {
        assert_eq!(self.report.to_string(), "");
        &self.result.as_ref().unwrap().0
    }

    fn explanations(&self) -> String {
        self.result.as_ref().unwrap().1.join("\n")
    }

    /// The errors, which must be there.
    fn errors(&self) -> String {
        let errors = self.report.to_string();
        assert_ne!(errors, "");
        errors
    }
}

/// Reads these files instead of the documented ones.
fn config_with(section: &str) -> Outcome {
    Old::new(&[("config.yml", &format!("production: {section}\n")), ("sites.yml", SITES)]).read()
}

fn site_with(keys: &str) -> Outcome {
    let site = format!(
        "a: {{authUrl: \"http://a.example/rooms\", authScheme: Bearer, apiKey: a-key-of-enough-length, {keys}}}\n"
    );
    Old::new(&[("sites.yml", &site)]).read()
}

#[test]
fn documented_files_are_read_as_they_are() {
    // W-05, W-38, W-39, W-41, W-42
    let outcome = Old::documented().read();
    let config = outcome.config();
    assert_eq!(config.listen.iter().map(|one| (one.host.as_str(), one.port)).collect::<Vec<_>>(), [("::", 80)]);
    assert_eq!(config.limits.ping_timeout, Duration::from_secs(60));
    assert!(!config.publish_locally);
    let [site] = config.namespaces.as_slice() else { panic!("one namespace") };
    assert_eq!((site.name.as_str(), site.dialects[0].name.as_str()), ("/newsite", "web_service"));
    assert_eq!(site.publish_keys[0].key.as_bytes(), b"54321");
    assert!(!site.is_open());
    let auth = site.auth.as_ref().unwrap();
    assert_eq!(auth.application.url, "http://newsite.com/socketrooms");
    assert_eq!((&*auth.scheme, auth.cache), ("Bearer", Duration::ZERO));
    assert_eq!(site.web_service.as_ref().unwrap().user_room_prefix.as_deref(), Some("user_"));
    assert_eq!(site.mailbox.as_ref().unwrap().age, Duration::from_secs(3600));
    let redis = site.redis.as_ref().unwrap();
    assert_eq!(redis.to_string(), "127.0.0.1:6379");
    assert_eq!(redis.password.as_ref().unwrap().reveal(), "12345");
}

#[test]
fn every_key_is_explained_with_its_line_and_without_secrets() {
    let outcome = Old::documented().read();
    let explained = outcome.explanations();
    for key in [
        "port",
        "client_ttl",
        "redis.port",
        "redis.host",
        "redis.auth_pass",
        "flakeid.datacenter",
        "flakeid.worker",
        "io.pingTimeout",
    ] {
        assert_eq!(explained.matches(&format!(": {key}: ")).count(), 1, "{key}\n{explained}");
    }
    for key in ["authUrl", "authScheme", "apiKey", "userRoomPrefix"] {
        assert_eq!(explained.matches(&format!(": newsite.{key}: ")).count(), 1, "{key}\n{explained}");
    }
    assert!(explained.contains("config/config.yml:2:3: port: the server listens on port 80"), "{explained}");
    assert!(explained.contains("config/sites.yml:4:3: newsite.apiKey: "), "{explained}");
    assert!(explained.contains("60000 ms (`ping: timeout`)"), "{explained}");
    let shown = format!("{explained}{:?}{:?}", outcome.report, outcome.result.as_ref().unwrap().2);
    assert!(!shown.contains("54321") && !shown.contains("12345"), "{shown}");
}

#[test]
fn files_may_be_in_either_folder_and_defaults_are_those_of_the_old_program() {
    // W-38
    let outcome = Old::new(&[("sites.yml", SITES)]).read();
    let config = outcome.config();
    assert_eq!(config.listen[0].port, 1337);
    assert_eq!(config.namespaces[0].redis.as_ref().unwrap().to_string(), "127.0.0.1:6379");
    assert_eq!(config.namespaces[0].mailbox.as_ref().unwrap().age, Duration::from_secs(3600));
    let page = axum::http::HeaderValue::from_static("https://www.example.com");
    assert!(config.origins.lists(&page), "pages of every origin could connect");
    assert!(outcome.report.warning_lines().any(|line| line.contains("pages of every origin may connect")));
    let mixed = Old::new(&[("config.yml", CONFIG), ("config/sites.yml", SITES)]).read();
    assert_eq!(mixed.config().listen[0].port, 80);
    let errors = Old::new(&[("sites.yml", SITES), ("config/sites.yml", SITES)]).read().errors();
    assert!(errors.contains("there are two files `sites.yml`"), "{errors}");
}

#[test]
fn the_environment_chooses_the_section_and_the_port() {
    // W-38
    let text = "development: {port: 1, client_ttl: 7}\nproduction: {port: 2}\ntest:\n";
    let old = || Old::new(&[("config/config.yml", text), ("config/sites.yml", SITES)]);
    assert_eq!(old().read().config().listen[0].port, 2);
    let development = old().with("NODE_ENV", "development").read();
    assert_eq!(development.config().listen[0].port, 1);
    assert_eq!(development.config().namespaces[0].mailbox.as_ref().unwrap().age, Duration::from_secs(7));
    assert!(!development.config().publish_locally, "never without a key");
    assert_eq!(old().with("NODE_ENV", "test").read().config().listen[0].port, 1337);
    assert_eq!(old().with("PORT", "3").read().config().listen[0].port, 3);
    let errors = old().with("NODE_ENV", "staging").read().errors();
    assert!(
        errors.contains("there is no section `staging`; name another by NODE_ENV; the file has development"),
        "{errors}"
    );
    let errors = old().with("PORT", "/tmp/passenger.sock").read().errors();
    assert!(
        errors.contains("environment: PORT is not a valid number; write a whole number from 0 to 65535"),
        "{errors}"
    );
}

#[test]
fn a_single_site_comes_from_the_environment() {
    // W-51
    let old = || {
        Old::new(&[])
            .with("SITE_NAME", "shop")
            .with("AUTH_URL", "http://shop.example/rooms")
            .with("AUTH_SCHEME", "Token")
            .with("API_KEY", "a-key-of-the-environment")
    };
    let outcome = old()
        .with("USER_ROOM_PREFIX", "u_")
        .with("DEVICE_TTL", "60")
        .with("REDIS_URL", "redis://:word@r:1/2")
        .read();
    let site = &outcome.config().namespaces[0];
    assert_eq!(
        (site.name.as_str(), site.publish_keys[0].key.as_bytes()),
        ("/shop", &b"a-key-of-the-environment"[..])
    );
    assert_eq!(site.mailbox.as_ref().unwrap().age, Duration::from_secs(60));
    assert_eq!(site.redis.as_ref().unwrap().to_string(), "r:1/2");
    assert_eq!(site.redis.as_ref().unwrap().password.as_ref().unwrap().reveal(), "word");
    assert_eq!(old().read().config().namespaces[0].mailbox, None, "without a prefix nothing is kept");
    let outcome = old().with("PUBLIC_CHANNEL", "all").with("EVENT_PREFIX", "_").read();
    let settings = outcome.config().namespaces[0].web_service.clone().unwrap();
    assert_eq!((settings.public_room.as_deref(), settings.has_underscore), (Some("all"), true));
    let both = Old::documented()
        .with("SITE_NAME", "shop")
        .with("AUTH_URL", "http://shop.example/rooms")
        .with("AUTH_SCHEME", "Token")
        .with("API_KEY", "a-key-of-the-environment")
        .read();
    assert_eq!(both.config().namespaces.len(), 1);
    assert!(both.report.warning_lines().any(|line| line.contains("SITE_NAME names the only site")));
    let errors = Old::new(&[]).with("SITE_NAME", "shop").read().errors();
    for missing in ["SITE_NAME has no authUrl", "SITE_NAME has no authScheme", "SITE_NAME has no apiKey"] {
        assert!(errors.contains(missing), "{errors}");
    }
}

#[test]
fn what_cannot_be_honoured_is_an_error_with_its_place_and_the_fix() {
    for (section, expected) in [
        ("{port: eighty}", "config.yml:1:14: port is not a valid number"),
        ("{prot: 80}", "config.yml:1:14: prot is an unknown key; did you mean `port`?"),
        ("{clientTtl: 5}", "clientTtl is an unknown key"),
        ("{client_ttl: -1}", "client_ttl is not a valid number"),
        ("{client_ttl: 5, device_ttl: 6}", "device_ttl and client_ttl have different values"),
        ("{redis: {path: /tmp/redis.sock}}", "redis.path is not supported; let Redis listen on a port"),
        ("{redis: {rename_commands: {a: b}}}", "redis.rename_commands is not supported"),
        ("{redis: {tls: {ca: x}}}", "redis.tls has options, which are not supported"),
        ("{redis: {hots: x}}", "redis.hots is an unknown key; did you mean `host`?"),
        ("{redis: {host: \"a b\"}}", "config.yml:1:22: redis.host: /newsite.redis.host is not a host"),
        ("{redis: {auth_pass: one, password: two}}", "redis has two values for `password`"),
        ("{redis: {url: \"redis://:one@r\", auth_pass: two}}", "redis has two values for `password`"),
        ("{redis: {url: \"http://:one@r\"}}", "redis.url: /newsite.redis.url is not a Redis URL"),
        ("{redis: localhost}", "redis has no keys"),
        ("{io: {path: /live}}", "io.path is not supported: the path is /socket.io/; let the proxy"),
        ("{io: {adapter: x}}", "io.adapter is not supported"),
        ("{io: {pingTimout: 5}}", "io.pingTimout is an unknown key; did you mean `pingTimeout`?"),
        ("{io: {pingTimeout: 1s}}", "io.pingTimeout is not a valid number"),
        ("{io: {cors: {origin: [a b]}}}", "io.cors.origin: origins has an entry that is not an origin"),
        ("{winston: {console: {level: loud}}}", "winston.console.level is not a level of winston"),
        ("{flakeid: {dataCentre: 1}}", "flakeid.dataCentre is an unknown key"),
        ("80", "the section has no keys; write the keys of the section below `production:`"),
    ] {
        let errors = config_with(section).errors();
        assert!(errors.contains(expected), "{section}: {expected}\nis not in\n{errors}");
    }
    let flat = Old::new(&[("config.yml", "port: 80\n"), ("sites.yml", SITES)]).read().errors();
    assert!(flat.contains("there is no section `production`; write the keys below `production:`"), "{flat}");
}

#[test]
fn mistakes_in_sites_are_errors() {
    for (sites, expected) in [
        ("a: {authScheme: Bearer, apiKey: k}\n", "sites.yml:1:1: a has no authUrl, so no client could connect"),
        ("a: {authUrl: \"http://a/\", apiKey: k}\n", "a has no authScheme"),
        (
            "a: {authUrl: \"http://a/\", authScheme: Bearer, apiKey:}\n",
            "a has no apiKey, so nothing could send to it",
        ),
        (
            "a: {authUrl: /rooms, authScheme: Bearer, apiKey: k}\n",
            "sites.yml:1:5: a.authUrl: /a.auth.url has no host",
        ),
        (
            "a: {authUrl: \"http://a/\", authScheme: Bearer, apikey: k}\n",
            "a.apikey is an unknown key; did you mean `apiKey`?",
        ),
        ("a: 5\n", "a is not a site"),
        ("production:\n  a: {authUrl: \"http://a/\"}\n", "production.a is an unknown key"),
        (
            "\"a b\": {authUrl: \"http://a/\", authScheme: Bearer, apiKey: k}\n",
            "the name of a namespace contains ` `",
        ),
        ("a: {authUrl: \"http://a/\", authScheme: Bearer, apiKey: k\n", "sites.yml:2:1: this is not YAML"),
        ("{}\n", "there is no site; write sites.yml"),
    ] {
        let errors = Old::new(&[("sites.yml", sites)]).read().errors();
        assert!(errors.contains(expected), "{sites}: {expected}\nis not in\n{errors}");
    }
    let errors = Old::new(&[]).read().errors();
    assert!(errors.contains("there is no site"), "{errors}");
    let mut report = Report::about("no-such-folder");
    assert!(Files::read(Path::new("no-such-folder"), &|_| None, &mut report).is_none());
    assert!(report.to_string().contains("no-such-folder: is not a folder"), "{report}");
}

#[test]
fn later_keys_and_options_have_counterparts() {
    // W-41
    let outcome = config_with(
        "{device_ttl: 0, redis: {url: \"rediss://user:w%2Ford@r:7000/3\"}, winston: {console: {level: verbose, colorize: false}}, \
         io: {pingTimeout: 5000, pingInterval: 10000, maxHttpBufferSize: 4096, connectTimeout: 3000, allowEIO3: false, \
         cors: {origin: [\"https://www.example.com\"], credentials: true}, serveClient: true, path: /socket.io}, servers: [a]}",
    );
    let config = outcome.config();
    let limits = &config.limits;
    assert_eq!((limits.ping_timeout, limits.ping_interval), (Duration::from_secs(5), Duration::from_secs(10)));
    assert_eq!((limits.max_message_size, limits.connect_timeout), (4096, Duration::from_secs(3)));
    let origin = |page| axum::http::HeaderValue::from_static(page);
    assert!(config.origins.lists(&origin("https://www.example.com")));
    assert!(!config.origins.lists(&origin("https://www.example.org")));
    assert_eq!(config.log, "debug");
    let site = &config.namespaces[0];
    assert!(!site.allows_eio3);
    assert_eq!(site.mailbox.as_ref().unwrap().age, Duration::ZERO);
    let redis = site.redis.as_ref().unwrap();
    assert_eq!(
        (redis.to_string().as_str(), redis.tls, redis.username.as_deref()),
        ("r:7000/3", true, Some("user"))
    );
    assert_eq!(redis.password.as_ref().unwrap().reveal(), "w/ord");
    let lines: Vec<String> = outcome.report.warning_lines().collect();
    assert!(
        lines.iter().any(|line| line.contains("newsite is of a version that may have sent `_batch`")),
        "{lines:?}"
    );
    let old = config_with("{io: {origins: \"*:* http://a.example:80\"}}");
    assert!(old.config().origins.lists(&origin("https://www.example.org")));
    let own = config_with("{io: {cors: {origin: false}}}");
    assert!(own.config().origins.is_empty());
    let warned =
        config_with("{airbrake: {key: sesame7Q}, winston: {file: {level: info}}, io: {transports: [polling]}}");
    let lines: Vec<String> = warned.report.warning_lines().collect();
    for part in ["airbrake is not supported", "winston.file is not supported", "io.transports is not supported"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:?}");
    }
    assert!(!format!("{lines:?}").contains("sesame"));
}

#[test]
fn w49_the_url_of_user_updates_is_kept_if_there_are_users() {
    let outcome = site_with("updateUserUrl: \"http://a.example/users/:id\", userRoomPrefix: user_");
    let url = outcome.config().namespaces[0].web_service.as_ref().unwrap().update_user_url.clone();
    assert_eq!(url.unwrap().to_string(), "http://a.example/users/:id");
    let outcome = site_with("updateUserUrl: \"http://a.example/users/:id\"");
    outcome.config();
    let lines: Vec<String> = outcome.report.warning_lines().collect();
    let is_it = |line: &String| line.contains("sites.yml:1:") && line.contains("a.updateUserUrl has no effect");
    assert!(lines.iter().any(is_it), "{lines:?}");
}

#[test]
fn a_key_that_the_old_program_read_as_a_number_is_reported() {
    for (key, is_reported) in [("0123", true), ("1e5", true), ("0x1F", true), ("54321", false), ("deadbeef", false)]
    {
        let sites = SITES.replace("54321", key);
        let outcome = Old::new(&[("sites.yml", &sites)]).read();
        let is_warned = outcome.report.warning_lines().any(|line| line.contains("looks like a number"));
        assert_eq!(is_warned, is_reported, "{key}");
        assert_eq!(outcome.config().namespaces[0].publish_keys[0].key.as_bytes(), key.as_bytes());
    }
}

#[test]
fn values_are_not_replaced_from_the_environment() {
    let outcome = site_with("userRoomPrefix: \"${HOME}_\"");
    outcome.config();
    let (_, _, migration) = outcome.result.as_ref().unwrap();
    assert_eq!(migration.impossible, ["/a.user_room_prefix"]);
}

#[test]
fn migrated_files_have_the_same_settings_and_no_secrets_in_the_configuration() {
    let outcome = Old::documented().read();
    let old = outcome.config();
    let migration = &outcome.result.as_ref().unwrap().2;
    assert!(!migration.text.contains("54321") && !migration.text.contains("12345"), "{}", migration.text);
    let names: Vec<&str> = migration.secrets.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(names, ["secrets/newsite.publish_key", "secrets/redis_password"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("secrets")).unwrap();
    for one in &migration.secrets {
        std::fs::write(folder.path().join(&one.path), &one.secret).unwrap();
    }
    let file = folder.path().join(migration::FILE);
    std::fs::write(&file, &migration.text).unwrap();
    let new = load_ours(Some(&file)).unwrap_or_else(|report| panic!("{report}\n{}", migration.text)).config;
    // The places in the files differ, nothing else does.
    let plain = |config: &Config| {
        let mut config = config.clone();
        config.selected.environment.clear();
        for namespace in &mut config.namespaces {
            namespace.dialects.iter_mut().for_each(|one| one.location = None);
            namespace.protocols.iter_mut().for_each(|one| one.location = None);
        }
        format!("{config:?}")
    };
    assert_eq!(plain(&new), plain(old), "{}", migration.text);
    for (new, old) in new.namespaces.iter().zip(&old.namespaces) {
        assert_eq!(new.publish_keys[0].key.as_bytes(), old.publish_keys[0].key.as_bytes());
        assert_eq!(new.redis, old.redis);
    }
}
