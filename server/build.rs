//! Compresses the files for browsers once, when the server is built: what is served lies ready in the binary.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The files of `client/dist` that the server serves; `src/http/assets.rs` names them too.
const FILES: [&str; 7] = [
    "console.css",
    "console.html",
    "console.js",
    "nodevent.js",
    "nodevent.js.map",
    "socket.io.js",
    "socket.io.js.map",
];

fn main() -> io::Result<()> {
    let missing = || io::Error::other("cargo sets the paths of a build script");
    let client = Path::new(&env::var_os("CARGO_MANIFEST_DIR").ok_or_else(missing)?).join("../client/dist");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(missing)?);
    for name in FILES {
        let path = client.join(name);
        println!("cargo:rerun-if-changed={}", path.display());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&fs::read(path)?)?;
        fs::write(out.join(format!("{name}.gz")), encoder.finish()?)?;
    }
    Ok(())
}
