//! What a server remembers, kept in a file beside its log so that the next start does not read all
//! of that. The file is signed by the key of the log, names how much of the log it comes from, and
//! is believed only when the log has that root at that size.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use certs::LogKey;
use durable::Posix;
use prost::Message;
use proto::recollection as wire;
use trust::{
    Digest, ExchangeId,
    checkpoint::{self, Checkpoint, Origin},
    peer_log::PeerLog,
    refusal::Side,
    replay::SeenExchanges,
};
use verifiable_log::Log;

use super::{
    Recollection,
    unended::{Key, LastMessages, SentRequest, Unended},
};
use crate::{local_state::LocalState, peer_log::PeerLogs, recorder::Recorder};

/// What the signature is over, before the message itself.
const CONTEXT: &[u8] = b"lienthong.recollection.v1\n";
const SIGNATURE: usize = 64;
/// The longest file that is written and read: four million exchanges, and large states.
const LIMIT: u64 = 256 * 1024 * 1024;
/// It is written again after so many records, which the next start then reads in no time,
const RECORDS: u64 = 100;
/// and after one for so many of its bytes, so that little is written for each record.
const BYTES_A_RECORD: u64 = 256;

/// Why what is remembered is not kept, or what was kept is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("the key of this log has not signed it")]
    NotSigned,
    #[error("it is of another log, or of another state of this log")]
    OtherLog,
    #[error("it is not what this program keeps")]
    Malformed,
    #[error("it is longer than 256 MiB")]
    TooLong,
    #[error(transparent)]
    Log(#[from] verifiable_log::Error),
}

impl Recollection {
    /// All that is remembered, to be [kept](RecollectionFile::keep); of how much of the log is left
    /// open.
    pub(crate) fn to_keep(&self) -> wire::Recollection {
        let seen = self.seen.fresh(self.newest_record);
        let seen: Vec<u8> = seen.flat_map(|id| id.as_bytes()).copied().collect();
        wire::Recollection {
            newest_record: self.newest_record,
            changes: self.local_state.changes,
            local_state: self.local_state.kept().map(kept_change).collect(),
            unended: self.unended.0.iter().map(kept_exchange).collect(),
            seen: seen.into(),
            peer_logs: self.peer_logs.each(|origin, followed| {
                kept_log(origin.to_string(), &followed.log, &followed.verdict)
            }),
            ..wire::Recollection::default()
        }
    }

    /// Whether this is what `all` records come to; it may know more exchanges, which were seen and
    /// then not recorded.
    pub(crate) fn is_no_other_than(&self, all: &Self) -> bool {
        let comparable = |it: &Self| {
            let mut kept = it.to_keep();
            (kept.seen, kept.newest_record) = Default::default();
            kept.unended
                .sort_by(|one, other| one.exchange_id.cmp(&other.exchange_id));
            kept
        };
        let now = self.newest_record;
        let seen: HashSet<_> = self.seen.fresh(now).collect();
        all.seen.fresh(now).all(|id| seen.contains(id)) && comparable(self) == comparable(all)
    }

    /// As it was kept; none if that is malformed.
    fn restored(kept: wire::Recollection) -> Option<Self> {
        let state = kept.local_state.into_iter();
        let state = state.map(|kept| Some((kept.index, kept.change?)));
        let state = state.collect::<Option<Vec<_>>>()?;
        let unended = kept.unended.into_iter().map(restored_exchange);
        let (seen, rest) = kept.seen.as_chunks::<16>();
        if !rest.is_empty() {
            return None;
        }
        let seen = seen.iter().filter_map(|id| ExchangeId::from_slice(id));
        let peer_logs = PeerLogs::default();
        for log in kept.peer_logs {
            let (origin, log, verdict) = restored_log(log)?;
            peer_logs.restore(origin, log, verdict);
        }
        Some(Self {
            local_state: LocalState::restored(kept.changes, state).ok()?.into(),
            newest_record: kept.newest_record,
            peer_logs: peer_logs.into(),
            unended: Unended(unended.collect::<Option<_>>()?),
            seen: SeenExchanges::of(seen, kept.newest_record),
        })
    }
}

/// The file.
pub(crate) struct RecollectionFile {
    path: PathBuf,
    /// Held by whoever writes it.
    written: Mutex<Written>,
}

/// What stands in the file.
#[derive(Default)]
struct Written {
    /// How many records it comes from.
    size: u64,
    bytes: u64,
}

impl RecollectionFile {
    /// The one among the views of a log.
    pub(crate) fn of(log: &Path) -> Self {
        Self {
            path: log.join("views").join("recollection"),
            written: Mutex::default(),
        }
    }

    /// Keeps what is remembered, when the log has many records more than the file comes from, or
    /// any and this is the last time. Blocks on files.
    ///
    /// # Errors
    /// When the log cannot be read, or the file not written.
    pub(crate) fn keep(
        &self,
        recorder: &Recorder,
        key: &LogKey,
        is_last: bool,
    ) -> Result<(), Unusable> {
        let mut written = self.lock();
        let behind = recorder.log().size().saturating_sub(written.size);
        let many = RECORDS.max(written.bytes / BYTES_A_RECORD);
        if behind == 0 || behind < many && !is_last || !recorder.takes_records() {
            return Ok(());
        }
        if let Some(kept) = recorder.to_keep()? {
            *written = self.write(&kept, key)?;
        }
        Ok(())
    }

