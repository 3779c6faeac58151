//! Upstash, over HTTP: the commands of a chunk are one request.
//!
//! Connections are kept alive by the HTTP client. Writes go one at a time, and no reading overtakes them: on a server's own
//! connection the order comes by itself, here requests on several connections could pass each other.

mod body;

use super::standalone::Link;
use super::{
    Answer, Bounds, Command, EventLoop, Failure, NodeState, Pending, Placement, Settled, Spread, Store, tls,
};
use crate::config::{Secret, Target, Tls};
use crate::error::{Error, Kind, Result};
use crate::panic::guarded;
use crate::resp::{Reader, Sink};
use crate::state::State;
use body::{Body, Entry, put_error};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error as StdError;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, RwLock};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Less than load balancers wait before they close an idle connection.
const IDLE: Duration = Duration::from_secs(30);
/// Where the server does not say how long to wait.
const RATE_LIMIT_PAUSE: Duration = Duration::from_millis(500);
/// A position in the writes of a replicated database, given back so that reads see one's own.
const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A store behind Upstash's REST interface.
pub struct Upstash {
    link: Link,
    /// Of `/pipeline`.
    address: String,
    authorization: HeaderValue,
    /// Made at the first request: the system's certificates are read for it.
    http: OnceCell<Http>,
    sync_token: Mutex<Option<HeaderValue>>,
    order: RwLock<()>,
    /// For requests made from other threads.
    me: Weak<Self>,
}

/// A request that came to nothing, and whether the server may have seen its commands.
struct Trouble {
    error: Error,
    sent: bool,
    /// How long the server asks to be left alone.
    pause: Option<Duration>,
}

impl Upstash {
    /// The database that the configuration names.
    ///
    /// # Errors
    /// `InvalidConfig` where it names none.
    pub fn new(link: Link) -> Result<Arc<Self>> {
        let Target::Upstash { url, token } = &link.config.target else {
            return Err(Error::new(Kind::InvalidConfig, "there is no Upstash address"));
        };
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", Secret::expose(token)))
            .map_err(|_| Error::new(Kind::InvalidConfig, "the Upstash token cannot stand in a header"))?;
        authorization.set_sensitive(true);
        let address = format!("{url}/pipeline");
        Ok(Arc::new_cyclic(|me| Self {
            address,
            authorization,
            link,
            http: OnceCell::new(),
            sync_token: Mutex::default(),
            order: RwLock::default(),
            me: me.clone(),
        }))
    }

    fn prepare(&self, command: &Command<'_>, limit: Option<Instant>) -> Prepared {
        Prepared::new(command, limit, self.link.config.command_timeout)
    }

    async fn http(&self) -> Result<&Http> {
        self.http
            .get_or_try_init(|| async {
                let tls =
                    Tls { ca: None, cert: None, key: None, servername: None, reject_unauthorized: true };
                let settings = tls::settings(&tls).await?;
                let mut tcp = HttpConnector::new();
                tcp.enforce_http(false);
                tcp.set_nodelay(true);
                tcp.set_keepalive(Some(self.link.config.keep_alive));
                tcp.set_connect_timeout(Some(self.link.config.connect_timeout));
                let connector = HttpsConnectorBuilder::new()
                    .with_tls_config(settings.as_ref().clone())
                    // Plain HTTP leads to this machine alone; the configuration sees to that.
                    .https_or_http()
                    .enable_http1()
                    .wrap_connector(tcp);
                Ok(Client::builder(TokioExecutor::new())
                    .pool_idle_timeout(IDLE)
                    .pool_timer(TokioTimer::new())
                    .build(connector))
            })
            .await
    }

