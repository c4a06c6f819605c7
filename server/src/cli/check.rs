//! `nodevent check`: reads a configuration and tells what is wrong with it, and with what a server of it meets.

use super::{Done, UNAVAILABLE, diagnostics, http, load};
use std::path::Path;

pub(super) fn run(file: Option<&Path>, offline: bool, origin: Option<&str>) -> Done {
    let loaded = load(file)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match &loaded.file {
        Some(file) => println!("{}: fine", file.display()),
        None => println!("no configuration file was found; the defaults are fine"),
    }
    for namespace in &loaded.config.namespaces {
        let engine = namespace.redis.as_ref().map_or("memory".to_owned(), |redis| format!("redis at {redis}"));
        let secured = if namespace.secrets.is_empty() { "open to everybody" } else { "secured" };
        let history = if namespace.history.is_on() { "history" } else { "no history" };
        println!("  {}: {engine}, {secured}, {history}", namespace.name);
    }
    if offline {
        return Ok(());
    }
    http::run(async {
        let findings = diagnostics::look(&loaded, origin).await;
        match findings.any_bad {
            true => Err((UNAVAILABLE, "one or more checks failed (see FAIL above)".to_owned())),
            false => Ok(()),
        }
    })
}
