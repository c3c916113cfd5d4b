//! What the demonstration tells: one line for each thing that holds, or does not.
#![allow(
    clippy::print_stdout,
    reason = "this is the file of the program that prints"
)]

/// Tells and counts.
#[derive(Debug, Default)]
pub struct Account {
    failed: u32,
}

impl Account {
    /// A heading.
    pub fn chapter(&mut self, title: &str) {
        println!("\n{title}");
    }

    /// Something to know.
    pub fn tell(&mut self, line: &str) {
        println!("  {line}");
    }

    /// Something that must hold.
    pub fn expect(&mut self, holds: bool, line: &str) {
        let mark = if holds { "ok" } else { "NOT SO" };
        println!("  [{mark}] {line}");
        self.failed += u32::from(!holds);
    }

    /// How many lines did not hold.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.failed
    }
}