    /// Sends the commands of one request; answers as a server would have given them.
    async fn post(&self, json: Bytes, commands: usize) -> std::result::Result<Vec<u8>, Trouble> {
        let unsent = |error| Trouble { error, sent: false, pause: None };
        let http = self.http().await.map_err(unsent)?;
        let token = self.sync_token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut request = Request::post(&self.address)
            .header(AUTHORIZATION, &self.authorization)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("redis-bulk/", env!("CARGO_PKG_VERSION")))
            .header("upstash-encoding", "base64");
        if let Some(token) = token {
            request = request.header(SYNC_TOKEN, token);
        }
        let size = json.len() as u64;
        let request = request.body(Full::new(json)).map_err(|error| {
            unsent(Error::new(Kind::InvalidConfig, "the Upstash address cannot be used").with_cause(error))
        })?;
        let response = http.request(request).await.map_err(|error| self.unreachable(&error))?;
        self.link.traffic.sent.fetch_add(size, Ordering::Relaxed);
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|error| Trouble {
            error: Error::new(Kind::ConnectionLost, "the answer broke off").with_cause(error),
            sent: true,
            pause: None,
        })?;
        let bytes = bytes.to_bytes();
        self.link.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Some(token) = head.headers.get(SYNC_TOKEN) {
            *self.sync_token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        }
        replies(Response::from_parts(head, bytes), commands)
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Trouble {
        let address = &self.link.config.target.describe();
        // A connection may also break in TLS when the request is on its way.
        let sent = !error.is_connect();
        if let Some(error) = tls::explain(address, error) {
            return Trouble { error, sent, pause: None };
        }
        let mut innermost: &dyn StdError = error;
        while let Some(inner) = innermost.source() {
            innermost = inner;
        }
        let innermost = innermost.to_string();
        let error = if error.is_connect() {
            Error::new(Kind::ConnectionRefused, format!("could not connect to {address}: {innermost}"))
        } else {
            Error::new(Kind::ConnectionLost, format!("the connection to {address} broke: {innermost}"))
        };
        Trouble { error: error.with_cause(innermost), sent, pause: None }
    }

    /// Sends, and again where the server asks for a pause that the caller can wait for.
    async fn send(
        &self,
        json: &Bytes,
        commands: usize,
        deadline: Instant,
    ) -> std::result::Result<Vec<u8>, Trouble> {
        loop {
            let attempt = timeout_at(deadline, self.post(json.clone(), commands)).await;
            let trouble = match attempt {
                Ok(Ok(replies)) => return Ok(replies),
                Ok(Err(trouble)) => trouble,
                Err(_) => {
                    let error = Error::new(Kind::Timeout, "no answer within the time limit");
                    return Err(Trouble { error, sent: true, pause: None });
                }
            };
            // The server may name any number of seconds.
            let again = trouble.pause.and_then(|pause| Instant::now().checked_add(pause));
            let Some(again) = again.filter(|again| *again < deadline) else { return Err(trouble) };
            sleep_until(again).await;
            if Instant::now() >= deadline {
                return Err(trouble);
            }
        }
    }

    /// Carries out a command in its turn, for which it waits no longer than for its answer.
    async fn in_order(&self, prepared: Prepared) -> Answer {
        let deadline = prepared.deadline;
        if prepared.reads {
            match timeout_at(deadline, self.order.read()).await {
                Ok(_order) => self.carry_out(prepared).await,
                Err(_) => prepared.late(),
            }
        } else {
            match timeout_at(deadline, self.order.write()).await {
                Ok(_order) => self.carry_out(prepared).await,
                Err(_) => prepared.late(),
            }
        }
    }

    async fn carry_out(&self, prepared: Prepared) -> Answer {
        // The turn and the end of the time may come together.
        if Instant::now() >= prepared.deadline {
            return prepared.late();
        }
        let Prepared { mut sink, body, deadline, .. } = prepared;
        let commands = body.commands();
        let replies = if commands == 0 {
            Ok(Vec::new())
        } else {
            self.send(&Bytes::from(body.json), commands, deadline).await
        };
        let replies = match replies {
            Ok(replies) => replies,
            Err(Trouble { error, sent, .. }) => {
                self.link.states.set(State::Reconnecting, Some(error.message().to_owned()));
                return Answer { sink, failure: Some(Failure { error, sent }) };
            }
        };
        self.link.states.set(State::Ready, None);
        let mut reader = Reader::new();
        let mut rest = replies.as_slice();
        for unsent in body.unsent {
            let used = match unsent {
                Some(error) => {
                    sink.refuse(error);
                    Ok(0)
                }
                None => reader.read(rest, &mut sink).map(|(used, _)| used),
            };
            match used {
                Ok(used) => rest = rest.get(used..).unwrap_or(&[]),
                Err(error) => {
                    let error = Error::new(Kind::Protocol, error.0);
                    return Answer { sink, failure: Some(Failure { error, sent: true }) };
                }
            }
        }
        Answer { sink, failure: None }
    }
}

