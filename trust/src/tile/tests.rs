//! Tests: paths of tiles and bundles, proofs from tiles.

use super::*;
use crate::merkle::{self, ProofError, Tree};

fn leaf(index: u64) -> Digest {
    merkle::leaf_hash(&index.to_be_bytes())
}

/// The tree and a reader that finds the tiles of it.
fn tree_and_bytes(size: u64) -> (Tree, impl Fn(Tile) -> Vec<u8>) {
    let tree = Tree::new((0..size).map(leaf).collect());
    let other = Tree::new((0..size).map(leaf).collect());
    let bytes = move |tile: Tile| {
        let first = tile.index() * 256;
        let hashes = first..first + u64::from(tile.width());
        hashes
            .flat_map(|index| *other.subtree(tile.level() * 8, index).unwrap().as_bytes())
            .collect()
    };
    (tree, bytes)
}

#[test]
fn paths_are_those_of_tlog_tiles() {
    let path = |level, index, size| Tile::of_size(level, index, size).unwrap().to_string();
    assert_eq!(path(0, 0, 1), "tile/0/000.p/1");
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(1, 0, 70_000), "tile/1/000");
    assert_eq!(path(1, 1, 70_000), "tile/1/001.p/17");
    assert_eq!(path(2, 0, 70_000), "tile/2/000.p/1");
    assert_eq!(path(0, 1_234_067, 1 << 40), "tile/0/x001/x234/067");
    assert!(Tile::of_size(1, 0, 255).is_none());
    assert_eq!(
        Bundle::added(0, 300).last().unwrap().to_string(),
        "entries/001.p/44"
    );
}

#[test]
fn what_is_added_completes_what_was_there() {
    for (old, new) in [
        (0, 1),
        (0, 700),
        (1, 2),
        (255, 256),
        (256, 257),
        (300, 65_536),
        (9, 9),
    ] {
        let mut of_old: Vec<Tile> = Tile::added(0, old).collect();
        of_old.extend(Tile::added(old, new));
        for tile in Tile::added(0, new) {
            assert!(of_old.contains(&tile), "{tile} of {new} after {old}");
        }
    }
    assert_eq!(Tile::added(256, 257).collect::<Vec<_>>().len(), 1);
    assert_eq!(Bundle::added(255, 257).collect::<Vec<_>>().len(), 2);
    assert_eq!(Bundle::added(256, 256).count(), 0);
}

#[test]
fn proofs_come_out_of_the_few_tiles_that_are_asked_for() {
    for (old, new) in [
        (1_u64, 2_u64),
        (200, 300),
        (256, 513),
        (70_000, 70_001),
        (1, 70_000),
    ] {
        let (tree, bytes) = tree_and_bytes(new);
        let mut tiled = TiledTree::new(new);
        let mut asked = 0;
        let proof = loop {
            match merkle::consistency_proof(&tiled, old, new) {
                Ok(proof) => break proof,
                Err(ProofError::Source(MissingTile(tile))) => {
                    assert!(tiled.insert(tile, &bytes(tile)));
                    asked += 1;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert!(asked <= 6, "{asked} tiles from {old} to {new}");
        let old_root = Tree::new((0..old).map(leaf).collect()).root();
        merkle::verify_consistency(old, &old_root, new, &tree.root(), &proof).unwrap();
    }
}

#[test]
fn a_tile_of_another_length_is_refused() {
    let tile = Tile::of_size(0, 0, 2).unwrap();
    let mut tiled = TiledTree::new(2);
    assert!(!tiled.insert(tile, &[0; 32]));
    assert!(!tiled.insert(tile, &[0; 65]));
    assert!(tiled.insert(tile, &[0; 64]));
}

#[test]
fn bundles_are_read_back_or_refused() {
    let records = [b"one".as_slice(), b""].map(|header| BundledRecord {
        kind: 12,
        header: Bytes::copy_from_slice(header),
        annex_digest: Digest::of(header),
    });
    let mut bundle = Vec::new();
    assert!(records.iter().all(|record| record.encode(&mut bundle)));
    let whole = Bytes::from(bundle);
    assert_eq!(BundledRecord::decode_all(&whole).unwrap(), records);
    for length in 1..whole.len() {
        let cut = BundledRecord::decode_all(&whole.slice(..length));
        assert!(cut.is_none_or(|found| found == records[..1]), "{length}");
    }
    let expected = LeafPreimage::of_local_record(12, b"one", b"one").leaf();
    assert_eq!(records[0].leaf(), expected);
}
