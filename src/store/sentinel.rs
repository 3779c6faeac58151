//! A primary that Sentinel knows: found anew for each connection, and used only once it says itself that it is one.

use super::backoff;
use super::connect::{Endpoint, Line, open, within};
use super::login::{Replies, log_in, login_refused};
use super::retry::connection_failed;
use super::standalone::Locate;
use super::transport::Socket;
use super::{NodeState, Pending};
use crate::config::{Config, Target};
use crate::error::{Error, Kind, Result};
use crate::resp::{Reply, Sink};
use redis::{Cmd, FromRedisValue, Value};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Between two look-ups while there is no primary.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The sentinels of one primary.
pub(crate) struct Sentinels {
    /// For connections to the sentinels themselves.
    config: Config,
    /// Whoever answered last is asked first.
    nodes: Mutex<Vec<Endpoint>>,
    master: String,
}

impl Sentinels {
    /// Those that the configuration names, where it names any.
    pub(crate) fn of(config: &Config) -> Option<Arc<Self>> {
        let Target::Sentinel { nodes, master, username, password } = &config.target else { return None };
        let endpoint = |(host, port): &(String, u16)| Endpoint::Tcp { host: host.clone(), port: *port };
        Some(Arc::new(Self {
            nodes: Mutex::new(nodes.iter().map(endpoint).collect()),
            master: master.clone(),
            config: Config {
                username: username.clone(),
                password: password.clone(),
                password_source: None,
                db: 0,
                ..config.clone()
            },
        }))
    }

    fn nodes(&self) -> Vec<Endpoint> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks one sentinel after another until one knows, each within its share of the time that is left.
    async fn ask(&self, deadline: Instant, questions: &[Cmd]) -> Result<Vec<Value>> {
        let nodes = self.nodes();
        let mut failure = None;
        let count = nodes.len() as u32;
        for (asked, node) in (0..).zip(nodes) {
            // One share is for the server itself.
            let share = deadline.saturating_duration_since(Instant::now()) / (count - asked + 1);
            let limit = Instant::now() + share;
            match within(&node, limit, self.ask_one(&node, limit, questions)).await {
                Ok(Some(answers)) => {
                    let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(front) =
                        nodes.iter().position(|known| *known == node).and_then(|at| nodes.get_mut(..=at))
                    {
                        front.rotate_right(1);
                    }
                    return Ok(answers);
                }
                // One that can be reached and does not know says more than one that cannot be reached.
                Ok(None) => failure = Some(self.unknown(&node)),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Kind::InvalidConfig, "there are no sentinels to ask")))
    }

    /// `None` where it does not know the primary.
    async fn ask_one(
        &self,
        node: &Endpoint,
        deadline: Instant,
        questions: &[Cmd],
    ) -> Result<Option<Vec<Value>>> {
        let line = open(&self.config, node, deadline).await?;
        log_in(&line, &self.config).await.map_err(|error| of_sentinel(node, &error))?;
        let mut replies = Replies::new(&line);
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            match replies.ask(question).await {
                Ok(Value::Nil) => return Ok(None),
                Ok(answer) => answers.push(answer),
                Err(error) if error.code() == "ERR" => return Ok(None),
                Err(error) => return Err(of_sentinel(node, &error)),
            }
        }
        Ok(Some(answers))
    }

    fn unknown(&self, node: &Endpoint) -> Error {
        let master = &self.master;
        let text = format!("the sentinel at {node} knows no primary of the name {master}");
        Error::new(Kind::InvalidConfig, text)
    }

    async fn primary(&self, deadline: Instant) -> Result<Endpoint> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let answers = self.ask(deadline, &[question]).await?;
        let (host, port) = read(answers.into_iter().next())?;
        Ok(Endpoint::Tcp { host, port })
    }

    /// A connection to the primary; an error where there is none at the moment.
    async fn attempt(&self, config: &Config, deadline: Instant) -> Result<Socket> {
        let endpoint = self.primary(deadline).await?;
        let line = open(config, &endpoint, deadline).await?;
        log_in(&line, config).await?;
        is_primary(&line).await?;
        Ok(line.socket)
    }

    async fn connect_within(&self, config: &Config, deadline: Instant) -> Result<Socket> {
        let mut attempt = 1;
        let mut reason: Option<Error> = None;
        loop {
            // In a failover the sentinels name the old primary for a while: it may be silent, refuse, or be a replica by
            // now.
            let share = deadline.saturating_duration_since(Instant::now()) / 2;
            let limit = (Instant::now() + share.max(self.config.connect_timeout / 4)).min(deadline);
            let result = match timeout_at(limit, self.attempt(config, limit)).await {
                Ok(result) => result,
                Err(_) => Err(late(&self.master)),
            };
            let error = match result {
                Err(error) if passes(&error) => error,
                done => return done,
            };
            // A sentinel bears being asked more often than a server: the promotion is to be seen soon after it.
            let next = Instant::now() + backoff::delay(&config.retry, attempt).min(LONGEST_PAUSE);
            // An attempt that was cut off says less than one before it.
            let told = match reason.take() {
                Some(earlier) if error.kind() == &Kind::ConnectTimeout => earlier,
                Some(_) | None => error,
            };
            if next >= deadline {
                return Err(told);
            }
            reason = Some(told);
            sleep_until(next).await;
            attempt += 1;
        }
    }
}

