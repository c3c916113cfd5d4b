//! Many calls at once: what is ready to run goes first, so that one thing is then done for all.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::watch;

/// Tells whether there is more than one exchange under way.
#[derive(Clone)]
pub(crate) struct Crowd(watch::Receiver<usize>);

impl Crowd {
    /// Of so many exchanges.
    pub(crate) const fn new(exchanges: watch::Receiver<usize>) -> Self {
        Self(exchanges)
    }

    /// Where there are no exchanges.
    pub(crate) fn nobody() -> Self {
        Self(watch::channel(0).1)
    }

    fn is_crowd(&self) -> bool {
        *self.0.borrow() > 1
    }
}

pin_project! {
    /// The future of [`behind`].
    pub(crate) struct Behind<F> {
        crowd: Crowd,
        #[pin]
        task: F,
        is_its_turn: bool,
    }
}

/// A task that, whenever it is woken while there is a crowd, goes behind those that are ready to run.
///
/// The runtime runs a task just after the one that has woken it. A connection would send the frames of
/// one call, and run again for those of the next; behind all of them it sends what they have at once.
pub(crate) const fn behind<F: Future>(crowd: Crowd, task: F) -> Behind<F> {
    Behind {
        crowd,
        task,
        is_its_turn: false,
    }
}

impl<F: Future> Future for Behind<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.is_its_turn = !*this.is_its_turn;
        if *this.is_its_turn && this.crowd.is_crowd() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        *this.is_its_turn = false;
        this.task.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Four tasks that each wake a fifth when they run; what ran, in order.
    async fn ran(exchanges: usize) -> Vec<&'static str> {
        let ran = Arc::new(Mutex::new(Vec::new()));
        let woken = Arc::new(watch::Sender::new(()));
        let fifth = {
            let (ran, mut woken) = (Arc::clone(&ran), woken.subscribe());
            async move {
                while woken.changed().await.is_ok() {
                    ran.lock().unwrap().push("fifth");
                }
            }
        };
        let (_open, count) = watch::channel(exchanges);
        let fifth = tokio::spawn(behind(Crowd::new(count), fifth));
        let (ready, start) = watch::channel(false);
        let others: Vec<_> = (0..4)
            .map(|_| {
                let (ran, woken) = (Arc::clone(&ran), Arc::clone(&woken));
                let mut start = start.clone();
                tokio::spawn(async move {
                    start.wait_for(|ready| *ready).await.unwrap();
                    ran.lock().unwrap().push("other");
                    woken.send_replace(());
                })
            })
            .collect();
        tokio::task::yield_now().await;
        ready.send(true).unwrap();
        for other in others {
            other.await.unwrap();
        }
        while !ran.lock().unwrap().contains(&"fifth") {
            tokio::task::yield_now().await;
        }
        fifth.abort();
        let ran = ran.lock().unwrap();
        ran.clone()
    }

    #[tokio::test]
    async fn in_a_crowd_a_task_runs_once_behind_those_that_are_ready() {
        let others_first = ["other", "other", "other", "other", "fifth"];
        assert_eq!(ran(2).await, others_first);
    }

    #[tokio::test]
    async fn a_task_ends_with_its_outcome_in_a_crowd_and_alone() {
        for exchanges in [0, 1, 2] {
            let (_open, count) = watch::channel(exchanges);
            let mut polls = 0;
            let task = poll_fn(|context| {
                polls += 1;
                if polls == 3 {
                    return Poll::Ready("done");
                }
                context.waker().wake_by_ref();
                Poll::Pending
            });
            assert_eq!(behind(Crowd::new(count), task).await, "done");
            assert_eq!(polls, 3);
        }
    }
}
