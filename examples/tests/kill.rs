//! Servers killed under load: what a client was answered is evidence, and no exchange stays open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use examples::{
    caller::{Caller, Method, text},
    dice::{Dice, seed, times},
    echo::{self, CLIENT, Echo, FOLLOW, PROVIDER, REPEAT, SAY},
    exchanges::Exchanges,
    federation::Federation,
    waiting::{PATIENCE, more_of, wait_until},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tonic::{Status, metadata::MetadataMap};
use trust::ExchangeId;

/// Clients that make one call after the other.
const CALLERS: usize = 4;

/// What the clients saw, and what they wait for.
struct Load {
    answered: Mutex<HashSet<ExchangeId>>,
    /// Refusals of calls that the consumer's member had signed.
    refused: Mutex<HashSet<ExchangeId>>,
    /// How many answers there were, to every call and to the one that stays open.
    answers: watch::Sender<usize>,
    followed: watch::Sender<usize>,
    /// Nobody calls a consumer that is down.
    consumer_up: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
}

impl Load {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answered: Mutex::default(),
            refused: Mutex::default(),
            answers: watch::Sender::new(0),
            followed: watch::Sender::new(0),
            consumer_up: watch::Sender::new(true),
            stopping: watch::Sender::new(false),
        })
    }

    /// Calls until it is told to stop.
    async fn call(self: Arc<Self>, caller: Caller, methods: Methods, number: usize) {
        for round in 0.. {
            self.wait_for_consumer().await;
            if *self.stopping.borrow() {
                return;
            }
            let said = format!("{number}-{round}");
            let called = async {
                if number == 0 {
                    repeat(&caller, &methods.repeat, &said).await
                } else {
                    say(&caller, &methods.say, &said).await
                }
            };
            match timeout(PATIENCE, called).await.expect("an answer in time") {
                Ok(exchange) => {
                    assert!(self.answered.lock().unwrap().insert(exchange));
                    self.answers.send_modify(|count| *count += 1);
                }
                Err(status) => self.note_refusal(&status),
            }
        }
    }

    /// Keeps one call open that nobody ends but a kill.
    async fn follow(self: Arc<Self>, caller: Caller, follow: Method) {
        loop {
            self.wait_for_consumer().await;
            let said = json!({ "text": "go on" });
            match caller.server_streaming(&follow, said).await {
                Ok(response) => {
                    let mut replies = response.into_inner();
                    while let Ok(Some(_)) = replies.message().await {
                        self.followed.send_modify(|count| *count += 1);
                    }
                }
                Err(status) => self.note_refusal(&status),
            }
        }
    }

    fn note_refusal(&self, status: &Status) {
        let metadata = status.metadata();
        // Without this the call was refused before it was signed, or the consumer was killed.
        if metadata.contains_key("x-road-request-hash") {
            let exchange = exchange_of(metadata).expect("a refusal names the exchange");
            self.refused.lock().unwrap().insert(exchange);
        }
    }

    /// What the clients were answered is in both logs, and is the same there.
    fn compare(&self, consumer: &Exchanges, provider: &Exchanges) {
        let answered = self.answered.lock().unwrap();
        let refused = self.refused.lock().unwrap();
        eprintln!(
            "{} answered, {} refused; at the consumer {consumer}; at the provider {provider}",
            answered.len(),
            refused.len(),
        );
        Exchanges::agree_with(consumer, provider, &answered, &refused).unwrap();
    }

    async fn wait_for_consumer(&self) {
        let mut up = self.consumer_up.subscribe();
        up.wait_for(|up| *up).await.unwrap();
    }
}

#[derive(Clone)]
struct Methods {
    say: Method,
    repeat: Method,
}

async fn say(caller: &Caller, method: &Method, said: &str) -> Result<ExchangeId, Status> {
    let response = caller.unary(method, json!({ "text": said })).await?;
    assert_eq!(text(response.get_ref(), "text"), said);
    Ok(exchange_of(response.metadata()).expect("an answer names the exchange"))
}

async fn repeat(caller: &Caller, method: &Method, said: &str) -> Result<ExchangeId, Status> {
    let response = caller
        .server_streaming(method, json!({ "text": said }))
        .await?;
    let exchange = exchange_of(response.metadata()).expect("an answer names the exchange");
    let mut replies = response.into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await? {
        assert_eq!(text(&reply, "text"), said);
        count += 1;
    }
    assert_eq!(count, 3, "a stream that ended with OK is whole");
    Ok(exchange)
}

fn exchange_of(metadata: &MetadataMap) -> Option<ExchangeId> {
    metadata
        .get("x-road-exchange-id")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_before_a_kill_is_in_both_logs() {
    let mut dice = Dice(seed().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let echo = Echo::start().await.unwrap();
    let mut federation = Federation::start(base, &echo::plan(&echo.address))
        .await
        .unwrap();
    let methods = Methods {
        say: echo::method(base, SAY).unwrap(),
        repeat: echo::method(base, REPEAT).unwrap(),
    };
    let address = federation.server("consumer").unwrap().plaintext(CLIENT);
    let address = address.unwrap().to_owned();
    let load = Load::new();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = caller(&address).await;
        callers.spawn(Arc::clone(&load).call(caller, methods.clone(), number));
    }
    let follow = echo::method(base, FOLLOW).unwrap();
    let follower = tokio::spawn(Arc::clone(&load).follow(caller(&address).await, follow));

    let kills = times("LIENTHONG_KILLS", 10).unwrap();
    let mut victims = [vec!["consumer"; kills], vec!["provider"; kills]].concat();
    let mut followed = 0;
    while !victims.is_empty() {
        let victim = victims.swap_remove(dice.below(victims.len()));
        let more = 1 + dice.below(30);
        more_of("answers after a kill", &load.answers, more)
            .await
            .unwrap();
        let opened = |count: &usize| *count > followed;
        followed = wait_until("the open call to be made again", &load.followed, opened)
            .await
            .unwrap();
        // Not a wait for anything: any moment of what is going on is as good.
        tokio::time::sleep(Duration::from_micros(dice.below(8000) as u64)).await;
        let is_consumer = victim == "consumer";
        let server = federation.server_mut(victim).unwrap();
        server.kill().await.unwrap();
        load.consumer_up.send_replace(!is_consumer);
        server.start().await.unwrap();
        load.consumer_up.send_replace(true);
    }
    more_of("answers after the last kill", &load.answers, 10)
        .await
        .unwrap();
    load.stopping.send_replace(true);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    follower.abort();
    let _ = follower.await;
    for server in ["consumer", "provider"] {
        let server = federation.server_mut(server).unwrap();
        server.stop().await.unwrap();
    }
    let log = |server: &str| &federation.server(server).unwrap().endpoint().log;
    let consumer = Exchanges::read(log("consumer")).unwrap();
    let provider = Exchanges::read(log("provider")).unwrap();
    load.compare(&consumer, &provider);
    for log in [&consumer, &provider] {
        log.check_ends().unwrap();
        // The call that stays open was open at each kill of this server.
        assert!(log.left_open_by_a_kill >= kills);
    }
    federation.audit().await.unwrap();
    let agreed = federation.reconcile("consumer", "provider").await.unwrap();
    let alike = agreed["alike"].as_u64().unwrap();
    assert!(
        alike >= load.answered.lock().unwrap().len() as u64,
        "{agreed}"
    );
    federation.stop().await.unwrap();
}

async fn caller(address: &str) -> Caller {
    let caller = Caller::plaintext(address).await.unwrap();
    caller.with("x-road-service", PROVIDER).unwrap()
}
