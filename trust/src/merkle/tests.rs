//! Tests: the tree against naive recursion, proofs of every size.

use super::*;

/// The definition of RFC 6962, section 2.1, word for word.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(naive_split(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

fn naive_inclusion(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let mut proof;
    if index < left.len() {
        proof = naive_inclusion(index, left);
        proof.push(naive_root(right));
    } else {
        proof = naive_inclusion(index - left.len(), right);
        proof.push(naive_root(left));
    }
    proof
}

fn naive_consistency(old: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![naive_root(leaves)]
        };
    }
    let (left, right) = leaves.split_at(naive_split(leaves.len()));
    let mut proof;
    if old <= left.len() {
        proof = naive_consistency(old, left, whole);
        proof.push(naive_root(right));
    } else {
        proof = naive_consistency(old - left.len(), right, false);
        proof.push(naive_root(left));
    }
    proof
}

fn naive_split(size: usize) -> usize {
    let mut split = 1;
    while split * 2 < size {
        split *= 2;
    }
    split
}

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

const SIZES: u64 = 300;

#[test]
fn frontier_and_tree_have_the_root_of_the_definition() {
    let leaves = leaves(SIZES);
    let whole = Tree::new(leaves.clone());
    let mut frontier = Frontier::new();
    for size in 0..=leaves.len() {
        let expected = naive_root(&leaves[..size]);
        assert_eq!(frontier.root(), expected, "{size}");
        assert_eq!(Tree::new(leaves[..size].to_vec()).root(), expected);
        assert_eq!(root(&whole, size as u64).unwrap(), expected);
        assert_eq!(Frontier::read(&whole, size as u64).unwrap(), frontier);
        let kept = frontier.hashes().to_vec();
        assert_eq!(
            Frontier::from_hashes(size as u64, kept).unwrap().root(),
            expected
        );
        if let Some(leaf) = leaves.get(size) {
            frontier.append(*leaf);
        }
    }
    assert!(Frontier::from_hashes(3, leaves[..1].to_vec()).is_none());
}

#[test]
fn an_observed_append_tells_every_complete_subtree_once() {
    let leaves = leaves(SIZES);
    let tree = Tree::new(leaves.clone());
    let mut seen = Vec::new();
    let mut frontier = Frontier::new();
    for leaf in &leaves {
        frontier.append_observed(*leaf, |level, index, root| {
            assert_eq!(tree.subtree(level, index).unwrap(), root);
            seen.push((level, index));
        });
    }
    let subtrees: usize = tree.levels.iter().map(Vec::len).sum();
    assert_eq!(seen.len(), subtrees);
}

#[test]
fn inclusion_proofs_are_those_of_the_definition_and_verify() {
    let leaves = leaves(SIZES);
    let tree = Tree::new(leaves.clone());
    let sizes = (1..70).chain([127, 128, 129, 255, 256, 257, SIZES]);
    for size in sizes {
        let part = &leaves[..size as usize];
        let root = naive_root(part);
        for index in 0..size {
            let proof = inclusion_proof(&tree, index, size).unwrap();
            assert_eq!(proof, naive_inclusion(index as usize, part));
            let leaf = &leaves[index as usize];
            verify_inclusion(leaf, index, size, &proof, &root).unwrap();
        }
    }
    for size in 1..=SIZES {
        let root = naive_root(&leaves[..size as usize]);
        for index in [0, size / 2, size - 1] {
            let proof = inclusion_proof(&tree, index, size).unwrap();
            verify_inclusion(&leaves[index as usize], index, size, &proof, &root).unwrap();
        }
    }
}

#[test]
fn consistency_proofs_are_those_of_the_definition_and_verify() {
    let leaves = leaves(SIZES);
    let tree = Tree::new(leaves.clone());
    let roots: Vec<_> = (0..=leaves.len())
        .map(|n| naive_root(&leaves[..n]))
        .collect();
    let pairs = (0..=64)
        .flat_map(|new| (0..=new).map(move |old| (old, new)))
        .chain(
            (1..=SIZES as usize)
                .flat_map(|new| [(0, new), (1, new), (new / 3, new), (new - 1, new)]),
        )
        .chain((0..=SIZES as usize).map(|old| (old, SIZES as usize)));
    for (old, new) in pairs {
        let proof = consistency_proof(&tree, old as u64, new as u64).unwrap();
        if old > 0 {
            assert_eq!(proof, naive_consistency(old, &leaves[..new], true));
        }
        verify_consistency(old as u64, &roots[old], new as u64, &roots[new], &proof).unwrap();
    }
}

#[test]
fn a_changed_inclusion_proof_does_not_hold() {
    let leaves = leaves(37);
    let tree = Tree::new(leaves.clone());
    let root = tree.root();
    for index in 0..37 {
        let leaf = leaves[index as usize];
        let proof = tree.inclusion_proof(index).unwrap();
        let holds = |leaf: &Digest, index, size, proof: &[Digest]| {
            verify_inclusion(leaf, index, size, proof, &root).is_ok()
        };
        assert!(holds(&leaf, index, 37, &proof));
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] = leaf_hash(b"other");
            assert!(!holds(&leaf, index, 37, &changed));
        }
        let longer: Vec<_> = proof.iter().copied().chain([root]).collect();
        assert!(!holds(&leaf, index, 37, &longer));
        assert!(!holds(&leaf, index, 37, &proof[1..]));
        assert!(!holds(&leaf, index, 37, &proof[..proof.len() - 1]));
        assert!(!holds(&leaf_hash(b"other"), index, 37, &proof));
        for other in (0..40).filter(|other| *other != index) {
            assert!(!holds(&leaf, other, 37, &proof));
        }
    }
    assert_eq!(
        verify_inclusion(&leaves[0], 37, 37, &[], &root),
        Err(InvalidProof::OutsideTree {
            asked: 37,
            size: 37
        })
    );
    assert!(tree.inclusion_proof(37).is_none());
}

