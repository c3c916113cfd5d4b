//! A security server of the simulation: in this process, on a clock and a disk of the test's.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use durable::simulated::{Disk, Restart};
use examples::{Error, waiting::wait_for};
use security_server::{Clock, Machine, Settings, SystemClock, start};
use tokio::sync::{oneshot, watch};

/// The clock of the machine, and how far the test has moved it, in seconds.
#[derive(Default)]
pub struct MovedClock {
    moved: AtomicI64,
    furthest: AtomicI64,
    /// At which of its next readings it moves by itself, and how far.
    jump: Mutex<Option<(usize, i64)>>,
}

impl Clock for MovedClock {
    fn milliseconds(&self) -> i64 {
        let mut jump = self.jump.lock().unwrap_or_else(PoisonError::into_inner);
        *jump = match *jump {
            Some((0, seconds)) => {
                self.set(self.moved() + seconds);
                None
            }
            other => other.map(|(readings, seconds)| (readings - 1, seconds)),
        };
        SystemClock.milliseconds() + self.moved() * 1000
    }
}

impl MovedClock {
    pub fn moved(&self) -> i64 {
        self.moved.load(Ordering::SeqCst)
    }

    /// How far it ever was.
    pub fn furthest(&self) -> i64 {
        self.furthest.load(Ordering::SeqCst)
    }

    pub fn set(&self, moved: i64) {
        self.moved.store(moved, Ordering::SeqCst);
        self.furthest.fetch_max(moved, Ordering::SeqCst);
    }

    /// Moves it once it was read so often.
    pub fn jump(&self, jump: Option<(usize, i64)>) {
        *self.jump.lock().unwrap_or_else(PoisonError::into_inner) = jump;
    }
}

/// A server that may run.
pub struct ServerMachine {
    /// Its folder; what is on the simulated disk has the same paths.
    folder: PathBuf,
    pub clock: Arc<MovedClock>,
    pub disk: Disk,
    /// What the disk holds before the first list.
    prepared: Disk,
    running: Option<Running>,
    /// Why it ended by itself, when it did.
    ended: Option<String>,
}

struct Running {
    stop: watch::Sender<bool>,
    kill: Option<oneshot::Sender<()>>,
    thread: JoinHandle<Result<(), String>>,
}

/// Contents are kept for a day.
const TERM: &str = "[message_log]\nkeep_content_days = 1\n";
/// How long a server that was killed may take to be gone.
const RUNTIME_END: Duration = Duration::from_secs(10);

impl ServerMachine {
    /// Takes over a server whose process has stopped: its log and its kept configuration are copied
    /// to a disk in memory.
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let settings = folder.join("server.toml");
        let text = fs::read_to_string(&settings)?;
        // There is one place for metrics in a process.
        let text = text.replace("[monitoring]\nlisten = \"127.0.0.1:0\"\n", TERM);
        fs::write(&settings, text)?;
        let prepared = Disk::default();
        for part in ["log", "state"] {
            copy(&folder.join(part), &prepared)?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            clock: Arc::default(),
            disk: prepared.copy(),
            prepared,
            running: None,
            ended: None,
        })
    }

    /// Everything as it was in the beginning.
    pub async fn reset(&mut self) -> Result<(), Error> {
        self.kill(0).await?;
        self.disk = self.prepared.copy();
        self.ended = None;
        self.clock = Arc::default();
        self.delete_views();
        Ok(())
    }

    pub fn delete_views(&self) {
        if !self.runs() {
            // They may not be there.
            let _ = fs::remove_dir_all(self.folder.join("log/views"));
        }
    }

    pub fn runs(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| !running.thread.is_finished())
    }

    /// Starts the server, unless it runs, and waits until it serves or has ended.
    pub async fn start(&mut self) -> Result<(), Error> {
        if self.runs() {
            return Ok(());
        }
        self.join().await?;
        self.disk.restart(Restart::Process);
        let settings = Settings::load(&self.folder.join("server.toml"))?;
        let machine = Machine {
            clock: self.clock.clone(),
            files: Arc::new(self.disk.clone()),
        };
        let (stop, stopped) = watch::channel(false);
        let (kill, killed) = oneshot::channel();
        let thread = thread::spawn(move || run(settings, machine, stopped, killed));
        self.running = Some(Running {
            stop,
            kill: Some(kill),
            thread,
        });
        let socket = self.folder.join("admin.sock");
        wait_for("a server to serve or to end", || {
            let is_there = std::os::unix::net::UnixStream::connect(&socket).is_ok();
            std::future::ready((is_there || !self.runs()).then_some(()))
        })
        .await
    }

    /// Cuts the power: nothing is written from now on, and of what was not synced some is left, by
    /// the seed.
    pub async fn kill(&mut self, seed: u64) -> Result<(), Error> {
        let ran = self.runs();
        self.disk.stop();
        if let Some(kill) = self
            .running
            .as_mut()
            .and_then(|running| running.kill.take())
        {
            // It may have ended by itself.
            let _ = kill.send(());
        }
        self.join().await?;
        if ran {
            // It may have noticed that its disk was gone.
            self.ended = None;
        }
        self.disk.restart(Restart::Some(seed));
        Ok(())
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(&mut self) -> Result<(), Error> {
        if let Some(running) = &self.running {
            running.stop.send_replace(true);
        }
        self.join().await
    }

    async fn join(&mut self) -> Result<(), Error> {
        if let Some(running) = self.running.take() {
            let joined = tokio::task::spawn_blocking(|| running.thread.join());
            let ended = joined.await?.map_err(|_| "a server panicked")?;
            self.ended = ended.err();
        }
        Ok(())
    }

    /// Why the server ended by itself the last time it ended, if it did.
    pub fn why_ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Changes one bit of what was recorded; says where.
    pub fn tamper(&self, number: usize) -> Option<String> {
        let segments = self.folder.join("log/segments");
        let mut paths = self.disk.paths();
        paths.retain(|path| path.starts_with(&segments));
        let path = paths.get(number % paths.len().max(1))?;
        let mut bytes = self.disk.bytes(path)?;
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        let at = number % (end + 1);
        *bytes.get_mut(at)? ^= 1 << (number % 8);
        self.disk.put(path, bytes);
        Some(format!("byte {at} of {}, which has {end}", path.display()))
    }

    /// Writes the log into a folder, for whoever reads files of this machine.
    pub fn export(&self, folder: &Path) -> Result<(), Error> {
        let log = self.folder.join("log");
        for path in self.disk.paths() {
            let (Ok(name), Some(bytes)) = (path.strip_prefix(&log), self.disk.bytes(&path)) else {
                continue;
            };
            let path = folder.join(name);
            fs::create_dir_all(path.parent().ok_or("a file in no folder")?)?;
            fs::write(path, bytes)?;
        }
        Ok(())
    }
}

fn copy(from: &Path, disk: &Disk) -> Result<(), Error> {
    durable::make_folder(disk, from)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let is_folder = entry.file_type()?.is_dir();
        if is_folder && entry.file_name() != "views" {
            copy(&entry.path(), disk)?;
        } else if !is_folder {
            disk.put(entry.path(), fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// The whole life of a server, on threads of its own.
fn run(
    settings: Settings,
    machine: Machine,
    stopped: watch::Receiver<bool>,
    killed: oneshot::Receiver<()>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = start::run(settings, machine, stopped) => ended.map_err(|error| format!("{error}: {error:?}")),
            _ = killed => Ok(()),
        }
    });
    runtime.shutdown_timeout(RUNTIME_END);
    ended
}
