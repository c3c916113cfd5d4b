//! What stands between client and backend: nothing, two hops of a proxy, or our two servers.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, time::Duration};

use clap::ValueEnum;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    filling::{Starts, fill},
    proxy::{Product, TwoHops},
    usage::Usage,
};
use crate::{
    Error, echo,
    federation::{Authority, Federation},
};

/// Which chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chain {
    /// The client calls the backend.
    Direct,
    /// nginx, twice.
    Nginx,
    /// HAProxy, twice.
    Haproxy,
    /// Envoy, twice.
    Envoy,
    /// The security servers of consumer and provider, where each message is signed alone.
    #[value(name = "lienthong-alone")]
    #[serde(rename = "lienthong-alone")]
    LienthongAlone,
    /// The same as they come: what waits for the log is signed together.
    Lienthong,
}

impl Chain {
    /// As a person writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::LienthongAlone => "Lienthong, signed alone",
            Self::Lienthong => "Lienthong",
        }
    }

    const fn proxy(self) -> Option<Product> {
        match self {
            Self::Nginx => Some(Product::Nginx),
            Self::Haproxy => Some(Product::Haproxy),
            Self::Envoy => Some(Product::Envoy),
            Self::Direct | Self::LienthongAlone | Self::Lienthong => None,
        }
    }
}

/// All chains, running, in front of one backend. Their processes end when this is dropped.
pub struct Chains {
    backend: Backend,
    /// Each with servers of its own.
    federations: Vec<(Chain, Federation)>,
    proxies: Vec<(Chain, TwoHops)>,
}

/// Where a chain is entered, and its processes.
pub struct Entry {
    /// `ADDRESS:PORT`
    pub address: String,
    /// `x-road-service`, where it is asked for.
    pub service: Option<&'static str>,
    /// Process ids of first and second hop; none for [`Chain::Direct`].
    pub hops: Option<[u32; 2]>,
}

impl Chains {
    /// Starts the backend, the servers and the proxies that are asked for.
    ///
    /// # Errors
    /// When a program does not do what it should; with what it said.
    pub async fn start(directory: &Path, wanted: &[Chain]) -> Result<Self, Error> {
        let backend = Backend::start().await?;
        let plan = echo::plan(&format!("http://{}", backend.address));
        let authority = Authority::create(&directory.join("trust"))?;
        let (mut federations, mut proxies) = (Vec::new(), Vec::new());
        for &chain in wanted {
            let folder = directory.join(chain.name());
            if let Some(product) = chain.proxy() {
                let hops = TwoHops::start(product, &folder, &authority, backend.address).await?;
                proxies.push((chain, hops));
            } else if chain != Chain::Direct {
                let mut federation = Federation::start(&folder, &plan).await?;
                for server in SERVERS {
                    set_up(&mut federation, server, chain).await?;
                }
                federations.push((chain, federation));
            }
        }
        Ok(Self {
            backend,
            federations,
            proxies,
        })
    }

    /// Registers so many members more.
    ///
    /// # Errors
    /// When the registry refuses, or a server does not follow.
    pub async fn register(&self, members: usize) -> Result<(), Error> {
        let plan = echo::plan(&format!("http://{}", self.backend.address));
        let patience = Duration::from_secs(1200);
        for (_, federation) in &self.federations {
            federation.register_with(&plan, members, patience).await?;
        }
        Ok(())
    }

    /// Fills the logs of our servers; tells how long each then takes to start.
    ///
    /// # Errors
    /// As [`fill`].
    pub async fn fill(
        &mut self,
        records: u64,
        mut progress: impl FnMut(&str, u64),
    ) -> Result<Vec<Starts>, Error> {
        let mut starts = Vec::new();
        for (_, federation) in &mut self.federations {
            for name in SERVERS {
                let server = federation.server_mut(name)?;
                starts.push(fill(server, records, |size| progress(name, size)).await?);
            }
        }
        Ok(starts)
    }

    /// Where a chain is entered.
    ///
    /// # Errors
    /// When it was not started, or one of its processes has ended.
    pub fn entry(&self, chain: Chain) -> Result<Entry, Error> {
        let gone = || format!("a process of {} has ended", chain.name());
        let not_started = || format!("{} was not started", chain.name());
        match chain {
            Chain::Direct => Ok(Entry {
                address: self.backend.address.to_string(),
                service: None,
                hops: None,
            }),
            Chain::LienthongAlone | Chain::Lienthong => {
                let started = |(started, _): &&(Chain, _)| *started == chain;
                let found = self.federations.iter().find(started);
                let (_, federation) = found.ok_or_else(not_started)?;
                let [consumer, provider] = SERVERS.map(|name| federation.server(name));
                let (consumer, provider) = (consumer?, provider?);
                Ok(Entry {
                    address: consumer.plaintext(echo::CLIENT)?.to_owned(),
                    service: Some(echo::PROVIDER),
                    hops: Some([
                        consumer.process_id().ok_or_else(gone)?,
                        provider.process_id().ok_or_else(gone)?,
                    ]),
                })
            }
            Chain::Nginx | Chain::Haproxy | Chain::Envoy => {
                let (_, hops) = self
                    .proxies
                    .iter()
                    .find(|(started, _)| *started == chain)
                    .ok_or_else(not_started)?;
                let [first, second] = &hops.processes;
                Ok(Entry {
                    address: hops.address.to_string(),
                    service: None,
                    hops: Some([first.id().ok_or_else(gone)?, second.id().ok_or_else(gone)?]),
                })
            }
        }
    }

    /// What the backend has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn backend(&self) -> Result<Usage, Error> {
        Usage::of(self.backend.process.id().ok_or("the backend has ended")?)
    }

    /// Stops everything.
    ///
    /// # Errors
    /// When a process does not end well.
    pub async fn stop(self) -> Result<(), Error> {
        for (_, hops) in self.proxies {
            for process in hops.processes {
                process.kill().await?;
            }
        }
        for (_, federation) in self.federations {
            federation.stop().await?;
        }
        Ok(())
    }
}

/// Our servers, first and second hop.
const SERVERS: [&str; 2] = ["consumer", "provider"];

/// Makes a server of a test federation look for news as seldom as one that serves does, else it would
/// be idle work that is measured; and sign as the chain says.
async fn set_up(federation: &mut Federation, server: &str, chain: Chain) -> Result<(), Error> {
    let server = federation.server_mut(server)?;
    let settings = server.path("server.toml");
    let text = fs::read_to_string(&settings)?;
    let calm = text
        .replace("interval = 0.2", "interval = 1")
        .replace("interval = 0.5", "interval = 1");
    let set = match chain {
        Chain::LienthongAlone => calm.replace("[limits]", "[limits]\nmessages_per_signature = 1"),
        _ => calm,
    };
    fs::write(&settings, set)?;
    server.stop().await?;
    server.start().await
}

/// The echo backend as a process of its own.
struct Backend {
    address: SocketAddr,
    process: Child,
}

impl Backend {
    async fn start() -> Result<Self, Error> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("backend")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = process.stdout.take().ok_or("the backend says nothing")?;
        let first = BufReader::new(said).lines().next_line().await?;
        let address = first.ok_or("the backend has ended")?.parse()?;
        Ok(Self { address, process })
    }
}
