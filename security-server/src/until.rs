//! Waits for one thing until another happens, without holding either twice.
//!
//! An async function that takes a future and selects over it holds it twice, and whoever calls that
//! holds both again: routes made of such waits were 80 KiB a call.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

pin_project! {
    /// The future of [`until`].
    pub(crate) struct Until<F, G> {
        #[pin]
        wait: F,
        #[pin]
        interruption: G,
        is_due: bool,
    }
}

/// Waits until there is an outcome, or an interruption. What has an outcome at once is not
/// interrupted, unless the interruption `is_due`; an interruption that need not be waited for costs
/// nothing.
pub(crate) fn until<F: Future, G: Future>(wait: F, interruption: G, is_due: bool) -> Until<F, G> {
    Until {
        wait,
        interruption,
        is_due,
    }
}

impl<F: Future, G: Future> Future for Until<F, G> {
    type Output = Result<F::Output, G::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.is_due
            && let Poll::Ready(interruption) = this.interruption.as_mut().poll(context)
        {
            return Poll::Ready(Err(interruption));
        }
        if let Poll::Ready(outcome) = this.wait.poll(context) {
            return Poll::Ready(Ok(outcome));
        }
        this.interruption.poll(context).map(Err)
    }
}