impl Locate for Sentinels {
    fn locate(&self) -> Pending<'_, Result<Endpoint>> {
        Box::pin(self.primary(Instant::now() + self.config.connect_timeout))
    }

    fn connect<'a>(&'a self, config: &'a Config) -> Pending<'a, Result<Socket>> {
        Box::pin(self.connect_within(config, Instant::now() + config.connect_timeout))
    }

    /// The primary and its replicas, as a sentinel sees them.
    fn nodes(&self) -> Pending<'_, Vec<NodeState>> {
        Box::pin(async {
            let deadline = Instant::now() + self.config.connect_timeout;
            let questions = ["MASTER", "REPLICAS"].map(|about| {
                let mut question = redis::cmd("SENTINEL");
                question.arg(about).arg(&self.master);
                question
            });
            let mut answers = self.ask(deadline, &questions).await.unwrap_or_default().into_iter();
            let primary = read(answers.next()).ok().and_then(|fields| node(&fields, true));
            let replicas: Vec<HashMap<String, String>> = read(answers.next()).unwrap_or_default();
            primary.into_iter().chain(replicas.iter().filter_map(|fields| node(fields, false))).collect()
        })
    }
}

/// What a sentinel says of a server.
fn node(fields: &HashMap<String, String>, is_primary: bool) -> Option<NodeState> {
    let port = fields.get("port")?.parse().ok()?;
    let address = Endpoint::Tcp { host: fields.get("ip")?.clone(), port }.to_string();
    let flags = fields.get("flags")?;
    let is_up = !flags.split(',').any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"));
    Some(NodeState { address, is_primary, is_needed: is_primary, is_up })
}

/// Checks the role. A server that does not tell its role is taken at the sentinel's word.
async fn is_primary(line: &Line) -> Result<()> {
    let role = match Replies::new(line).ask(&redis::cmd("ROLE")).await {
        Ok(Value::Array(parts)) => {
            parts.into_iter().next().and_then(|role| String::from_redis_value(role).ok())
        }
        Ok(_) => None,
        Err(error) if error.code() == "NOAUTH" => return Err(login_refused(&error)),
        Err(error) if error.kind().is_reply() => None,
        Err(error) => return Err(error),
    };
    match role.as_deref() {
        None | Some("master") => Ok(()),
        Some(role) => Err(Error::new(
            Kind::ConnectionRefused,
            format!("{}, which the sentinels name as the primary, is a {role} at the moment", line.address),
        )),
    }
}

/// Whether the next attempt may find a primary: a failover takes its time.
fn passes(error: &Error) -> bool {
    connection_failed(error) || error.kind() == &Kind::ConnectTimeout
}

fn late(master: &str) -> Error {
    Error::new(Kind::ConnectTimeout, format!("no usable connection to the primary {master} in time"))
}

fn of_sentinel(node: &Endpoint, error: &Error) -> Error {
    let error = if error.code() == "NOAUTH" { login_refused(error) } else { error.clone() };
    if error.kind() != &Kind::Auth {
        return error;
    }
    Error::new(Kind::Auth, format!("the sentinel at {node}: {}", error.message())).with_cause(error)
}

fn read<T: FromRedisValue>(answer: Option<Value>) -> Result<T> {
    T::from_redis_value(answer.unwrap_or(Value::Nil)).map_err(|error| {
        Error::new(Kind::Protocol, "a sentinel's answer has another form than the question").with_cause(error)
    })
}

impl Replies<'_> {
    /// Sends a command and reads its answer.
    async fn ask(&mut self, command: &Cmd) -> Result<Value> {
        self.send(&command.get_packed_command()).await?;
        let mut sink = Sink::any();
        self.read(&mut sink).await?;
        if let Some(refusal) = sink.take_fault() {
            return Err(refusal);
        }
        Ok(match sink.into_reply() {
            Some(Reply::Value(value)) => value,
            Some(Reply::Values(_) | Reply::Statuses(_) | Reply::Page(_)) | None => Value::Nil,
        })
    }
}
