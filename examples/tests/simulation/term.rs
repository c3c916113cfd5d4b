//! Contents whose term is over, on two servers that agree about the rest.

use examples::{
    Error,
    message_log::{MessageEntry, MessageLog},
    waiting::wait_for,
};

use security_server::Clock;

use crate::{
    machine::ServerMachine,
    operation::{self, Who},
    world::World,
};

/// Three calls, two days, and another one; what is done at its start finds the first three.
const TWO_DAYS: &str = "call say 3
settle
move consumer 172800
move provider 172800
stop consumer
stop provider
start consumer
start provider
call say 1
settle";

#[tokio::test(flavor = "multi_thread")]
async fn contents_whose_term_is_over_are_gone_and_both_logs_still_agree() {
    let mut world = World::set().await.unwrap();
    let list = operation::read(TWO_DAYS).unwrap();
    // Both logs verify and agree afterwards, whatever was destroyed until then.
    let outcomes = world.run(&list).await.unwrap();
    assert_eq!(outcomes.answered.len(), 4);
    for who in [Who::Consumer, Who::Provider] {
        let machine = world.machine(who);
        machine.start().await.unwrap();
        wait_for("the old contents to be destroyed", || {
            std::future::ready(contents(machine).ok().filter(|(old, _)| *old == 0))
        })
        .await
        .unwrap();
        machine.stop().await.unwrap();
        let (old, new) = contents(machine).unwrap();
        assert!(old == 0 && new > 0, "{old}, {new}");
    }
    world.mend().await.unwrap();
    world.pronounce(&outcomes).await.unwrap();
    world.federation.stop().await.unwrap();
}

/// How many contents there are that are older than a day, and how many others.
fn contents(machine: &ServerMachine) -> Result<(usize, usize), Error> {
    let folder = tempfile::tempdir()?;
    machine.export(folder.path())?;
    let log = MessageLog::read(folder.path())?;
    // Zeros stand in place of what was destroyed.
    let is_kept = |entry: &&MessageEntry| entry.content.iter().any(|byte| *byte != 0);
    let kept = log.messages.iter().filter(is_kept);
    let day_ago = machine.clock.milliseconds() - 86_400_000;
    let (old, new): (Vec<_>, Vec<_>) = kept.partition(|entry| entry.annex.received_at < day_ago);
    Ok((old.len(), new.len()))
}
