//! A Redis that is treated badly: killed, paused, restarted with or without its data, made read-only or poor.

use crate::support::redis::{STARTS, free_port, redis_cli, redis_server};
use crate::support::wait::{in_time, until};
use nodevent_protocol::history;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Stdio};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A Redis process with a folder and a port of its own.
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
    /// Starts one that keeps nothing on disk unless `arguments` say so.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments).await
    }

    /// Starts one on that port.
    pub async fn start_on(port: u16, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        let folder = TempDir::new().expect("a folder");
        let mut redis = Self { port, password: None, arguments, folder, child: None };
        redis.start_again().await;
        redis
    }

    /// Starts one that has every command on disk before it answers. (With `everysec` it usually has written it, but
    /// not while an earlier write to a slow disk is still under way.)
    pub async fn start_durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// Starts it again on the same port, after it has ended.
    pub async fn start_again(&mut self) {
        let port = self.port.to_string();
        let mut command = redis_server();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", "0"]);
        command.args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect(STARTS));
        until("Redis answers", async || self.ask(&["PING"]) == "PONG").await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM, as a package upgrade does; waits until it has ended.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("it ends");
        }
    }

    /// SIGSTOP: the process is there, the kernel takes what is sent to it, and nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)).expect("it runs");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// What `redis-cli` says to a command.
    pub fn ask(&self, command: &[&str]) -> String {
        let mut cli = redis_cli();
        cli.args(["-p", &self.port.to_string()]).env_remove("REDISCLI_AUTH");
        cli.args(self.password.iter().flat_map(|password| ["--no-auth-warning", "-a", password]));
        let output = cli.args(command).stdin(Stdio::null()).output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A command that must be answered with `OK`.
    pub fn order(&self, command: &[&str]) {
        assert_eq!(self.ask(command), "OK", "{command:?}");
    }

    /// A plain `PUBLISH` of something large.
    pub async fn shout(&self, channel: &str, text: &str) {
        self.shout_often(channel, text, 1).await;
    }

    /// The same, so many times one after the other.
    pub async fn shout_often(&self, channel: &str, text: &str, times: usize) {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), text.len());
        let mut link = TcpStream::connect(("127.0.0.1", self.port)).await.expect("Redis listens");
        link.write_all(format!("{head}{text}\r\n").repeat(times).as_bytes()).await.expect("Redis reads");
        // Each is `:n`, the number of its receivers, of which there are a few.
        let mut answers = vec![0; times * ":n\r\n".len()];
        in_time("the answers to PUBLISH", link.read_exact(&mut answers)).await.expect("answers");
        assert!(answers.starts_with(b":"), "{}", String::from_utf8_lossy(&answers));
    }

    /// Publishes through the script, but to a channel that nobody hears: as if the message were lost on its way.
    pub fn publish_elsewhere(&self, namespace: &str, room: &str, publication: &str) -> String {
        let keys = history::Keys::of(namespace, room);
        let answer = self.ask(&[
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
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// From now on it asks for a password, and whoever is connected is sent away.
    pub fn demand(&mut self, password: &str) {
        self.order(&["CONFIG", "SET", "requirepass", password]);
        self.password = Some(password.to_owned());
        self.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        self.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }

    /// It asks for no password any more.
    pub fn demand_nothing(&mut self) {
        self.order(&["CONFIG", "SET", "requirepass", ""]);
        self.password = None;
    }

    /// A namespace that lives here, as YAML; `more` are further settings of it.
    pub fn namespace(&self, name: &str, more: &str) -> String {
        namespace_at(name, self.port, more)
    }
}

/// A namespace whose Redis answers on that port of this machine.
pub fn namespace_at(name: &str, port: u16, more: &str) -> String {
    format!("{name}: {{redis: {{host: 127.0.0.1, port: {port}}}, history: {{size: 10000}}{more}}}\n")
}
