//! What the tests share: a registry in a folder, its program, and a verifier that has the anchor.

#![allow(dead_code, reason = "each test program uses a part of what is shared")]

pub mod verifier;

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use central_registry::{
    clock::Clock,
    initialise::NewRegistry,
    officer::{OfficerKey, Plan, Session},
};
use certs::LogKey;
use prost::Message;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};
use trust::{
    configuration::{State, StateKey},
    wire::configuration::Member,
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_central-registry");
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
pub async fn eventually<T, Looking: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> Looking,
) -> T {
    let looking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(DEADLINE, looking).await;
    found.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// A registry that was made, in a folder of its own.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// With publications as fast as they can be.
    pub async fn new() -> Self {
        let place = Self {
            folder: TempDir::new().unwrap(),
        };
        let new = NewRegistry {
            instance: "VN".parse().unwrap(),
            out: place.directory(),
            sources: vec![],
            threshold: 1,
            root_keys: 1,
            valid_days: 10,
            officer: "first".into(),
            listen: None,
        };
        new.make(Clock::of_the_machine()).await.unwrap();
        place.set("interval_seconds = 10", "interval_seconds = 0.05");
        place
    }

    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("registry")
    }

    /// A file beside the registry's directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.beside(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Replaces a line of the settings.
    pub fn set(&self, line: &str, instead: &str) {
        let path = self.directory().join("registry.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(line), "{line}");
        fs::write(&path, text.replace(line, instead)).unwrap();
    }

    pub fn anchor(&self) -> String {
        fs::read_to_string(self.directory().join("anchor.json")).unwrap()
    }

    pub fn officer_file(&self) -> PathBuf {
        self.directory().join("officers/first.pem")
    }

    pub fn officer_key(&self) -> LogKey {
        LogKey::load(&self.officer_file()).unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.directory().join("admin.sock")
    }

    /// Starts the program and waits until it is ready.
    pub async fn serve(&self) -> Running {
        let address_file = self.beside("address");
        fs::remove_file(&address_file).ok();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--directory"])
            .arg(self.directory())
            .arg("--address-file")
            .arg(&address_file)
            .stderr(fs::File::create(self.beside("serve.log")).unwrap())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = eventually("the start of the registry", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("it ended with {status}: {}", self.log_lines());
            }
            let read = fs::read_to_string(&address_file).ok();
            async move { read }
        })
        .await;
        Running {
            child,
            address: address.trim().to_owned(),
        }
    }

    pub fn log_lines(&self) -> String {
        fs::read_to_string(self.beside("serve.log")).unwrap_or_default()
    }

    pub async fn session(&self) -> Session {
        Session::open(&self.socket()).await.unwrap()
    }

    /// Registers a member through the socket; gives the index of the entry.
    pub async fn add_member(&self, code: &str) -> Result<u64, central_registry::Error> {
        let session = Session::open(&self.socket()).await?;
        let plan = adding_member(session.state(), code);
        let officer = OfficerKey::of(self.officer_key(), session.state()).unwrap();
        Ok(session.submit(&plan, &officer, "").await?[0])
    }

    /// Runs a command of the program on this registry; the directory and, if the command decides
    /// something, the officer are added.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        run(arguments, Some(&self.directory())).await
    }

    /// The same, decided by the first officer.
    pub async fn decide(&self, arguments: &[&str]) -> Outcome {
        let officer = self.officer_file();
        let more = ["--officer", officer.to_str().unwrap()];
        self.run(&[arguments, &more].concat()).await
    }
}

/// Runs the program.
pub async fn run(arguments: &[&str], directory: Option<&Path>) -> Outcome {
    let mut command = Command::new(PROGRAM);
    command.args(arguments);
    if let Some(directory) = directory {
        command.arg("--directory").arg(directory);
    }
    let output = command.output().await.unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub error: String,
}

impl Outcome {
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    #[track_caller]
    pub fn fails(self, code: i32, named: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(
            self.error.contains(named),
            "\"{named}\" is missing: {self:?}"
        );
    }
}

/// The program, serving.
pub struct Running {
    child: Child,
    pub address: String,
}

impl Running {
    /// `kill -9`
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; gives the exit code.
    pub async fn terminate(mut self) -> i32 {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        self.child.wait().await.unwrap().code().unwrap()
    }

    /// Fetches a published file; none if it is not there.
    pub async fn get(&self, path: &str) -> Option<Vec<u8>> {
        let answer = self.request("GET", path).await;
        match answer.status {
            200 => Some(answer.body),
            404 => None,
            status => panic!("{path}: {status}"),
        }
    }

    /// One HTTP request on a connection of its own.
    pub async fn request(&self, method: &str, path: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        Answer::parse(&bytes)
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let (first, lines) = head.split_once("\r\n").unwrap();
        let headers: BTreeMap<String, String> = lines
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let body = bytes[end + 4..].to_vec();
        if let Some(length) = headers.get("content-length").filter(|_| !body.is_empty()) {
            assert_eq!(length.parse(), Ok(body.len()));
        }
        Self {
            status: first[9..12].parse().unwrap(),
            headers,
            body,
        }
    }
}

/// The key of a member of class GOV.
pub fn member(code: &str) -> StateKey {
    StateKey::Member(format!("VN/GOV/{code}").parse().unwrap())
}

pub fn adding_member(state: &State, code: &str) -> Plan {
    let value = Member {
        name: code.to_owned(),
    }
    .encode_to_vec();
    Plan::of_changes(state, [(member(code), Some(value.into()))], BTreeMap::new())
}
