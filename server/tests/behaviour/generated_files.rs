//! Files that the command line writes about itself.

use crate::support::Program;
use std::path::Path;

async fn printed(arguments: &[&str]) -> String {
    let output = Program::run(Path::new("."), arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `--help` lists.
async fn commands() -> Vec<String> {
    let help = printed(&["--help"]).await;
    let list = help.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap().to_owned();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned));
    names.filter(|name| !name.is_empty() && name != "help").collect()
}

#[tokio::test]
async fn completions_and_the_manual_page_have_every_command() {
    // N-12
    let commands = commands().await;
    assert!(commands.len() > 10 && commands.iter().any(|name| name == "reload"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let text = printed(&["completions", shell]).await;
        for name in &commands {
            assert!(text.contains(name.as_str()), "{shell}: {name}");
        }
        assert!(text.contains("offline"), "{shell} completes options");
    }
    let page = printed(&["man"]).await;
    assert!(page.contains(".TH") && page.contains(".SH NAME"), "{page}");
    for name in &commands {
        assert!(page.contains(&format!("nodevent\\-{name}(1)")), "{name}: {page}");
        let of_command = printed(&["man", name]).await;
        assert!(of_command.contains(".TH") && of_command.contains(name.as_str()), "{name}");
    }
    let unknown = Program::run(Path::new("."), &["man", "fly"]).await;
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert_eq!(unknown.status.code(), Some(64), "{error}");
    assert!(error.contains("there is no command `fly`, only serve"), "{error}");
}
