//! Whom messages are about: the persons in the fields that a service's registered descriptor marks.

mod descriptors;
mod key;
mod marks;
mod walk;

use std::sync::Arc;

use trust::{
    header::Parties,
    message::SignedMessage,
    subject::{SubjectKey, Subjects, Unread},
    wire::evidence::MessageContent,
};

use self::marks::{Marks, Root};
pub(crate) use self::{
    descriptors::Descriptors,
    key::{SubjectKeyError, create_key, path_of_key, read_key},
};
use crate::snapshot::Snapshot;

/// Names the data subjects of messages, for the records of this server.
pub(crate) struct DataSubjects {
    key: SubjectKey,
    descriptors: Arc<Descriptors>,
}

/// What is known of the messages of an exchange when it begins.
#[derive(Debug, Clone)]
pub(crate) enum Marking {
    /// The service is registered without a descriptor: nothing says who is named in its messages.
    Undescribed,
    /// By these marks.
    By(Arc<Marks>),
    /// It has a descriptor, which this server does not have.
    Unknown,
}

impl DataSubjects {
    pub(crate) const fn new(key: SubjectKey, descriptors: Arc<Descriptors>) -> Self {
        Self { key, descriptors }
    }

    /// What is known of the messages of an exchange. Waits a moment when the descriptor has to be
    /// fetched; that it cannot be had keeps nobody from calling, and is said in the records.
    pub(crate) async fn marking(&self, snapshot: &Snapshot, parties: &Parties) -> Marking {
        let configuration = snapshot.configuration();
        match configuration.descriptor_of(&parties.service, parties.method.service()) {
            None => Marking::Undescribed,
            Some(digest) => self.descriptors.marking(digest, snapshot.sources()).await,
        }
    }

    /// Whom a message is about.
    pub(crate) fn of(&self, marking: &Marking, message: &SignedMessage) -> Subjects {
        let marks = match marking {
            Marking::Undescribed => return Subjects::default(),
            Marking::Unknown => return Subjects::unread(Unread::NoDescriptor),
            Marking::By(marks) => marks,
        };
        let header = message.header();
        if header.refusal_code.is_some() {
            return Subjects::default();
        }
        let root = match marks.root(&header.parties.method, header.direction) {
            None | Some(Root::Unknown) => return Subjects::unread(Unread::UnknownMethod),
            Some(Root::Nobody) => return Subjects::default(),
            Some(Root::At(root)) => root,
        };
        match message.content().parse() {
            Ok(MessageContent { message: None, .. }) => Subjects::default(),
            Ok(content) if content.compressed => Subjects::unread(Unread::Compressed),
            Ok(content) if is_other_codec(&content.content_type) => {
                Subjects::unread(Unread::Unreadable)
            }
            Ok(MessageContent {
                message: Some(message),
                ..
            }) => walk::subjects(marks, root, &message, &self.key),
            Err(_) => Subjects::unread(Unread::Unreadable),
        }
    }
}

/// Whether the messages of a call are not in protobuf. Only its first part says.
fn is_other_codec(content_type: &str) -> bool {
    !matches!(
        content_type,
        "" | "application/grpc" | "application/grpc+proto"
    )
}

/// Whom a request is about, for fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn fuzzed(
    descriptors: &[u8],
    method: &trust::MethodPath,
    message: &[u8],
) -> Option<(usize, bool)> {
    let marks = Marks::read(descriptors)?;
    let key = SubjectKey::new(&[7; SubjectKey::LENGTH]);
    match marks.root(method, trust::header::Direction::Request)? {
        Root::At(root) => {
            let found = walk::subjects(&marks, root, message, &key);
            Some((found.hashes.len(), found.unread.is_none()))
        }
        Root::Nobody => Some((0, true)),
        Root::Unknown => Some((0, false)),
    }
}

#[cfg(test)]
mod tests;
