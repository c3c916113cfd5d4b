//! A route that leaves out a stage does not compile: each is taken out in turn, and rustc asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use examples::folders;

/// The routes, and each stage with what the stage before it gave.
const ROUTES: [(&str, &[(&str, &str)]); 2] = [
    (
        "consume.rs",
        &[
            ("server.sign_request(exchange, part).await?", "part"),
            ("server.record(exchange, request).await?", "request"),
            ("server.verify_reply(exchange, envelope).await?", "envelope"),
            ("server.record(exchange, answer).await?", "answer"),
        ],
    ),
    (
        "provide.rs",
        &[
            ("server.verify_opening(envelope).await?", "envelope"),
            (
                "server.authorise_opening(request).await",
                "Ok::<_, Box<RefusedOpening>>(request)",
            ),
            ("server.record(&*exchange, request).await?", "request"),
            (
                "server.verify_request(exchange, envelope).await?",
                "envelope",
            ),
            ("server.authorise(exchange, request)?", "request"),
            ("server.record(exchange, request).await?", "request"),
            ("server.sign_reply(exchange, part).await?", "part"),
            ("server.record(exchange, reply).await?;", "reply;"),
        ],
    ),
];

/// A copy of the workspace in which only the security server's sources are files of its own.
fn copy_of_the_workspace(root: &Path) -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stages");
    let _ = fs::remove_dir_all(&copy);
    let sources = copy.join("security-server");
    fs::create_dir_all(&sources).unwrap();
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(root.join(name), copy.join(name)).unwrap();
    }
    for part in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
    {
        let path = root.join(&part);
        if path.join("Cargo.toml").exists() && part != "security-server" {
            symlink(path, copy.join(part)).unwrap();
        }
    }
    folders::copy(&root.join("security-server"), &sources).unwrap();
    copy
}

/// What the compiler says of the copy; none when it is content.
fn complaint(copy: &Path, target: &Path) -> Option<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--offline",
            "--quiet",
            "--package",
            "security-server",
            "--lib",
        ])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn a_route_that_leaves_out_a_stage_does_not_compile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap();
    let copy = copy_of_the_workspace(&root);
    // The workspace's own, so that what it stands on is checked once for this and for clippy.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    assert_eq!(
        complaint(&copy, target),
        None,
        "the copy itself must compile"
    );
    for (route, stages) in ROUTES {
        let path = copy.join("security-server/src").join(route);
        let whole = fs::read_to_string(&path).unwrap();
        for (stage, given) in stages {
            let found = whole.matches(stage).count();
            assert!(found > 0, "{route} has no {stage}");
            for position in 0..found {
                let (at, _) = whole.match_indices(stage).nth(position).unwrap();
                let without = [&whole[..at], given, &whole[at + stage.len()..]].concat();
                fs::write(&path, without).unwrap();
                let said = complaint(&copy, target)
                    .unwrap_or_else(|| panic!("{route} compiles without {stage}"));
                assert!(
                    said.contains("E0308"),
                    "{route} without {stage}: another error\n{said}"
                );
            }
        }
        fs::write(&path, whole).unwrap();
    }
}
