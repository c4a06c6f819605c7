//! A proxy on a free port, which stops when the test ends.

use crate::support::Site;
use crate::support::redis::free_port;
use crate::support::wait::until;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) site: Site,
    _child: Child,
    _folder: TempDir,
}

/// The settings of nginx that keep all its files in `folder`.
fn nginx_file(folder: &Path, port: u16, http: &str, locations: &str) -> String {
    let folder = folder.display();
    format!(
        "user root; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         {http}\n\
         server {{ listen 127.0.0.1:{port}; {locations} }}\n\
         }}\n"
    )
}

// === impl Proxy ===

impl Proxy {
    /// Starts nginx with these directives at the top of `http` and in `location /`.
    pub(crate) async fn nginx(http: &str, location: &str) -> Self {
        Self::nginx_with_locations(http, &format!("location / {{ {location} }}")).await
    }

    /// Starts nginx with these directives at the top of `http`, and these locations.
    pub(crate) async fn nginx_with_locations(http: &str, locations: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, nginx_file(folder.path(), port, http, locations)).expect("a file is written");
        let mut command = Command::new("nginx");
        command.arg("-e").arg(folder.path().join("error.log")).arg("-c").arg(&file);
        Self::start(command, port, folder).await
    }

    /// Starts HAProxy with these lines of `defaults`, and this server line.
    pub(crate) async fn haproxy(defaults: &str, server: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("haproxy.cfg");
        let settings = format!(
            "defaults\n{defaults}\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend front\n  bind 127.0.0.1:{port}\n  default_backend back\n\
             backend back\n  server one {server}\n"
        );
        std::fs::write(&file, settings).expect("a file is written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        Self::start(command, port, folder).await
    }

    /// Starts HAProxy with this file, in which `bind` is the line of its frontend.
    pub(crate) async fn haproxy_as_written(file: &str, bind: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        assert!(file.contains(bind), "{file}");
        let path = folder.path().join("haproxy.cfg");
        std::fs::write(&path, file.replace(bind, &format!("bind 127.0.0.1:{port}"))).expect("a file is written");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&path);
        Self::start(command, port, folder).await
    }

    async fn start(mut command: Command, port: u16, folder: TempDir) -> Self {
        // Debian has both in a folder that is not on every user's PATH.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).stdin(Stdio::null()).stdout(Stdio::null());
        let started = command.stderr(Stdio::null()).kill_on_drop(true).spawn();
        let mut child = started.expect("nginx and haproxy are installed (Debian: nginx-light, haproxy)");
        let address = format!("127.0.0.1:{port}");
        until("the proxy listens", async || {
            let ended = child.try_wait().expect("a status");
            let log = || std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "the proxy exited with {ended:?}: {}", log());
            TcpStream::connect(&address).await.is_ok()
        })
        .await;
        Self { site: Site::at(&format!("http://{address}")), _child: child, _folder: folder }
    }
}

/// Opens a connection from this address of this machine.
pub(crate) async fn dial_from(source: &str, site: &Site) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{source}:0").parse().expect("an address")).expect("an address of this machine");
    socket.connect(site.address.parse().expect("an address")).await.expect("the server listens")
}
