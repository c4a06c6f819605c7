//! `bind`, `port`, `ssl`, `listen` and `admin`: where the server listens.

use super::report::Report;
use super::table::Table;
use super::tree::{Node, Value};
use std::path::{Path, PathBuf};

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address to bind, a name or a number.
    pub host: String,
    /// The port; 0 picks a free one.
    pub port: u16,
    /// The files of TLS.
    pub tls: Option<TlsFiles>,
}

/// The files of TLS, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The port where none is named.
pub const PORT: u16 = 8080;
/// The port of the admin listener where none is named.
const ADMIN_PORT: u16 = 8081;

/// Reads the public listeners. `folder` is where the file stands: other files are looked for from there.
pub fn public(table: &mut Table<'_>, folder: &Path, report: &mut Report) -> Vec<Listen> {
    // Old files name both addresses `host`: the one that browsers use has a scheme, the one to bind has none.
    let old = table.text(&["host"], report).filter(|host| !host.contains("://"));
    let host = table.text(&["bind"], report).or(old).unwrap_or_else(|| "0.0.0.0".to_owned());
    // The address that browsers use is for the gem.
    table.take(&["public_url"]);
    let port = table.number(&["port"], 0, u16::MAX, report);
    let tls = ssl(table, folder, report);
    let mut all = Vec::new();
    let list = table.take(&["listen"]);
    if let Some(Node { value: Value::List(list), .. }) = list {
        for (index, node) in list.iter().enumerate() {
            let Some(mut table) = Table::open(node, &format!("listen[{index}]"), report) else { continue };
            let own = table.text(&["bind", "host"], report).unwrap_or_else(|| host.clone());
            let tls = ssl(&mut table, folder, report);
            match table.number(&["port"], 0, u16::MAX, report) {
                Some(port) => all.push(Listen { host: own, port, tls }),
                None => report.mistake(table.place, format!("listen[{index}] has no port"), "write `port: 8080`"),
            }
            table.finish(report);
        }
    } else if let Some(node) = list {
        report.mistake(node.place, "listen is not a list", "write `listen: [{port: 8080}]`");
    }
    if port.is_some() || all.is_empty() {
        all.push(Listen { host, port: port.unwrap_or(PORT), tls });
    }
    all
}

/// Reads the admin listener. `None`: there is none.
pub fn admin(table: &mut Table<'_>, report: &mut Report) -> Option<Listen> {
    let node = table.take(&["admin"])?;
    if matches!(&node.value, Value::Scalar(text) if text == "off" || text == "false") {
        return None;
    }
    let mut table = Table::open(node, "admin", report)?;
    let host = table.text(&["bind", "host"], report).unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = table.number(&["port"], 0, u16::MAX, report).unwrap_or(ADMIN_PORT);
    table.finish(report);
    Some(Listen { host, port, tls: None })
}

fn ssl(table: &mut Table<'_>, folder: &Path, report: &mut Report) -> Option<TlsFiles> {
    let name = table.name("ssl");
    let node = table.take(&["ssl", "tls"])?;
    let mut table = Table::open(node, &name, report)?;
    let mut file = |key: &'static str| {
        let place = table.place_of(&[key]);
        let Some(text) = table.text(&[key], report) else {
            report.mistake(place, format!("{name} has no {key}"), format!("write `{key}: <file>`, PEM"));
            return None;
        };
        let path = folder.join(text);
        if let Err(error) = std::fs::File::open(&path) {
            let what = format!("{name}.{key}: {} cannot be read: {error}", path.display());
            report.mistake(place, what, "name a readable PEM file");
        }
        Some(path)
    };
    let files = file("cert").zip(file("key"));
    table.finish(report);
    files.map(|(cert, key)| TlsFiles { cert, key })
}
