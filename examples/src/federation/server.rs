//! One security server of the federation: its keys, its files, its process.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use certs::{LogKey, Subject};
use serde::Deserialize;
use tokio::process::Command;

use super::{
    Authority, Registry, ServerPlan,
    endpoints::{PlaintextEndpoint, ServerEndpoint},
};
use crate::{
    Error,
    process::{Running, finish, program},
    waiting::{PATIENCE, wait_for, wait_long_for},
};

/// A security server, running or killed.
pub struct Server {
    directory: PathBuf,
    logs: PathBuf,
    code: String,
    process: Option<Running>,
    endpoint: ServerEndpoint,
    reached_at: Option<String>,
}

/// `addresses.json` as a security server writes it.
#[derive(Deserialize)]
struct Addresses {
    exchange: String,
    client_tls: Option<String>,
    client_plaintext: Vec<PlaintextEndpoint>,
    admin_socket: PathBuf,
}

impl Server {
    /// Makes keys and certificates, writes the settings, creates the log and starts the server.
    ///
    /// # Errors
    /// When a program does not do what it should.
    pub(super) async fn create(
        base: &Path,
        plan: &ServerPlan,
        authority: &Authority,
        registry: &Registry,
    ) -> Result<Self, Error> {
        let directory = base.join("servers").join(&plan.code);
        fs::create_dir_all(&directory)?;
        issue_certificates(base, &directory, plan, authority)?;
        let settings = settings(plan, &registry.url, ["127.0.0.1:0"; 2], &[]);
        fs::write(directory.join("server.toml"), settings)?;
        fs::copy(base.join("anchor.json"), directory.join("anchor.json"))?;
        let mut init = Command::new(program("security-server")?);
        init.arg("init").arg(directory.join("server.toml"));
        finish(init).await?;
        let endpoint = ServerEndpoint {
            id: plan.id(),
            member: plan.member.clone(),
            client_tls: None,
            client_plaintext: Vec::new(),
            exchange: String::new(),
            admin_socket: PathBuf::new(),
            log: directory.join("log"),
        };
        let logs = base.join("logs");
        let code = plan.code.clone();
        let mut server = Self {
            directory,
            logs,
            code,
            process: None,
            endpoint,
            reached_at: None,
        };
        server.start().await?;
        server.keep_addresses(plan, &registry.url)?;
        Ok(server)
    }

    /// From now on the server listens where it listens now, also after a restart.
    fn keep_addresses(&self, plan: &ServerPlan, registry: &str) -> Result<(), Error> {
        let endpoint = &self.endpoint;
        let tls = endpoint.client_tls.as_deref().unwrap_or("127.0.0.1:0");
        let plaintext: Vec<&str> = endpoint
            .client_plaintext
            .iter()
            .map(|one| one.address.as_str())
            .collect();
        let settings = settings(plan, registry, [&endpoint.exchange, tls], &plaintext);
        fs::write(self.path("server.toml"), settings)?;
        Ok(())
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// When it ends instead; with what it said.
    pub async fn start(&mut self) -> Result<(), Error> {
        self.start_within(PATIENCE).await
    }

    /// The same for a server that has much to read first.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_within(&mut self, patience: Duration) -> Result<(), Error> {
        let file = self.path("state/addresses.json");
        let _ = fs::remove_file(&file);
        let mut run = Command::new(program("security-server")?);
        run.arg("run").arg(self.path("server.toml"));
        let name = format!("security-server-{}", self.code);
        let mut process = Running::start(&name, run, &self.logs)?;
        let addresses: Addresses = wait_long_for("a security server's addresses", patience, || {
            let found = process.ended().map(Err).or_else(|| {
                let text = fs::read_to_string(&file).ok()?;
                Some(serde_json::from_str(&text).map_err(Error::from))
            });
            std::future::ready(found)
        })
        .await??;
        self.process = Some(process);
        self.endpoint.exchange = addresses.exchange;
        self.endpoint.client_tls = addresses.client_tls;
        self.endpoint.client_plaintext = addresses.client_plaintext;
        self.endpoint.admin_socket = addresses.admin_socket;
        Ok(())
    }

