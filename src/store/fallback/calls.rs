//! What becomes of a call.

use super::cursor::{fits_server, server_command};
use super::outage::takes_over;
use super::{Fallback, Mode};
use crate::error::{Kind, Result};
use crate::state::State;
use crate::store::{
    Answer, Bounds, Command, EventLoop, Failure, NodeState, Pending, Placement, Settled, Spread, Store,
};
use tokio::task::yield_now;
use tokio::time::Instant;

impl Fallback {
    async fn answer(&self, command: &Command<'_>, bounds: &Bounds) -> Answer {
        /// How often one call may find the server away that others find there.
        const ROUNDS: u32 = 3;
        let mut room = Vec::new();
        let on_server = server_command(command, &mut room);
        let mut round = 0;
        // Whether an attempt may have left and lost its answer.
        let mut lost = false;
        let account = |answer: Answer, lost| if lost { answer.doubted() } else { answer };
        loop {
            match self.mode() {
                Mode::Server => {
                    let outage = self.core().outages;
                    let asked = self.parts.server.execute(&on_server, bounds);
                    let answer = if on_server.leaves_the_same() {
                        tokio::select! {
                            biased;
                            answer = asked => answer,
                            // Others have found the server away: nobody waits for it any longer.
                            _ = self.wait_while(Mode::Server, None) => {
                                lost = true;
                                continue;
                            }
                        }
                    } else {
                        asked.await
                    };
                    let Some(failure) = answer
                        .failure
                        .as_ref()
                        .filter(|failure| takes_over(command, failure, bounds, self.parts.in_turns))
                    else {
                        return account(answer, lost);
                    };
                    round += 1;
                    lost |= failure.sent;
                    // The connection broke under it, which says nothing of the next one.
                    let broke = failure.sent && failure.error.kind() != &Kind::Timeout;
                    if broke && round == 1 {
                        continue;
                    }
                    if !self.leave(outage, &failure.error) && round >= ROUNDS {
                        return account(answer, lost);
                    }
                }
                Mode::Memory => {
                    if let Some(answer) = self.answer_from_memory(command) {
                        // A long call made of many chunks lets others have their turn.
                        yield_now().await;
                        return account(answer, lost);
                    }
                }
                Mode::Shut => {
                    if let Err(error) = self.wait_while(Mode::Shut, bounds.limit()).await {
                        let answer = Answer { sink: command.sink(), failure: Some(Failure::unsent(error)) };
                        return account(answer, lost);
                    }
                }
            }
        }
    }
}

impl Store for Fallback {
    fn execute<'a>(&'a self, command: &'a Command<'a>, bounds: &'a Bounds) -> Pending<'a, Answer> {
        Box::pin(self.answer(command, bounds))
    }

    fn execute_now(
        &self,
        command: &Command<'_>,
        limit: Option<Instant>,
        caller: Option<&dyn EventLoop>,
        settled: Settled,
    ) -> Option<Settled> {
        match self.mode() {
            Mode::Server if fits_server(command) => {
                self.parts.server.execute_now(command, limit, caller, settled)
            }
            Mode::Server | Mode::Shut => Some(settled),
            Mode::Memory => match self.answer_from_memory(command) {
                Some(answer) => {
                    settled(answer);
                    None
                }
                None => Some(settled),
            },
        }
    }

    /// Also where the server is not asked again, but the memory is to answer.
    fn wants_repeat(&self, command: &Command<'_>, answer: &Answer, bounds: &Bounds) -> bool {
        if self.parts.server.wants_repeat(command, answer, bounds) {
            return true;
        }
        let Some(failure) = answer
            .failure
            .as_ref()
            .filter(|failure| takes_over(command, failure, bounds, self.parts.in_turns))
        else {
            return false;
        };
        if failure.sent && failure.error.kind() == &Kind::Timeout {
            // Whoever has waited in vain is not to wait for another connection as well.
            let outage = self.core().outages;
            self.leave(outage, &failure.error);
        }
        true
    }

    fn spread(&self) -> Spread {
        Spread::Whole
    }

    fn placement<'a>(&'a self, _bounds: &'a Bounds) -> Pending<'a, Result<Placement>> {
        Box::pin(async { Ok(Placement::whole()) })
    }

    fn nodes<'a>(&'a self, bounds: &'a Bounds) -> Pending<'a, Vec<NodeState>> {
        self.parts.server.nodes(bounds)
    }

    /// Without a server the memory is there at once.
    fn connect(&self) -> Pending<'_, Result<()>> {
        Box::pin(async {
            if self.mode() != Mode::Server {
                let mut core = self.core();
                if core.mode == Mode::Memory {
                    self.look_for_server(&mut core);
                }
                return Ok(());
            }
            let outage = self.core().outages;
            let command = Command::Other { arguments: &[] };
            match self.parts.server.connect().await {
                Err(error)
                    if takes_over(
                        &command,
                        &Failure::unsent(error.clone()),
                        &Bounds::default(),
                        self.parts.in_turns,
                    ) =>
                {
                    self.leave(outage, &error);
                    Ok(())
                }
                result => result,
            }
        })
    }

    /// What is to be done on the server is kept; the next call looks for it again.
    fn disconnect(&self) {
        let line = {
            let mut core = self.core();
            core.returning = false;
            core.returns += 1;
            core.line
        };
        self.parts.server.disconnect();
        if line == State::Reconnecting {
            // Nobody does any more: who connects again is to be heard.
            self.parts.line_states.set(State::Idle, None);
        }
    }
}
