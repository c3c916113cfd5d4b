//! Every call of a writer times every fault times everything that may be left: each is one cell.

use std::fmt;

use super::{
    disk::Disk,
    fault::{Fault, Operation, Restart},
};

/// What may be left of the fault at one call; each call keeps another half.
fn restarts(number: usize) -> [Restart; 4] {
    [
        Restart::Process,
        Restart::Synced,
        Restart::Everything,
        Restart::Some(number as u64),
    ]
}

/// How many cells ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    /// The calls of the writer that change something.
    pub operations: usize,
    /// The cells.
    pub cells: usize,
}

impl fmt::Display for Cells {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, cells } = self;
        write!(formatter, "{operations} operations, {cells} cells")
    }
}

/// Lets a writer meet every fault at each of its calls, and none. `run` begins on a copy of the
/// prepared disk, goes on until it fails, and says what it knows; `check` opens what is left,
/// compares, and may add to what is known. Then the power is cut once more, and nothing may be gone
/// of what was shown.
///
/// A `run` without a fault must do the same calls every time. Whoever panics is told the cell.
pub fn every_fault<K>(
    prepared: &Disk,
    run: impl Fn(&Disk) -> K,
    check: impl Fn(&Disk, &mut K),
) -> Cells {
    let rehearsal = prepared.copy();
    run(&rehearsal);
    let operations = rehearsal.operations();
    let fill = |cell: Cell<'_>| {
        let disk = prepared.copy();
        if let Some((fault, _)) = cell.fault {
            disk.arm(cell.number, fault);
        }
        let mut known = run(&disk);
        disk.restart(cell.restart);
        check(&disk, &mut known);
        disk.restart(Restart::Synced);
        check(&disk, &mut known);
    };
    let mut cells = 0;
    for number in 0..=operations.len() {
        let faults = match operations.get(number) {
            Some(operation) => Fault::ALL
                .into_iter()
                .filter(|fault| fault.concerns(operation))
                .map(|fault| Some((fault, operation)))
                .collect(),
            // The writer came to its end.
            None => vec![None],
        };
        for fault in faults {
            for restart in restarts(number) {
                fill(Cell {
                    number,
                    fault,
                    restart,
                });
                cells += 1;
            }
        }
    }
    Cells {
        operations: operations.len(),
        cells,
    }
}

/// Says where it was if a test fails in it.
struct Cell<'a> {
    number: usize,
    fault: Option<(Fault, &'a Operation)>,
    restart: Restart,
}

impl Drop for Cell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let restart = self.restart;
            match self.fault {
                Some((fault, operation)) => {
                    let number = self.number;
                    eprintln!(
                        "in the cell of call {number}, {operation:?}: {fault:?}, {restart:?}"
                    );
                }
                None => eprintln!("in the cell without a fault: {restart:?}"),
            }
        }
    }
}
