//! One parser over and over: the one that the environment names.
#![no_main]

use std::{env, fs, path::Path, sync::LazyLock};

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let target = fuzz::TARGETS.iter().find(|target| target.name == name);
    target.unwrap_or_else(|| {
        let names: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET={name:?} is none of {}", names.join(" "))
    })
});

/// The seeds are part of the corpus from the first run on, and stand as they are: a seed that its
/// target does not take is a mistake of the target.
fn plant() {
    let Ok(corpus) = env::var("FUZZ_CORPUS") else {
        return;
    };
    let seeds = (TARGET.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", TARGET.name);
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(Path::new(&corpus).join(format!("seed-{number}")), seed).unwrap();
    }
}

fuzz_target!(init: plant(), |bytes: &[u8]| (TARGET.check)(bytes));
