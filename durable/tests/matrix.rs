//! Every way to write, at each of its calls with every fault: the old file or the whole new one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::{collections::BTreeMap, io, path::Path};

use durable::{
    FileSet, FileSystem, create, make_folder, read, remove_unfinished, rename, replace,
    replace_from,
    simulated::{Disk, every_fault},
};

const FILE: &str = "/file";

/// What a file may be: the last is what it was made to be, unless that failed.
struct Known {
    possible: Vec<Option<Vec<u8>>>,
}

impl Known {
    fn new(now: Option<Vec<u8>>) -> Self {
        Self {
            possible: vec![now],
        }
    }

    /// Takes note of an attempt to make it something; says whether to go on.
    fn attempt(&mut self, bytes: Vec<u8>, outcome: io::Result<()>) -> bool {
        if outcome.is_ok() {
            self.possible.clear();
        }
        self.possible.push(Some(bytes));
        outcome.is_ok()
    }

    fn check(&self, disk: &Disk, path: &str) {
        let found = match read(disk, Path::new(path)) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => panic!("{error}"),
        };
        let lengths: Vec<_> = self.possible.iter().flatten().map(Vec::len).collect();
        assert!(
            self.possible.contains(&found),
            "{path} has {:?} bytes and not one of {lengths:?}",
            found.map(|it| it.len())
        );
    }
}

/// Several sectors, each of them another one than in the version before.
fn bytes(version: u8) -> Vec<u8> {
    vec![version; 1300 + 100 * usize::from(version)]
}

#[test]
fn a_file_that_is_replaced_is_the_old_one_or_the_new_one() {
    let prepared = Disk::default();
    replace(&prepared, Path::new(FILE), &bytes(0), 0o600).unwrap();
    let cells = every_fault(
        &prepared,
        |disk| {
            let mut known = Known::new(Some(bytes(0)));
            for version in 1..3 {
                let outcome = replace(disk, Path::new(FILE), &bytes(version), 0o600);
                if !known.attempt(bytes(version), outcome) {
                    break;
                }
            }
            known
        },
        |disk, known| {
            known.check(disk, FILE);
            remove_unfinished(disk, Path::new("/")).unwrap();
            assert!(disk.paths().len() <= 1, "{:?}", disk.paths());
        },
    );
    println!("replacing a file: {cells}");
}

#[test]
fn a_file_made_of_contents_and_zeros_is_whole() {
    let whole = [bytes(1), vec![0; 3000]].concat();
    let cells = every_fault(
        &Disk::default(),
        |disk| {
            let mut known = Known::new(None);
            let contents = bytes(1);
            let length = whole.len() as u64;
            let made = replace_from(disk, Path::new(FILE), &mut &*contents, length, 0o600);
            known.attempt(whole.clone(), made);
            known
        },
        |disk, known| known.check(disk, FILE),
    );
    println!("a file of contents and zeros: {cells}");
}

#[test]
fn a_new_file_is_there_whole_or_not_at_all_and_never_takes_the_place_of_another() {
    let cells = every_fault(
        &Disk::default(),
        |disk| {
            let mut known = Known::new(None);
            let made = create(disk, Path::new(FILE), &bytes(1), 0o600);
            if known.attempt(bytes(1), made) {
                let again = create(disk, Path::new(FILE), &bytes(2), 0o600);
                assert!(again.is_err());
            }
            known
        },
        |disk, known| {
            known.check(disk, FILE);
            // Whoever tries again is told, or makes it.
            let there = disk.bytes(FILE).is_some();
            if there {
                let again = create(disk, Path::new(FILE), &bytes(3), 0o600);
                assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            } else {
                let again = create(disk, Path::new(FILE), &bytes(4), 0o600);
                known.attempt(bytes(4), again);
            }
            known.check(disk, FILE);
        },
    );
    println!("making a new file: {cells}");
}

#[test]
fn files_put_together_survive_once_they_were_synced() {
    let prepared = Disk::default();
    make_folder(&prepared, Path::new("/public")).unwrap();
    let names = ["snapshot/1", "tile/0/000", "snapshot/2", "head"];
    let write = |disk: &Disk, known: &mut BTreeMap<&str, Known>, version| {
        let mut files = FileSet::new(disk, Path::new("/public"), 0o644);
        let put = [
            files.put(names[0], &bytes(version)),
            files.complete(names[1], &bytes(version)).map(drop),
            files.link(names[0], names[2]),
            files.put(names[3], &bytes(version)),
            files.sync(),
        ];
        let done = put.iter().all(Result::is_ok);
        for name in names {
            let outcome = if done {
                Ok(())
            } else {
                Err(io::ErrorKind::Other.into())
            };
            known
                .get_mut(name)
                .unwrap()
                .attempt(bytes(version), outcome);
        }
        done
    };
    let cells = every_fault(
        &prepared,
        |disk| {
            let mut known = names.map(|name| (name, Known::new(None))).into();
            let _ = write(disk, &mut known, 1) && write(disk, &mut known, 2);
            known
        },
        |disk, known| {
            for (name, known) in &*known {
                known.check(disk, &format!("/public/{name}"));
            }
            assert!(write(disk, known, 3));
        },
    );
    println!("files put together: {cells}");
}

/// What a process that was killed has left is not believed to survive.
#[test]
fn a_file_that_is_there_already_is_completed_with_its_name() {
    let disk = Disk::default();
    make_folder(&disk, Path::new("/public")).unwrap();
    let mut files = FileSet::new(&disk, Path::new("/public"), 0o644);
    files.put("blob/1", &bytes(1)).unwrap();
    drop(files);
    disk.restart(durable::simulated::Restart::Process);
    let mut files = FileSet::new(&disk, Path::new("/public"), 0o644);
    assert!(!files.complete("blob/1", &bytes(1)).unwrap());
    files.sync().unwrap();
    disk.restart(durable::simulated::Restart::Synced);
    assert_eq!(disk.bytes("/public/blob/1"), Some(bytes(1)));
}

#[test]
fn a_folder_that_was_made_survives_with_those_above_it() {
    let cells = every_fault(
        &Disk::default(),
        |disk| make_folder(disk, Path::new("/a/b/c")).is_ok(),
        |disk, made| {
            let there = disk.list(Path::new("/a/b/c"));
            assert!(there.is_ok() || !*made);
            make_folder(disk, Path::new("/a/b/c")).unwrap();
            *made = true;
        },
    );
    println!("making a folder: {cells}");
}

#[test]
fn a_folder_that_is_put_in_place_is_there_wholly_or_not_at_all() {
    let (unfinished, place) = (Path::new("/.registry.new"), Path::new("/registry"));
    let prepared = Disk::default();
    make_folder(&prepared, unfinished).unwrap();
    replace(&prepared, &unfinished.join("key"), &bytes(1), 0o600).unwrap();
    let cells = every_fault(
        &prepared,
        |disk| rename(disk, unfinished, place).is_ok(),
        |disk, renamed| {
            let there = disk.bytes("/registry/key").is_some();
            assert!(there || !*renamed);
            let name = if there { place } else { unfinished };
            assert_eq!(disk.bytes(name.join("key")), Some(bytes(1)));
        },
    );
    println!("putting a folder in place: {cells}");
}
