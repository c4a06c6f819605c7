//! The binary as an operator runs it: arguments in, standard error and a status out.

use super::site::Site;
use super::wait::{in_time, until};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The binary.
pub const NODEVENT: &str = env!("CARGO_BIN_EXE_nodevent");
/// Variables that would change what it does.
const VARIABLES: [&str; 5] = ["NODEVENT_CONFIG", "NODEVENT_ENV", "NODEVENT_LOG", "RAILS_ENV", "RACK_ENV"];

/// A running server process; killed when it is dropped.
pub struct Program {
    child: Child,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    lines: Vec<String>,
    /// Whether no more will come, since the program has ended.
    whole: bool,
}

// === impl Program ===

impl Program {
    /// Runs it to its end.
    pub async fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Output {
        let mut command = command(folder);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        in_time("the program ends", command.output()).await.expect("the program runs")
    }

    /// Starts it as a server with this configuration, and waits until it listens.
    pub async fn serve(folder: &Path, configuration: &str) -> Self {
        let file = folder.join("nodevent.yml");
        std::fs::write(&file, configuration).expect("a file is written");
        let mut start = command(folder);
        start.arg(file);
        let program = Self::spawn(start);
        program.listening().await;
        program
    }

    /// Starts `command`, whose standard error is the log.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let log = Arc::new(Mutex::new(Log::default()));
        let mut lines = BufReader::new(child.stderr.take().expect("a standard error")).lines();
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().expect("the log").lines.push(line);
            }
            kept.lock().expect("the log").whole = true;
        });
        Self { child, log }
    }

    /// The lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").lines.clone()
    }

    /// Waits until a line of the log contains `text`; answers the line.
    pub async fn says(&self, text: &str) -> String {
        let find = || self.log().into_iter().find(|line| line.contains(text));
        until(&format!("the log says `{text}`"), async || {
            let whole = self.log.lock().expect("the log").whole;
            let found = find().is_some();
            assert!(found || !whole, "the program ended and did not say `{text}`:\n{}", self.log().join("\n"));
            found
        })
        .await;
        find().expect("it was found")
    }

    /// Waits until it listens; answers where, the public listeners first.
    pub async fn listening(&self) -> Vec<String> {
        self.says("listening url=").await;
        let url = |line: String| line.split_once("url=").map(|(_, url)| url.trim().to_owned());
        self.log().into_iter().filter_map(url).collect()
    }

    /// Its first public listener.
    pub async fn site(&self) -> Site {
        Site::at(&self.listening().await[0])
    }

    /// Its admin listener.
    pub async fn admin(&self) -> Site {
        let line = self.says("listening for administration url=").await;
        Site::at(line.split_once("url=").expect("a URL").1.trim())
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// Kills it, and waits until it is gone and its ports are free.
    pub async fn kill(mut self) {
        in_time("the program is gone", self.child.kill()).await.expect("the program is killed");
    }

    /// Waits until it ends; answers its status.
    pub async fn status(&mut self) -> Option<i32> {
        in_time("the program ends", self.child.wait()).await.expect("a status").code()
    }
}

/// The binary, to be run in `folder` and in no environment of ours.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(NODEVENT);
    clean(&mut command, folder);
    command
}

/// Has `command` run in `folder` and without variables that would change what the binary does.
pub fn clean(command: &mut Command, folder: &Path) {
    command.current_dir(folder);
    VARIABLES.iter().for_each(|name| {
        command.env_remove(name);
    });
}
