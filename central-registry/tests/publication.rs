//! What is published, seen by those who have only the anchor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use central_registry::{Error, Settings, clock::Clock, registry::Registry};
use prost::Message;
use support::{Place, eventually, member, verifier::Verifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use trust::{
    tile::BundledRecord,
    wire::configuration::{Entry, entry::Body},
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_verified_from_the_anchor_alone() {
    let place = Place::new().await;
    let registry = place.serve().await;
    let mut verifier = Verifier::new(&place.anchor());
    let first = verifier.refresh(&registry).await;
    assert_eq!(first.len(), 1, "the first officer");
    for number in 0..5 {
        place.add_member(&format!("G{number}")).await.unwrap();
        let key = member(&format!("G{number}"));
        verifier
            .refresh_until(&registry, |state| state.value(&key).is_some())
            .await;
    }
    let fold = verifier.fold(&registry).await;
    assert_eq!(fold.state().len(), 6);
    assert_eq!(registry.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_served_with_lifetimes_and_nothing_else_is() {
    let place = Place::new().await;
    let registry = place.serve().await;
    fs::write(place.directory().join("public/.head.new"), "unfinished").unwrap();
    for (path, immutable) in [
        ("/head", false),
        ("/checkpoint", false),
        ("/tile/0/000.p/2", true),
        ("/entries/000.p/2", true),
        ("/snapshot/2", true),
        ("/root/1", true),
    ] {
        let answer = registry.request("GET", path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        assert_eq!(
            answer.headers["cache-control"].contains("immutable"),
            immutable,
            "{path}"
        );
    }
    for path in [
        "/",
        "/tile",
        "/tile/0/000.p/3",
        "/../registry.toml",
        "/%2e%2e/registry.toml",
        "/..%2fhead-key.pem",
        "/.head.new",
        "/%2ehead.new",
    ] {
        let answer = registry.request("GET", path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.headers["cache-control"], "no-cache", "{path}");
    }
    assert_eq!(registry.request("HEAD", "/head").await.status, 200);
    assert_eq!(registry.request("POST", "/head").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_while_nothing_changes_and_restarts_publish_nothing_new() {
    let place = Place::new().await;
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let registry = place.serve().await;
        sizes.push(place.session().await.log_size());
        registry.kill().await;
    }
    assert_eq!(sizes, [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_is_renewed_before_it_expires() {
    let place = Place::new().await;
    let settings = Settings::load(&place.directory()).unwrap();
    let (directory, address_file) = (place.directory(), place.beside("address"));
    // A clock a thousand times as fast as the world's.
    let real = Clock::of_the_machine();
    let start = real.milliseconds();
    let fast = Clock::new(move || start + (real.milliseconds() - start) * 1000);
    let options = central_registry::serve::Options {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        address_file: Some(address_file),
    };
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        central_registry::serve::serve(&directory, options, fast, async {
            ended.await.ok();
        })
        .await
    });
    eventually("three renewals", || async {
        let session = central_registry::officer::Session::open(&place.socket())
            .await
            .ok()?;
        (session.log_size() >= 5).then_some(())
    })
    .await;
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();

    // Nobody else would serve this: to their clocks it was issued in the future.
    let bundles = settings.public.join("entries/000.p");
    let names = fs::read_dir(&bundles)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let newest = names
        .max_by_key(|name| name.to_str().unwrap().parse::<u64>().unwrap())
        .unwrap();
    let bundle = fs::read(bundles.join(newest)).unwrap().into();
    let entries = BundledRecord::decode_all(&bundle).unwrap().into_iter();
    let publications = entries.filter_map(|record| match Entry::decode(record.header) {
        Ok(Entry {
            body: Some(Body::Publication(publication)),
            ..
        }) => Some(publication),
        _ => None,
    });
    let publications: Vec<_> = publications.collect();
    assert!(publications.len() >= 4);
    for pair in publications.windows(2) {
        assert!(
            pair[0].issued_at + 200 <= pair[1].issued_at,
            "renewed too soon"
        );
        assert!(
            pair[1].issued_at < pair[0].expires_at,
            "the one before had expired"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_publishes_nothing_and_a_little_back_never_goes_back() {
    let place = Place::new().await;
    let settings = Settings::load(&place.directory()).unwrap();
    let now = Arc::new(AtomicI64::new(Clock::of_the_machine().milliseconds()));
    let read = Arc::clone(&now);
    let clock = Clock::new(move || read.load(Ordering::Acquire));
    let registry = Registry::open(&settings, clock).await.unwrap();
    assert_eq!(registry.publish().await.unwrap(), 2);
    now.fetch_sub(59_000, Ordering::AcqRel);
    assert_eq!(registry.publish().await.unwrap(), 3);
    now.fetch_sub(10_000, Ordering::AcqRel);
    assert!(matches!(
        registry.publish().await,
        Err(Error::ClockBehind(_))
    ));
    assert_eq!(registry.view().await.1, 3, "nothing was appended");
    drop(registry);

    let registry = place.serve().await;
    let mut verifier = Verifier::new(&place.anchor());
    verifier.refresh(&registry).await;
    verifier.fold(&registry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_newest_sixteen_publications_keep_files_of_their_own() {
    let place = Place::new().await;
    let settings = Settings::load(&place.directory()).unwrap();
    let registry = Registry::open(&settings, Clock::of_the_machine())
        .await
        .unwrap();
    for _ in 0..300 {
        registry.publish().await.unwrap();
    }
    drop(registry);
    let listed = |name: &str| {
        let mut names: Vec<u64> = fs::read_dir(settings.public.join(name))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .to_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(listed("snapshot"), (286..=301).collect::<Vec<_>>());
    assert_eq!(listed("tile/0/001.p"), (30..=45).collect::<Vec<_>>());
    assert_eq!(listed("entries/001.p"), (30..=45).collect::<Vec<_>>());
    assert_eq!(listed("tile/1/000.p"), [1], "still needed by the newest");
    assert!(listed("tile/0/000.p").is_empty());

    let registry = place.serve().await;
    let mut verifier = Verifier::new(&place.anchor());
    verifier.refresh(&registry).await;
    verifier.fold(&registry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_the_socket_are_for_their_owner_and_it_ends_when_told() {
    let place = Place::new().await;
    let registry = place.serve().await;
    for name in [
        "head-key.pem",
        "root-keys/root-1.pem",
        "officers/first.pem",
        "admin.sock",
    ] {
        let mode = fs::metadata(place.directory().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    second.fails(1, "another process");
    // Connections that say nothing do not keep it from ending.
    let _idle = UnixStream::connect(place.socket()).await.unwrap();
    let _silent = TcpStream::connect(&registry.address).await.unwrap();
    assert_eq!(registry.terminate().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let place = Place::new().await;
    place.set("connections = 256", "connections = 1");
    let registry = place.serve().await;
    let request = b"GET /head HTTP/1.1\r\nhost: registry\r\n\r\n";
    let mut first = TcpStream::connect(&registry.address).await.unwrap();
    first.write_all(request).await.unwrap();
    let mut byte = [0];
    assert_eq!(
        first.read(&mut byte).await.unwrap(),
        1,
        "answered, and kept open"
    );
    let mut second = TcpStream::connect(&registry.address).await.unwrap();
    second.write_all(request).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(waiting.is_err(), "the only place is taken");
    drop(first);
    assert_eq!(second.read(&mut byte).await.unwrap(), 1);
}
