//! The programs of the federation as child processes, ended by their own process id.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
};

use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::Error;

/// A program of this workspace, found beside the running one.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf, Error> {
    let mut directory = std::env::current_exe()?;
    directory.pop();
    if directory.ends_with("deps") {
        directory.pop();
    }
    let path = directory.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{} is missing; run cargo build --workspace --bins",
            path.display()
        )
        .into())
    }
}

/// The Python of the private virtual environment, which `./check` and `./demo` provide; it writes no files beside scripts.
///
/// # Errors
/// When it is not there.
pub fn python() -> Result<std::process::Command, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".private/venv/bin/python");
    if !python.is_file() {
        return Err("no private Python: run ./check, which provides it".into());
    }
    let mut command = std::process::Command::new(python);
    command.arg("-B");
    Ok(command)
}

/// Waits until this process is asked to stop: by Ctrl-C or SIGTERM.
pub async fn stopped() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// A running program, killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program; what it says is appended to `NAME.log` in `logs`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, logs: &Path) -> Result<Self, Error> {
        command.stdin(Stdio::null());
        Self::spawn(name, command, logs)
    }

    /// The same for a program that ends when its standard input does: with us, that is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with_input(name: &str, mut command: Command, logs: &Path) -> Result<Self, Error> {
        command.stdin(Stdio::piped());
        Self::spawn(name, command, logs)
    }

    fn spawn(name: &str, mut command: Command, logs: &Path) -> Result<Self, Error> {
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        let said = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdout(said.try_clone()?)
            .stderr(said)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it has ended; then with the last lines it said.
    pub fn ended(&mut self) -> Option<Error> {
        let status = self.child.try_wait().ok()??;
        Some(
            format!(
                "{} ended ({status}); it said:\n{}",
                self.name,
                self.last_words()
            )
            .into(),
        )
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// When the system does not let us.
    pub async fn kill(mut self) -> Result<(), Error> {
        self.child.kill().await?;
        Ok(())
    }

    /// Sends it a signal by its own process id.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn signal(&self, name: &str) -> Result<(), Error> {
        let id = self.child.id().ok_or("the program is not running")?;
        Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id.to_string())
            .status()
            .await?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it does not stop well.
    pub async fn stop(mut self) -> Result<ExitStatus, Error> {
        if self.child.id().is_some() {
            self.signal("TERM").await?;
        }
        let status = tokio::time::timeout(crate::waiting::PATIENCE, self.child.wait()).await??;
        if status.success() {
            Ok(status)
        } else {
            Err(format!("{} ended with {status}:\n{}", self.name, self.last_words()).into())
        }
    }

    fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines
            .iter()
            .skip(lines.len().saturating_sub(12))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, or does not end well: then with what it said.
pub async fn finish(mut command: Command) -> Result<Output, Error> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let told = String::from_utf8_lossy(&output.stdout);
    Err(format!(
        "{:?} ended with {}: {said}{told}",
        command.as_std(),
        output.status
    )
    .into())
}
