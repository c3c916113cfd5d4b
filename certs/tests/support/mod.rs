//! What the tests share: a small federation at a fixed time, and OpenSSL as the outside party.

#![allow(dead_code, reason = "each test program uses a part of what is shared")]

pub mod tls;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use certs::{PrivateKey, Role, Subject, TestAuthority, Validity};
use tempfile::TempDir;

/// 2027-01-15 08:00:00 UTC.
pub const NOW: i64 = 1_800_000_000;
pub const DAY: i64 = 86_400;

pub fn authority() -> TestAuthority {
    TestAuthority::create("Test authority", Validity::of(Role::Authority, NOW)).unwrap()
}

pub fn member(id: &str) -> Subject {
    Subject::Signing {
        member: id.parse().unwrap(),
        organization: Some("Bộ Tư pháp".into()),
    }
}

pub fn server(id: &str) -> Subject {
    Subject::Authentication {
        server: id.parse().unwrap(),
        organization: None,
    }
}

/// A key with its certificate (DER), valid from now on as the profile says.
pub fn issued(authority: &TestAuthority, subject: &Subject) -> (PrivateKey, Vec<u8>) {
    let key = PrivateKey::generate().unwrap();
    let validity = Validity::of(subject.role(), NOW);
    let der = authority.issue_for(&key, subject, validity).unwrap();
    (key, der)
}

/// A directory in which OpenSSL runs.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn write_certificate(&self, name: &str, der: &[u8]) -> PathBuf {
        let path = self.path(name);
        certs::file::write_certificates(&path, &[der]).unwrap();
        path
    }

    /// Runs `openssl` with arguments split at blanks.
    pub fn openssl(&self, arguments: &str) -> Output {
        self.run(Command::new("openssl").args(arguments.split_whitespace()))
    }

    /// Runs the built binary with arguments split at blanks.
    pub fn certs(&self, arguments: &str) -> Output {
        self.run(Command::new(env!("CARGO_BIN_EXE_certs")).args(arguments.split_whitespace()))
    }

    pub fn run(&self, command: &mut Command) -> Output {
        command.current_dir(self.0.path()).output().unwrap()
    }
}

/// Standard output and error of a command that succeeded.
#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    text
}

/// Standard output and error of a command that ended with `code`.
#[track_caller]
pub fn ended(output: &Output, code: i32) -> String {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
