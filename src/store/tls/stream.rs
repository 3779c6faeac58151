//! A TLS connection that never waits.
//!
//! The lock is held for one read or write of the socket and the cryptography around it. Callers hold their own lock
//! (a lane's inbox or writer) and take this one last.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Encrypted bytes read from the socket at once: four full records.
const READ_BYTES: usize = 64 * 1024;

/// An encrypted connection over a socket that does not block.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: Mutex<Session>,
}

#[derive(Debug)]
struct Session {
    tls: ClientConnection,
    /// What the socket gave and TLS has not taken: `arrived[taken..end]`.
    arrived: Vec<u8>,
    taken: usize,
    end: usize,
    /// The server sends nothing more.
    ended: bool,
    /// What arrived is not TLS, or not from this peer.
    failure: Option<rustls::Error>,
}

impl TlsStream {
    /// Over a connected socket that does not block; the handshake is still to come.
    pub(crate) fn new(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let tls = ClientConnection::new(config, name)?;
        let session =
            Session { tls, arrived: vec![0; READ_BYTES], taken: 0, end: 0, ended: false, failure: None };
        Ok(Self { socket, session: Mutex::new(session) })
    }

    /// The socket beneath.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Goes on with the handshake as far as it goes without waiting. `WouldBlock` until it is done:
    /// [`TlsStream::holds_bytes`] tells whether it waits to write or to read.
    pub(crate) fn shake_hands(&self) -> io::Result<()> {
        let mut session = self.session();
        loop {
            session.push(&self.socket)?;
            if !session.tls.is_handshaking() {
                return Ok(());
            }
            if let Err(error) = session.feed(&self.socket) {
                // An alert tells the server why; if it does not leave at once, it does not matter any more.
                let _ = session.push(&self.socket);
                return Err(error);
            }
            if session.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Fills `buffer` with what has arrived; `WouldBlock` when nothing has and nothing is kept. A buffer that is not
    /// filled means that nothing is kept either.
    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session();
        let mut count = 0;
        let result = loop {
            let Some(room) = buffer.get_mut(count..).filter(|room| !room.is_empty()) else { break Ok(()) };
            match session.tls.reader().read(room) {
                // The server said goodbye.
                Ok(0) => break Ok(()),
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if session.ended {
                        break Ok(());
                    }
                    if let Err(error) = session.feed(&self.socket) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        // Answers to the server's own messages. What the socket does not take is left to the writer.
        let _ = session.push(&self.socket);
        match result {
            Ok(()) => Ok(count),
            // It comes up again with the next read.
            Err(_) if count > 0 => Ok(count),
            Err(error) => Err(error),
        }
    }

    /// Takes what fits into one buffer; `WouldBlock` while bytes from before are kept. What it took may be kept here:
    /// [`TlsStream::flush`] sends that.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session();
        session.push(&self.socket)?;
        let count = session.tls.writer().write(bytes)?;
        // Of what happens here the next one hears.
        let _ = session.push(&self.socket);
        Ok(count)
    }

    /// Sends what is kept; `WouldBlock` when something still is.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.session().push(&self.socket)
    }

    /// Whether encrypted bytes wait for the socket.
    pub(crate) fn holds_bytes(&self) -> bool {
        self.session().tls.wants_write()
    }

    /// Says goodbye, where there is room for it, and ends the connection.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        let mut session = self.session();
        session.tls.send_close_notify();
        let _ = session.push(&self.socket);
        self.socket.shutdown(Shutdown::Both)
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        // rustls keeps its own state consistent, and nothing else here panics.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Writes encrypted bytes until none is left.
    fn push(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Decrypts something: from what has arrived, else from the socket.
    fn feed(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        if let Some(failure) = &self.failure {
            return Err(io::Error::new(io::ErrorKind::InvalidData, failure.clone()));
        }
        if self.taken == self.end {
            match socket.read(&mut self.arrived) {
                Ok(count) => {
                    (self.taken, self.end) = (0, count);
                    if count == 0 {
                        // Without a goodbye, perhaps; every reply says by itself whether it is whole.
                        self.ended = true;
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let mut rest = self.arrived.get(self.taken..self.end).unwrap_or(&[]);
        match self.tls.read_tls(&mut rest)? {
            // It has said goodbye; what follows that is nothing.
            0 => self.ended = true,
            count => self.taken += count,
        }
        self.tls.process_new_packets().map(drop).map_err(|error| {
            self.failure = Some(error.clone());
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }
}
