//! The byte streams that a lane runs on. What differs between systems stands here.

use super::tls::TlsStream;
use std::io::{self, Read, Write};
use std::net;
use tokio::io::Interest;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A connected socket that never waits: any thread may read from it and write to it.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(net::TcpStream),
    Tls(Box<TlsStream>),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Reads what has arrived; `WouldBlock` when nothing has.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).read(buffer),
            Self::Tls(stream) => stream.try_read(buffer),
            #[cfg(unix)]
            Self::Unix(socket) => (&*socket).read(buffer),
        }
    }

    /// Writes what is taken at once; `WouldBlock` when nothing is. With TLS some of that may be kept here for a while:
    /// see [`Socket::flush`].
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => (&*socket).write(bytes),
            Self::Tls(stream) => stream.try_write(bytes),
            #[cfg(unix)]
            Self::Unix(socket) => (&*socket).write(bytes),
        }
    }

    /// Gives the system what is kept; `WouldBlock` when it does not take all of it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.flush(),
            Self::Tcp(_) => Ok(()),
            #[cfg(unix)]
            Self::Unix(_) => Ok(()),
        }
    }

    /// Whether bytes are kept that the system has not taken. Reading, too, may leave some: TLS answers by itself.
    pub(crate) fn holds_bytes(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.holds_bytes(),
            Self::Tcp(_) => false,
            #[cfg(unix)]
            Self::Unix(_) => false,
        }
    }

    /// Whether a socket that is not readable means that there is nothing to read, which other event loops count on.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Tls(_) => false,
            Self::Tcp(_) => true,
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }

    /// Ends the connection, whoever still holds the socket.
    pub(crate) fn shut_down(&self) {
        // A connection that has ended already is as good.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(net::Shutdown::Both),
            Self::Tls(stream) => stream.shut_down(),
            #[cfg(unix)]
            Self::Unix(socket) => socket.shutdown(net::Shutdown::Both),
        };
    }

    /// Registers the socket with the runtime, by a descriptor of its own, for as long as the result lives.
    pub(crate) fn watch(&self) -> io::Result<Readiness> {
        match self {
            Self::Tcp(socket) => TcpStream::from_std(socket.try_clone()?).map(Readiness::Tcp),
            Self::Tls(stream) => TcpStream::from_std(stream.socket().try_clone()?).map(Readiness::Tcp),
            #[cfg(unix)]
            Self::Unix(socket) => UnixStream::from_std(socket.try_clone()?).map(Readiness::Unix),
        }
    }

    /// The descriptor, for another event loop.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> std::os::fd::RawFd {
        use std::os::fd::AsRawFd;
        match self {
            Self::Tcp(socket) => socket.as_raw_fd(),
            Self::Tls(stream) => stream.socket().as_raw_fd(),
            Self::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

/// The runtime's eyes on a socket.
#[derive(Debug)]
pub(crate) enum Readiness {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Readiness {
    /// Waits until there is something to read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Waits until the system takes bytes again.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            #[cfg(unix)]
            Self::Unix(stream) => stream.writable().await,
        }
    }

    /// Does `attempt`, and remembers that the socket is not ready when it says `WouldBlock`.
    pub(crate) fn attempt<R>(
        &self,
        interest: Interest,
        attempt: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, attempt),
            #[cfg(unix)]
            Self::Unix(stream) => stream.try_io(interest, attempt),
        }
    }
}

impl TryFrom<TcpStream> for Socket {
    type Error = io::Error;

    fn try_from(stream: TcpStream) -> io::Result<Self> {
        stream.into_std().map(Self::Tcp)
    }
}

#[cfg(unix)]
impl TryFrom<UnixStream> for Socket {
    type Error = io::Error;

    fn try_from(stream: UnixStream) -> io::Result<Self> {
        stream.into_std().map(Self::Unix)
    }
}