/// What the response says, as replies of a server.
fn replies(response: Response<Bytes>, commands: usize) -> std::result::Result<Vec<u8>, Trouble> {
    let (status, body) = (response.status(), response.body());
    if status == StatusCode::OK {
        let entries: Vec<Entry> = serde_json::from_slice(body).unwrap_or_default();
        if entries.len() == commands {
            let mut out = Vec::with_capacity(body.len());
            entries.iter().for_each(|entry| entry.put(&mut out));
            return Ok(out);
        }
        let error = Error::new(Kind::Protocol, "the answer is not one of Upstash's REST interface");
        return Err(Trouble { error, sent: true, pause: None });
    }
    let told = serde_json::from_slice::<Entry>(body).ok().and_then(Entry::into_error);
    let message = told.clone().unwrap_or_else(|| format!("the server answered with HTTP status {status}"));
    let error = |kind| Error::new(kind, message.as_str());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let error = Error::new(Kind::Auth, format!("the server refused the token: {message}"));
            Err(Trouble { error, sent: false, pause: None })
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let seconds =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let pause = Some(seconds.map_or(RATE_LIMIT_PAUSE, Duration::from_secs));
            let error = error(Kind::Server("RATE_LIMITED".into())).with_retryable(true);
            Err(Trouble { error, sent: false, pause })
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Trouble { error: error(Kind::TooLarge), sent: false, pause: None })
        }
        status if status.is_server_error() => {
            Err(Trouble { error: error(Kind::ConnectionLost), sent: true, pause: None })
        }
        _ => match told {
            // The server's own refusal of the whole request: that of each command in it.
            Some(text) => {
                let mut out = Vec::new();
                (0..commands).for_each(|_| put_error(&mut out, &text));
                Ok(out)
            }
            None => Err(Trouble { error: error(Kind::Protocol), sent: true, pause: None }),
        },
    }
}

/// A command that needs its caller's data no more.
struct Prepared {
    sink: Sink,
    body: Body,
    /// When the caller stops waiting.
    deadline: Instant,
    /// Others may go on beside it.
    reads: bool,
}

impl Prepared {
    /// It has `timeout` from now on, and no longer than until `limit`.
    fn new(command: &Command<'_>, limit: Option<Instant>, timeout: Duration) -> Self {
        let reads = matches!(command, Command::Lookup { .. } | Command::Scan { .. });
        let round_trip = Instant::now() + timeout;
        let deadline = limit.map_or(round_trip, |limit| limit.min(round_trip));
        Self { sink: command.sink(), body: Body::of(&command.encode()), deadline, reads }
    }

    /// Its time ended before its turn came.
    fn late(self) -> Answer {
        let error = Error::new(Kind::Timeout, "the time limit passed before the writes in front were done");
        Answer { sink: self.sink, failure: Some(Failure::unsent(error)) }
    }
}

impl Store for Upstash {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(self.in_order(self.prepare(command, bounds.limit())))
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        // Nothing is gained by beginning on a caller's own thread.
        let Some(store) = self.me.upgrade().filter(|_| caller.is_none()) else { return Some(settled) };
        let prepared = self.prepare(command, limit);
        // Tasks begin in the order in which they are made, and so take their turns.
        self.link.runtime.spawn(async move {
            let answer = guarded(async { Ok(store.in_order(prepared).await) }).await;
            settled(answer.unwrap_or_else(|error| Answer {
                sink: Sink::Skip,
                failure: Some(Failure { error, sent: true }),
            }));
        });
        None
    }

    fn wants_repeat(&self, _command: &Command<'_>, _answer: &Answer, _bounds: &Bounds) -> bool {
        false
    }

    fn spread(&self) -> Spread {
        Spread::Whole
    }

    fn placement<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(async { Ok(Placement::whole()) })
    }

    /// One address; its health is the answer to a PING.
    fn nodes<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        Box::pin(async { Vec::new() })
    }

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async {
            self.link.states.connecting();
            let ping = [b"PING".to_vec()];
            let limit = Instant::now() + self.link.config.connect_timeout;
            let prepared = self.prepare(&Command::Other { arguments: &ping }, Some(limit));
            let mut answer = self.in_order(prepared).await;
            match answer.failure.map(|failure| failure.error).or_else(|| answer.sink.take_fault()) {
                Some(error) => Err(error),
                None => Ok(()),
            }
        })
    }

    /// Nothing is connected for longer than a request; what is kept alive ends by itself.
    fn disconnect(&self) {}
}
