//! A network and an `/etc` of a test's own, so that fixed ports and fixed files touch nothing of the machine.
//!
//! The test runs itself once more as a child in Linux namespaces: an empty network with a loopback and the address
//! [`ELSEWHERE`], and a temporary folder in place of `/etc`.

use std::path::Path;
use std::process::{Command, Output};

/// An address of the child's machine that is not its loopback.
pub const ELSEWHERE: &str = "192.0.2.1";
/// Tells the child that it is one.
const INSIDE: &str = "NODEVENT_TEST_ALONE";
/// Files of `/etc` that programs need to find `localhost` and users.
const KEPT: [&str; 4] = ["hosts", "nsswitch.conf", "passwd", "group"];
/// What the child's shell does before the test.
const PREPARE: &str = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && mount --bind \"$0\" /etc && \
                       exec \"$@\"";

/// Runs `test` alone; `name` is the full name of the calling test, by which it is run again.
pub fn alone(name: &str, test: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(test);
    }
    let etc = tempfile::tempdir().expect("a folder");
    for file in KEPT {
        let from = Path::new("/etc").join(file);
        if from.exists() {
            std::fs::copy(from, etc.path().join(file)).expect("a file is copied");
        }
    }
    let said = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let flags = ["-mn", "-rmn"].into_iter().find(|flags| {
        let tried = Command::new("unshare").args([flags, "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    });
    let flags = flags.expect(
        "this test needs a network namespace of its own, and `unshare` is missing or not permitted here: run the \
         tests as root, or allow user namespaces (sysctl -w kernel.unprivileged_userns_clone=1), or start the \
         container with --cap-add SYS_ADMIN",
    );
    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new("unshare");
    child.args([flags, "sh", "-c", PREPARE]).arg(etc.path()).arg(own);
    child.args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = child.output().expect("unshare runs");
    let said = said(&output);
    assert!(
        output.status.success(),
        "alone in its namespaces the test failed (it needs `ip`, on Debian: apt-get install iproute2):\n{said}"
    );
    assert!(said.contains("1 passed"), "there is no test of the name {name}:\n{said}");
}
