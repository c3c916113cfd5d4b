//! Random lists of what can happen to the bus; whatever did, both logs tell what the clients saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod machine;
mod operation;
mod seen;
mod shrinking;
mod term;
mod verdict;
mod world;

use std::{fs, path::Path};

use examples::dice::{Dice, seed, times};
use operation::{Operation, written};
use shrinking::shrunk;
use world::World;

/// Operations of a list.
const LENGTH: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_both_logs_tell_what_the_clients_saw() {
    let mut world = World::set().await.unwrap();
    for (name, list) in kept() {
        if let Err(error) = world.run(&list).await {
            panic!("{name}: {error}");
        }
    }
    let mut dice = Dice(seed().unwrap());
    for run in 0..times("LIENTHONG_SIMULATIONS", 3).unwrap() {
        let list = Operation::draw(&mut dice, LENGTH);
        match world.run(&list).await {
            Ok(outcomes) => eprintln!(
                "list {run}: {} calls answered, {} signed and refused; refusals {:?}",
                outcomes.answered.len(),
                outcomes.refused.len(),
                outcomes.codes,
            ),
            Err(error) => {
                eprintln!("list {run} ends badly: {error}\n{}", written(&list));
                let (list, error) = shrunk(&mut world, list, error).await;
                panic!(
                    "{error}\nTo keep it, write this to a file in examples/tests/simulation/kept:\n{}",
                    written(&list)
                );
            }
        }
    }
    world.federation.stop().await.unwrap();
}

/// The lists that once ended badly.
fn kept() -> Vec<(String, Vec<Operation>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/kept");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort_unstable();
    let list = |path: &Path| operation::read(&fs::read_to_string(path).unwrap()).unwrap();
    paths
        .iter()
        .map(|path| (path.display().to_string(), list(path)))
        .collect()
}
