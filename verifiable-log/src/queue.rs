//! What waits for the writer: bounded, and handed over to it in groups.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::yield_now,
};

use crate::{
    error::AppendError,
    options::Options,
    shared::locked,
    waiting::{Frame, Told, Waiting, length_of_frames},
};

/// How often others are let run.
const MOST_YIELDS: usize = 4;

/// Lets run what is ready to run, and again as long as there are more of those who have come: whoever
/// comes first gathers the others without waiting for anybody who is not ready.
pub async fn let_others_come(count: impl Fn() -> usize) {
    let mut found = count();
    for _ in 0..MOST_YIELDS {
        yield_now().await;
        let come = count();
        if come == found {
            break;
        }
        found = come;
    }
}

/// The end at which records are put in.
pub(crate) struct Queue {
    /// Room for what waits, in units: as many as records may wait.
    room: Arc<Semaphore>,
    units: u32,
    /// The bytes of a unit.
    unit: u64,
    /// A group that is being gathered by the first of it.
    coming: Mutex<Vec<Waiting>>,
    groups: mpsc::UnboundedSender<Vec<Waiting>>,
    is_crowded: Arc<AtomicBool>,
}

/// The end at which the writer takes them out.
pub(crate) struct Arrivals {
    groups: mpsc::UnboundedReceiver<Vec<Waiting>>,
    arrived: VecDeque<Waiting>,
    is_crowded: Arc<AtomicBool>,
}

/// A queue as long as the options allow.
pub(crate) fn queue(options: &Options) -> (Queue, Arrivals) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let units = u32::try_from(options.queue_records).unwrap_or(u32::MAX);
    let is_crowded = Arc::<AtomicBool>::default();
    let queue = Queue {
        room: Arc::new(Semaphore::new(units as usize)),
        units,
        unit: options.queue_bytes.div_ceil(units.into()),
        coming: Mutex::default(),
        groups: sender,
        is_crowded: Arc::clone(&is_crowded),
    };
    let arrivals = Arrivals {
        groups: receiver,
        arrived: VecDeque::new(),
        is_crowded,
    };
    (queue, arrivals)
}

/// What a caller is told, once the writer has dealt with its records; nothing if the writer is gone.
pub(crate) type Answer = oneshot::Receiver<Result<Told, AppendError>>;

impl Queue {
    /// Puts in records that are to be written together, once there is room.
    ///
    /// When others append, too, those that are about to are let come first: handed over together,
    /// they wake the writer once and share a sync.
    pub(crate) async fn put(&self, frames: Vec<Frame>, reserved: bool) -> Option<Answer> {
        let bytes = length_of_frames(&frames);
        let units = bytes.div_ceil(self.unit).max(frames.len() as u64);
        let units = u32::try_from(units).unwrap_or(u32::MAX).min(self.units);
        let room = Arc::clone(&self.room);
        let room = room.acquire_many_owned(units).await.ok()?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            frames,
            reserved,
            reply,
            _room: room,
        };
        if self.gather(waiting) == 1 {
            let _group = Group(self);
            if self.is_crowded.load(Ordering::Relaxed) {
                let_others_come(|| locked(&self.coming).len()).await;
            }
        }
        Some(answer)
    }

    /// Adds to the group that is being gathered; how many it has then.
    fn gather(&self, waiting: Waiting) -> usize {
        let mut coming = locked(&self.coming);
        coming.push(waiting);
        coming.len()
    }
}

/// A group, handed over when this is dropped: also when whoever gathers it stops waiting.
struct Group<'a>(&'a Queue);

impl Drop for Group<'_> {
    fn drop(&mut self) {
        let group = std::mem::take(&mut *locked(&self.0.coming));
        // Without a writer, those who wait find that it is gone.
        self.0.groups.send(group).ok();
    }
}

impl Arrivals {
    /// The next that waits; waits for it. None when there can be no more.
    pub(crate) fn wait(&mut self) -> Option<Waiting> {
        while self.arrived.is_empty() {
            self.arrived.extend(self.groups.blocking_recv()?);
        }
        self.arrived.pop_front()
    }

    /// The next that waits, if there is one.
    pub(crate) fn next(&mut self) -> Option<Waiting> {
        while self.arrived.is_empty() {
            self.arrived.extend(self.groups.try_recv().ok()?);
        }
        self.arrived.pop_front()
    }

