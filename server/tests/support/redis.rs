//! A private Redis on a free port, which stops when the test ends.
//!
//! The tests use the `redis-server` and `redis-cli` on the PATH, unless `NODEVENT_TEST_REDIS` and
//! `NODEVENT_TEST_REDIS_CLI` name other programs: another version, or Valkey.

use super::wait::{in_time, until};
use super::wall_clock::WallClock;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A running Redis.
pub struct RedisServer {
    pub port: u16,
    password: Option<String>,
    /// Where it writes. Default: the folder of temporary files.
    folder: Option<PathBuf>,
    /// Whether it keeps its data when it stops.
    is_durable: bool,
    /// Additional environment variables.
    environment: Vec<(&'static str, OsString)>,
    child: Option<Child>,
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

// === impl RedisServer ===

impl RedisServer {
    pub async fn start() -> Self {
        Self::start_as(|_| {}).await
    }

    /// Starts a Redis that requires a password.
    pub async fn start_with_password(password: &str) -> Self {
        Self::start_as(|redis| redis.password = Some(password.to_owned())).await
    }

    /// Starts a Redis on a fixed port; see [`super::namespace_sandbox`].
    pub async fn start_on(port: u16) -> Self {
        Self::start_as(|redis| redis.port = port).await
    }

    /// Starts a Redis that writes into this folder.
    pub async fn start_in(folder: &Path) -> Self {
        Self::start_as(|redis| redis.folder = Some(folder.to_owned())).await
    }

    /// Starts a Redis that has written each change into this folder before it replies, and reads it when it starts again.
    pub async fn start_durable_in(folder: &Path) -> Self {
        Self::start_as(|redis| (redis.folder, redis.is_durable) = (Some(folder.to_owned()), true)).await
    }

    /// Starts a Redis whose clock jumps.
    pub async fn start_with_clock(clock: &WallClock) -> Self {
        Self::start_as(|redis| redis.environment = clock.environment()).await
    }

    /// Starts a Redis on a free port, unless `change` says something else.
    async fn start_as(change: impl FnOnce(&mut Self)) -> Self {
        let (password, folder, environment) = (None, None, Vec::new());
        let mut redis = Self { port: free_port(), password, folder, is_durable: false, environment, child: None };
        change(&mut redis);
        redis.start_again().await;
        redis
    }

    /// Starts Redis again on the same port after [`RedisServer::stop`].
    pub async fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut command = redis_server();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendfsync", "always"]);
        command.args(["--appendonly", if self.is_durable { "yes" } else { "no" }]);
        command.args(self.password.iter().flat_map(|password| ["--requirepass", password]));
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = command.current_dir(folder).stdout(Stdio::null()).spawn();
        self.child = Some(child.expect(STARTS));
        until("Redis responds", async || {
            let ended = self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended, "redis-server exited immediately; is port {} in use?", self.port);
            self.is_up().await
        })
        .await;
    }

