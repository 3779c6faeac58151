//! A stream against rustls's own server on a loopback socket: what servers seldom do, and what sockets do under load.

use super::stream::TlsStream;
use super::verify::Anyone;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// A stream whose handshake is done, and the other end, whose socket blocks.
fn pair() -> (TlsStream, ServerConnection, TcpStream) {
    let provider = Arc::new(ring::default_provider());
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone::new(provider)))
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    let stream = TlsStream::new(near, Arc::new(client), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let other = thread::spawn(move || {
        while server.is_handshaking() {
            server.complete_io(&mut far).unwrap();
        }
        // Tickets.
        while server.wants_write() {
            server.write_tls(&mut far).unwrap();
        }
        (server, far)
    });
    wait(|| stream.shake_hands());
    let (server, far) = other.join().unwrap();
    (stream, server, far)
}

/// Does it until it does not say `WouldBlock`.
fn wait<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            done => return done.unwrap(),
        }
    }
}

fn send(server: &mut ServerConnection, far: &mut TcpStream, bytes: &[u8]) {
    for part in bytes.chunks(10_000) {
        server.writer().write_all(part).unwrap();
        while server.wants_write() {
            server.write_tls(far).unwrap();
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

#[test]
fn reads_of_any_size_lose_nothing_and_say_when_nothing_is_kept() {
    let (stream, mut server, mut far) = pair();
    let sent = pattern(300_000);
    let expected = sent.clone();
    let writing = thread::spawn(move || {
        send(&mut server, &mut far, &sent);
        (server, far)
    });
    let mut received = Vec::new();
    for size in [1, 7, 4_000, 70_000].into_iter().cycle() {
        let mut buffer = vec![0; size];
        let count = wait(|| stream.try_read(&mut buffer));
        received.extend_from_slice(buffer.get(..count).unwrap());
        if received.len() == expected.len() {
            break;
        }
    }
    assert!(received == expected);
    // Nothing is kept, and the other end is still there.
    let (mut server, mut far) = writing.join().unwrap();
    let error = stream.try_read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    send(&mut server, &mut far, b"abc");
    let mut buffer = [0; 2];
    assert_eq!(wait(|| stream.try_read(&mut buffer)), 2);
    assert_eq!(wait(|| stream.try_read(&mut buffer)), 1);
    server.send_close_notify();
    server.write_tls(&mut far).unwrap();
    assert_eq!(wait(|| stream.try_read(&mut buffer)), 0, "a goodbye is the end");
}

#[test]
fn what_the_socket_does_not_take_is_kept_in_order_and_sent_later() {
    let (stream, mut server, mut far) = pair();
    let all = pattern(40_000_000);
    let mut taken = 0;
    // The other end does not read: at some point nothing more fits.
    let stuck = loop {
        match stream.try_write(all.get(taken..).unwrap()) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
    };
    assert_eq!(stuck.kind(), io::ErrorKind::WouldBlock);
    assert!(stream.holds_bytes());
    assert_eq!(stream.flush().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let expected = all.get(..taken).unwrap().to_vec();
    let reading = thread::spawn(move || {
        let mut received = Vec::new();
        let mut buffer = [0; 20_000];
        while received.len() < expected.len() {
            match server.reader().read(&mut buffer) {
                Ok(count) => received.extend_from_slice(buffer.get(..count).unwrap()),
                Err(_) => {
                    server.read_tls(&mut far).unwrap();
                    server.process_new_packets().unwrap();
                }
            }
        }
        received == expected
    });
    wait(|| stream.flush());
    assert!(!stream.holds_bytes());
    assert!(reading.join().unwrap());
}

#[test]
fn reading_answers_a_change_of_keys() {
    let (stream, mut server, mut far) = pair();
    for round in 0..3_u8 {
        server.refresh_traffic_keys().unwrap();
        send(&mut server, &mut far, &[round; 5]);
        let mut buffer = [0; 5];
        assert_eq!(wait(|| stream.try_read(&mut buffer)), 5);
        assert_eq!(buffer, [round; 5]);
        // What answers the server goes out by itself or with what follows.
        assert_eq!(wait(|| stream.try_write(b"pong")), 4);
        wait(|| stream.flush());
        let mut answer = Vec::new();
        while answer.len() < 4 {
            server.read_tls(&mut far).unwrap();
            server.process_new_packets().unwrap();
            // `WouldBlock` where only a part has come.
            let _ = server.reader().read_to_end(&mut answer);
        }
        assert_eq!(answer, b"pong");
    }
}

#[test]
fn bytes_that_are_not_tls_are_an_error_that_stays() {
    let (stream, _server, mut far) = pair();
    far.write_all(b"-ERR no\r\n").unwrap();
    for _ in 0..2 {
        let error = loop {
            match stream.try_read(&mut [0; 10]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                result => break result.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
