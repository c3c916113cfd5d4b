//! The central registry of the federation and its officer.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use proto::administration::{
    ShowRegistryRequest,
    central_registry_administration_client::CentralRegistryAdministrationClient,
};
use tokio::process::Command;
use tonic::transport::Endpoint;

use super::{Authority, Plan, Server};
use crate::{
    Error,
    process::{Running, finish, program},
    waiting::{PATIENCE, wait_for, wait_long_for},
};

/// The longest answer to `show`, of a registry with many members.
const SHOWN: usize = 512 * 1024 * 1024;

/// The running registry.
pub struct Registry {
    directory: PathBuf,
    logs: PathBuf,
    process: Option<Running>,
    /// Base URL of the published files.
    pub url: String,
}

impl Registry {
    /// Founds the instance and starts its registry.
    ///
    /// # Errors
    /// When the program does not do what it should.
    pub async fn start(base: &Path, instance: &str) -> Result<Self, Error> {
        let directory = base.join("registry");
        let mut init = Command::new(program("central-registry")?);
        init.args(["init", "--instance", instance, "--out"])
            .arg(&directory);
        init.args(["--listen", "127.0.0.1:0"]);
        finish(init).await?;
        fs::copy(directory.join("anchor.json"), base.join("anchor.json"))?;
        let mut registry = Self {
            directory,
            logs: base.join("logs"),
            process: None,
            url: String::new(),
        };
        registry.set("interval_seconds", "0.2")?;
        registry.restart().await?;
        // From now on it listens where it listens now, also after a restart.
        let address = registry.url.trim_start_matches("http://").to_owned();
        registry.set("listen", &format!("{address:?}"))?;
        Ok(registry)
    }

    /// Starts a registry that stands in a folder, on an address of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn open(directory: &Path, logs: &Path) -> Result<Self, Error> {
        let mut registry = Self {
            directory: directory.to_owned(),
            logs: logs.to_owned(),
            process: None,
            url: String::new(),
        };
        registry.set("listen", "\"127.0.0.1:0\"")?;
        registry.restart().await?;
        Ok(registry)
    }

    /// The folder of the published files.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.directory.join("public")
    }

    /// Changes a setting for the next start.
    ///
    /// # Errors
    /// When there is no such setting.
    pub fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let file = self.directory.join("registry.toml");
        let text = fs::read_to_string(&file)?;
        let is_it = |line: &&str| line.split('=').next().map(str::trim) == Some(name);
        let old = text.lines().find(is_it);
        let old = old.ok_or_else(|| format!("the registry has no setting {name}"))?;
        fs::write(&file, text.replacen(old, &format!("{name} = {value}"), 1))?;
        Ok(())
    }

    /// Starts the registry again, where it was before.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.stop().await?;
        let (process, url) = Self::serve(&self.directory, &self.logs).await?;
        self.process = Some(process);
        self.url = url;
        Ok(())
    }

    async fn serve(directory: &Path, logs: &Path) -> Result<(Running, String), Error> {
        let address_file = directory.join("address");
        let _ = fs::remove_file(&address_file);
        let mut serve = Command::new(program("central-registry")?);
        serve.args(["serve", "--directory"]).arg(directory);
        serve.arg("--address-file").arg(&address_file);
        let mut process = Running::start("central-registry", serve, logs)?;
        let address = wait_for("the registry's address", || {
            let found = process.ended().map(Err).or_else(|| {
                fs::read_to_string(&address_file)
                    .ok()
                    .map(|text| Ok(text.trim().to_owned()))
            });
            std::future::ready(found)
        })
        .await??;
        Ok((process, format!("http://{address}")))
    }

    /// Kills the registry at once.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<(), Error> {
        let process = self.process.take();
        process.ok_or("the registry is not running")?.kill().await
    }

    /// Applies a file as the officer.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub async fn apply(&self, file: &Path) -> Result<(), Error> {
        self.officer(&["apply"], &[OsStr::new("-f"), file.as_os_str()])
            .await
    }

    /// Runs a command of the officer, such as `["certificate", "add"]` with a file.
    ///
    /// # Errors
    /// When the registry refuses it.
    pub async fn officer(&self, command: &[&str], arguments: &[&OsStr]) -> Result<(), Error> {
        let mut officer = self.officer_command(command)?;
        officer.args(arguments);
        finish(officer).await.map(drop)
    }

    /// The same, for whoever runs it beside something else; its arguments are still to come.
    ///
    /// # Errors
    /// When program or key are missing.
    pub fn officer_command(&self, command: &[&str]) -> Result<Command, Error> {
        let mut officer = Command::new(program("central-registry")?);
        officer
            .args(command)
            .arg("--directory")
            .arg(&self.directory);
        officer.arg("--officer").arg(self.officer_key()?);
        Ok(officer)
    }

    /// What `show --json` prints.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn show(&self) -> Result<serde_json::Value, Error> {
        let mut show = Command::new(program("central-registry")?);
        show.args(["show", "--json", "--directory"])
            .arg(&self.directory);
        Ok(serde_json::from_slice(&finish(show).await?.stdout)?)
    }

    fn officer_key(&self) -> Result<PathBuf, Error> {
        let entry = fs::read_dir(self.directory.join("officers"))?.next();
        Ok(entry.ok_or("the registry has no officer's key")??.path())
    }

    /// Waits until all accepted changes are published; gives the serial.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn serial_after_changes(&self) -> Result<u64, Error> {
        self.serial_within(PATIENCE).await
    }

    /// The same for many changes.
    ///
    /// # Errors
    /// As [`Self::serial_after_changes`].
    pub(super) async fn serial_within(&self, patience: Duration) -> Result<u64, Error> {
        let socket = self.directory.join("admin.sock");
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let mut officer = CentralRegistryAdministrationClient::new(channel.connect().await?)
            .max_decoding_message_size(SHOWN);
        let size = officer
            .show(ShowRegistryRequest {})
            .await?
            .into_inner()
            .log_size;
        let checkpoint = self.public().join("checkpoint");
        wait_long_for("the publication of the changes", patience, || {
            let text = fs::read_to_string(&checkpoint).unwrap_or_default();
            let serial = text
                .lines()
                .nth(1)
                .and_then(|line| line.parse::<u64>().ok());
            std::future::ready(serial.filter(|serial| *serial >= size))
        })
        .await
    }

    /// Asks the registry to stop and waits for it.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(process) => process.stop().await.map(drop),
            None => Ok(()),
        }
    }
}

