use super::*;
use crate::config;
use crate::error::Applied;
use crate::state::{State, States};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::advance;

const OPEN: Duration = Duration::from_secs(10);

/// A store that ends each call as the script says, and counts them. Where there is no script left they go well.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<Kind>>,
    calls: AtomicUsize,
    /// Calls wait for it while it is there.
    gate: Mutex<Option<Arc<Notify>>>,
    has_lane: AtomicBool,
}

impl Scripted {
    fn answer(&self, command: &Command<'_>) -> Answer {
        let failure = self.script.lock().expect("no panic").pop_front();
        let failure = failure.map(|kind| Failure::unsent(Error::new(kind, "as the script says")));
        Answer { sink: command.sink(), failure }
    }
}

impl Store for Scripted {
    fn execute<'a>(&'a self, command: &'a Command<'a>, _bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::Relaxed);
            let gate = self.gate.lock().expect("no panic").clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            self.answer(command)
        })
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        _limit: Option<Instant>,
        _caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        if !self.has_lane.load(Ordering::Relaxed) {
            return Some(settled);
        }
        settled(self.answer(command));
        None
    }

    fn wants_repeat(&self, _command: &Command<'_>, _answer: &Answer, _bounds: &Bounds) -> bool {
        true
    }

    fn spread(&self) -> Spread {
        Spread::Whole
    }

    fn placement<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(async { Ok(Placement::whole()) })
    }

    fn nodes<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        Box::pin(async { Vec::new() })
    }

    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async {
            let answer = self.answer(&Command::Other { arguments: &[] });
            answer.failure.map_or(Ok(()), |failure| Err(failure.error))
        })
    }

    fn disconnect(&self) {}
}

struct Setup {
    server: Arc<Scripted>,
    breaker: Arc<Breaker>,
    store: Breaking,
}

fn setup(failures: u32) -> Setup {
    let server = Arc::new(Scripted::default());
    let breaker = Breaker::new(config::Breaker { failures, open: OPEN });
    Setup { server: server.clone(), breaker: breaker.clone(), store: Breaking::new(server, breaker) }
}

impl Setup {
    fn script(&self, kinds: &[Kind]) {
        self.server.script.lock().expect("no panic").extend(kinds.iter().cloned());
    }

    async fn call(&self) -> std::result::Result<(), String> {
        self.call_within(None).await
    }

    async fn call_within(&self, limit: Option<Instant>) -> std::result::Result<(), String> {
        let bounds = Bounds::new(limit);
        let answer = self.store.execute(&Command::Other { arguments: &[] }, &bounds).await;
        answer.failure.map_or(Ok(()), |failure| Err(failure.error.code().to_owned()))
    }

    async fn fail(&self, times: usize) {
        self.script(&vec![Kind::ConnectionRefused; times]);
        for _ in 0..times {
            assert_eq!(self.call().await, Err("CONNECTION_REFUSED".into()));
        }
    }

