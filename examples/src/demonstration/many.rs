//! Many births, while agencies, databases, servers and desk are killed at random: none is lost, and nothing is done twice.

use std::{
    io::{IsTerminal, stderr},
    time::Instant,
};

use super::{Account, Stage};
use crate::{
    Error,
    newborn::births::{Order, perform},
};

const WIDTH: usize = 40;

/// Tells of them, with a bar while they are done.
pub(super) async fn tell(
    stage: &mut Stage,
    order: Order,
    account: &mut Account,
) -> Result<(), Error> {
    account.chapter(&format!(
        "The same for {} births, while agencies, databases, servers and desk are killed {} times (seed {})",
        order.births, order.kills, order.seed
    ));
    let begun = Instant::now();
    let desk = stage.agencies.start_desk()?;
    let bar = stderr().is_terminal();
    let mut progress = |complete: i64, killed: usize| {
        if bar {
            let complete = usize::try_from(complete).unwrap_or(0);
            let done = WIDTH * complete / order.births.max(1);
            eprint!(
                "\r  [{:<WIDTH$}] {complete} of {} complete, {killed} killed ",
                "#".repeat(done),
                order.births
            );
        }
    };
    let performed = perform(&mut stage.agencies, desk, order, &mut progress).await;
    if bar {
        eprintln!();
    }
    let (desk, tally) = performed?;
    desk.stop().await?;
    account.tell(&format!("{:.0} s", begun.elapsed().as_secs_f32()));
    account.expect(
        tally.complete == tally.declared && tally.refused == 0,
        &format!(
            "the desk: {} declared, {} complete, {} refused",
            tally.declared, tally.complete, tally.refused
        ),
    );
    account.expect(
        tally.births == tally.declared && tally.certified == tally.declared,
        &format!(
            "civil status (MariaDB's client): {} births, {} certified with their number",
            tally.births, tally.certified
        ),
    );
    account.expect(
        tally.numbers == tally.declared && tally.residences == tally.declared,
        &format!(
            "population (psql): {} numbers, all different, {} residences",
            tally.numbers, tally.residences
        ),
    );
    account.expect(
        tally.cards == tally.declared,
        &format!("insurance (SQLite's client): {} cards", tally.cards),
    );
    account.expect(
        tally.different == 0,
        &format!(
            "lost: {}, done twice: none, with another number in some register: {}",
            tally.declared - tally.numbers,
            tally.different
        ),
    );
    Ok(())
}
