//! Where to listen, as people write it, and what to do when that is not possible.

use crate::error::Error;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// The port that exporters of OpenTelemetry use for Prometheus.
const PORT: u16 = 9464;

/// The addresses that a text stands for; without a host it is this machine, without a port 9464.
pub(super) fn parsed(text: &str) -> Result<Vec<SocketAddr>, Error> {
    let text = text.trim();
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(vec![(ip, PORT).into()]);
    }
    let wrong = || {
        format!(
            "listen for metrics at '{text}': expected HOST:PORT, HOST or PORT, such as 127.0.0.1:{PORT} or localhost"
        )
    };
    // A number alone would be read as an address of four bytes.
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::new(wrong()));
    }
    let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let found = if has_port { text.to_socket_addrs() } else { (text, PORT).to_socket_addrs() };
    found.map(Iterator::collect).map_err(|e| Error::because(wrong(), e))
}

/// The error of an address that is one, but not for us.
pub(super) fn cannot_listen(address: &str, error: io::Error) -> Error {
    let cure = match error.kind() {
        ErrorKind::AddrInUse => "another program listens there; give another port, or 0 for any that is free",
        ErrorKind::AddrNotAvailable => "this machine does not have that address; give 127.0.0.1 with a port",
        ErrorKind::PermissionDenied => "ports below 1024 are for root; give a higher one",
        _ => "give another address",
    };
    Error::because(format!("listen for metrics at '{address}': {cure}"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address) in [
            ("9100", "127.0.0.1:9100"),
            (":9100", "127.0.0.1:9100"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0", "0.0.0.0:9464"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("::1", "[::1]:9464"),
            ("[::1]", "[::1]:9464"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(parsed(text).unwrap(), [address.parse::<SocketAddr>().unwrap()], "{text}");
        }
        assert!(
            parsed("localhost").unwrap().iter().all(|address| address.ip().is_loopback() && address.port() == PORT)
        );
        for wrong in ["", " ", "99999", "127.0.0.1:x", "300.1.1.1:1", "a b", "http://127.0.0.1:9464/metrics"] {
            let error = parsed(wrong).unwrap_err().chain();
            assert!(error.contains("expected HOST:PORT"), "{wrong}: {error}");
        }
    }
}