    /// Puts back what was taken last.
    pub(crate) fn put_back(&mut self, waiting: Waiting) {
        self.arrived.push_front(waiting);
    }

    /// Whether a batch was of several, so that the next may be, too.
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    /// Says of how many a batch was.
    pub(crate) fn note(&self, batch: usize) {
        self.is_crowded.store(batch > 1, Ordering::Relaxed);
    }

    /// Takes no more.
    pub(crate) fn close(&mut self) {
        self.groups.close();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::task::JoinHandle;
    use trust::leaf::LeafPreimage;

    use super::*;
    use crate::{
        record::{Receipt, Record},
        waiting::tell_all,
    };

    fn queue_for(records: usize) -> (Arc<Queue>, Arrivals) {
        let leaf_of = |kept: &crate::KeptPart| {
            let (kind, header, annex) = (kept.kind, &kept.header, &kept.annex);
            Ok(LeafPreimage::of_local_record(kind, header, annex))
        };
        let mut options = Options::new(leaf_of, Arc::new(|_| Bytes::new()));
        options.queue_records = records;
        let (queue, arrivals) = queue(&options);
        (Arc::new(queue), arrivals)
    }

    fn put(queue: &Arc<Queue>) -> JoinHandle<Option<Answer>> {
        let queue = Arc::clone(queue);
        tokio::spawn(async move {
            let record = Record::local(1, Bytes::from_static(b"header"), Bytes::new());
            queue.put(vec![Frame::of(record).unwrap()], false).await
        })
    }

    fn all(arrivals: &mut Arrivals) -> Vec<Waiting> {
        std::iter::from_fn(|| arrivals.next()).collect()
    }

    #[tokio::test]
    async fn whoever_is_alone_is_handed_over_at_once() {
        let (queue, mut arrivals) = queue_for(10);
        let first = put(&queue);
        yield_now().await;
        assert!(first.is_finished());
        assert_eq!(all(&mut arrivals).len(), 1);
    }

    #[tokio::test]
    async fn in_a_crowd_those_who_are_ready_are_handed_over_together() {
        let (queue, mut arrivals) = queue_for(10);
        arrivals.note(2);
        let callers: Vec<_> = (0..5).map(|_| put(&queue)).collect();
        for caller in callers {
            assert!(caller.await.unwrap().is_some());
        }
        assert_eq!(arrivals.groups.try_recv().unwrap().len(), 5);
        assert!(arrivals.next().is_none());
    }

    #[tokio::test]
    async fn a_group_is_handed_over_when_its_first_stops_waiting() {
        let (queue, mut arrivals) = queue_for(10);
        arrivals.note(2);
        let first = put(&queue);
        let second = put(&queue);
        yield_now().await;
        assert!(!first.is_finished() && arrivals.next().is_none());
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(all(&mut arrivals).len(), 2);
        assert!(second.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn all_of_a_group_are_told_also_when_the_first_no_longer_waits() {
        for first_waits in [true, false] {
            let (queue, mut arrivals) = queue_for(10);
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(put(&queue).await.unwrap().unwrap());
            }
            let group = all(&mut arrivals).into_iter().zip(0..);
            let told = group.map(|(waiting, index)| {
                let receipt = Receipt::new(index, waiting.frames[0].leaf);
                (waiting, vec![receipt])
            });
            let mut answers = answers.into_iter().zip(0..);
            if !first_waits {
                answers.next();
            }
            tell_all(told.collect());
            for (answer, index) in answers {
                let told = answer.await.unwrap().unwrap();
                assert_eq!(told.receipts[0].index(), index);
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_waits_until_others_are_written() {
        let (queue, mut arrivals) = queue_for(2);
        let callers: Vec<_> = (0..3).map(|_| put(&queue)).collect();
        let mut written = Vec::new();
        while written.len() < 2 {
            yield_now().await;
            written.extend(all(&mut arrivals));
        }
        yield_now().await;
        let put = callers.iter().filter(|caller| caller.is_finished());
        assert_eq!(put.count(), 2);
        written.clear();
        for caller in callers {
            assert!(caller.await.unwrap().is_some());
        }
        assert_eq!(all(&mut arrivals).len(), 1);
    }
}