    /// Kills the server at once.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.process
            .take()
            .ok_or("the server is not running")?
            .kill()
            .await
    }

    /// Asks the server to stop and waits for it.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(process) => process.stop().await.map(drop),
            None => Ok(()),
        }
    }

    /// Has the server read its TLS certificates again (SIGHUP) and waits until it has.
    ///
    /// # Errors
    /// When it is not running, or does not take them.
    pub async fn reload_certificates(&self) -> Result<(), Error> {
        let what = "certificates read again";
        let before = self.times_said(what);
        self.process
            .as_ref()
            .ok_or("the server is not running")?
            .signal("HUP")
            .await?;
        wait_for("certificates to be read again", || {
            std::future::ready((self.times_said(what) > before).then_some(()))
        })
        .await
    }

    /// How often the server has said something since it was first started.
    #[must_use]
    pub fn times_said(&self, what: &str) -> usize {
        let log = self.logs.join(format!("security-server-{}.log", self.code));
        let said = fs::read_to_string(log).unwrap_or_default();
        said.matches(what).count()
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Running::id)
    }

    /// Where it listens.
    #[must_use]
    pub const fn endpoint(&self) -> &ServerEndpoint {
        &self.endpoint
    }

    /// Lets other servers reach it at another address than its own, from the next registration on.
    pub fn be_reached_at(&mut self, address: &str) {
        self.reached_at = Some(address.to_owned());
    }

    /// Where other servers reach it.
    pub(super) fn registered_address(&self) -> &str {
        let own = &self.endpoint.exchange;
        self.reached_at.as_ref().unwrap_or(own)
    }

    /// The plaintext listener of a subsystem.
    ///
    /// # Errors
    /// When there is none.
    pub fn plaintext(&self, subsystem: &str) -> Result<&str, Error> {
        let found = self
            .endpoint
            .client_plaintext
            .iter()
            .find(|one| one.subsystem == subsystem);
        let found = found.ok_or_else(|| format!("no listener for {subsystem}"))?;
        Ok(&found.address)
    }

    /// A file of the server.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The public key of its log, in hexadecimal.
    #[must_use]
    pub fn log_public_key(&self) -> String {
        let key = LogKey::load(&self.path("log-key.pem"));
        key.map(|key| hex::encode(key.public_key()))
            .unwrap_or_default()
    }

    /// Brings the local state to what the plan says.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn apply(&self, plan: &ServerPlan) -> Result<(), Error> {
        let file = self.path("state.toml");
        fs::write(&file, state_file(&self.directory, plan))?;
        self.apply_file(&file).await.map(drop)
    }

    /// Brings the local state to what a file says; gives the difference that was printed.
    ///
    /// # Errors
    /// When the server refuses it.
    pub async fn apply_file(&self, file: &Path) -> Result<String, Error> {
        self.operate("apply", &["-f", &file.display().to_string()])
            .await
    }

    /// Gives all services of this server another adapter; gives the difference that was printed.
    ///
    /// # Errors
    /// When the server refuses the address.
    pub async fn host(&self, adapter: &str) -> Result<String, Error> {
        let state = fs::read_to_string(self.path("state.toml"))?;
        let lines = state.lines().filter_map(|line| match line {
            line if line.starts_with("adapter = ") => Some(format!("adapter = {adapter:?}")),
            line if line.starts_with("plaintext_loopback") => None,
            line => Some(line.to_owned()),
        });
        let file = self.path("hosting.toml");
        fs::write(&file, lines.collect::<Vec<_>>().join("\n"))?;
        self.apply_file(&file).await
    }

    /// What `show --json` prints.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn show(&self) -> Result<serde_json::Value, Error> {
        Ok(serde_json::from_str(
            &self.operate("show", &["--json"]).await?,
        )?)
    }

    /// Runs a command of the operator on this server's settings; gives what it printed.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    pub async fn operate(&self, command: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut operator = Command::new(program("security-server")?);
        operator.arg(command).arg(self.path("server.toml"));
        operator.args(arguments);
        let output = finish(operator).await?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the server has a configuration at least as new.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_for_serial(&self, serial: u64) -> Result<(), Error> {
        self.follows_within(PATIENCE, serial).await
    }

    /// The same for a large configuration.
    ///
    /// # Errors
    /// As [`Self::wait_for_serial`].
    pub(super) async fn follows_within(
        &self,
        patience: Duration,
        serial: u64,
    ) -> Result<(), Error> {
        let what = "the configuration to reach a security server";
        wait_long_for(what, patience, || async {
            let shown = self.show().await.ok()?;
            (shown["configuration_serial"].as_u64()? >= serial).then_some(())
        })
        .await
    }
}

