//! Chance that a test can have again: numbers by a seed.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`; zero if there is none.
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % (sides.max(1) as u64)).unwrap_or_default()
    }
}

/// The seed of this run: that of `LIENTHONG_SEED`, else a new one. It is printed.
///
/// # Errors
/// When what is given is no number.
#[allow(
    clippy::disallowed_methods,
    reason = "a seed that nobody gave is the time"
)]
pub fn seed() -> Result<u64, Error> {
    let seed = match std::env::var("LIENTHONG_SEED") {
        Ok(given) => given.parse()?,
        Err(_) => u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?,
    };
    eprintln!("LIENTHONG_SEED={seed} repeats the order of this run");
    Ok(seed)
}

/// How often a test does something: as often as the variable says, else so many times.
///
/// # Errors
/// When what is given is no number.
pub fn times(variable: &str, usually: usize) -> Result<usize, Error> {
    match std::env::var(variable) {
        Ok(given) => Ok(given.parse()?),
        Err(_) => Ok(usually),
    }
}
