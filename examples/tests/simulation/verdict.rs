//! What must hold after a simulation, whatever has happened.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use examples::{
    Error,
    exchanges::Exchanges,
    process::{finish, program},
};
use security_server::Clock;
use tokio::process::Command;
use trust::ExchangeId;

use crate::{seen::Outcomes, world::World};

/// Both logs verify and agree with each other, with what the clients saw, and with the calls that
/// reached the adapter.
pub async fn pronounce(
    world: &World,
    outcomes: &Outcomes,
    reached: &[String],
) -> Result<(), Error> {
    let folder = tempfile::tempdir_in(world.directory.path())?;
    let logs = ["consumer", "provider"].map(|name| folder.path().join(name));
    world.consumer.export(&logs[0])?;
    world.provider.export(&logs[1])?;
    for log in &logs {
        verify(world, log).await?;
    }
    audit("reconcile", &[&logs[0], &logs[1]], &[]).await?;
    let [consumer, provider] = [Exchanges::read(&logs[0])?, Exchanges::read(&logs[1])?];
    consumer.check_ends()?;
    provider.check_ends()?;
    Exchanges::agree_with(&consumer, &provider, &outcomes.answered, &outcomes.refused)?;
    let mut called = HashSet::new();
    for exchange in reached {
        let id: ExchangeId = exchange
            .parse()
            .map_err(|_| "the adapter saw no exchange")?;
        if !called.insert(id) {
            return Err(format!("the adapter was called twice for {id}").into());
        }
        if provider.of(id)?.right.is_none() {
            return Err(format!("the adapter was called for {id}, which no right allowed").into());
        }
    }
    match outcomes.answered.iter().find(|id| !called.contains(id)) {
        Some(id) => Err(format!("{id} was answered and never reached the adapter").into()),
        None => Ok(()),
    }
}

/// Lets the auditor verify a log.
pub async fn verify(world: &World, log: &Path) -> Result<(), Error> {
    let anchor = world.directory.path().join("anchor.json");
    // By the clock of the servers, which may be far from that of this machine.
    let now = jiff::Timestamp::from_second(world.consumer.clock.seconds())?.to_string();
    let options = ["--anchor".into(), anchor, "--at".into(), now.into()];
    audit("verify", &[log], &options).await
}

async fn audit(command: &str, logs: &[&Path], options: &[PathBuf]) -> Result<(), Error> {
    let mut auditor = Command::new(program("auditor")?);
    auditor.arg(command).args(logs).args(options);
    finish(auditor).await.map(drop)
}
