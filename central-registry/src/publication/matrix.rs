//! Publishing with every fault at each of its calls: the head never names what is not there.

use durable::simulated::{Disk, Restart, every_fault};
use trust::configuration::Fold;

use super::*;
use crate::clock::Clock;

const PUBLIC: &str = "/registry/public";

/// A log with three publications of one state.
struct Published {
    log: RegistryLog,
    state: State,
    blob: Bytes,
    publications: Vec<(SignedCheckpoint, PublicationRecord)>,
    _folder: tempfile::TempDir,
}

impl Published {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = "VN".parse().unwrap();
        let (path, clock) = (folder.path().join("log"), Clock::of_the_machine());
        RegistryLog::create(&path, &instance, clock.clone()).unwrap();
        let log = RegistryLog::open(&path, &instance, clock).unwrap();
        let fold = Fold::new(instance);
        let key = certs::LogKey::generate().unwrap();
        let mut publications = Vec::new();
        for number in 0..3 {
            let entry = Bytes::from(vec![number; 100]);
            let (index, annex_digest) = log.append(entry.clone(), &[]).await.unwrap();
            let publication = PublicationRecord {
                index,
                entry,
                annex_digest,
                state_root: fold.state().root(),
            };
            publications.push((log.checkpoint(&key).unwrap(), publication));
        }
        Self {
            log,
            state: fold.state().clone(),
            blob: Bytes::from(vec![7; 3000]),
            publications,
            _folder: folder,
        }
    }

    fn publish(&self, files: &mut PublicFiles, number: usize) -> Result<(), Error> {
        let (checkpoint, publication) = &self.publications[number];
        files.add_blobs(vec![self.blob.clone()]);
        files.publish(&self.log, checkpoint, publication, &self.state)
    }

    /// Gives the serial of the head, all of whose files must be there; 0 if nothing was published.
    fn serial(&self, disk: &Disk) -> u64 {
        let found = |name: &str| {
            let path = Path::new(PUBLIC).join(name);
            disk.bytes(&path)
                .unwrap_or_else(|| panic!("{name} is missing"))
        };
        let Some(head) = disk.bytes(Path::new(PUBLIC).join("head")) else {
            return 0;
        };
        let head = Head::decode(head.as_slice()).unwrap();
        let signed = SignedCheckpoint::parse(&head.checkpoint).unwrap();
        let serial = signed.unverified().size;
        let newest = SignedCheckpoint::parse(&found("checkpoint")).unwrap();
        let newest = newest.unverified().size;
        assert!(newest >= serial);
        // Whoever follows the log reads the checkpoint alone.
        for tile in [serial, newest]
            .into_iter()
            .flat_map(|size| Tile::added(0, size))
        {
            assert_eq!(found(&tile.to_string()), self.log.tile(tile).unwrap());
        }
        let snapshot = self.state.to_snapshot().encode_to_vec();
        assert_eq!(found(&format!("snapshot/{serial}")), snapshot);
        for bundle in Bundle::added(0, serial) {
            assert_eq!(found(&bundle.to_string()), self.log.bundle(bundle).unwrap());
        }
        assert_eq!(
            found(&format!("blob/{}", Digest::of(&self.blob))),
            self.blob
        );
        serial
    }
}

fn open(disk: &Disk) -> Result<PublicFiles, Error> {
    PublicFiles::open(Arc::new(disk.clone()), Path::new(PUBLIC))
}

#[tokio::test]
async fn the_head_never_names_what_is_not_there() {
    let published = Published::new().await;
    let cells = every_fault(
        &Disk::default(),
        |disk| {
            let Ok(mut files) = open(disk) else {
                return 0;
            };
            for number in 0..2 {
                if published.publish(&mut files, number).is_err() {
                    return number;
                }
            }
            2
        },
        |disk, acknowledged| {
            assert!(published.serial(disk) >= *acknowledged as u64);
            // A later start completes what is missing, and goes on.
            let mut files = open(disk).unwrap();
            published.publish(&mut files, 2).unwrap();
            assert_eq!(published.serial(disk), 3);
            *acknowledged = 3;
        },
    );
    println!("a publication: {cells}");
}

#[test]
fn a_blob_that_was_put_survives() {
    let blob = b"descriptors";
    let path = Path::new(PUBLIC).join(format!("blob/{}", Digest::of(blob)));
    let put = |disk: &Disk| open(disk).and_then(|files| files.put_blob(blob)).is_ok();
    let cells = every_fault(&Disk::default(), put, |disk, is_put| {
        assert!(!*is_put || disk.bytes(&path).as_deref() == Some(blob));
        assert!(put(disk));
        *is_put = true;
    });
    println!("a blob: {cells}");
}

#[tokio::test]
async fn what_a_killed_process_has_put_is_not_believed_to_survive() {
    let published = Published::new().await;
    let disk = Disk::default();
    durable::make_folder(&disk, Path::new(PUBLIC)).unwrap();
    // All but the head was put, and nothing of it synced.
    let mut files = open(&disk).unwrap();
    let name = format!("blob/{}", Digest::of(&published.blob));
    files.file_set().put(&name, &published.blob).unwrap();
    disk.restart(Restart::Process);
    files = open(&disk).unwrap();
    published.publish(&mut files, 0).unwrap();
    disk.restart(Restart::Synced);
    assert_eq!(published.serial(&disk), 1);
}
