//! The bare `write()` loop: one thread, one room, one `write()` per publication and connection, and nothing else.
//!
//! It shows the cost of the kernel: no server that writes to its sockets one by one can cost less. It has no handshake,
//! no rooms and no send buffers, and closes a connection whose socket does not accept a whole frame.
//!
//! Usage: `bare <port of connections> <port of the publisher>`. A publisher sends one publication per line.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

fn main() -> std::io::Result<()> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>().expect("usage: bare <port> <port>"));
    let mut bind = || TcpListener::bind(("127.0.0.1", ports.next().expect("usage: bare <port> <port>")));
    let (connections, publishers) = (bind()?, bind()?);
    let sockets: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let accepted = Arc::clone(&sockets);
    thread::spawn(move || {
        for socket in connections.incoming().flatten() {
            let ready = socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true));
            if ready.is_ok() && (&socket).write_all(b"\x81\x05ready").is_ok() {
                accepted.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
            }
        }
    });
    for publisher in publishers.incoming() {
        for line in BufReader::new(publisher?).lines() {
            let frame = frame(&line?);
            let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.retain(|mut socket| socket.write(&frame).is_ok_and(|count| count == frame.len()));
        }
    }
    Ok(())
}

/// Returns the bytes that our server sends for a publication.
fn frame(publication: &str) -> Vec<u8> {
    let packet = format!("42/nodevent,[\"event\",{publication}]");
    let mut frame = vec![0x81];
    match packet.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(packet.as_bytes());
    frame
}
