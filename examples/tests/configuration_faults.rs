//! Whatever stands where the configuration should be (an older one, a fork, that of somebody else,
//! half of it, nothing): a server goes on with the last good one, and takes the next good one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use examples::{
    bare_caller::BareCaller,
    echo::{self, CLIENT, Echo, PROVIDER, SAY},
    federation::{Federation, Registry},
    folders::copy,
    waiting::wait_for,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::Code;

/// A web server of whatever folder it is told, on the address of the registry.
struct Files {
    folder: Arc<Mutex<PathBuf>>,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Files {
    async fn serve(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let folder = Arc::new(Mutex::new(PathBuf::new()));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (Arc::clone(&folder), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&shown), Arc::clone(&counted)));
            }
        });
        Self {
            folder,
            asked,
            serving,
        }
    }

    /// Shows another folder, and waits until every server has looked into it.
    async fn show(&self, folder: &Path) {
        folder.clone_into(&mut self.folder.lock().unwrap());
        let before = self.asked.load(Ordering::SeqCst);
        // Two servers look every 0.2 seconds, for a few files each time.
        wait_for("the servers to look", || {
            let looked = self.asked.load(Ordering::SeqCst) >= before + 20;
            std::future::ready(looked.then_some(()))
        })
        .await
        .unwrap();
    }
}

/// One request on each connection.
async fn answer(stream: TcpStream, folder: Arc<Mutex<PathBuf>>, asked: Arc<AtomicUsize>) {
    let mut lines = BufReader::new(stream).lines();
    let mut path = None;
    while let Ok(Some(line)) = lines.next_line().await
        && !line.is_empty()
    {
        if let Some(rest) = line.strip_prefix("GET /") {
            path = rest.split(' ').next().map(ToOwned::to_owned);
        }
    }
    let Some(path) = path else { return };
    let file = folder.lock().unwrap().join(path);
    let (status, body) = match fs::read(file) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    asked.fetch_add(1, Ordering::SeqCst);
    // Whoever has read enough is gone.
    let _ = lines
        .into_inner()
        .write_all(&[head.as_bytes(), &body].concat())
        .await;
}

/// Changes every file of a folder.
fn change(folder: &Path, how: &impl Fn(Vec<u8>) -> Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            change(&path, how);
        } else {
            let bytes = how(fs::read(&path).unwrap());
            fs::write(&path, bytes).unwrap();
        }
    }
}

async fn add(registry: &Registry, member: &str) -> u64 {
    let arguments = [member, "--name", "A new one"].map(OsStr::new);
    let added = registry.officer(&["member", "add"], &arguments).await;
    added.unwrap();
    registry.serial_after_changes().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_with_the_last_good_configuration_whatever_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let echo = Echo::start().await.unwrap();
    let plan = echo::plan(&echo.address);
    let mut federation = Federation::start(base, &plan).await.unwrap();
    let address = federation
        .registry
        .url
        .trim_start_matches("http://")
        .to_owned();

    // As it was, and the registry itself, which will go another way.
    federation.registry.stop().await.unwrap();
    let (older, fork) = (base.join("older"), base.join("fork"));
    copy(&federation.registry.public(), &older).unwrap();
    copy(&base.join("registry"), &fork).unwrap();
    federation.registry.restart().await.unwrap();
    let serial = add(&federation.registry, "VN/GOV/NEW").await;
    for server in federation.servers() {
        server.wait_for_serial(serial).await.unwrap();
    }
    federation.registry.stop().await.unwrap();

    // The same head key, and a history that is not the one that the servers have seen.
    let mut forked = Registry::open(&fork, &base.join("fork-logs"))
        .await
        .unwrap();
    let mut size = 0;
    for number in 0.. {
        size = add(&forked, &format!("VN/GOV/OTHER-{number}"))
            .await
            .max(size);
        if size > serial + 2 {
            break;
        }
    }
    forked.stop().await.unwrap();
    // Another anchor.
    let foreign = base.join("foreign");
    let mut other = Registry::start(&foreign, "VN").await.unwrap();
    for number in 0..=serial {
        if add(&other, &format!("VN/GOV/OTHER-{number}")).await > serial {
            break;
        }
    }
    other.stop().await.unwrap();
    let (halved, flipped) = (base.join("halved"), base.join("flipped"));
    copy(&forked.public(), &halved).unwrap();
    change(&halved, &|bytes| bytes[..bytes.len() / 2].to_vec());
    copy(&forked.public(), &flipped).unwrap();
    change(&flipped, &|mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
    let endless = base.join("endless");
    copy(&forked.public(), &endless).unwrap();
    change(&endless, &|_| vec![b'7'; 32 * 1024 * 1024]);

    let files = Files::serve(&address).await;
    let consumer = federation.server("consumer").unwrap();
    let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
    let caller = caller.await.unwrap();
    let shown = [
        &older,
        &forked.public(),
        &other.public(),
        &halved,
        &flipped,
        &endless,
        &base.join("nothing"),
    ];
    for folder in shown {
        files.show(folder).await;
        for server in federation.servers() {
            let shown = server.show().await.unwrap();
            assert_eq!(
                shown["configuration_serial"],
                serial,
                "{}",
                folder.display()
            );
            assert_eq!(shown["serving"], true, "{}", folder.display());
        }
        let metadata = [("x-road-service", PROVIDER)];
        let answer = caller.call(SAY, &metadata, b"\x0a\x02hi").await.unwrap();
        assert_eq!(
            answer.status.code(),
            Code::Ok,
            "{}: {answer:?}",
            folder.display()
        );
    }
    // Each is said, once, with its reason.
    let said = fs::read_to_string(base.join("logs/security-server-consumer.log")).unwrap();
    let reasons: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("no newer configuration"))
        .collect();
    assert!(reasons.len() >= 4, "{reasons:#?}");

    files.serving.abort();
    let _ = files.serving.await;
    federation.registry.restart().await.unwrap();
    let next = add(&federation.registry, "VN/GOV/NEWER").await;
    for server in federation.servers() {
        server.wait_for_serial(next).await.unwrap();
    }
    federation.audit().await.unwrap();
    federation.stop().await.unwrap();
}
