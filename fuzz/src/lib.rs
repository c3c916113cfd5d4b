//! The targets: what must hold of any bytes, beyond that nothing panics, and what is fed first.
//!
//! What parses is encoded and parsed again to the same; what verifies is what was signed; what is
//! refused changes nothing. Memory is bounded from outside, by the limits that `fuzz/run` sets.

mod certificates;
mod columns;
mod configuration;
mod files;
mod logs;
mod messages;
mod seeds;
mod servers;
mod subjects;

/// A parser of bytes from outside.
pub struct Target {
    /// What is parsed.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub check: fn(&[u8]),
    /// Where the search begins.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const fn target(name: &'static str, check: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, seeds }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("envelope", messages::envelope, messages::envelopes),
    target("header", messages::header, messages::headers),
    target("content", messages::content, messages::contents),
    target("frame", messages::frame, messages::frames),
    target("record", messages::record, messages::records),
    target("identifier", messages::identifier, messages::identifiers),
    target("head", configuration::head, configuration::heads),
    target(
        "root_document",
        configuration::root_document,
        configuration::root_documents,
    ),
    target("anchor", configuration::anchor, configuration::anchors),
    target(
        "changes",
        configuration::changes,
        configuration::change_sets,
    ),
    target(
        "snapshot",
        configuration::snapshot,
        configuration::snapshots,
    ),
    target(
        "membership",
        configuration::membership,
        configuration::memberships,
    ),
    target("checkpoint", logs::checkpoint, logs::checkpoints),
    target("bundle", logs::bundle, logs::bundles),
    target("tile", logs::tile, logs::tiles),
    target("answer", logs::answer, logs::answers),
    target("segment", logs::segment, logs::segments),
    target("audit", logs::audit, logs::audits),
    target("container", files::container, files::containers),
    target("statement", files::statement, files::statements),
    target(
        "certificate",
        certificates::certificate,
        certificates::certificates,
    ),
    target("certificate_file", certificates::file, certificates::files),
    target(
        "signature_file",
        certificates::signature_file,
        certificates::certificates,
    ),
    target("request", certificates::request, certificates::requests),
    target(
        "grpc_messages",
        servers::grpc_messages,
        servers::grpc_bodies,
    ),
    target(
        "call_metadata",
        servers::call_metadata,
        servers::call_headers,
    ),
    target("subjects", subjects::message, subjects::messages),
    target(
        "subject_marks",
        subjects::descriptors,
        subjects::descriptor_sets,
    ),
    target("status", servers::status, servers::statuses),
    target("settings", servers::settings, servers::settings_files),
    target("state_file", servers::state_file, servers::state_files),
    target(
        "registry_file",
        servers::registry_file,
        servers::registry_files,
    ),
    target(
        "adapter_configuration",
        servers::adapter_configuration,
        servers::adapter_files,
    ),
    target(
        "adapter_lock",
        servers::adapter_lock,
        servers::adapter_locks,
    ),
    target("stored_text", columns::stored_text, columns::stored_texts),
    target("stored_date", columns::stored_date, columns::stored_dates),
    target(
        "adapter_request",
        servers::adapter_request,
        servers::adapter_requests,
    ),
];
