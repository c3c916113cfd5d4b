//! Registry and adapter killed under load: nothing that was acknowledged is lost, and servers go on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use examples::{
    caller::{Caller, Method, text},
    dice::{Dice, seed, times},
    echo::{CLIENT, PROVIDER, plan},
    exchanges::Exchanges,
    federation::{Federation, Plan},
    registers::{
        adapter::Adapter,
        people::{Person, people},
        population,
        servers::Servers,
    },
    waiting::{PATIENCE, more_of},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use trust::ExchangeId;

/// Clients that make one call after the other.
const CALLERS: usize = 3;

/// What clients and officer were told.
struct Told {
    answered: Mutex<HashSet<ExchangeId>>,
    refused: Mutex<HashSet<ExchangeId>>,
    members: Mutex<Vec<String>>,
    answers: watch::Sender<usize>,
    registrations: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

impl Told {
    fn nothing() -> Arc<Self> {
        Arc::new(Self {
            answered: Mutex::default(),
            refused: Mutex::default(),
            members: Mutex::default(),
            answers: watch::Sender::new(0),
            registrations: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        })
    }

    /// Looks up one person after the other.
    async fn look_up(self: Arc<Self>, caller: Caller, find: Method, persons: Arc<Vec<Person>>) {
        for person in persons.iter().cycle() {
            if *self.stopping.borrow() {
                return;
            }
            let asked = caller.unary(&find, json!({ "number": person.number }));
            let answer = timeout(PATIENCE, asked).await.expect("an answer in time");
            let (metadata, name) = match &answer {
                Ok(found) => (found.metadata(), Some(text(found.get_ref(), "full_name"))),
                Err(status) => (status.metadata(), None),
            };
            let id = metadata
                .get("x-road-exchange-id")
                .expect("every answer names it");
            let id: ExchangeId = id.to_str().unwrap().parse().unwrap();
            match name {
                Some(name) => {
                    assert_eq!(name, person.full_name());
                    assert!(self.answered.lock().unwrap().insert(id));
                    self.answers.send_modify(|count| *count += 1);
                }
                None => drop(self.refused.lock().unwrap().insert(id)),
            }
        }
    }
}

/// The plan of the echo, with the population register in its place.
fn population_plan(adapter: &str) -> Plan {
    let mut plan = plan(adapter);
    for server in &mut plan.servers {
        for service in &mut server.services {
            population::SERVICE.clone_into(&mut service.grpc_service);
        }
        for right in &mut server.rights {
            population::SERVICE.clone_into(&mut right.grpc_service);
        }
    }
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn registry_and_adapter_are_killed_and_nothing_is_lost() {
    let mut dice = Dice(seed().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let logs = directory.path().join("logs");
    let persons = Arc::new(people(200, 7));
    let servers = Servers::from_environment().unwrap();
    let population = population::create(directory.path(), &servers, &persons);
    let configuration = population.await.unwrap().configuration;
    let mut adapter = Adapter::start(&configuration, &logs).await.unwrap();
    adapter.keep_address(&configuration).unwrap();
    let plan = population_plan(&adapter.address);
    let base = directory.path().join("federation");
    let mut federation = Federation::start(&base, &plan).await.unwrap();
    let find = Method::load(&adapter.proto, population::SERVICE, "FindPerson").unwrap();
    let address = federation.server("consumer").unwrap().plaintext(CLIENT);
    let address = address.unwrap().to_owned();
    let told = Told::nothing();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let caller = Caller::plaintext(&address).await.unwrap();
        let caller = caller.with("x-road-service", PROVIDER).unwrap();
        callers.spawn(Arc::clone(&told).look_up(caller, find.clone(), Arc::clone(&persons)));
    }

    let kills = times("LIENTHONG_KILLS", 4).unwrap();
    let mut victims = [vec!["registry"; kills], vec!["adapter"; kills]].concat();
    let mut number = 0;
    while !victims.is_empty() {
        let victim = victims.swap_remove(dice.below(victims.len()));
        let more = 1 + dice.below(30);
        more_of("answers after a kill", &told.answers, more)
            .await
            .unwrap();
        // Not a wait for anything: any moment of what is going on is as good.
        let moment = Duration::from_micros(dice.below(60_000) as u64);
        if victim == "adapter" {
            tokio::time::sleep(moment).await;
            adapter.kill().await.unwrap();
            adapter = Adapter::start(&configuration, &logs).await.unwrap();
            continue;
        }
        // The registry dies while it records, or publishes, what an officer asks for.
        let mut registering = JoinSet::new();
        for _ in 0..4 {
            number += 1;
            let member = format!("VN/GOV/N{number}");
            let mut officer = federation
                .registry
                .officer_command(&["member", "add"])
                .unwrap();
            officer.args(["--name", "An agency", &member]);
            let told = Arc::clone(&told);
            registering.spawn(async move {
                if examples::process::finish(officer).await.is_ok() {
                    told.members.lock().unwrap().push(member);
                    told.registrations.send_modify(|count| *count += 1);
                }
            });
        }
        more_of("registrations", &told.registrations, 1)
            .await
            .unwrap();
        tokio::time::sleep(moment).await;
        federation.registry.kill().await.unwrap();
        while registering.join_next().await.is_some() {}
        // Nobody needs it for a call.
        more_of("answers without the registry", &told.answers, 3)
            .await
            .unwrap();
        federation.registry.restart().await.unwrap();
    }
    more_of("answers after the last kill", &told.answers, 10)
        .await
        .unwrap();
    told.stopping.send_replace(true);
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }

    let shown = federation.registry.show().await.unwrap().to_string();
    let members = told.members.lock().unwrap().clone();
    for member in &members {
        let name = format!("{member:?}");
        assert!(shown.contains(&name), "{member} was acknowledged: {shown}");
    }
    // The servers follow the registry that was killed: what it published was never taken back.
    let serial = federation.registry.serial_after_changes().await.unwrap();
    for server in ["consumer", "provider"] {
        let server = federation.server_mut(server).unwrap();
        server.wait_for_serial(serial).await.unwrap();
        server.stop().await.unwrap();
    }
    let read = |server: &str| {
        let log = Exchanges::read(&federation.server(server).unwrap().endpoint().log).unwrap();
        log.check_ends().unwrap();
        log
    };
    let answered = told.answered.lock().unwrap().clone();
    let refused = told.refused.lock().unwrap().clone();
    eprintln!(
        "{} answered, {} refused, {} members registered",
        answered.len(),
        refused.len(),
        members.len()
    );
    Exchanges::agree_with(&read("consumer"), &read("provider"), &answered, &refused).unwrap();
    federation.audit().await.unwrap();
    let reconciled = federation.reconcile("consumer", "provider").await;
    assert_eq!(reconciled.unwrap()["failures"], 0);
    adapter.stop().await.unwrap();
    federation.stop().await.unwrap();
}
