//! Many changes as several entries, each within the limits.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest,
    configuration::{ENTRY_LIMIT, RejectedChange},
    wire::configuration::{Change, Service},
};

use super::difference::Plan;
use crate::blob;

/// What an entry has around its changes: instance, reason, signature, lengths.
const AROUND: usize = 4 * 1024;
/// The most that stands before one change: its field number and length.
const BEFORE_CHANGE: usize = 6;

/// The changes of one entry, and the blobs that they name.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) changes: Vec<Change>,
    pub(super) blobs: Vec<Bytes>,
}

/// Splits a plan in order.
///
/// # Errors
/// When one change alone is too large for an entry.
pub(super) fn split(plan: &Plan) -> Result<Vec<Parcel>, RejectedChange> {
    const ROOM: usize = ENTRY_LIMIT - AROUND;
    let mut left: BTreeMap<Digest, Bytes> = plan.blobs.clone();
    let mut parcels = vec![Parcel::default()];
    let (mut length, mut blob_length) = (0, 0);
    for difference in &plan.differences {
        let change = difference.change();
        let more = change.encoded_len() + BEFORE_CHANGE;
        if more > ROOM {
            return Err(RejectedChange::Invalid {
                key: change.key,
                problem: format!("the value is too large: an entry has room for {ROOM} bytes"),
            });
        }
        let blob = named_blob(&change).and_then(|digest| left.remove(&digest));
        let more_blob = blob.as_ref().map_or(0, Bytes::len);
        if length + more > ROOM || blob_length + more_blob > blob::ENTRY_LIMIT {
            parcels.push(Parcel::default());
            (length, blob_length) = (0, 0);
        }
        length += more;
        blob_length += more_blob;
        if let Some(parcel) = parcels.last_mut() {
            parcel.changes.push(change);
            parcel.blobs.extend(blob);
        }
    }
    parcels.retain(|parcel| !parcel.changes.is_empty());
    Ok(parcels)
}

fn named_blob(change: &Change) -> Option<Digest> {
    let is_service = change.key.starts_with("service/");
    let value = change.value.clone().filter(|_| is_service)?;
    Digest::from_slice(&Service::decode(value).ok()?.descriptor_digest)
}
