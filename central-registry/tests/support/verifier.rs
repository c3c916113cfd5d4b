//! What a security server does with the published files: everything verified from the anchor.

use bytes::Bytes;
use prost::Message;
use trust::{
    configuration::{Anchor, Configuration, Fold, RootDocument, State, VerifiedHead},
    merkle::{Frontier, Hashes, ProofError, consistency_proof},
    tile::{Bundle, BundledRecord, MissingTile, Tile, TiledTree},
    wire::{configuration::Snapshot, evidence::RecordKind},
};

use super::{Running, eventually};

pub struct Verifier {
    root: RootDocument,
    pub newest: Option<VerifiedHead>,
}

impl Verifier {
    pub fn new(anchor: &str) -> Self {
        Self {
            root: Anchor::from_json(anchor).unwrap().root().clone(),
            newest: None,
        }
    }

    pub fn root_version(&self) -> u64 {
        self.root.document().version
    }

    /// Fetches and verifies the newest head, its consistency with the one before, its state.
    pub async fn refresh(&mut self, registry: &Running) -> State {
        loop {
            let next = self.root.document().version + 1;
            let Some(document) = registry.get(&format!("/root/{next}")).await else {
                break;
            };
            self.root = self.root.next(document.into()).unwrap();
        }
        let head = registry.get("/head").await.unwrap();
        let head = VerifiedHead::verify(head.into(), &self.root).unwrap();
        if let Some(older) = &self.newest {
            let proof = consistency(registry, older.serial(), head.serial()).await;
            head.check_extends(older, &proof).unwrap();
            assert!(head.publication().issued_at >= older.publication().issued_at);
        }
        let snapshot = registry
            .get(&format!("/snapshot/{}", head.serial()))
            .await
            .unwrap();
        let snapshot = Snapshot::decode(snapshot.as_slice()).unwrap();
        let state = State::from_snapshot(self.root.instance().clone(), snapshot).unwrap();
        Configuration::new(head.clone(), state.clone()).unwrap();
        self.newest = Some(head);
        state
    }

    /// Refreshes until the state fulfils a condition.
    pub async fn refresh_until(
        &mut self,
        registry: &Running,
        mut condition: impl FnMut(&State) -> bool,
    ) -> State {
        let verifier = tokio::sync::Mutex::new(self);
        let newest = eventually("the publication", || async {
            let state = verifier.lock().await.refresh(registry).await;
            Some(state)
        });
        let mut state = newest.await;
        while !condition(&state) {
            let mut verifier = verifier.lock().await;
            let before = verifier.newest.as_ref().unwrap().serial();
            eventually("the next publication", || async {
                let head = registry.get("/head").await.unwrap();
                let head = VerifiedHead::verify(head.into(), &verifier.root).unwrap();
                (head.serial() > before).then_some(())
            })
            .await;
            state = verifier.refresh(registry).await;
        }
        state
    }

    /// Reads every record of the log from the published bundles, verifies their root against the
    /// head and folds them, officers' decisions included.
    pub async fn fold(&self, registry: &Running) -> Fold {
        let head = self.newest.as_ref().unwrap();
        let mut fold = Fold::new(self.root.instance().clone());
        let mut frontier = Frontier::new();
        for bundle in Bundle::added(0, head.serial()) {
            let bytes = Bytes::from(registry.get(&format!("/{bundle}")).await.unwrap());
            for record in BundledRecord::decode_all(&bytes).unwrap() {
                frontier.append(record.leaf());
                if record.kind == RecordKind::Entry as u8 {
                    fold.entry(&record.header).unwrap();
                } else {
                    fold.other_record();
                }
            }
        }
        // The head does not show its root; the tiles lead to it, and so do the records.
        let mut tree = TiledTree::new(head.serial());
        for tile in Tile::added(0, head.serial()) {
            assert!(tree.insert(tile, &registry.get(&format!("/{tile}")).await.unwrap()));
        }
        assert_eq!(
            trust::merkle::root(&tree, head.serial()).unwrap(),
            frontier.root()
        );
        assert!(tree.subtree(0, 0).is_ok());
        assert_eq!(fold.state().root(), head.state_root());
        fold.check_published_root().unwrap();
        fold
    }
}

async fn consistency(registry: &Running, old: u64, new: u64) -> Vec<trust::Digest> {
    let mut tree = TiledTree::new(new);
    loop {
        match consistency_proof(&tree, old, new) {
            Ok(proof) => return proof,
            Err(ProofError::Source(MissingTile(tile))) => {
                let bytes = registry.get(&format!("/{tile}")).await.unwrap();
                assert!(tree.insert(tile, &bytes));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
