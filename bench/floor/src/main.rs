//! The floor: what Redis and loopback alone cost for a workload.
//!
//! A blocking socket sends commands that were packed beforehand and only counts the bytes of the replies; nothing is
//! parsed, nothing is converted. It reads requests as lines of tab-separated words on stdin and answers each with one
//! line of JSON on stdout, so that the harness can interleave it with the other contenders.
//!
//! | request | answer |
//! |---|---|
//! | `connect HOST PORT` | `{"ok":true}` |
//! | `load NAME FILE` | chunks and bytes of a packed workload |
//! | `run NAME WINDOW COUNT` | `{"wallNs":[…]}`, one figure for each of COUNT runs |
//! | `scan PATTERN COUNT TIMES` | `{"wallNs":[…],"keys":n}` |
//! | `probe KEY INTERVAL_US MS` | latencies of GETs that are due every INTERVAL_US, from the moment when each was due |
//! | `quit` | ends |
//!
//! A packed workload is a sequence of chunks, each `u32` length of the command bytes, `u32` length of the reply that
//! they cause, then the command bytes; little endian.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Error, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

struct Chunk {
    command: Vec<u8>,
    reply_len: usize,
}

/// Sends every chunk, at most `window` of them unanswered, and reads as many bytes as their replies have.
///
/// One thread is enough: the server takes in commands whether or not its replies were read.
fn run(stream: &mut TcpStream, chunks: &[Chunk], window: usize, buffer: &mut [u8]) -> io::Result<Duration> {
    let start = Instant::now();
    let mut sent = 0;
    for done in 0..chunks.len() {
        while sent < chunks.len() && sent < done + window {
            stream.write_all(&chunks[sent].command)?;
            sent += 1;
        }
        let mut left = chunks[done].reply_len;
        while left > 0 {
            let room = left.min(buffer.len());
            let got = stream.read(&mut buffer[..room])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if left == chunks[done].reply_len && buffer[0] == b'-' {
                return Err(Error::other(String::from_utf8_lossy(&buffer[..got.min(200)]).into_owned()));
            }
            left -= got;
        }
    }
    Ok(start.elapsed())
}

/// One whole SCAN loop. A reply's end is found by counting lines, as no key of the harness holds a line feed.
fn scan(
    stream: &mut TcpStream,
    pattern: &str,
    count: &str,
    buffer: &mut Vec<u8>,
) -> io::Result<(Duration, usize)> {
    let start = Instant::now();
    let mut cursor = "0".to_owned();
    let mut keys = 0;
    loop {
        let mut command = String::new();
        let _ = write!(command, "*6\r\n$4\r\nSCAN\r\n${}\r\n{cursor}\r\n", cursor.len());
        let _ = write!(
            command,
            "$5\r\nMATCH\r\n${}\r\n{pattern}\r\n$5\r\nCOUNT\r\n${}\r\n{count}\r\n",
            pattern.len(),
            count.len()
        );
        stream.write_all(command.as_bytes())?;
        let (mut len, mut lines) = (0, 0);
        let mut wanted = usize::MAX;
        let mut found = 0;
        while lines < wanted {
            if buffer.len() - len < 65_536 {
                buffer.resize(buffer.len() + 65_536, 0);
            }
            let got = stream.read(&mut buffer[len..])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            lines += buffer[len..len + got].iter().filter(|byte| **byte == b'\n').count();
            len += got;
            if wanted == usize::MAX && lines >= 4 {
                // *2, $length, cursor, *keys
                let head = String::from_utf8_lossy(&buffer[..len.min(128)]).into_owned();
                let mut words = head.split("\r\n").skip(2);
                cursor = words.next().unwrap_or_default().to_owned();
                found = words
                    .next()
                    .and_then(|word| word.strip_prefix('*'))
                    .and_then(|word| word.parse().ok())
                    .ok_or_else(|| Error::other("not a SCAN reply"))?;
                wanted = 4 + 2 * found;
            }
        }
        keys += found;
        if cursor == "0" {
            return Ok((start.elapsed(), keys));
        }
    }
}

