//! What a new connection says first.

use super::connect::Line;
use crate::config::{Config, Secret};
use crate::error::{Error, Kind, Result};
use crate::resp::{Reader, Sink};
use redis::Cmd;

/// What a reply of the handshake decides.
#[derive(Clone, Copy)]
enum Step {
    Login,
    Database,
    /// Servers and proxies that refuse it are used all the same.
    Optional,
}

/// Logs in, selects the database and gives the connection its names, in one round trip.
pub(super) async fn log_in(line: &Line, config: &Config) -> Result<()> {
    let mut steps = Vec::new();
    let mut bytes = Vec::new();
    let mut add = |step: Step, command: &Cmd| {
        command.write_packed_command(&mut bytes);
        steps.push(step);
    };
    let asked = match &config.password_source {
        Some(source) => Some(source.ask().await?),
        None => None,
    };
    let password = asked.as_ref().or(config.password.as_ref());
    let credentials =
        Credentials { password: password.map(Secret::expose), username: config.username.as_deref() };
    if let Some(password) = password {
        let mut login = redis::cmd("AUTH");
        if let Some(username) = &config.username {
            login.arg(username);
        }
        add(Step::Login, login.arg(Secret::expose(password)));
    }
    if config.db != 0 {
        add(Step::Database, redis::cmd("SELECT").arg(config.db));
    }
    if let Some(name) = &config.client_name {
        add(Step::Optional, redis::cmd("CLIENT").arg("SETNAME").arg(name));
    }
    add(Step::Optional, redis::cmd("CLIENT").arg("SETINFO").arg("LIB-NAME").arg("redis-bulk"));
    add(Step::Optional, redis::cmd("CLIENT").arg("SETINFO").arg("LIB-VER").arg(env!("CARGO_PKG_VERSION")));

    // A failure shows itself to the reader, behind what the server said before it hung up.
    let written = line.write(&bytes).await;
    let mut replies = Replies::new(line);
    let mut refusals: Vec<(Step, Error)> = Vec::new();
    for step in steps {
        match replies.next().await {
            Ok(refusal) => {
                refusals.extend(refusal.map(|error| (step, credentials.conceal(step, &error))));
            }
            // A server that refuses and hangs up means the connection, not the command ("max number of clients
            // reached"); that passes.
            Err(lost) => {
                let refusal = refusals.into_iter().next().map(|(_, error)| error.with_retryable(true));
                return Err(refusal.unwrap_or(lost));
            }
        }
    }
    for (step, error) in refusals {
        match step {
            Step::Login => return Err(login_refused(&error)),
            Step::Database | Step::Optional if error.code() == "NOAUTH" => return Err(login_refused(&error)),
            Step::Database => return Err(error),
            Step::Optional => {}
        }
    }
    if replies.is_idle() {
        written.map_err(|error| line.broken(error))
    } else {
        Err(Error::new(Kind::Protocol, "the server sent a reply that nobody asked for"))
    }
}

/// What stands in no error: servers repeat the arguments of commands that they do not know.
struct Credentials<'a> {
    password: Option<&'a str>,
    username: Option<&'a str>,
}

impl Credentials<'_> {
    /// The refusal without them.
    fn conceal(&self, step: Step, refusal: &Error) -> Error {
        /// Whose texts are the server's own from the first word to the last.
        const CODES: [&str; 8] =
            ["WRONGPASS", "NOAUTH", "NOPERM", "DENIED", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"];
        /// The same, of those with the code ERR.
        const BEGINNINGS: [&str; 5] = [
            "ERR invalid password",
            "ERR max number of clients",
            "ERR wrong number of arguments",
            "ERR AUTH <password> called without any password",
            "ERR Client sent AUTH, but no password is set",
        ];
        const HIDDEN: &str = "***";
        let text = refusal.message();
        let known = CODES.contains(&refusal.code());
        if matches!(step, Step::Login) && !known && !BEGINNINGS.iter().any(|known| text.starts_with(known)) {
            // Quoted, cut short or escaped, the password may stand there in a form that no search finds.
            return Error::from_reply(if text.starts_with("ERR unknown command") {
                b"ERR unknown command 'AUTH'"
            } else {
                b"ERR an answer to AUTH whose text may repeat the password and is left out"
            });
        }
        let mut text = text.to_owned();
        if let Some(password) = self.password.filter(|password| !password.is_empty()) {
            text = text.replace(password, HIDDEN);
        }
        if let Some(username) = self.username.filter(|username| !username.is_empty()) {
            text = replace_word(&text, username, HIDDEN);
        }
        if known { Error::new(refusal.kind().clone(), text) } else { Error::from_reply(text.as_bytes()) }
    }
}