fn issue_certificates(
    base: &Path,
    directory: &Path,
    plan: &ServerPlan,
    authority: &Authority,
) -> Result<(), Error> {
    let organization = Some(plan.name.clone());
    let subjects = [
        (
            "authentication",
            Subject::Authentication {
                server: plan.id().parse()?,
                organization: organization.clone(),
            },
        ),
        (
            "signing",
            Subject::Signing {
                member: plan.member.parse()?,
                organization,
            },
        ),
        (
            "listener",
            Subject::Listener {
                name: plan.code.clone(),
                names: vec!["127.0.0.1".to_owned()],
            },
        ),
        (
            "adapters",
            Subject::Client {
                name: format!("{} towards adapters", plan.code),
            },
        ),
    ];
    fs::copy(authority.certificate(), directory.join("ca.pem"))?;
    for (name, subject) in subjects {
        let certificate = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}-key.pem"));
        authority.issue(&subject, &certificate, &key)?;
    }
    LogKey::generate()?.write(&directory.join("log-key.pem"))?;
    for client in &plan.clients {
        let folder = base.join("clients").join(&client.name);
        fs::create_dir_all(&folder)?;
        let subject = Subject::Client {
            name: client.name.clone(),
        };
        authority.issue(
            &subject,
            &folder.join("client.pem"),
            &folder.join("client.key"),
        )?;
    }
    Ok(())
}

fn settings(
    plan: &ServerPlan,
    registry: &str,
    [exchange, tls]: [&str; 2],
    plaintext: &[&str],
) -> String {
    let mut text = format!(
        r#"server = "{id}"
anchor = "anchor.json"
log = "log"
directory = "state"
admin_socket = "admin.sock"

[log_key]
key = "log-key.pem"
generation = 1
interval = 0.5

[exchange]
listen = "{exchange}"
certificate = "authentication.pem"
key = "authentication-key.pem"

[clients.tls]
listen = "{tls}"
certificate = "listener.pem"
key = "listener-key.pem"

[adapters]
authorities = "ca.pem"
certificate = "adapters.pem"
key = "adapters-key.pem"

[[signing]]
member = "{member}"
certificate = "signing.pem"
key = "signing-key.pem"

[configuration]
sources = ["{registry}"]
interval = 0.2

[peer_logs]
interval = 0.2

[monitoring]
listen = "127.0.0.1:0"

[limits]
stop_grace_seconds = 1
"#,
        id = plan.id(),
        member = plan.member,
    );
    for (position, client) in plan.clients.iter().enumerate() {
        let listen = plaintext.get(position).copied().unwrap_or("127.0.0.1:0");
        let subsystem = plan.subsystem(&client.subsystem);
        let _ = write!(
            text,
            "\n[[clients.plaintext]]\nlisten = \"{listen}\"\nsubsystem = \"{subsystem}\"\n"
        );
    }
    text
}

fn state_file(directory: &Path, plan: &ServerPlan) -> String {
    let mut text = String::new();
    for subsystem in &plan.subsystems {
        let _ = write!(
            text,
            "[[subsystems]]\nid = {:?}\n\n",
            plan.subsystem(subsystem)
        );
    }
    for service in &plan.services {
        let _ = write!(
            text,
            "[[services]]\nsubsystem = {:?}\ngrpc_service = {:?}\nadapter = {:?}\n\
             plaintext_loopback = {}\n\n",
            plan.subsystem(&service.subsystem),
            service.grpc_service,
            service.adapter,
            service.adapter.starts_with("http://"),
        );
    }
    let clients = directory.join("../../clients");
    for client in &plan.clients {
        let _ = write!(
            text,
            "[[client_certificates]]\nsubsystem = {:?}\ncertificate = {:?}\n\n",
            plan.subsystem(&client.subsystem),
            clients.join(&client.name).join("client.pem"),
        );
    }
    for right in &plan.rights {
        let _ = write!(
            text,
            "[[access_rights]]\nid = {:?}\nclient = {:?}\nservice = {:?}\ngrpc_service = {:?}\n\
             methods = {:?}\npurposes = {:?}\n\n",
            right.id,
            right.client,
            plan.subsystem(&right.subsystem),
            right.grpc_service,
            right.methods,
            right.purposes,
        );
    }
    text
}
