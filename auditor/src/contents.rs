//! The contents that are kept, never kept, or destroyed with a record that says so.

use trust::{Content, Digest};

use crate::{check::Check, report::Report};

/// The most separate runs of records whose destroyed content waits for a record that says so.
const RUNS: usize = 10_000;

/// Counts contents, and remembers which are gone until a record says why.
#[derive(Default)]
pub(crate) struct Contents {
    /// First and last record of each run, in order.
    gone: Vec<(u64, u64)>,
    overflown: u64,
}

impl Contents {
    /// Checks the content of a message. A refusal's, and that of what it refuses, is not kept.
    pub(crate) fn check(
        &mut self,
        report: &mut Report,
        index: u64,
        content: &Content,
        named: &Digest,
        is_refusal: bool,
    ) {
        let bytes = content.bytes();
        if content.digest() == *named {
            report.facts.contents_kept += 1;
            let parsed = content
                .parse()
                .map(drop)
                .map_err(|refusal| refusal.explanation);
            report.judge(Check::Contents, index, parsed);
        } else if bytes.is_empty() && is_refusal {
            report.facts.contents_never_kept += 1;
        } else if bytes.iter().all(|byte| *byte == 0) {
            self.is_gone(index);
        } else {
            let problem = "the content is not the one that the header names";
            report.failed(Check::Contents, index, problem);
        }
    }

    /// Takes in a record that says that the contents of these records were destroyed.
    pub(crate) fn erased(&mut self, report: &mut Report, first: u64, last: u64) {
        let mut left = Vec::with_capacity(self.gone.len());
        for (from, to) in std::mem::take(&mut self.gone) {
            let (start, end) = (from.max(first), to.min(last));
            if start > end {
                left.push((from, to));
                continue;
            }
            report.facts.contents_erased += end - start + 1;
            if from < start {
                left.push((from, start - 1));
            }
            if end < to {
                left.push((end + 1, to));
            }
        }
        self.gone = left;
    }

    /// At the end of the log: what is gone without a record that says why.
    pub(crate) fn finish(&self, report: &mut Report) {
        for (first, last) in &self.gone {
            for index in *first..=*last {
                let problem = "the content is gone, and no record says that it was destroyed";
                report.failed(Check::Contents, index, problem);
            }
        }
        for _ in 0..self.overflown {
            report.unchecked(Check::Contents);
        }
    }

    fn is_gone(&mut self, index: u64) {
        let runs = self.gone.len();
        match self.gone.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ if runs < RUNS => self.gone.push((index, index)),
            _ => self.overflown += 1,
        }
    }
}
