//! TLS handshakes, in which clients have their turns.
//!
//! The first message of a client costs it nothing, and the server a signature: with RSA, a thousand of them are a second of a
//! core. So each step of a handshake waits for its turn, and clients have theirs one after another. The time in which a
//! client sends nothing takes no turn.

use crate::client::Client;
use crate::fair_turns::FairLanes;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Steps at a time. All of one client have the same turns, so that it keeps one core busy at most.
const STEPS_AT_ONCE: usize = 8;

/// The turns of a server's handshakes.
pub(super) type Turns = FairLanes<STEPS_AT_ONCE>;

/// Does the handshake of a client.
///
/// # Cancel safety
/// Not cancel safe: what was read is lost.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    turns: &Turns,
    acceptor: &TlsAcceptor,
    stream: S,
    client: Client,
) -> io::Result<TlsStream<S>> {
    let mut handshake = pin!(acceptor.accept(stream));
    loop {
        let (_ticket, turn) = turns.wait(&client, client);
        let turn = turn.await.ok();
        // Others that can continue take their tickets, so that the next turn is not that of the task that runs first.
        tokio::task::yield_now().await;
        let step = poll_fn(|context| Poll::Ready(handshake.as_mut().poll(context))).await;
        drop(turn);
        match step {
            Poll::Ready(accepted) => return accepted,
            Poll::Pending => woken().await,
        }
    }
}

/// Waits until the task is woken.
async fn woken() {
    let mut is_woken = false;
    poll_fn(|_| match std::mem::replace(&mut is_woken, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use rustls::crypto::ring;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
    use rustls_pki_types::PrivateKeyDer;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    fn acceptor() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        TlsAcceptor::from(Arc::new(config.with_single_cert(vec![made.cert.der().clone()], key).unwrap()))
    }

    /// The first message of a client.
    fn hello() -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn handshakes_of_one_client_do_not_keep_another_one_waiting() {
        let (turns, acceptor, hello) = (Arc::new(Turns::default()), acceptor(), hello());
        let begin = async |host: u8| -> DuplexStream {
            let (mut stream, accepted) = duplex(64 * 1024);
            stream.write_all(&hello).await.unwrap();
            let (turns, acceptor) = (Arc::clone(&turns), acceptor.clone());
            let client = Client::of([10, 0, 0, host].into());
            tokio::spawn(async move { accept(&turns, &acceptor, accepted, client).await.map(drop) });
            stream
        };
        let mut flood = Vec::new();
        for _ in 0..500 {
            flood.push(begin(1).await);
        }
        let mut other = begin(2).await;
        other.read_u8().await.unwrap();
        let mut before = 0;
        for stream in &mut flood {
            before += usize::from(stream.read_u8().now_or_never().is_some());
        }
        assert!(before < 50, "{before} handshakes of the flood came before");
        for stream in &mut flood[450..] {
            stream.read_u8().await.unwrap();
        }
    }
}
