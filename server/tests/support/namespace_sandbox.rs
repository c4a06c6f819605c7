//! A private network and `/etc` for a test, so that it can use fixed ports and files without touching the machine.
//!
//! The test runs itself again as a child in Linux namespaces: an empty network with a loopback interface and the
//! address [`EXTERNAL_ADDRESS`], and a temporary folder in place of `/etc`.

use std::path::Path;
use std::process::{Command, Output};

/// An address of the sandbox that is not a loopback address.
pub const EXTERNAL_ADDRESS: &str = "192.0.2.1";
/// Environment variable that marks the child process.
const INSIDE: &str = "NODEVENT_TEST_SANDBOX";
/// Files of `/etc` that programs need to find `localhost` and users.
const KEPT: [&str; 4] = ["hosts", "nsswitch.conf", "passwd", "group"];
/// Shell commands that the child runs before the test.
const PREPARE: &str = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && mount --bind \"$0\" /etc && \
                       exec \"$@\"";

/// Runs `test` in a sandbox; `name` is the full name of the calling test, which runs again under that name.
pub fn in_sandbox(name: &str, test: impl Future<Output = ()>) {
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
    let printed = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let flags = ["-mn", "-rmn"].into_iter().find(|flags| {
        let tried = Command::new("unshare").args([flags, "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    });
    let flags = flags.expect(
        "this test needs a private network namespace, and `unshare` is missing or not permitted: run the tests as \
         root, allow user namespaces (sysctl -w kernel.unprivileged_userns_clone=1), or start the container with \
         --cap-add SYS_ADMIN",
    );
    let this_program = std::env::current_exe().expect("this program");
    let mut child = Command::new("unshare");
    child.args([flags, "sh", "-c", PREPARE]).arg(etc.path()).arg(this_program);
    child.args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
    let output = child.output().expect("unshare runs");
    let printed = printed(&output);
    assert!(
        output.status.success(),
        "the test failed in its sandbox (it needs `ip`; on Debian: apt-get install iproute2):\n{printed}"
    );
    assert!(printed.contains("1 passed"), "there is no test named {name}:\n{printed}");
}
