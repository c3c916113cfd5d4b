//! Makes a list that ends badly short, by leaving out what it does not take.

use examples::Error;

use crate::{operation::Operation, world::World};

/// The most times that a world is run for it.
const MOST_RUNS: usize = 80;
/// Threads meet by chance, so a shorter list gets more than one.
const CHANCES: usize = 3;

/// A shorter list that ends badly, too, and how it does.
pub async fn shrunk(
    world: &mut World,
    list: Vec<Operation>,
    error: Error,
) -> (Vec<Operation>, Error) {
    let (mut shortest, mut worst) = (list, error);
    let (mut length, mut left) = (shortest.len() / 2, MOST_RUNS);
    while length > 0 {
        let mut from = 0;
        while from < shortest.len() && left > 0 {
            let mut shorter = shortest.clone();
            shorter.drain(from..shortest.len().min(from + length));
            let mut ended = Ok(());
            for _ in 0..CHANCES.min(left) {
                left -= 1;
                ended = world.run(&shorter).await.map(drop);
                if ended.is_err() {
                    break;
                }
            }
            match ended {
                Err(error) => (shortest, worst) = (shorter, error),
                Ok(()) => from += length,
            }
            eprintln!(
                "{} operations end badly; {left} runs are left to make them fewer",
                shortest.len()
            );
        }
        length /= 2;
    }
    (shortest, worst)
}
