//! A Redis with faults: a test kills or pauses it, restarts it with or without its data, or makes it refuse writes.

use crate::support::redis::{STARTS, free_port, redis_cli, redis_server};
use crate::support::wait::{in_time, until};
use nodevent_protocol::history;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A Redis process with its own folder and port.
pub struct Redis {
    pub port: u16,
    password: Option<String>,
    arguments: Vec<String>,
    folder: TempDir,
    child: Option<Child>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

// === impl Redis ===

impl Redis {
    /// Starts a Redis without persistence, unless `arguments` configure it.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments).await
    }

    /// Starts a Redis on a given port.
    pub async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        let folder = TempDir::new().expect("a folder");
        let mut redis = Self { port, password: None, arguments, folder, child: None };
        redis.start_again().await;
        redis
    }

    /// Starts a Redis that has every command on disk before it replies. (With `everysec` a slow disk can delay the
    /// write beyond the reply.)
    pub async fn start_durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// Starts Redis again on the same port, after it has exited.
    pub async fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut command = redis_server();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"]);
        command.args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect(STARTS));
        until("Redis responds", async || self.query(&["PING"]) == "PONG").await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM, as a package upgrade does, and waits until Redis has exited.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it ends");
        }
    }

    /// Sends SIGSTOP: the process exists and the kernel accepts its input, but it replies to nothing.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Sends SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)).expect("it runs");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Returns what `redis-cli` prints for a command.
    pub fn query(&self, command: &[&str]) -> String {
        let mut cli = redis_cli();
        cli.args(["-p", &self.port.to_string()]).env_remove("REDISCLI_AUTH");
        cli.args(self.password.iter().flat_map(|password| ["--no-auth-warning", "-a", password]));
        let output = cli.args(command).stdin(Stdio::null()).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command whose reply must be `OK`.
    pub fn expect_ok(&self, command: &[&str]) {
        assert_eq!(self.query(command), "OK", "{command:?}");
    }

    /// Sends a plain `PUBLISH`, whose text may be large.
    pub async fn publish_raw(&self, channel: &str, text: &str) {
        self.publish_repeatedly(channel, text, 1).await;
    }

    /// Sends the same `PUBLISH` several times in a row.
    pub async fn publish_repeatedly(&self, channel: &str, text: &str, times: usize) {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), text.len());
        let mut link = TcpStream::connect(("127.0.0.1", self.port)).await.expect("Redis listens");
        link.write_all(format!("{head}{text}\r\n").repeat(times).as_bytes()).await.expect("Redis reads");
        // Each reply is `:n`, the number of receivers, which is below ten.
        let mut replies = vec![0; times * ":n\r\n".len()];
        in_time("the replies to PUBLISH", link.read_exact(&mut replies)).await.expect("replies");
        assert!(replies.starts_with(b":"), "{}", String::from_utf8_lossy(&replies));
    }

    /// Publishes through the script, but to a channel without subscribers, as if the message were lost on the way.
    pub fn publish_without_delivery(&self, namespace: &str, room: &str, publication: &str) -> String {
        let keys = history::Keys::of(namespace, room);
        let reply = self.query(&[
            "EVAL",
            history::PUBLISH,
            "2",
            &keys.position,
            &keys.log,
            "nowhere",
            publication,
            "100",
            "60000",
            "60000",
            "00000000000000ff",
            "PUBLISH",
            "60000",
        ]);
        reply.lines().next().unwrap_or_default().to_owned()
    }

    /// Requires a password from now on, and disconnects all clients.
    pub fn require_password(&mut self, password: &str) {
        self.expect_ok(&["CONFIG", "SET", "requirepass", password]);
        self.password = Some(password.to_owned());
        self.query(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        self.query(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }

    /// Requires no password from now on.
    pub fn clear_password(&mut self) {
        self.expect_ok(&["CONFIG", "SET", "requirepass", ""]);
        self.password = None;
    }

    /// A namespace on this Redis, as YAML; `more` holds further settings.
    pub fn namespace(&self, name: &str, more: &str) -> String {
        namespace_at(name, self.port, more)
    }
}

/// A namespace with the Redis on that port of this machine.
pub fn namespace_at(name: &str, port: u16, more: &str) -> String {
    format!("{name}: {{redis: {{host: 127.0.0.1, port: {port}}}, history: {{size: 10000}}{more}}}\n")
}
