//! The server over real sockets: clients that ask, that send nonsense, that stop half-way.

use super::{CLIENT_TIME, HEAD_BYTES_MAX, MetricsServer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(CLIENT_TIME * 10)).unwrap();
    client.write_all(request).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn metrics(address: SocketAddr) -> String {
    ask(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n")
}

#[test]
fn the_last_text_is_served() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    assert!(metrics(server.address()).ends_with("\r\n\r\n# EOF\n"));
    for text in ["a 1\n# EOF\n", "a 2\n# EOF\n"] {
        server.publish(text.to_owned());
        assert!(metrics(server.address()).ends_with(text));
    }
    assert_eq!(server.note(), None);
    let open = MetricsServer::listen("0.0.0.0:0").unwrap();
    assert!(open.note().is_some_and(|note| note.contains("everyone")));
}

#[test]
fn a_text_larger_than_what_a_socket_holds_arrives_whole() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    let text = "a 1\n".repeat(2_000_000);
    server.publish(text.clone());
    assert!(metrics(server.address()).ends_with(&text));
}

#[test]
fn nonsense_is_answered_or_dropped_and_the_next_client_served() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    server.publish("a 1\n# EOF\n".to_owned());
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(2 * HEAD_BYTES_MAX));
    for nonsense in [&b"\x16\x03\x01\x02\x00"[..], b"\r\n\r\n\r\n\x00\xff\xff", b"GET\r\n\r\n", long.as_bytes()] {
        let answer = ask(server.address(), nonsense);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(metrics(server.address()).ends_with("a 1\n# EOF\n"));
    }
    // One that goes away without a word, and one that does not wait for its answer.
    drop(TcpStream::connect(server.address()).unwrap());
    TcpStream::connect(server.address()).unwrap().write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert!(metrics(server.address()).ends_with("a 1\n# EOF\n"));
}

#[test]
fn a_client_that_stops_half_way_keeps_others_waiting_no_longer_than_its_time() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    server.publish("a 1\n# EOF\n".to_owned());
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.write_all(b"G").unwrap();
    let began = Instant::now();
    assert!(metrics(server.address()).ends_with("a 1\n# EOF\n"));
    // Generous, for a busy machine.
    assert!(began.elapsed() < CLIENT_TIME * 4, "{:?}", began.elapsed());
}

#[test]
fn a_dropped_server_ends_at_once_and_frees_its_port() {
    // An address of its own, so that no other test is given its port meanwhile.
    let server = MetricsServer::listen("127.0.0.77:0").unwrap();
    let address = server.address();
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"G").unwrap();
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < CLIENT_TIME, "{:?}", began.elapsed());
    drop(slow);
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn an_address_that_is_taken_is_told_with_its_cure() {
    let server = MetricsServer::listen("127.0.0.1:0").unwrap();
    let error = MetricsServer::listen(&server.address().to_string()).err().unwrap().chain();
    assert!(error.contains("another program listens there; give another port"), "{error}");
}