    fn calls(&self) -> usize {
        self.server.calls.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn opens_after_the_failures_and_refuses_without_a_call() {
    let setup = setup(3);
    setup.fail(2).await;
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
    setup.fail(1).await;
    assert_eq!(setup.breaker.state(), BreakerState::Open);
    advance(OPEN - Duration::from_millis(1)).await;
    let bounds = Bounds::default();
    let answer = setup.store.execute(&Command::Other { arguments: &[] }, &bounds).await;
    let failure = answer.failure.expect("it is refused");
    assert_eq!(
        (failure.error.code(), failure.error.retryable(), failure.sent),
        ("CIRCUIT_OPEN", true, false)
    );
    assert_eq!(failure.error.applied(), Applied::No);
    assert_eq!(failure.error.cause(), Some("as the script says"));
    assert!(failure.error.message().contains("3 connection failures"), "{}", failure.error);
    assert_eq!(setup.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_failures_starts_the_count_again() {
    let setup = setup(3);
    setup.fail(2).await;
    assert_eq!(setup.call().await, Ok(()));
    setup.fail(2).await;
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
    // An error reply is an answer, too.
    setup.script(&[Kind::Server("OOM".into())]);
    assert_eq!(setup.call().await, Err("OOM".into()));
    setup.fail(2).await;
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
    setup.fail(1).await;
    assert_eq!(setup.breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_connection_failure_does_not_count() {
    let setup = setup(1);
    for kind in [Kind::Auth, Kind::Tls, Kind::Server("LOADING".into()), Kind::Overloaded, Kind::Closed] {
        setup.script(std::slice::from_ref(&kind));
        assert!(setup.call().await.is_err());
        assert_eq!(setup.breaker.state(), BreakerState::Closed, "{kind:?}");
    }
    setup.script(&[Kind::Timeout]);
    assert!(setup.call_within(Some(Instant::now())).await.is_err());
    assert_eq!(setup.breaker.state(), BreakerState::Closed, "the caller's own limit");
    for kind in
        [Kind::ConnectionRefused, Kind::ConnectionLost, Kind::ConnectTimeout, Kind::Protocol, Kind::Timeout]
    {
        setup.breaker.reset();
        setup.script(std::slice::from_ref(&kind));
        assert!(setup.call().await.is_err());
        assert_eq!(setup.breaker.state(), BreakerState::Open, "{kind:?}");
    }
}

/// Polls each once.
fn poll_all<T>(calls: &mut [Pin2<'_, T>]) -> Vec<Option<T>> {
    let mut context = Context::from_waker(Waker::noop());
    calls
        .iter_mut()
        .map(|call| match call.as_mut().poll(&mut context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
        .collect()
}

type Pin2<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

#[tokio::test(start_paused = true)]
async fn calls_that_fail_together_are_one_failure() {
    let setup = setup(2);
    let gate = Arc::new(Notify::new());
    for expected in [BreakerState::Closed, BreakerState::Open] {
        setup.script(&vec![Kind::ConnectionRefused; 50]);
        *setup.server.gate.lock().expect("no panic") = Some(gate.clone());
        let mut calls: Vec<Pin2<'_, _>> = (0..50).map(|_| Box::pin(setup.call()) as _).collect();
        assert!(poll_all(&mut calls).iter().all(Option::is_none), "all are under way");
        gate.notify_waiters();
        let failed = poll_all(&mut calls);
        assert!(failed.iter().all(|result| *result == Some(Err("CONNECTION_REFUSED".into()))));
        assert_eq!(setup.breaker.state(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn one_probe_decides_for_all() {
    let setup = setup(1);
    setup.fail(1).await;
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().expect("no panic") = Some(gate.clone());
    for (kind, expected) in [(Some(Kind::ConnectTimeout), BreakerState::Open), (None, BreakerState::Closed)] {
        advance(OPEN).await;
        assert_eq!(setup.breaker.state(), BreakerState::HalfOpen);
        setup.script(kind.as_slice());
        let before = setup.calls();
        let mut calls: Vec<Pin2<'_, _>> = (0..50).map(|_| Box::pin(setup.call()) as _).collect();
        let at_once = poll_all(&mut calls);
        assert_eq!(setup.calls() - before, 1);
        assert_eq!(at_once.iter().filter(|result| result.is_none()).count(), 1);
        assert_eq!(
            at_once.iter().flatten().filter(|result| **result == Err("CIRCUIT_OPEN".into())).count(),
            49
        );
        assert_eq!(setup.breaker.state(), BreakerState::HalfOpen);
        gate.notify_waiters();
        poll_all(&mut calls[..1]);
        assert_eq!(setup.breaker.state(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_says_nothing_leaves_its_place_to_the_next() {
    let setup = setup(1);
    setup.fail(1).await;
    advance(OPEN).await;
    let gate = Arc::new(Notify::new());
    *setup.server.gate.lock().expect("no panic") = Some(gate);
    {
        let mut dropped: [Pin2<'_, _>; 1] = [Box::pin(setup.call())];
        assert_eq!(poll_all(&mut dropped), [None]);
        assert_eq!(setup.call().await, Err("CIRCUIT_OPEN".into()));
    }
    *setup.server.gate.lock().expect("no panic") = None;
    setup.script(&[Kind::Timeout]);
    assert_eq!(setup.call_within(Some(Instant::now())).await, Err("TIMEOUT".into()));
    assert_eq!(setup.breaker.state(), BreakerState::HalfOpen);
    assert_eq!(setup.call().await, Ok(()));
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_somebody_made_closes_it() {
    let setup = setup(1);
    let states = States::default();
    setup.breaker.watch(&states);
    setup.fail(1).await;
    states.set(State::Connecting, None);
    assert_eq!(setup.breaker.state(), BreakerState::Open);
    states.set(State::Ready, None);
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
    setup.fail(1).await;
    assert_eq!(setup.store.connect().await.map_err(|error| error.code().to_owned()), Ok(()));
    assert_eq!(setup.breaker.state(), BreakerState::Closed, "connect() is never refused");
}

#[tokio::test(start_paused = true)]
async fn small_calls_are_seen_once_something_failed() {
    let setup = setup(3);
    setup.server.has_lane.store(true, Ordering::Relaxed);
    let now = |setup: &Setup| {
        let heard = Arc::new(Mutex::new(None));
        let hears = heard.clone();
        let settled = Box::new(move |answer: Answer| *hears.lock().expect("no panic") = Some(answer));
        let refused =
            setup.store.execute_now(&Command::Other { arguments: &[] }, None, None, settled).is_some();
        let heard = heard.lock().expect("no panic").take();
        assert_eq!(refused, heard.is_none());
        heard.map(|answer| answer.failure.is_none())
    };
    setup.fail(2).await;
    assert_eq!(now(&setup), Some(true));
    assert!(setup.breaker.is_calm());
    setup.fail(2).await;
    setup.script(&[Kind::ConnectionLost]);
    assert_eq!(now(&setup), Some(false));
    assert_eq!(setup.breaker.state(), BreakerState::Open);
    assert_eq!(now(&setup), None, "the slow way refuses it");
    // Given back where there is no lane, without an effect.
    setup.breaker.reset();
    setup.fail(2).await;
    setup.server.has_lane.store(false, Ordering::Relaxed);
    assert_eq!(now(&setup), None);
    assert_eq!(setup.breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_takes_no_repetition() {
    let setup = setup(1);
    let command = Command::Other { arguments: &[] };
    let lost = Answer::lost("as the script says");
    assert!(setup.store.wants_repeat(&command, &lost, &Bounds::default()));
    setup.fail(1).await;
    assert!(!setup.store.wants_repeat(&command, &lost, &Bounds::default()));
}
