//! The committed generated code is what the .proto files say.
//!
//! To write it anew after a change: `LIENTHONG_WRITE_GENERATED=1 cargo test -p proto --test generated`.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use prost::Message;

/// One run of the generator: which files, into which folder, with or without gRPC code.
struct Run {
    files: &'static [&'static str],
    folder: &'static str,
    trust_types: bool,
}

const RUNS: [Run; 2] = [
    Run {
        files: &[
            "lienthong/evidence/v1/message.proto",
            "lienthong/evidence/v1/record.proto",
            "lienthong/configuration/v1/configuration.proto",
        ],
        folder: "../trust/src/generated",
        trust_types: true,
    },
    Run {
        files: &[
            "lienthong/exchange/v1/exchange.proto",
            "lienthong/administration/v1/security_server.proto",
            "lienthong/administration/v1/central_registry.proto",
            "lienthong/recollection/v1/recollection.proto",
        ],
        folder: "src/generated",
        trust_types: false,
    },
];

#[test]
fn generated_code_is_what_the_proto_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    let write = std::env::var_os("LIENTHONG_WRITE_GENERATED").is_some();
    for run in RUNS {
        let descriptors = protox::compile(run.files, [root]).unwrap();
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).unwrap();
        let mut builder = tonic_prost_build::configure()
            .out_dir(&scratch)
            .bytes(".")
            .build_server(!run.trust_types)
            .build_client(!run.trust_types)
            .emit_rerun_if_changed(false);
        if !run.trust_types {
            builder = builder
                .extern_path(".lienthong.evidence.v1", "::trust::wire::evidence")
                .extern_path(
                    ".lienthong.configuration.v1",
                    "::trust::wire::configuration",
                );
        }
        let encoded = descriptors.encode_to_vec();
        builder.compile_fds(descriptors).unwrap();
        let target = root.join(run.folder);
        for entry in fs::read_dir(&scratch).unwrap() {
            let made = entry.unwrap().path();
            let name = made.file_name().unwrap().to_str().unwrap().to_owned();
            let generated = name.contains("evidence") || name.contains("configuration");
            if run.trust_types != generated {
                continue;
            }
            compare(&fs::read(&made).unwrap(), &target.join(&name), write);
        }
        if !run.trust_types {
            compare(&encoded, &target.join("descriptors.bin"), write);
        }
    }
}

fn compare(made: &[u8], committed: &Path, write: bool) {
    if write {
        fs::write(committed, made).unwrap();
    }
    let committed_bytes = fs::read(committed).unwrap_or_default();
    assert!(
        committed_bytes == made,
        "{} is stale: run LIENTHONG_WRITE_GENERATED=1 cargo test -p proto --test generated",
        committed.display()
    );
}
