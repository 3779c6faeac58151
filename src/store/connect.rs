//! From a configuration to a connection that is logged in and set up.

use super::login::log_in;
use super::tls::{self, TlsStream};
use super::transport::{Readiness, Socket};
use crate::config::{Config, Target, Tls};
use crate::error::{Error, Kind, Result};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep, timeout_at};

/// One server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// Name or address without brackets, and port.
    Tcp { host: String, port: u16 },
    /// Its socket file.
    Unix { path: PathBuf },
}

impl Endpoint {
    /// The server that a configuration names, where it names one.
    pub(crate) fn of(target: &Target) -> Option<Self> {
        match target {
            Target::Tcp { host, port } => Some(Self::Tcp { host: host.clone(), port: *port }),
            Target::Unix { path } => Some(Self::Unix { path: path.clone() }),
            Target::Memory
            | Target::Disabled
            | Target::Cluster { .. }
            | Target::Sentinel { .. }
            | Target::Upstash { .. } => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix { path } => write!(f, "{}", path.display()),
        }
    }
}

/// A connection that is being set up.
pub(super) struct Line {
    pub(super) socket: Socket,
    readiness: Readiness,
    /// For messages.
    pub(super) address: String,
}

/// Connects to `endpoint` within the configuration's connect timeout, encrypted where the configuration says so.
pub(crate) async fn connect(config: &Config, endpoint: &Endpoint) -> Result<Socket> {
    let deadline = Instant::now() + config.connect_timeout;
    let attempt = async {
        let line = open(config, endpoint, deadline).await?;
        log_in(&line, config).await?;
        Ok(line.socket)
    };
    within(endpoint, deadline, attempt).await
}

/// `attempt`, or the error of a server that does not answer in time.
pub(super) async fn within<T>(
    endpoint: &Endpoint,
    deadline: Instant,
    attempt: impl Future<Output = Result<T>>,
) -> Result<T> {
    let millis = deadline.saturating_duration_since(Instant::now()).as_millis();
    timeout_at(deadline, attempt).await.unwrap_or_else(|_| {
        Err(Error::new(
            Kind::ConnectTimeout,
            format!("no usable connection to {endpoint} within {millis} ms"),
        ))
    })
}

/// A connection to `endpoint` that bytes can be sent over.
pub(super) async fn open(config: &Config, endpoint: &Endpoint, deadline: Instant) -> Result<Line> {
    let address = endpoint.to_string();
    let socket = match endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = dial(host, *port, config.keep_alive, deadline, &address).await?;
            if let Some(tls) = &config.tls {
                return encrypt(stream, tls, host, address, config.connect_timeout).await;
            }
            Socket::try_from(stream)
        }
        #[cfg(unix)]
        Endpoint::Unix { path } => {
            let stream =
                tokio::net::UnixStream::connect(path).await.map_err(|error| refused(&address, error))?;
            Socket::try_from(stream)
        }
        #[cfg(not(unix))]
        Endpoint::Unix { .. } => {
            return Err(Error::new(Kind::InvalidConfig, "Unix sockets need a Unix-like system"));
        }
    };
    let socket = socket.map_err(broken)?;
    let readiness = socket.watch().map_err(broken)?;
    Ok(Line { socket, readiness, address })
}