/// `text` with `new` for each `word` that is not a part of a longer one.
fn replace_word(text: &str, word: &str, new: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        out.push_str(before);
        let in_longer = out.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        out.push_str(if in_longer { word } else { new });
        rest = after;
    }
    out.push_str(rest);
    out
}

pub(super) fn login_refused(error: &Error) -> Error {
    Error::new(Kind::Auth, format!("the server refused the login: {}", error.message())).with_cause(error)
}

/// Reads replies one after another, before there is a lane.
pub(super) struct Replies<'a> {
    line: &'a Line,
    reader: Reader,
    buffer: Vec<u8>,
    taken: usize,
    end: usize,
}

impl<'a> Replies<'a> {
    pub(super) fn new(line: &'a Line) -> Self {
        Self { line, reader: Reader::new(), buffer: vec![0; 4096], taken: 0, end: 0 }
    }

    /// Sends bytes over the same line.
    pub(super) async fn send(&self, bytes: &[u8]) -> Result<()> {
        self.line.write(bytes).await.map_err(|error| self.line.broken(error))
    }

    /// The next reply, if it is an error.
    async fn next(&mut self) -> Result<Option<Error>> {
        let mut sink = Sink::any();
        self.read(&mut sink).await?;
        Ok(sink.take_fault())
    }

    /// The next reply.
    pub(super) async fn read(&mut self, sink: &mut Sink) -> Result<()> {
        loop {
            let rest = self.buffer.get(self.taken..self.end).unwrap_or(&[]);
            if !rest.is_empty() {
                let (used, complete) =
                    self.reader.read(rest, sink).map_err(|error| Error::new(Kind::Protocol, error.0))?;
                self.taken += used;
                if complete {
                    return Ok(());
                }
            }
            let read = self.line.read(&mut self.buffer).await;
            (self.taken, self.end) = (0, read.map_err(|error| self.line.broken(error))?);
            if self.end == 0 {
                return Err(Error::new(
                    Kind::ConnectionLost,
                    "the server closed the connection while it was set up",
                ));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.taken == self.end && self.reader.is_idle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_repeats_no_credentials() {
        let credentials = Credentials { password: Some("hunter2"), username: Some("app") };
        let concealed = |step, text: &str| {
            let error = credentials.conceal(step, &Error::from_reply(text.as_bytes()));
            (error.code().to_owned(), error.message().to_owned())
        };
        for (step, text, code, shown) in [
            (
                Step::Login,
                "ERR unknown command 'AUTH', with args beginning with: 'app' 'hunt",
                "ERR",
                "ERR unknown command 'AUTH'",
            ),
            (
                Step::Login,
                "HUNTER2 is wrong",
                "ERR",
                "ERR an answer to AUTH whose text may repeat the password and is left out",
            ),
            (Step::Login, "WRONGPASS app:hunter2 happens", "WRONGPASS", "WRONGPASS ***:*** happens"),
            (Step::Login, "ERR max number of clients reached", "ERR", "ERR max number of clients reached"),
            (Step::Database, "ERR after hunter2 by 'app'", "ERR", "ERR after *** by '***'"),
            (Step::Optional, "NOPERM User app may not", "NOPERM", "NOPERM User *** may not"),
        ] {
            assert_eq!(concealed(step, text), (code.to_owned(), shown.to_owned()));
        }
    }
}
