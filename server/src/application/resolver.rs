//! The addresses of the application. `localhost` is this machine in both versions of IP, as in browsers, whatever the
//! machine's table of hosts says (RFC 6761, section 6.3): an application may listen on one of them only.

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::vec::IntoIter;
use tower::util::ServiceFn;

/// The addresses of a name, in the order in which they are tried.
type Addresses = Pin<Box<dyn Future<Output = io::Result<IntoIter<SocketAddr>>> + Send>>;
/// What the HTTP client asks for addresses.
type Resolver = ServiceFn<fn(Name) -> Addresses>;
/// Opens connections to these addresses.
pub(super) type Connector = HttpConnector<Resolver>;

/// Returns a connector.
pub(super) fn connector() -> Connector {
    HttpConnector::new_with_resolver(tower::service_fn(resolve as fn(Name) -> Addresses))
}

fn resolve(name: Name) -> Addresses {
    Box::pin(async move {
        if is_localhost(name.as_str()) {
            let addresses = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
            return Ok(Vec::from(addresses).into_iter());
        }
        let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
        Ok(found.collect::<Vec<SocketAddr>>().into_iter())
    })
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_this_machine_in_both_versions_of_ip() {
        for name in ["localhost", "LocalHost.", "app.localhost"] {
            let addresses: Vec<SocketAddr> = resolve(name.parse().unwrap()).await.unwrap().collect();
            assert_eq!(addresses, [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()], "{name}");
        }
        assert!(!is_localhost("localhost.example.com"));
        let address: Vec<SocketAddr> = resolve("192.0.2.1".parse().unwrap()).await.unwrap().collect();
        assert_eq!(address, ["192.0.2.1:0".parse().unwrap()]);
    }
}
