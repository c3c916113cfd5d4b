//! What a record costs in this crate: alone and together, on disk and in memory, with checkpoints.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use verifiable_log::{Log, Options, Record, leaf_of_local_record};

/// Records that are appended together, as many callers at once make them.
const BATCHES: [usize; 3] = [1, 8, 64];
/// Lengths of the content of a record.
const CONTENTS: [usize; 4] = [200, 4096, 65536, 1_048_576];

fn main() {
    divan::main();
}

/// With `fdatasync`, which waits for the disk.
#[divan::bench(args = BATCHES, sample_size = 16)]
fn on_disk(bencher: Bencher<'_, '_>, batch: usize) {
    appended(bencher, &Bench::on_disk(), batch, 200);
}

/// All but the disk.
#[divan::bench(args = BATCHES, sample_size = 16)]
fn in_memory(bencher: Bencher<'_, '_>, batch: usize) {
    appended(bencher, &Bench::in_memory(), batch, 200);
}

#[divan::bench(args = CONTENTS, sample_size = 16)]
fn in_memory_by_content(bencher: Bencher<'_, '_>, content: usize) {
    appended(bencher, &Bench::in_memory(), 8, content);
}

/// A checkpoint after 64 new records, on disk.
#[divan::bench(sample_size = 1)]
fn checkpoint_on_disk(bencher: Bencher<'_, '_>) {
    checkpointed(bencher, &Bench::on_disk());
}

#[divan::bench(sample_size = 1)]
fn checkpoint_in_memory(bencher: Bencher<'_, '_>) {
    checkpointed(bencher, &Bench::in_memory());
}

fn appended(bencher: Bencher<'_, '_>, bench: &Bench, batch: usize, content: usize) {
    let records = records(batch, content);
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(|| records.clone())
        .bench_local_values(|records| bench.append(records));
}

fn checkpointed(bencher: Bencher<'_, '_>, bench: &Bench) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let records = records(64, 200);
    bencher
        .with_inputs(|| bench.append(records.clone()))
        .bench_local_values(|()| bench.log.checkpoint(&key).unwrap());
}

fn records(count: usize, content: usize) -> Vec<Record> {
    // As long as those of a small message are.
    let mut record = Record::local(1, vec![7; 400].into(), vec![7; 200].into());
    record.content = vec![vec![7; content].into()];
    vec![record; count]
}

struct Bench {
    log: Log,
    runtime: Runtime,
    _folder: TempDir,
}

impl Bench {
    /// Not where temporary files go, which may be memory.
    fn on_disk() -> Self {
        Self::in_folder(env!("CARGO_TARGET_TMPDIR"))
    }

    /// Where nothing has to be waited for.
    fn in_memory() -> Self {
        Self::in_folder("/dev/shm")
    }

    fn in_folder(parent: &str) -> Self {
        let folder = TempDir::new_in(parent).unwrap();
        let options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"a")));
        let origin = "VN/GOV/G01/server-1/1".parse().unwrap();
        Log::create(folder.path(), &origin, &options).unwrap();
        Self {
            log: Log::open(folder.path(), options, &mut |_| ()).unwrap(),
            runtime: Builder::new_current_thread().build().unwrap(),
            _folder: folder,
        }
    }

    fn append(&self, records: Vec<Record>) {
        let appended = records.into_iter().map(|record| self.log.append(record));
        // All wait together, as the callers of a server do.
        let receipts = self.runtime.block_on(join_all(appended));
        assert!(receipts.iter().all(Result::is_ok));
    }
}
