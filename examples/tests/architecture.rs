//! The rules that keep the parts apart: layers, one crypto and one TLS stack, places, captions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Which part may depend on which, in any way; trust stands on nothing, examples on everything.
const LAYERS: [(&str, &str); 10] = [
    ("trust", ""),
    ("durable", ""),
    ("proto", "trust"),
    ("certs", "trust durable"),
    ("verifiable-log", "trust durable"),
    ("adapters", "trust durable proto certs"),
    ("auditor", "trust durable certs verifiable-log"),
    (
        "central-registry",
        "trust durable proto certs verifiable-log",
    ),
    (
        "security-server",
        "trust durable proto certs verifiable-log",
    ),
    (
        "examples",
        "trust durable proto certs verifiable-log adapters auditor central-registry security-server",
    ),
];

/// Cryptography and TLS beside aws-lc-rs and rustls, by whatever name they would come in:
/// whole libraries and TLS stacks; signatures and curves; ciphers, digests, key derivation.
const SECOND_STACKS: [&str; 3] = [
    "aws-lc-fips-sys boring boring-sys botan gnutls graviola libsodium-sys mbedtls native-tls \
     openssl openssl-sys ring rustls-openssl rustls-rustcrypto s2n-tls schannel \
     security-framework wolfssl wolfssl-sys",
    "curve25519-dalek dsa ecdsa ed25519 ed25519-dalek elliptic-curve k256 p256 p384 p521 rsa \
     signature x25519-dalek",
    "aes aes-gcm blake2 blake3 chacha20poly1305 hkdf hmac md-5 pbkdf2 sha1 sha1_smol sha2 sha3",
];

/// What of it is in the graph all the same: the crate, the only one that may bring it, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "sha2",
        "sqlx-core",
        "digests of migration texts inside sqlx; it sees no message, key or certificate",
    ),
    ("sha2", "sqlx-postgres", PASSWORDS),
    ("hmac", "sqlx-postgres", PASSWORDS),
    ("hkdf", "sqlx-postgres", PASSWORDS),
    ("hmac", "hkdf", PASSWORDS),
    ("md-5", "sqlx-postgres", PASSWORDS),
    ("sha1", "sqlx-mysql", PASSWORDS),
    ("sha2", "sqlx-mysql", PASSWORDS),
];

/// The drivers have no other way; TLS to a database is rustls with aws-lc-rs.
const PASSWORDS: &str = "what a database asks for to prove a password to it, inside its driver";

/// What has no place in the source of `trust`: it is told the time and handed the bytes.
const IMPURE: &[&str] = &[
    "tokio",
    "async fn",
    "std::fs",
    "std::net",
    "std::env",
    "std::io::stdin",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
];

/// Crates that reach for a socket, a file or a runtime; `trust` stands on none of them.
const REACHING_OUT: &str =
    "async-std hyper h2 mio rustls rustix sled smol socket2 sqlx tokio tonic tower tempfile";

/// Where sled may be used, and in how many files at least and at most.
const SLED: [(&str, usize, usize); 2] = [("verifiable-log", 1, 1), ("central-registry", 0, 1)];

#[test]
fn the_parts_depend_on_each_other_only_downwards() {
    let graph = Graph::of_the_workspace();
    assert_none(edges_against_the_layers(&graph.edges_between_members()));
}

#[test]
fn there_is_one_crypto_and_one_tls_stack() {
    let graph = Graph::of_the_workspace();
    assert_none(second_stacks(&graph.dependants));
    for (name, bringer, reason) in EXCEPTIONS {
        assert!(
            graph.dependants.contains_key(*name),
            "{name} (by {bringer}: {reason}) is gone: remove the exception"
        );
    }
    for wanted in ["aws-lc-rs", "rustls"] {
        assert!(
            graph.dependants.contains_key(wanted),
            "{wanted} is not in the graph"
        );
    }
}

