//! A real server for a test: started on a free port in a directory of its own, stopped and removed at the end.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// How long a server may take until it answers; a machine that is busy with other tests is slow.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at whether it answers.
const POLL: Duration = Duration::from_millis(5);
/// Another process may take the port between the moment it was found free and the server's start.
const START_ATTEMPTS: usize = 5;

/// A running server that stops when this is dropped.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server without persistence.
    pub(crate) fn start() -> Self {
        Server::start_with(&[])
    }

    /// As [`Server::start`], with more arguments for its command line.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let binary = binary();
        for _ in 0..START_ATTEMPTS {
            let mut server = Server::spawn(&binary, args);
            if server.answers() {
                return server;
            }
        }
        panic!("{} does not start", binary.display());
    }

    /// A URL of this server.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A blocking connection that waits long enough for a busy machine.
    pub(crate) fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("the URL is well-formed");
        let connection = client.get_connection_with_timeout(START_TIMEOUT).expect("the server answers");
        connection.set_read_timeout(Some(START_TIMEOUT)).expect("the timeout is not zero");
        connection
    }

    fn spawn(binary: &PathBuf, args: &[&str]) -> Self {
        let port = free_port();
        let dir = unique_dir();
        fs::create_dir_all(&dir).expect("a directory in the system's temporary one");
        let child = Command::new(binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&dir)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        Server { child, dir, port }
    }

    /// Waits for the first answer; false where the process ended instead.
    fn answers(&mut self) -> bool {
        let client = redis::Client::open(self.url()).expect("the URL is well-formed");
        let begin = Instant::now();
        while begin.elapsed() < START_TIMEOUT {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            let answer = client
                .get_connection_with_timeout(START_TIMEOUT)
                .and_then(|mut connection| redis::cmd("INFO").arg("server").query::<String>(&mut connection));
            // Another server that took the port would answer as well; it is told apart by its process.
            if let Ok(info) = answer {
                return info.lines().any(|line| line == format!("process_id:{}", self.child.id()));
            }
            thread::sleep(POLL);
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing is left to do about a failure: the process has ended or will with the test.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn binary() -> PathBuf {
    if let Some(path) = env::var_os("REDIS_SERVER_BIN").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let name = |name: &str| format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    let names = [name("redis-server"), name("valkey-server")];
    let found = names.iter().find_map(|name| {
        env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
    });
    found.unwrap_or_else(|| {
        panic!("install redis-server 7 (or valkey-server), or set REDIS_SERVER_BIN to its path: this test needs one")
    })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on the loopback interface");
    listener.local_addr().expect("a bound listener has an address").port()
}

fn unique_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    env::temp_dir().join(format!("redis-bulk-test-{}-{number}", process::id()))
}