/// The TLS handshake. Whatever goes wrong in it ends the attempt: there is no way on in plain text.
async fn encrypt(
    stream: TcpStream,
    tls: &Tls,
    host: &str,
    address: String,
    connect_timeout: Duration,
) -> Result<Line> {
    let settings = tls::settings(tls).await?;
    let peer = stream.peer_addr().map_err(broken)?;
    let host = tls.servername.as_deref().unwrap_or(host);
    // A zone (`fe80::1%eth0`) belongs to this system, not to the name.
    let host = host.split('%').next().unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        Error::new(Kind::Tls, format!("{host} is no name that a certificate can have")).with_cause(error)
    })?;
    let socket = stream.into_std().map_err(broken)?;
    let stream = TlsStream::new(socket, settings, name).map_err(|error| tls::fault(&address, &error))?;
    let socket = Socket::Tls(Box::new(stream));
    let readiness = socket.watch().map_err(broken)?;
    let line = Line { socket, readiness, address };
    tokio::select! {
        biased;
        done = line.shake_hands() => done.map_err(|error| match tls::explain(&line.address, &error) {
            Some(fault) => fault,
            None if error.kind() == io::ErrorKind::UnexpectedEof => Error::new(
                Kind::ConnectionLost,
                format!("the server at {} closed the connection in the middle of the TLS handshake", line.address),
            ),
            None => broken(error),
        })?,
        () = finds_plain_text(peer, connect_timeout) => return Err(Error::new(
            Kind::Tls,
            format!("no TLS connection to {}: the server answers in plain text; it does not speak TLS on this port", line.address),
        )),
    }
    Ok(line)
}

/// Resolves when the peer, silent over TLS for a while, turns out to speak the protocol in plain text: a server that
/// does waits for ever for the line end of what it takes for a command. Asked on a connection of its own with a PING,
/// which gives nothing away.
async fn finds_plain_text(peer: SocketAddr, connect_timeout: Duration) {
    const LONGEST: Duration = Duration::from_secs(1);
    sleep((connect_timeout / 4).min(LONGEST)).await;
    let answer = async {
        let mut stream = TcpStream::connect(peer).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut first = [0; 1];
        stream.read_exact(&mut first).await?;
        io::Result::Ok(first)
    };
    // `+PONG`, or `-NOAUTH …`, `-DENIED …`; an alert of TLS begins with 0x15.
    if !matches!(answer.await, Ok([b'+' | b'-'])) {
        std::future::pending::<()>().await;
    }
}

impl Line {
    async fn shake_hands(&self) -> io::Result<()> {
        let Socket::Tls(stream) = &self.socket else { return Ok(()) };
        loop {
            let interest = if stream.holds_bytes() { Interest::WRITABLE } else { Interest::READABLE };
            match self.readiness.attempt(interest, || stream.shake_hands()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if stream.holds_bytes() {
                self.readiness.writable().await?;
            } else {
                self.readiness.readable().await?;
            }
        }
    }

    /// Sends all of `bytes`.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() || self.socket.holds_bytes() {
            let attempt = || match bytes {
                [] => self.socket.flush().map(|()| 0),
                bytes => self.socket.try_write(bytes),
            };
            match self.readiness.attempt(Interest::WRITABLE, attempt) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readiness.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived, and waits for it.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.readiness.attempt(Interest::READABLE, || self.socket.try_read(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readiness.readable().await?,
                read => return read,
            }
        }
    }

    /// The error for a stream that broke.
    pub(super) fn broken(&self, cause: io::Error) -> Error {
        tls::explain(&self.address, &cause).unwrap_or_else(|| broken(cause))
    }
}

/// Tries each address of the name in turn.
async fn dial(
    host: &str,
    port: u16,
    keep_alive: Duration,
    deadline: Instant,
    address: &str,
) -> Result<TcpStream> {
    let addresses: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|error| refused(address, error))?.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let count = addresses.len() as u32;
    for (tried, candidate) in (0u32..).zip(addresses) {
        // An address that swallows packets leaves time for the others; the last one has all that is left.
        let others = count - tried;
        let share = deadline.saturating_duration_since(Instant::now()) / others;
        let share = if others == 1 { deadline } else { Instant::now() + share };
        let attempt = timeout_at(share, TcpStream::connect(candidate)).await;
        match attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // A socket that cannot be tuned still works.
                let _ = stream.set_nodelay(true);
                let probes = TcpKeepalive::new().with_time(keep_alive).with_interval(keep_alive / 3);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&probes);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(refused(address, last))
}

fn refused(address: &str, cause: io::Error) -> Error {
    Error::new(Kind::ConnectionRefused, format!("could not connect to {address}: {cause}")).with_cause(cause)
}

fn broken(cause: io::Error) -> Error {
    Error::new(Kind::ConnectionLost, "the connection broke while it was set up").with_cause(cause)
}