    fn write(&self, kept: &wire::Recollection, key: &LogKey) -> Result<Written, Unusable> {
        if kept.encoded_len() as u64 + SIGNATURE as u64 > LIMIT {
            return Err(Unusable::TooLong);
        }
        let mut signed = CONTEXT.to_vec();
        kept.encode(&mut signed).map_err(io::Error::other)?;
        let signature = key.sign(&signed);
        let message = signed.get(CONTEXT.len()..).unwrap_or_default();
        let file = [signature.as_slice(), message].concat();
        durable::replace(&Posix, &self.path, &file, 0o600)?;
        Ok(Written {
            size: kept.size,
            bytes: file.len() as u64,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was kept of this log; none if nothing was. Gives how many records it comes from.
    ///
    /// # Errors
    /// When it must not be used.
    pub(crate) fn read(
        &self,
        log: &Log,
        key: &LogKey,
    ) -> Result<Option<(u64, Recollection)>, Unusable> {
        let file = match fs::metadata(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if file.len() > LIMIT {
            return Err(Unusable::TooLong);
        }
        let mut bytes = fs::read(&self.path)?;
        let message = bytes.split_off(bytes.len().min(SIGNATURE));
        let signed = [CONTEXT, &message].concat();
        let key = checkpoint::LogKey::from_slice(&key.public_key());
        if key.is_none_or(|key| !key.has_signed(&signed, &bytes)) {
            return Err(Unusable::NotSigned);
        }
        let kept = wire::Recollection::decode(Bytes::from(message));
        let kept = kept.map_err(|_| Unusable::Malformed)?;
        let size = kept.size;
        if kept.origin != log.origin().as_str()
            || size > log.size()
            || *log.root_at(size)?.as_bytes() != *kept.root
        {
            return Err(Unusable::OtherLog);
        }
        let restored = Recollection::restored(kept).ok_or(Unusable::Malformed)?;
        let bytes = file.len();
        *self.lock() = Written { size, bytes };
        Ok(Some((size, restored)))
    }
}

fn kept_change((index, change): (u64, &trust::wire::evidence::Change)) -> wire::LocalChange {
    let change = Some(change.clone());
    wire::LocalChange { index, change }
}

fn kept_exchange(((side, exchange), last): (&Key, &LastMessages)) -> wire::UnendedExchange {
    let message = |(sequence, digest): (u64, Digest)| wire::LastMessage {
        sequence,
        digest: digest.to_bytes(),
    };
    let sent = last.sent.iter().map(|sent| wire::SentRequest {
        sequence: sent.sequence,
        digest: sent.digest.to_bytes(),
        signature_digest: sent.signature_digest.to_bytes(),
    });
    wire::UnendedExchange {
        side: side.name().to_owned(),
        exchange_id: Bytes::copy_from_slice(exchange.as_bytes()),
        request: last.request.map(message),
        reply: last.reply.map(message),
        sent: sent.collect(),
    }
}

fn restored_exchange(kept: wire::UnendedExchange) -> Option<(Key, LastMessages)> {
    let side = Side::named(&kept.side)?;
    let exchange = ExchangeId::from_slice(&kept.exchange_id)?;
    let message = |last: Option<wire::LastMessage>| match last {
        Some(last) => Some(Some((last.sequence, Digest::from_slice(&last.digest)?))),
        None => Some(None),
    };
    let sent = kept.sent.into_iter().map(|sent| {
        Some(SentRequest {
            sequence: sent.sequence,
            digest: Digest::from_slice(&sent.digest)?,
            signature_digest: Digest::from_slice(&sent.signature_digest)?,
        })
    });
    let last = LastMessages {
        request: message(kept.request)?,
        reply: message(kept.reply)?,
        sent: sent.collect::<Option<_>>()?,
    };
    Some(((side, exchange), last))
}

fn kept_log(origin: String, log: &PeerLog, verdict: &str) -> wire::PeerLog {
    let promised = log.promises().map(|(index, leaf)| wire::PromisedLeaf {
        index,
        leaf: leaf.to_bytes(),
    });
    let newest = log.newest();
    wire::PeerLog {
        origin,
        size: newest.map_or(0, |newest| newest.size),
        root: newest.map_or_else(Bytes::new, |newest| newest.root.to_bytes()),
        verdict: verdict.to_owned(),
        promised: promised.collect(),
    }
}

fn restored_log(kept: wire::PeerLog) -> Option<(Origin, PeerLog, String)> {
    let origin: Origin = kept.origin.parse().ok()?;
    let newest = match &*kept.root {
        [] => None,
        root => Some(Checkpoint {
            origin: origin.clone(),
            size: kept.size,
            root: Digest::from_slice(root)?,
        }),
    };
    let mut log = PeerLog::of(newest);
    for promised in kept.promised {
        log.promised(promised.index, Digest::from_slice(&promised.leaf)?);
    }
    Some((origin, log, kept.verdict))
}

#[cfg(test)]
mod tests;