#[test]
fn trust_stands_on_nothing_that_reaches_out() {
    let graph = Graph::of_the_workspace();
    let below = graph.all_below("trust");
    assert!(
        below.contains("prost"),
        "the graph below trust was not read"
    );
    let reaching = REACHING_OUT
        .split_whitespace()
        .filter(|name| below.contains(*name));
    assert_none(
        reaching
            .map(|name| format!("trust stands on {name}"))
            .collect(),
    );
}

#[test]
fn trust_does_no_io_and_has_no_clock() {
    let sources = sources(&root().join("trust/src"));
    assert!(!sources.is_empty(), "no sources of trust were found");
    let mut complaints = Vec::new();
    for (path, text) in &sources {
        for word in impurities(text) {
            complaints.push(format!("{} uses {word}", path.display()));
        }
    }
    assert_none(complaints);
}

#[test]
fn sled_stays_in_one_file_of_each_crate_that_has_views() {
    let graph = Graph::of_the_workspace();
    let mut complaints = Vec::new();
    for dependant in graph.dependants.get("sled").into_iter().flatten() {
        if !SLED.iter().any(|(name, ..)| name == dependant) {
            complaints.push(format!("{dependant} depends on sled"));
        }
    }
    for (name, least, most) in SLED {
        let users: Vec<_> = sources(&root().join(name))
            .into_iter()
            .filter(|(_, text)| mentions(text, "sled"))
            .map(|(path, _)| path)
            .collect();
        if users.len() < least || users.len() > most {
            complaints.push(format!(
                "{name} uses sled in {users:?}, not in {least} to {most} files"
            ));
        }
        if name == "verifiable-log" && !users.iter().all(|path| path.ends_with("src/views.rs")) {
            complaints.push(format!(
                "{name} uses sled elsewhere than in src/views.rs: {users:?}"
            ));
        }
    }
    assert_none(complaints);
}

#[test]
fn every_source_file_begins_with_its_caption() {
    let mut complaints = Vec::new();
    for (name, _) in LAYERS {
        let sources = sources(&root().join(name));
        assert!(!sources.is_empty(), "no sources of {name} were found");
        for (path, text) in sources {
            if !begins_with_a_caption(&text) {
                complaints.push(format!(
                    "{} does not begin with //! and a sentence",
                    path.display()
                ));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn each_rule_can_be_broken() {
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        edges_against_the_layers(&[edge("auditor", "security-server")]).len(),
        1
    );
    assert_eq!(edges_against_the_layers(&[edge("trust", "proto")]).len(), 1);
    assert_eq!(
        edges_against_the_layers(&[edge("newcomer", "trust")]).len(),
        1
    );

    let brought = |name: &str, by: &str| {
        second_stacks(&BTreeMap::from([(
            name.to_owned(),
            BTreeSet::from([by.to_owned()]),
        )]))
        .len()
    };
    assert_eq!(brought("ring", "rcgen"), 1);
    assert_eq!(brought("sha2", "trust"), 1);
    assert_eq!(brought("sha2", "sqlx-core"), 0);

    assert_eq!(
        impurities("let now = std::time::SystemTime::now();"),
        ["SystemTime"]
    );
    assert!(impurities("// SystemTime is for others\nlet tokio_like = 1;").is_empty());
    assert!(mentions("    db: sled::Db,", "sled"));
    assert!(!mentions("//! Not sled.\nfn sledge() {}", "sled"));
    assert!(!begins_with_a_caption("use std::fs;\n//! Too late."));
    assert!(!begins_with_a_caption("//! \nfn nothing_said() {}"));
}

fn edges_against_the_layers(edges: &[(String, String)]) -> Vec<String> {
    let layers = BTreeMap::from(LAYERS);
    let is_allowed = |from: &str, to: &str| {
        layers
            .get(from)
            .is_some_and(|below| below.split_whitespace().any(|name| name == to))
    };
    edges
        .iter()
        .filter(|(from, to)| !is_allowed(from, to))
        .map(|(from, to)| format!("{from} depends on {to}"))
        .collect()
}

fn second_stacks(dependants: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in SECOND_STACKS
        .iter()
        .flat_map(|line| line.split_whitespace())
    {
        for bringer in dependants.get(name).into_iter().flatten() {
            if !EXCEPTIONS
                .iter()
                .any(|(what, by, _)| *what == name && by == bringer)
            {
                complaints.push(format!("{bringer} brings {name}"));
            }
        }
    }
    complaints
}

fn impurities(text: &str) -> Vec<&'static str> {
    IMPURE
        .iter()
        .copied()
        .filter(|word| mentions(text, word))
        .collect()
}

/// Whether the text has the word outside of line comments, and not as a part of a longer name.
fn mentions(text: &str, word: &str) -> bool {
    let in_a_name = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(word).any(|(at, _)| {
            !code[..at].ends_with(in_a_name) && !code[at + word.len()..].starts_with(in_a_name)
        })
    })
}

