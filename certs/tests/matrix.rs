//! Keys and certificates with every fault at each call of their writing: whole, or not there.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;

use certs::{LogKey, PrivateKey, TestAuthority, Validity};
use durable::{
    FileSystem, make_folder, read,
    simulated::{Disk, every_fault},
};

/// Lets a file be written with every fault; what is there is the file as it is without any.
fn matrix<E>(what: &str, path: &Path, write: impl Fn(&dyn FileSystem) -> Result<(), E>) {
    let prepared = Disk::default();
    make_folder(&prepared, Path::new("/keys")).unwrap();
    let whole = prepared.copy();
    assert!(write(&whole).is_ok());
    let whole = read(&whole, path).unwrap();
    let cells = every_fault(
        &prepared,
        |disk| write(disk).is_ok(),
        |disk, written| match read(disk, path) {
            Ok(found) => {
                assert!(found == whole);
                assert!(write(disk).is_err(), "never over one that exists");
            }
            Err(_) => {
                assert!(!*written);
                assert!(write(disk).is_ok());
                *written = true;
            }
        },
    );
    println!("{what}: {cells}");
}

#[test]
fn a_log_key() {
    let (key, path) = (LogKey::generate().unwrap(), Path::new("/keys/log.pem"));
    matrix("a log key", path, |files| key.write_in(files, path));
}

#[test]
fn a_private_key() {
    let (key, path) = (PrivateKey::generate().unwrap(), Path::new("/keys/key.pem"));
    matrix("a private key", path, |files| key.write_in(files, path));
}

#[test]
fn a_certificate() {
    let authority = TestAuthority::create("Test", Validity::days(1_700_000_000, 10)).unwrap();
    let folder = Path::new("/keys/authority");
    let whole = Disk::default();
    authority.write_in(&whole, folder).unwrap();
    assert_eq!(whole.paths().len(), 2);
    let cells = every_fault(
        &Disk::default(),
        |disk| authority.write_in(disk, folder).is_ok(),
        |disk, written| {
            for path in whole.paths() {
                let found = disk.bytes(&path);
                assert!(found == whole.bytes(&path) || (found.is_none() && !*written));
            }
        },
    );
    println!("an authority's key and certificate: {cells}");
}
