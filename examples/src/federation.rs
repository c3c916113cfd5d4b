//! A federation on this machine: one registry and its security servers, as real processes.

mod authority;
mod endpoints;
mod plan;
mod registry;
mod server;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

pub use authority::Authority;
pub use endpoints::{Endpoints, ServerEndpoint, ServiceEndpoint};
pub use plan::{ClientPlan, Plan, RightPlan, ServerPlan, ServicePlan};
pub use registry::Registry;
pub use server::Server;

use tokio::process::Command;

use crate::{
    Error,
    process::{finish, program},
    waiting::PATIENCE,
};

/// The running federation. Its processes end when it is dropped.
pub struct Federation {
    /// Where everything is kept.
    pub directory: PathBuf,
    /// The test authority.
    pub authority: Authority,
    /// The central registry.
    pub registry: Registry,
    servers: BTreeMap<String, Server>,
}

impl Federation {
    /// Makes keys, starts every process and waits until the servers have a configuration in which
    /// all of them are registered.
    ///
    /// # Errors
    /// When a program does not do what it should; with what it said.
    pub async fn start(directory: &Path, plan: &Plan) -> Result<Self, Error> {
        fs::create_dir_all(directory)?;
        let directory = std::path::absolute(directory)?;
        let authority = Authority::create(&directory.join("trust"))?;
        let registry = Registry::start(&directory, &plan.instance).await?;
        let mut servers = BTreeMap::new();
        for server in &plan.servers {
            let started = Server::create(&directory, server, &authority, &registry).await?;
            servers.insert(server.code.clone(), started);
        }
        let federation = Self {
            directory,
            authority,
            registry,
            servers,
        };
        federation.register(plan).await?;
        for server in &plan.servers {
            federation.server(&server.code)?.apply(server).await?;
        }
        Ok(federation)
    }

    /// Registers everybody centrally and waits until every server knows it.
    ///
    /// # Errors
    /// When the registry refuses, or a server does not follow.
    pub async fn register(&self, plan: &Plan) -> Result<(), Error> {
        self.register_with(plan, 0, PATIENCE).await
    }

    /// The same with so many other members that have no server, which takes longer.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub async fn register_with(
        &self,
        plan: &Plan,
        others: usize,
        patience: Duration,
    ) -> Result<(), Error> {
        let file = self.directory.join("registry.apply.toml");
        let mut text = registry::apply_file(plan, &self.servers, &self.authority);
        registry::append_others(&mut text, others);
        fs::write(&file, text)?;
        self.registry.apply(&file).await?;
        let serial = self.registry.serial_within(patience).await?;
        for server in self.servers.values() {
            server.follows_within(patience, serial).await?;
        }
        Ok(())
    }

    /// A server by its code.
    ///
    /// # Errors
    /// When there is none.
    pub fn server(&self, code: &str) -> Result<&Server, Error> {
        self.servers
            .get(code)
            .ok_or_else(|| format!("there is no server {code}").into())
    }

    /// The same, to be killed or started again.
    ///
    /// # Errors
    /// When there is none.
    pub fn server_mut(&mut self, code: &str) -> Result<&mut Server, Error> {
        self.servers
            .get_mut(code)
            .ok_or_else(|| format!("there is no server {code}").into())
    }

    /// All servers, by code.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    /// Lets the auditor verify the log of every server; gives what it said.
    ///
    /// # Errors
    /// When one does not verify; with what it said.
    pub async fn audit(&self) -> Result<Vec<String>, Error> {
        let mut reports = Vec::new();
        for server in self.servers.values() {
            let mut verify = Command::new(program("auditor")?);
            verify.arg("verify").arg(&server.endpoint().log);
            verify
                .arg("--anchor")
                .arg(self.directory.join("anchor.json"));
            let output = finish(verify).await?;
            reports.push(String::from_utf8(output.stdout)?);
        }
        Ok(reports)
    }

    /// Holds the logs of two servers against each other; gives what was found.
    ///
    /// # Errors
    /// When they do not agree; with what the auditor said.
    pub async fn reconcile(&self, one: &str, other: &str) -> Result<serde_json::Value, Error> {
        let mut reconcile = Command::new(program("auditor")?);
        reconcile.args(["reconcile", "--json"]);
        for code in [one, other] {
            reconcile.arg(&self.server(code)?.endpoint().log);
        }
        let output = finish(reconcile).await?;
        let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        Ok(found["reconciliation"].clone())
    }

    /// Stops every process and waits until it has ended well.
    ///
    /// # Errors
    /// When one does not.
    pub async fn stop(mut self) -> Result<(), Error> {
        for server in self.servers.values_mut() {
            server.stop().await?;
        }
        self.registry.stop().await
    }
}