fn begins_with_a_caption(text: &str) -> bool {
    let caption = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "));
    caption.is_some_and(|sentence| sentence.trim().contains(' '))
}

/// The crates that cargo would build for any platform, and who depends on whom.
struct Graph {
    members: BTreeSet<String>,
    /// By name of a crate, the names of all that depend on it.
    dependants: BTreeMap<String, BTreeSet<String>>,
    /// The same the other way round, without what only tests need.
    built_with: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn of_the_workspace() -> Self {
        let built = built_crates();
        let metadata = MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            // The lock file decides. A new machine lacks the crates of other platforms: they are fetched.
            .other_options(["--locked".to_owned()])
            .exec()
            .expect("cargo metadata works here");
        Self::new(&metadata, &built)
    }

    fn new(metadata: &Metadata, built: &BTreeSet<String>) -> Self {
        let names: BTreeMap<&PackageId, &str> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.as_str()))
            .collect();
        let members = metadata
            .workspace_members
            .iter()
            .map(|id| names[id].to_owned())
            .collect();
        let mut dependants = BTreeMap::<_, BTreeSet<_>>::new();
        let mut built_with = BTreeMap::<_, BTreeSet<_>>::new();
        for node in &metadata
            .resolve
            .as_ref()
            .expect("cargo resolved the graph")
            .nodes
        {
            let from = names[&node.id].to_owned();
            for dependency in &node.deps {
                let to = names[&dependency.pkg].to_owned();
                if !built.contains(&from) || !built.contains(&to) {
                    continue;
                }
                dependants
                    .entry(to.clone())
                    .or_default()
                    .insert(from.clone());
                if dependency
                    .dep_kinds
                    .iter()
                    .any(|each| each.kind == DependencyKind::Normal)
                {
                    built_with.entry(from.clone()).or_default().insert(to);
                }
            }
        }
        Self {
            members,
            dependants,
            built_with,
        }
    }

    fn edges_between_members(&self) -> Vec<(String, String)> {
        let mut edges = Vec::new();
        for to in &self.members {
            for from in self.dependants.get(to).into_iter().flatten() {
                edges.push((from.clone(), to.clone()));
            }
        }
        assert!(
            !edges.is_empty(),
            "the parts do not depend on each other at all"
        );
        edges
    }

    fn all_below(&self, name: &str) -> BTreeSet<String> {
        let mut below = BTreeSet::new();
        let mut left = vec![name.to_owned()];
        while let Some(next) = left.pop() {
            for dependency in self.built_with.get(&next).into_iter().flatten() {
                if below.insert(dependency.clone()) {
                    left.push(dependency.clone());
                }
            }
        }
        below
    }
}

/// The names of all crates that are built for any platform, tests included. The metadata also
/// lists what only a feature that is off would need (ring behind rustls-webpki).
fn built_crates() -> BTreeSet<String> {
    let tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "tree",
            "--locked",
            "--workspace",
            "--target",
            "all",
            "--no-dedupe",
        ])
        .args([
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let listed = String::from_utf8(tree.stdout).expect("crates have names in ASCII");
    listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("examples is in the workspace")
        .into()
}

/// Every Rust source below a folder with its text, except generated ones.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            if !path.ends_with("generated") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the source can be read");
            found.push((path, text));
        }
    }
    found
}

fn assert_none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n  {}\n", complaints.join("\n  "));
}
