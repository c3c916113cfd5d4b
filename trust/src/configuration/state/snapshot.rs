//! The state as it is published, and as it is read from whoever carries the files.

use bytes::Bytes;

use super::{ENTRY_LIMIT, State};
use crate::{
    InstanceId,
    configuration::{KEY_LIMIT, invalid},
    fields::Fields,
    refusal::Refusal,
    wire::configuration::{Pair, Snapshot},
};

impl State {
    /// The state of a published snapshot; its root says whether it is the right one.
    ///
    /// # Errors
    /// `InvalidConfiguration` when keys are not sorted and different.
    pub fn from_snapshot(instance: InstanceId, snapshot: Snapshot) -> Result<Self, Refusal> {
        let sorted = snapshot.pairs.is_sorted_by(|one, next| one.key < next.key);
        if !sorted {
            return Err(out_of_order());
        }
        let pairs = snapshot
            .pairs
            .into_iter()
            .map(|pair| (pair.key, pair.value))
            .collect();
        Ok(Self { instance, pairs })
    }

    /// The state of an encoded `Snapshot` from a server that nobody trusts. `size` is the number of
    /// pairs that the verified head names. Pairs are read one by one, and the first that cannot be
    /// right ends the reading: an empty pair has two bytes, a million of them decoded would not.
    ///
    /// # Errors
    /// `InvalidConfiguration` saying what is wrong with the snapshot.
    pub fn from_published(instance: InstanceId, bytes: Bytes, size: u64) -> Result<Self, Refusal> {
        let mut state = Self::empty(instance);
        for field in Fields(bytes) {
            let (number, pair) = field.map_err(unreadable)?;
            let (PAIRS_FIELD, Some(pair)) = (number, pair) else {
                return Err(invalid(format!(
                    "the snapshot has an unknown field {number}"
                )));
            };
            if state.len() as u64 >= size {
                return Err(invalid(format!(
                    "the snapshot has more than the {size} keys that the head names"
                )));
            }
            let (key, value) = read_pair(pair)?;
            let last = state.pairs.last_key_value();
            if last.is_some_and(|(last, _)| *last >= key) {
                return Err(out_of_order());
            }
            state.pairs.insert(key, value);
        }
        if (state.len() as u64) < size {
            return Err(invalid(format!(
                "the snapshot has {} keys, not the {size} that the head names",
                state.len()
            )));
        }
        Ok(state)
    }

    /// The state as it is published.
    #[must_use]
    pub fn to_snapshot(&self) -> Snapshot {
        let pair = |(key, value): (&String, &Bytes)| Pair {
            key: key.clone(),
            value: value.clone(),
        };
        Snapshot {
            pairs: self.pairs.iter().map(pair).collect(),
        }
    }
}

/// Numbers of fields of `Snapshot` and `Pair`.
const PAIRS_FIELD: u32 = 1;
const KEY_FIELD: u32 = 1;
const VALUE_FIELD: u32 = 2;

fn read_pair(pair: Bytes) -> Result<(String, Bytes), Refusal> {
    let (mut key, mut value) = (None, None);
    for field in Fields(pair) {
        let (place, bytes) = match field.map_err(unreadable)? {
            (KEY_FIELD, Some(bytes)) => (&mut key, bytes),
            (VALUE_FIELD, Some(bytes)) => (&mut value, bytes),
            (number, _) => {
                return Err(invalid(format!(
                    "a pair of the snapshot has an unknown field {number}"
                )));
            }
        };
        if place.replace(bytes).is_some() {
            return Err(invalid("a pair of the snapshot has a field twice"));
        }
    }
    let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
    if key.is_empty() || key.len() > KEY_LIMIT {
        return Err(invalid(format!(
            "a key of the snapshot has {} bytes, not 1 to {KEY_LIMIT}",
            key.len()
        )));
    }
    let key = std::str::from_utf8(&key).map_err(|_| invalid("a key of the snapshot is no text"))?;
    if value.len() > ENTRY_LIMIT {
        return Err(invalid(format!(
            "a value of the snapshot has {} bytes, more than {ENTRY_LIMIT}",
            value.len()
        )));
    }
    Ok((key.to_owned(), value))
}

fn out_of_order() -> Refusal {
    invalid("the keys of the snapshot are not in order")
}

fn unreadable(error: prost::DecodeError) -> Refusal {
    invalid(format!("the snapshot does not parse: {error}"))
}