/// GETs that are due at fixed moments. A latency counts from the moment when the GET was due, so that those which a
/// busy server held back are not left out.
fn probe(stream: &mut TcpStream, key: &str, interval: Duration, length: Duration) -> io::Result<Vec<u128>> {
    let command = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
    let mut buffer = vec![0; 65_536];
    let mut latencies = Vec::new();
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while due < length {
        if let Some(wait) = due.checked_sub(start.elapsed()) {
            // Sleeping alone is late by the timer's slack (50 µs); the last stretch is waited for by looking.
            if wait > Duration::from_micros(150) {
                std::thread::sleep(wait - Duration::from_micros(100));
            }
            while start.elapsed() < due {
                std::hint::spin_loop();
            }
        }
        stream.write_all(command.as_bytes())?;
        let mut len = 0;
        let mut wanted = usize::MAX;
        while len < wanted {
            let got = stream.read(&mut buffer[len..])?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            len += got;
            if wanted == usize::MAX
                && let Some(end) = buffer[..len].iter().position(|byte| *byte == b'\n')
            {
                let value_len: i64 = std::str::from_utf8(&buffer[1..end])
                    .ok()
                    .and_then(|word| word.trim_end().parse().ok())
                    .ok_or_else(|| Error::other("not a GET reply"))?;
                wanted = if value_len < 0 { end + 1 } else { end + 1 + value_len as usize + 2 };
            }
        }
        latencies.push((start.elapsed() - due).as_nanos());
        due += interval;
    }
    Ok(latencies)
}

fn load(path: &str) -> io::Result<Vec<Chunk>> {
    let bytes = std::fs::read(path)?;
    let mut rest = &bytes[..];
    let mut chunks = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *head;
        let (command, tail) = tail.split_at(u32::from_le_bytes([a, b, c, d]) as usize);
        chunks
            .push(Chunk { command: command.to_vec(), reply_len: u32::from_le_bytes([e, f, g, h]) as usize });
        rest = tail;
    }
    Ok(chunks)
}

fn list(figures: impl IntoIterator<Item = u128>) -> String {
    let words: Vec<String> = figures.into_iter().map(|figure| figure.to_string()).collect();
    format!("[{}]", words.join(","))
}

struct Floor {
    stream: Option<TcpStream>,
    loads: HashMap<String, Vec<Chunk>>,
    buffer: Vec<u8>,
}

impl Floor {
    fn answer(&mut self, line: &str) -> io::Result<String> {
        let words: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| {
            words
                .get(at)
                .and_then(|word| word.parse::<u64>().ok())
                .ok_or_else(|| Error::other(format!("word {at} is not a number")))
        };
        let bad = || Error::other("not connected, or not loaded");
        match words[..] {
            ["connect", host, _] => {
                let stream = TcpStream::connect((host, u16::try_from(number(2)?).map_err(Error::other)?))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                self.stream = Some(stream);
                Ok("{\"ok\":true}".to_owned())
            }
            ["load", name, path] => {
                let chunks = load(path)?;
                let bytes: usize = chunks.iter().map(|chunk| chunk.command.len()).sum();
                let answer = format!("{{\"chunks\":{},\"bytes\":{bytes}}}", chunks.len());
                self.loads.insert(name.to_owned(), chunks);
                Ok(answer)
            }
            ["unload", name] => {
                self.loads.remove(name);
                Ok("{\"ok\":true}".to_owned())
            }
            ["run", name, _, _] => {
                let (window, count) = (number(2)?, number(3)?);
                let chunks = self.loads.get(name).ok_or_else(bad)?;
                let stream = self.stream.as_mut().ok_or_else(bad)?;
                let mut walls = Vec::new();
                for _ in 0..count {
                    walls.push(run(stream, chunks, window as usize, &mut self.buffer)?.as_nanos());
                }
                Ok(format!("{{\"wallNs\":{}}}", list(walls)))
            }
            ["scan", pattern, count, _] => {
                let times = number(3)?;
                let stream = self.stream.as_mut().ok_or_else(bad)?;
                let (mut walls, mut keys) = (Vec::new(), 0);
                for _ in 0..times {
                    let (wall, found) = scan(stream, pattern, count, &mut self.buffer)?;
                    walls.push(wall.as_nanos());
                    keys = found;
                }
                Ok(format!("{{\"wallNs\":{},\"keys\":{keys}}}", list(walls)))
            }
            ["probe", key, _, _] => {
                let (interval, length) =
                    (Duration::from_micros(number(2)?), Duration::from_millis(number(3)?));
                let stream = self.stream.as_mut().ok_or_else(bad)?;
                Ok(format!("{{\"wallNs\":{}}}", list(probe(stream, key, interval, length)?)))
            }
            _ => Err(Error::other("no such request")),
        }
    }
}

fn main() -> io::Result<()> {
    let mut floor = Floor { stream: None, loads: HashMap::new(), buffer: vec![0; 1 << 20] };
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line == "quit" {
            break;
        }
        let answer = floor.answer(&line).unwrap_or_else(|error| {
            // A connection in an unknown state must not serve the next request.
            floor.stream = None;
            format!("{{\"error\":{:?}}}", error.to_string())
        });
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
