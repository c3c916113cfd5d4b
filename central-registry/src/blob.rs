//! Blobs: descriptor sets that changes name by digest, kept as the content of their entry's record.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use prost_types::FileDescriptorSet;
use trust::{
    Digest, InstanceId,
    configuration::{RejectedChange, StateKey},
    wire::configuration::{ChangeSet, Service},
};

/// The most bytes of one blob.
pub(crate) const LIMIT: usize = 4 * 1024 * 1024;
/// The most bytes of all blobs of one entry.
pub(crate) const ENTRY_LIMIT: usize = 16 * 1024 * 1024;

/// The gRPC services that a descriptor set describes.
///
/// # Errors
/// When the bytes are too many or no descriptor set; in words.
pub(crate) fn services_of(blob: &[u8]) -> Result<BTreeSet<String>, String> {
    if blob.len() > LIMIT {
        return Err(format!(
            "a descriptor set measures at most 4 MiB, this one {}",
            blob.len()
        ));
    }
    let set = FileDescriptorSet::decode(blob)
        .map_err(|error| format!("this is no encoded FileDescriptorSet: {error}"))?;
    let services = set.file.iter().flat_map(|file| {
        let package = file.package();
        file.service.iter().map(move |service| match package {
            "" => service.name().to_owned(),
            package => format!("{package}.{}", service.name()),
        })
    });
    Ok(services.collect())
}

/// The content of a record: each blob behind its length in four bytes, big-endian.
pub(crate) fn to_content(blobs: &[Bytes]) -> Vec<Bytes> {
    let length = |blob: &Bytes| u32::try_from(blob.len()).unwrap_or(u32::MAX).to_be_bytes();
    blobs
        .iter()
        .flat_map(|blob| [Bytes::copy_from_slice(&length(blob)), blob.clone()])
        .collect()
}

/// Reads the content of a record back; none if it is malformed.
pub(crate) fn from_content(content: &Bytes) -> Option<Vec<Bytes>> {
    let mut blobs = Vec::new();
    let mut rest = content.clone();
    while !rest.is_empty() {
        let (length, _) = rest.split_first_chunk()?;
        let end = 4 + usize::try_from(u32::from_be_bytes(*length)).ok()?;
        blobs.push(rest.get(4..end).map(|_| rest.slice(4..end))?);
        rest = rest.slice(end..);
    }
    Some(blobs)
}

/// The blobs that were recorded, by digest, with the services they describe.
#[derive(Debug, Default)]
pub(crate) struct RecordedBlobs(BTreeMap<Digest, BTreeSet<String>>);

impl RecordedBlobs {
    /// Remembers a recorded blob.
    pub(crate) fn add(&mut self, blob: &[u8]) {
        // One that was recorded was checked.
        self.0
            .insert(Digest::of(blob), services_of(blob).unwrap_or_default());
    }

    /// Whether every descriptor that the changes name is recorded or given, and describes its
    /// service; and nothing is given that no change names.
    pub(crate) fn check(
        &self,
        instance: &InstanceId,
        set: &ChangeSet,
        given: &[Bytes],
    ) -> Result<(), RejectedChange> {
        let refused = |problem: String| RejectedChange::ChangeSet(problem);
        if given.iter().map(Bytes::len).sum::<usize>() > ENTRY_LIMIT {
            return Err(refused(
                "all blobs of an entry measure at most 16 MiB".to_owned(),
            ));
        }
        let mut unnamed: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for blob in given {
            unnamed.insert(Digest::of(blob), services_of(blob).map_err(refused)?);
        }
        let offered = unnamed.clone();
        for (key, service, digest) in named(instance, set) {
            unnamed.remove(&digest);
            let invalid = |problem: String| RejectedChange::Invalid {
                key: key.clone(),
                problem,
            };
            let described = offered
                .get(&digest)
                .or_else(|| self.0.get(&digest))
                .ok_or_else(|| {
                    invalid(format!(
                        "no descriptor set {digest} was given or is recorded"
                    ))
                })?;
            if !described.contains(&service) {
                return Err(invalid(format!(
                    "descriptor set {digest} does not describe it"
                )));
            }
        }
        match unnamed.keys().next() {
            Some(digest) => Err(refused(format!("no change names the blob {digest}"))),
            None => Ok(()),
        }
    }
}

/// The keys, services and digests of the descriptors that changes name.
fn named(instance: &InstanceId, set: &ChangeSet) -> impl Iterator<Item = (String, String, Digest)> {
    set.changes.iter().filter_map(|change| {
        let StateKey::Service(_, service) = StateKey::parse(instance, &change.key).ok()? else {
            return None;
        };
        let value = Service::decode(change.value.clone()?).ok()?;
        Some((
            change.key.clone(),
            service,
            Digest::from_slice(&value.descriptor_digest)?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use prost_types::{FileDescriptorProto, ServiceDescriptorProto};
    use trust::wire::configuration::Change;

    use super::*;

    fn descriptor(name: &str) -> Bytes {
        let service = ServiceDescriptorProto {
            name: Some(name.into()),
            ..ServiceDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            package: Some("vn.test.v1".into()),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }
            .encode_to_vec()
            .into()
    }

    fn naming(blob: &Bytes) -> ChangeSet {
        let value = Service {
            descriptor_digest: Digest::of(blob).to_bytes(),
        };
        let change = Change {
            key: "service/GOV/G01/population/vn.test.v1.People".into(),
            value: Some(value.encode_to_vec().into()),
        };
        ChangeSet {
            changes: vec![change],
            ..ChangeSet::default()
        }
    }

    #[test]
    fn content_reads_back_or_is_refused() {
        let blobs = [
            Bytes::from_static(b"one"),
            Bytes::new(),
            Bytes::from_static(b"three"),
        ];
        let content: Bytes = to_content(&blobs).concat().into();
        assert_eq!(from_content(&content).unwrap(), blobs);
        for length in [1, 3, 5, 9, content.len() - 1] {
            assert_eq!(from_content(&content.slice(..length)), None, "{length}");
        }
    }

    #[test]
    fn a_named_descriptor_must_be_there_and_describe_the_service() {
        let instance = "VN".parse().unwrap();
        let (people, animals) = (descriptor("People"), descriptor("Animals"));
        let mut recorded = RecordedBlobs::default();
        let check = |recorded: &RecordedBlobs, blob: &Bytes, given: &[Bytes]| {
            recorded
                .check(&instance, &naming(blob), given)
                .map_err(|error| error.to_string())
        };
        assert!(
            check(&recorded, &people, &[])
                .unwrap_err()
                .contains("no descriptor set")
        );
        check(&recorded, &people, std::slice::from_ref(&people)).unwrap();
        let wrong = check(&recorded, &animals, std::slice::from_ref(&animals)).unwrap_err();
        assert!(wrong.contains("does not describe"), "{wrong}");
        let more = check(&recorded, &people, &[people.clone(), animals]).unwrap_err();
        assert!(more.contains("no change names"), "{more}");
        recorded.add(&people);
        check(&recorded, &people, &[]).unwrap();
        let no_set = Bytes::from_static(b"\xff\xff");
        assert!(check(&recorded, &people, &[no_set]).is_err());
        assert!(services_of(&vec![0; LIMIT + 1]).is_err());
    }
}
