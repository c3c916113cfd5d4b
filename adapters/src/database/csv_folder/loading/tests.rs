//! What cannot be loaded is refused by name, within bounds, and leaves nothing behind.

use std::{fs, process::Command};

use super::*;

struct Folder {
    exports: Exports,
    _folder: TempDir,
}

fn folder(files: &[(&str, &[u8])]) -> Folder {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let stopped = Arc::new(AtomicBool::new(false));
    Folder {
        exports: Exports::new(folder.path(), b',', Vec::new(), stopped).unwrap(),
        _folder: folder,
    }
}

impl Folder {
    async fn load(&self) -> Result<Loaded, DatabaseError> {
        self.exports.load(self.exports.files().unwrap()).await
    }

    /// Why it is not loaded; what was begun is gone then.
    async fn refused(&self) -> String {
        let reason = self.load().await.unwrap_err().to_string();
        let left: Vec<_> = fs::read_dir(self.exports.private.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        reason
    }
}

#[tokio::test]
async fn what_was_loaded_is_there_for_as_long_as_it_is_read() {
    let folder = folder(&[("a.csv", b"x,y\n1,2\n3,4\n"), ("b.CSV", b"z\n")]);
    let loaded = folder.load().await.unwrap();
    let path = loaded.database.to_path_buf();
    assert!(path.exists());
    let again = folder.load().await.unwrap();
    assert!(again.missing(&loaded).is_none());
    drop(loaded);
    assert!(!path.exists() && again.database.exists());
}

#[tokio::test]
async fn a_file_that_is_wrong_leaves_nothing_behind() {
    let wrong = [("a.csv", &b"x\n1\n"[..]), ("b.csv", b"x,y\n1,2\n3\n")];
    let reason = folder(&wrong).refused().await;
    assert!(
        reason.contains("b.csv") && reason.contains("line: 3"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_record_without_an_end_does_not_fill_memory() {
    for begins in [&b"x,y\n1,\"2\n"[..], b"\"x,y\n"] {
        let folder = folder(&[("a.csv", begins)]);
        let path = folder.exports.folder.join("a.csv");
        // A hole of the file system takes no room, and is far more than this machine has memory.
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(1 << 40).unwrap();
        let reason = folder.refused().await;
        assert!(
            reason.contains("a record is longer than 16777216 bytes"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_pipe_is_no_table() {
    let folder = folder(&[("a.csv", b"x\n")]);
    let pipe = folder.exports.folder.join("b.csv");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(folder.exports.files().unwrap().len(), 1);
    folder.load().await.unwrap();
}

#[tokio::test]
async fn a_record_in_the_place_of_the_names_is_not_repeated() {
    for record in [
        "001185123456,Hà Nội,hà nội\n",
        "001185123456,Hà Nội,Hà Nội\n",
        "HN,x,hn\n",
    ] {
        let folder = folder(&[("a.csv", record.as_bytes())]);
        let Err(reason) = folder.load().await else {
            continue;
        };
        // The names of temporary folders have all letters.
        let folder = folder.exports.folder.display().to_string();
        let reason = reason.to_string().replace(&folder, "");
        assert!(
            !reason.contains("N") && !reason.contains("0011") && reason.contains("is there twice"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_ends() {
    let folder = folder(&[("a.csv", b"x\n1\n")]);
    folder.exports.stopped.store(true, Ordering::Relaxed);
    let reason = folder.refused().await;
    assert!(reason.contains("nobody waits"), "{reason}");
}