#[test]
fn a_changed_consistency_proof_does_not_hold() {
    let leaves = leaves(37);
    let tree = Tree::new(leaves);
    let new_root = tree.root();
    for old in 1..37 {
        let old_root = root(&tree, old).unwrap();
        let proof = consistency_proof(&tree, old, 37).unwrap();
        let holds = |old, old_root: &Digest, proof: &[Digest]| {
            verify_consistency(old, old_root, 37, &new_root, proof).is_ok()
        };
        for at in 0..proof.len() {
            let mut changed = proof.clone();
            changed[at] = leaf_hash(b"other");
            assert!(!holds(old, &old_root, &changed));
        }
        let longer: Vec<_> = proof.iter().copied().chain([new_root]).collect();
        assert!(!holds(old, &old_root, &longer));
        assert!(!holds(old, &old_root, &proof[..proof.len() - 1]));
        assert!(!holds(old, &leaf_hash(b"other"), &proof));
        assert!(!holds(old, &old_root, &[]));
    }
    let other = leaf_hash(b"other");
    assert_eq!(
        verify_consistency(0, &other, 37, &new_root, &[]),
        Err(InvalidProof::OldRoot)
    );
    assert_eq!(
        verify_consistency(37, &other, 37, &new_root, &[]),
        Err(InvalidProof::Root)
    );
    assert_eq!(
        verify_consistency(38, &other, 37, &new_root, &[]),
        Err(InvalidProof::OutsideTree {
            asked: 38,
            size: 37
        })
    );
    assert!(consistency_proof(&tree, 38, 37).is_err());
}

#[test]
fn leaves_are_proven_together_in_every_selection_of_small_trees() {
    let leaves = leaves(11);
    let tree = Tree::new(leaves.clone());
    for size in 1..=11_u64 {
        let root = naive_root(&leaves[..size as usize]);
        for selection in 0..1_u32 << size {
            let indices: Vec<u64> = (0..size).filter(|at| selection >> at & 1 == 1).collect();
            let chosen: Vec<_> = indices
                .iter()
                .map(|at| (*at, leaves[*at as usize]))
                .collect();
            let proof = joint_proof(&tree, &indices, size).unwrap();
            verify_joint_inclusion(&chosen, size, &proof, &root).unwrap();
            if let [(index, _)] = chosen.as_slice() {
                let mut alone = inclusion_proof(&tree, *index, size).unwrap();
                let mut together = proof.clone();
                alone.sort_by_key(|hash| *hash.as_bytes());
                together.sort_by_key(|hash| *hash.as_bytes());
                assert_eq!(alone, together);
            }
        }
    }
}

#[test]
fn a_changed_joint_proof_does_not_hold() {
    let leaves = leaves(37);
    let tree = Tree::new(leaves.clone());
    let root = tree.root();
    let indices = [0, 3, 4, 5, 17, 36];
    let chosen: Vec<_> = indices
        .iter()
        .map(|at| (*at, leaves[*at as usize]))
        .collect();
    let proof = joint_proof(&tree, &indices, 37).unwrap();
    let holds = |chosen: &[(u64, Digest)], proof: &[Digest]| {
        verify_joint_inclusion(chosen, 37, proof, &root).is_ok()
    };
    assert!(holds(&chosen, &proof));
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed[at] = leaf_hash(b"other");
        assert!(!holds(&chosen, &changed));
    }
    for at in 0..chosen.len() {
        let mut changed = chosen.clone();
        changed[at].1 = leaf_hash(b"other");
        assert!(!holds(&changed, &proof));
        let mut fewer = chosen.clone();
        fewer.remove(at);
        assert!(!holds(&fewer, &proof));
    }
    let longer: Vec<_> = proof.iter().copied().chain([root]).collect();
    assert!(!holds(&chosen, &longer));
    assert!(!holds(&chosen, &proof[1..]));
    assert!(!holds(&chosen, &proof[..proof.len() - 1]));
}

#[test]
fn indices_of_a_joint_proof_ascend_within_the_tree() {
    let leaves = leaves(5);
    let tree = Tree::new(leaves.clone());
    for (indices, asked) in [
        (vec![2, 2], 2),
        (vec![3, 1], 1),
        (vec![1, 5], 5),
        (vec![u64::MAX], u64::MAX),
    ] {
        let chosen: Vec<_> = indices.iter().map(|at| (*at, leaves[0])).collect();
        let outside = InvalidProof::OutsideTree { asked, size: 5 };
        assert_eq!(
            verify_joint_inclusion(&chosen, 5, &[], &tree.root()),
            Err(outside)
        );
        let refused = joint_proof(&tree, &indices, 5).unwrap_err();
        assert_eq!(refused, ProofError::OutsideTree { asked, size: 5 });
    }
}