/// Members with a subsystem and a service each, made up.
pub(super) fn append_others(text: &mut String, count: usize) {
    for number in 0..count {
        let member = format!("VN/GOV/X{number:06}");
        let _ = write!(
            text,
            "\n[[members]]\nid = {member:?}\nname = \"Ủy ban nhân dân xã số {number}\"\n\
             \n[[subsystems]]\nid = \"{member}/desk\"\n\
             \n[[services]]\nsubsystem = \"{member}/desk\"\ngrpc_service = \"commune.v1.Desk\"\n",
        );
    }
}

/// Everybody's registrations as the file that the officer applies.
pub(super) fn apply_file(
    plan: &Plan,
    servers: &BTreeMap<String, Server>,
    authority: &Authority,
) -> String {
    let mut text = String::new();
    let certificate = authority.certificate();
    let _ = write!(
        text,
        "[[authorities]]\nname = \"Lienthong test authority\"\nuse = [\"signing\", \
         \"authentication\"]\ncertificate = {certificate:?}\n",
    );
    for server in &plan.servers {
        let _ = write!(
            text,
            "\n[[members]]\nid = {:?}\nname = {:?}\n",
            server.member, server.name
        );
        for subsystem in &server.subsystems {
            let id = server.subsystem(subsystem);
            let _ = write!(text, "\n[[subsystems]]\nid = {id:?}\n");
        }
        for service in &server.services {
            let _ = write!(
                text,
                "\n[[services]]\nsubsystem = {:?}\ngrpc_service = {:?}\n",
                server.subsystem(&service.subsystem),
                service.grpc_service,
            );
            if let Some(descriptor) = &service.descriptor {
                let _ = writeln!(text, "descriptor = {:?}", descriptor.display().to_string());
            }
        }
        let Some(running) = servers.get(&server.code) else {
            continue;
        };
        let hosted: Vec<String> = server
            .subsystems
            .iter()
            .map(|name| server.subsystem(name))
            .collect();
        let _ = write!(
            text,
            "\n[[servers]]\nid = {:?}\naddress = {:?}\nauthentication_certificates = [{:?}]\n\
             log_keys = [{{ generation = 1, key = {:?} }}]\nsubsystems = {hosted:?}\n",
            server.id(),
            running.registered_address(),
            running.path("authentication.pem"),
            running.log_public_key(),
        );
    }
    text
}