    /// Stops the process.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The value of `redis:` in a namespace.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/0", self.port),
            None => format!("redis://127.0.0.1:{}/0", self.port),
        }
    }

    /// Sends `PUBLISH` and returns the number of receivers.
    pub async fn publish(&self, channel: &str, text: impl AsRef<[u8]>) -> i64 {
        self.publish_all(channel, [text]).await[0]
    }

    /// Sends several `PUBLISH` commands in one pipeline, and returns the number of receivers of each.
    pub async fn publish_all<T: AsRef<[u8]>>(&self, channel: &str, texts: impl IntoIterator<Item = T>) -> Vec<i64> {
        let commands: Vec<Vec<u8>> =
            texts.into_iter().map(|text| command(&[b"PUBLISH", channel.as_bytes(), text.as_ref()])).collect();
        let replies =
            in_time("Redis accepts the publications", self.query(&commands)).await.expect("Redis responds");
        let number = |reply: &String| reply.strip_prefix(':').and_then(|number| number.parse().ok());
        replies.iter().map(|reply| number(reply).unwrap_or_else(|| panic!("PUBLISH: {reply}"))).collect()
    }

    /// Sends a command whose reply is one line, and returns it.
    pub async fn call(&self, words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.query(&[command(&words)]).await.expect("Redis responds").remove(0)
    }

    /// Whether a key exists in database 0.
    pub async fn exists(&self, key: &str) -> bool {
        matches!(self.query(&[command(&[b"EXISTS", key.as_bytes()])]).await, Ok(lines) if lines[0] == ":1")
    }

    /// Waits until a channel has `count` subscribers.
    pub async fn has_subscribers(&self, channel: &str, count: usize) {
        until(&format!("{count} subscribers of {channel}"), async || {
            let numsub = command(&[b"PUBSUB", b"NUMSUB", channel.as_bytes()]);
            // The reply is *2, $n, the channel, :count.
            matches!(self.query_lines(&[numsub], 4).await, Ok(lines) if lines[3] == format!(":{count}"))
        })
        .await;
    }

    /// Subscribes to the channels that match a pattern.
    pub async fn subscribe_to_pattern(&self, pattern: &str) -> Subscription {
        let mut link = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.expect("Redis listens"));
        link.get_mut().write_all(&command(&[b"PSUBSCRIBE", pattern.as_bytes()])).await.expect("Redis reads");
        let mut subscription = Subscription(link);
        // The reply is *3, psubscribe, the pattern, :1.
        for _ in 0..6 {
            subscription.line().await;
        }
        subscription
    }

    async fn is_up(&self) -> bool {
        matches!(self.query(&[command(&[b"PING"])]).await, Ok(lines) if lines[0] == "+PONG")
    }

    /// Sends commands whose replies are one line each.
    async fn query(&self, commands: &[Vec<u8>]) -> std::io::Result<Vec<String>> {
        self.query_lines(commands, commands.len()).await
    }

    async fn query_lines(&self, commands: &[Vec<u8>], lines: usize) -> std::io::Result<Vec<String>> {
        let mut link = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        if let Some(password) = &self.password {
            link.get_mut().write_all(&command(&[b"AUTH", password.as_bytes()])).await?;
            let mut ok = [0; 5];
            link.read_exact(&mut ok).await?;
        }
        link.get_mut().write_all(&commands.concat()).await?;
        let mut replies = Vec::with_capacity(lines);
        while replies.len() < lines {
            let mut line = String::new();
            if link.read_line(&mut line).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            replies.push(line.trim_end().to_owned());
        }
        Ok(replies)
    }
}

/// A connection that receives what is published to the channels of a pattern.
pub struct Subscription(BufReader<TcpStream>);

impl Subscription {
    /// The text of the next message in a channel.
    pub async fn next_on(&mut self, channel: &str) -> String {
        loop {
            // The message is *4, and four texts with their lengths: pmessage, the pattern, the channel, the text.
            let mut lines = Vec::with_capacity(9);
            while lines.len() < 9 {
                lines.push(self.line().await);
            }
            if lines[6] == channel {
                return lines.remove(8);
            }
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        in_time("a message of Redis", self.0.read_line(&mut line)).await.expect("Redis is up");
        line.trim_end().to_owned()
    }
}

/// A command in the Redis protocol.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Failure message if Redis cannot be started.
pub const STARTS: &str = "redis-server starts; on Debian: apt-get install redis-server, or see NODEVENT_TEST_REDIS";

/// The Redis server program of the tests; with `--sentinel` it is a Sentinel.
pub fn redis_server() -> Command {
    program("NODEVENT_TEST_REDIS", "redis-server")
}

/// The Redis command-line client of the tests.
pub fn redis_cli() -> Command {
    program("NODEVENT_TEST_REDIS_CLI", "redis-cli")
}

/// The program that an environment variable names, or the default one.
fn program(variable: &str, default: &str) -> Command {
    let name = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let is_found = name.starts_with('/') || (!name.is_empty() && !name.contains('/'));
    assert!(
        is_found,
        "{variable} is {name:?}; write an absolute path or a name on the PATH, because programs start in other folders"
    );
    Command::new(name)
}

/// Returns a port that is free at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
