//! The binary as an operator runs it: with arguments, standard error and an exit status.

use super::site::Site;
use super::wait::{in_time, until};
use super::wall_clock::WallClock;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The binary.
pub const NODEVENT: &str = env!("CARGO_BIN_EXE_nodevent");
/// Environment variables that would change its behaviour.
const VARIABLES: [&str; 7] = [
    "NODEVENT_CONFIG",
    "NODEVENT_ENV",
    "NODEVENT_LOG",
    "RAILS_ENV",
    "RACK_ENV",
    "TURTED_LOGLEVEL",
    "TURTED_PUSH_PASSWORD",
];

/// A running server process, which is killed on drop.
pub struct Program {
    child: Child,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    /// True after the program has closed its standard error.
    complete: bool,
}

// === impl Program ===

impl Program {
    /// Runs the binary until it exits.
    pub async fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Output {
        let mut command = command(folder);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        in_time("the program exits", command.output()).await.expect("the program runs")
    }

    /// Starts a server with this configuration, and waits until it listens.
    pub async fn serve(folder: &Path, configuration: &str) -> Self {
        Self::serve_with(folder, configuration, None).await
    }

    /// Does the same with a clock that jumps.
    pub async fn serve_with_clock(folder: &Path, configuration: &str, clock: &WallClock) -> Self {
        Self::serve_with(folder, configuration, Some(clock)).await
    }

    async fn serve_with(folder: &Path, configuration: &str, clock: Option<&WallClock>) -> Self {
        let file = folder.join("nodevent.yml");
        std::fs::write(&file, configuration).expect("a file is written");
        let mut start = command(folder);
        start.arg(file).envs(clock.map(WallClock::environment).unwrap_or_default());
        let program = Self::spawn(start);
        program.listening().await;
        program
    }

    /// Starts `command`, whose standard error is the log.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(Log::default()));
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let shared = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                shared.lock().expect("the log").lines.push(line);
            }
            shared.lock().expect("the log").complete = true;
        });
        Self { child, log }
    }

    /// Returns the log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").lines.clone()
    }

    /// Waits until a log line contains `text`, and returns the line.
    pub async fn logs(&self, text: &str) -> String {
        let find = || self.log().into_iter().find(|line| line.contains(text));
        until(&format!("the log contains `{text}`"), async || {
            let complete = self.log.lock().expect("the log").complete;
            let found = find().is_some();
            assert!(found || !complete, "the program exited without logging `{text}`:\n{}", self.log().join("\n"));
            found
        })
        .await;
        find().expect("it was found")
    }

    /// Waits until the server listens, and returns its URLs, the public listeners first.
    pub async fn listening(&self) -> Vec<String> {
        self.logs("listening url=").await;
        let url = |line: String| line.split_once("url=").map(|(_, url)| url.trim().to_owned());
        self.log().into_iter().filter_map(url).collect()
    }

    /// The first public listener.
    pub async fn site(&self) -> Site {
        Site::at(&self.listening().await[0])
    }

    /// The admin listener.
    pub async fn admin(&self) -> Site {
        let line = self.logs("listening for administration url=").await;
        Site::at(line.split_once("url=").expect("a URL").1.trim())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Kills the process, and waits until it has exited and its ports are free.
    pub async fn kill(mut self) {
        in_time("the program exits", self.child.kill()).await.expect("the program is killed");
    }

    /// Waits until the process exits, and returns its status.
    pub async fn status(&mut self) -> Option<i32> {
        in_time("the program exits", self.child.wait()).await.expect("a status").code()
    }
}

/// A command for the binary, in `folder` and without environment variables that change its behaviour.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(NODEVENT);
    clean(&mut command, folder);
    command
}

/// Sets the folder of a command and removes the environment variables that change the binary's behaviour.
pub fn clean(command: &mut Command, folder: &Path) {
    command.current_dir(folder);
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
}
