//! What the clients of a simulation saw of their calls.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use examples::{
    Error,
    bare_caller::{Answer, BareCaller},
    echo::{FOLLOW, PROVIDER, REPEAT, SAY},
    waiting::PATIENCE,
};
use tokio::{task::JoinSet, time::timeout};
use tonic::Code;
use trust::ExchangeId;

use crate::operation::Call;

/// A `Text` that says "hello".
const HELLO: &[u8] = b"\x0a\x05hello";

/// The calls under way, and what became of the others.
#[derive(Default)]
pub struct Seen {
    ending: JoinSet<Result<(), Error>>,
    open: JoinSet<Result<(), Error>>,
    outcomes: Arc<Mutex<Outcomes>>,
}

#[derive(Default, Clone)]
pub struct Outcomes {
    pub answered: HashSet<ExchangeId>,
    /// Refusals of calls that the consumer's member had signed.
    pub refused: HashSet<ExchangeId>,
    /// By which codes, and how often calls ended without one.
    pub codes: std::collections::BTreeMap<String, usize>,
}

impl Seen {
    /// Begins a call.
    pub fn call(&mut self, address: &str, call: Call) {
        let (address, outcomes) = (address.to_owned(), Arc::clone(&self.outcomes));
        let (path, times) = match call {
            Call::Say => (SAY, 1),
            Call::Repeat => (REPEAT, 3),
            Call::Follow => (FOLLOW, usize::MAX),
        };
        let calls = if call == Call::Follow {
            &mut self.open
        } else {
            &mut self.ending
        };
        calls.spawn(async move {
            // A server that is down refuses the connection; there is then nothing to see.
            let Ok(caller) = BareCaller::plaintext(&address).await else {
                return Ok(());
            };
            let called = caller.call(path, &[("x-road-service", PROVIDER)], HELLO);
            match called.await {
                Ok(answer) => note(&outcomes, &answer, times),
                Err(_) => Ok(()),
            }
        });
    }

    /// Waits until all calls that end by themselves have.
    pub async fn settle(&mut self) -> Result<(), Error> {
        let settled = async {
            while let Some(ended) = self.ending.join_next().await {
                ended??;
            }
            Ok(())
        };
        let settled = timeout(2 * PATIENCE, settled).await;
        settled.unwrap_or_else(|_| Err("a call has no end".into()))
    }

    /// Gives up the calls that would go on for ever.
    pub async fn give_up(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.open.try_join_next() {
            ended??;
        }
        self.open.shutdown().await;
        Ok(())
    }

    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
            .lock()
            .map(|outcomes| outcomes.clone())
            .unwrap_or_default()
    }
}

/// Whether one call is answered now.
pub async fn is_answered(address: &str) -> bool {
    let called = async {
        let caller = BareCaller::plaintext(address).await.ok()?;
        let metadata = [("x-road-service", PROVIDER)];
        caller.call(SAY, &metadata, HELLO).await.ok()
    };
    let answer = timeout(Duration::from_secs(5), called).await;
    answer.is_ok_and(|answer| answer.is_some_and(|answer| answer.status.code() == Code::Ok))
}

fn note(outcomes: &Mutex<Outcomes>, answer: &Answer, times: usize) -> Result<(), Error> {
    let mut outcomes = outcomes.lock().map_err(|_| "a call panicked")?;
    let exchange = answer.field("x-road-exchange-id");
    let exchange: Option<ExchangeId> = exchange.and_then(|text| text.parse().ok());
    if answer.messages.iter().any(|message| message != HELLO) {
        return Err(format!("other bytes than were said: {answer:?}").into());
    }
    if answer.status.code() == Code::Ok {
        let id = exchange.ok_or("an answer names no exchange")?;
        if answer.messages.len() != times {
            return Err(format!("{id}: OK after {} answers", answer.messages.len()).into());
        }
        if !outcomes.answered.insert(id) {
            return Err(format!("{id} was answered twice").into());
        }
        return Ok(());
    }
    let code = answer.field("x-road-refusal").unwrap_or("none");
    *outcomes.codes.entry(code.to_owned()).or_default() += 1;
    if let (Some(id), Some(_)) = (exchange, answer.field("x-road-request-hash")) {
        outcomes.refused.insert(id);
    }
    Ok(())
}
