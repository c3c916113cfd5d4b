//! Tests: signed notes and checkpoints, made and broken.

use super::*;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn origin() -> Origin {
    "VN/GOV/G01/server-1/1".parse().unwrap()
}

fn signed() -> SignedCheckpoint {
    Checkpoint {
        origin: origin(),
        size: 20_852_163,
        root: Digest::of(b"root"),
    }
    .sign(&key())
}

#[test]
fn a_checkpoint_reads_back_as_it_was_signed() {
    let made = signed();
    let read = SignedCheckpoint::parse(made.as_bytes()).unwrap();
    assert_eq!(read, made);
    let public = LogKey::of(&key()).unwrap();
    let checkpoint = read.verify(&origin(), &public).unwrap();
    assert_eq!(checkpoint.size, 20_852_163);
    assert_eq!(checkpoint.root, Digest::of(b"root"));
}

/// The example of the reference implementation (golang.org/x/mod/sumdb/note).
#[test]
fn the_published_example_of_signed_note_verifies() {
    let key = BASE64_STANDARD
        .decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
        .unwrap();
    let key = LogKey::from_slice(&key[1..]).unwrap();
    assert_eq!(
        key.verifier_key("PeterNeumann"),
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    );
    let text = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    let line = SignatureLine::parse(
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot\
         pRZb6KE6RyyBwJnAM=",
    )
    .unwrap();
    verify_note(
        text.as_bytes(),
        std::slice::from_ref(&line),
        "PeterNeumann",
        &key,
    )
    .unwrap();
    let changed = text.replace("answer", "Answer");
    assert_eq!(
        verify_note(changed.as_bytes(), &[line], "PeterNeumann", &key),
        Err(KnownKey::Yes)
    );
}

#[test]
fn cosignatures_are_kept_byte_for_byte_and_do_not_disturb() {
    let cosignature = SignatureLine {
        name: "witness.example/w1".into(),
        key_id: [1, 2, 3, 4],
        signature: Bytes::from_static(&[9; 72]),
    };
    let note = [
        signed().as_bytes().as_ref(),
        cosignature.to_string().as_bytes(),
    ]
    .concat();
    let read = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(read.as_bytes().as_ref(), note);
    assert_eq!(read.signatures()[1], cosignature);
    read.verify(&origin(), &LogKey::of(&key()).unwrap())
        .unwrap();
}

#[test]
fn another_log_or_key_is_refused_by_name() {
    let public = LogKey::of(&key()).unwrap();
    let other: Origin = "VN/GOV/G01/server-1/2".parse().unwrap();
    assert!(matches!(
        signed().verify(&other, &public),
        Err(InvalidCheckpoint::Origin { .. })
    ));
    let stranger = LogKey::from_slice(&[9; 32]).unwrap();
    assert!(matches!(
        signed().verify(&origin(), &stranger),
        Err(InvalidCheckpoint::NotSigned { .. })
    ));
}

#[test]
fn every_flipped_bit_is_refused() {
    let public = LogKey::of(&key()).unwrap();
    let note = signed().as_bytes().to_vec();
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone();
            changed[at] ^= 1 << bit;
            let holds = SignedCheckpoint::parse(&changed)
                .is_ok_and(|read| read.verify(&origin(), &public).is_ok());
            assert!(!holds, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn only_one_form_is_read() {
    let note = String::from_utf8(signed().as_bytes().to_vec()).unwrap();
    assert!(SignedCheckpoint::parse(note.as_bytes()).is_ok());
    let many = note.clone()
        + &note
            .lines()
            .last()
            .map(|line| format!("{line}\n"))
            .unwrap()
            .repeat(64);
    let long = note.clone() + &"\u{2014} w AAAAAAAA\n".repeat(6000);
    for broken in [
        note.replace("20852163", "020852163"),
        note.replace("20852163", "+20852163"),
        note.replace("20852163", "18446744073709551616"),
        note.replace("20852163\n", "20852163\r\n"),
        note.replace("\n\n", "\nextension\n\n"),
        note.replace("\n\n", "\n"),
        note.replace("\n\n", "\n\n\n"),
        note.replace('\u{2014}', "-"),
        note.trim_end().to_owned(),
        note.clone() + "\n",
        note.clone() + "— a b\n",
        note.clone() + "— a+b AAAAAAAA\n",
        note.split_inclusive("\n\n").next().unwrap().to_owned(),
        many,
        long,
    ] {
        assert!(
            SignedCheckpoint::parse(broken.as_bytes()).is_err(),
            "{broken:.200}"
        );
    }
}

#[test]
fn origins_name_a_server_and_its_generation() {
    let server: ServerId = "VN/GOV/G01/server-1".parse().unwrap();
    assert_eq!(Origin::of_server(&server, 1), origin());
    let instance: InstanceId = "VN".parse().unwrap();
    assert_eq!(Origin::of_registry(&instance).as_str(), "VN/registry");
    for text in ["", "a b", "a+b", "a\nb", "é", &"a".repeat(301)] {
        assert!(text.parse::<Origin>().is_err(), "{text}");
    }
}
