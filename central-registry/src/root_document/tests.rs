//! Tests: root documents signed by enough keys, and not.

use std::fs;

use durable::simulated::{Disk, every_fault};

use super::*;

fn keys(number: usize) -> Vec<LogKey> {
    (0..number).map(|_| LogKey::generate().unwrap()).collect()
}

fn first(keys: &[LogKey], threshold: u32, head: &LogKey) -> First {
    First {
        instance: "VN".parse().unwrap(),
        root_keys: keys.iter().map(LogKey::public_key).collect(),
        threshold,
        head_key: head.public_key(),
        sources: vec!["http://127.0.0.1:1".into()],
        expires_at: 100,
    }
}

fn encoded(document: &wire::RootDocument, keys: &[&LogKey]) -> Bytes {
    let mut signed = unsigned(document);
    sign(&mut signed, keys.iter().copied());
    signed.encode_to_vec().into()
}

#[test]
fn the_next_document_needs_keys_of_both() {
    let folder = tempfile::tempdir().unwrap();
    let (root, public) = (folder.path().join("root"), folder.path().join("public"));
    fs::create_dir(&root).unwrap();
    let (old, new, head, other) = (keys(2), keys(1), keys(1), keys(1));
    let document = first(&old, 2, &head[0]).document().unwrap();
    fs::write(root.join("1"), encoded(&document, &[&old[0], &old[1]])).unwrap();

    let newest = chain(&Posix, &root).unwrap().pop().unwrap();
    let next = Next {
        add_root_keys: vec![new[0].public_key()],
        remove_root_keys: vec![old[1].public_key()],
        add_head_keys: vec![other[0].public_key()],
        remove_head_keys: vec![head[0].public_key()],
        add_sources: vec!["https://mirror.example".into()],
        expires_at: 200,
        ..Next::default()
    };
    let document = next.document(&newest).unwrap();
    for too_few in [vec![&old[0], &old[1]], vec![&old[0], &new[0]], vec![]] {
        assert!(publish(&Posix, encoded(&document, &too_few), &root, &public).is_err());
    }
    assert!(!root.join("2").exists());
    let enough = encoded(&document, &[&old[0], &old[1], &new[0]]);
    let published = publish(&Posix, enough.clone(), &root, &public).unwrap();
    assert_eq!(
        published.document().head_keys,
        [other[0].public_key().to_vec()]
    );
    assert_eq!(fs::read(public.join("root/2")).unwrap(), enough);
    assert_eq!(chain(&Posix, &root).unwrap().len(), 2);
    assert!(
        publish(&Posix, enough, &root, &public).is_err(),
        "it does not follow itself"
    );
}

#[test]
fn a_published_root_document_is_there_whole_or_the_chain_ends_before_it() {
    let (root, public) = (Path::new("/registry/root"), Path::new("/registry/public"));
    let (old, head) = (keys(1), keys(1));
    let document = first(&old, 1, &head[0]).document().unwrap();
    let prepared = Disk::default();
    durable::make_folder(&prepared, root).unwrap();
    durable::make_folder(&prepared, public).unwrap();
    let signed = encoded(&document, &[&old[0]]);
    durable::replace(&prepared, &root.join("1"), &signed, 0o644).unwrap();
    let newest = chain(&prepared, root).unwrap().pop().unwrap();
    let next = Next {
        expires_at: 200,
        ..Next::default()
    };
    let next = encoded(&next.document(&newest).unwrap(), &[&old[0]]);
    let cells = every_fault(
        &prepared,
        |disk| publish(disk, next.clone(), root, public).is_ok(),
        |disk, published| {
            let beside = public.join("root/2");
            if *published {
                assert_eq!(durable::read(disk, &beside).unwrap(), next);
            }
            let documents = chain(disk, root).unwrap();
            complete(disk, &documents, root, public).unwrap();
            assert!(documents.len() == 2 || !*published);
            if documents.len() == 1 {
                publish(disk, next.clone(), root, public).unwrap();
            }
            assert_eq!(durable::read(disk, &beside).unwrap(), next);
            *published = true;
        },
    );
    println!("a root document: {cells}");
}

#[test]
fn impossible_documents_are_not_made() {
    let (root, head) = (keys(1), keys(1));
    assert!(first(&root, 2, &head[0]).document().is_err());
    assert!(first(&root, 0, &head[0]).document().is_err());
    for source in ["ftp://x", "http://", "http:///x", "http://a b", ""] {
        let wanted = First {
            sources: vec![source.into()],
            ..first(&root, 1, &head[0])
        };
        assert!(wanted.document().is_err(), "{source}");
    }
    let document = first(&root, 1, &head[0]).document().unwrap();
    let anchor = Anchor::from_root_document(encoded(&document, &[&root[0]])).unwrap();
    let without = Next {
        remove_head_keys: vec![head[0].public_key()],
        ..Next::default()
    };
    assert!(without.document(anchor.root()).is_err());
    let absent = Next {
        remove_sources: vec!["http://else".into()],
        ..Next::default()
    };
    assert!(absent.document(anchor.root()).is_err());
}
