//! Standard input: each line is a text.
//!
//! A thread of its own reads it, because a read that waits cannot be cancelled. It ends with the process.

use super::lines::Lines;
use super::{Sink, Source};
use std::io::Read as _;
use std::pin::Pin;
use std::thread;
use tokio::sync::mpsc;

/// Pieces that wait for their delivery. Until there is a place, nothing is read, so the writer of a pipe waits.
const MAX_WAITING: usize = 16;
/// Bytes of a piece.
const PIECE: usize = 16 * 1024;

/// See the head of this file.
pub(super) struct StandardInput;

// === impl StandardInput ===

impl Source for StandardInput {
    fn run(self: Box<Self>, sink: Sink) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (sender, mut pieces) = mpsc::channel(MAX_WAITING);
        let reader = thread::Builder::new().name("stdin".to_owned()).spawn(move || read(&sender));
        Box::pin(async move {
            if let Err(error) = reader {
                tracing::error!(%error, "standard input cannot be read");
                return;
            }
            let mut lines = Lines::default();
            while let Some(piece) = pieces.recv().await {
                for line in lines.push(&piece) {
                    sink.send(&line).await;
                }
            }
            if let Some(line) = lines.end() {
                sink.send(&line).await;
            }
            tracing::info!("standard input has ended");
        })
    }
}

fn read(sender: &mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        match std::io::stdin().lock().read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "standard input cannot be read any more");
                return;
            }
        }
    }
}
