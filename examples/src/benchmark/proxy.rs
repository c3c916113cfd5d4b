//! A general-purpose proxy as two hops with mutual TLS between them: what a bus is held against.

mod envoy;
mod haproxy;
mod nginx;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use certs::Subject;
use tokio::{net::TcpStream, process::Command};

use crate::{Error, federation::Authority, process::Running, waiting::wait_for};

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

/// The two running hops; they are killed when this is dropped.
pub struct TwoHops {
    /// Where calls go in.
    pub address: SocketAddr,
    /// First and second hop.
    pub processes: [Running; 2],
}

/// One hop, as its configuration file describes it.
struct Hop {
    side: Side,
    directory: PathBuf,
    authority: PathBuf,
    listen: SocketAddr,
    next: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl TwoHops {
    /// Starts both hops in a folder of their own and waits until they listen.
    ///
    /// # Errors
    /// When the program is not installed or does not take its configuration; with what it said.
    pub async fn start(
        product: Product,
        directory: &Path,
        authority: &Authority,
        backend: SocketAddr,
    ) -> Result<Self, Error> {
        let second = Hop::prepare(Side::Second, directory, authority, backend)?;
        let first = Hop::prepare(Side::First, directory, authority, second.listen)?;
        Ok(Self {
            address: first.listen,
            processes: [first.start(product).await?, second.start(product).await?],
        })
    }
}

impl Hop {
    fn prepare(
        side: Side,
        directory: &Path,
        authority: &Authority,
        next: SocketAddr,
    ) -> Result<Self, Error> {
        let (name, subject) = match side {
            Side::First => (
                "first",
                Subject::Client {
                    name: "first hop".to_owned(),
                },
            ),
            Side::Second => (
                "second",
                Subject::Listener {
                    name: "second hop".to_owned(),
                    names: Vec::new(),
                },
            ),
        };
        let directory = directory.join(name);
        fs::create_dir_all(&directory)?;
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        authority.issue(&subject, &certificate, &key)?;
        let identity = [fs::read(&certificate)?, fs::read(&key)?].concat();
        fs::write(directory.join("identity.pem"), identity)?;
        Ok(Self {
            side,
            directory,
            authority: authority.certificate(),
            listen: free_address()?,
            next,
        })
    }

    async fn start(&self, product: Product) -> Result<Running, Error> {
        let (program, name, configuration) = match product {
            Product::Nginx => ("nginx", "nginx.conf", nginx::configuration(self)),
            Product::Haproxy => ("haproxy", "haproxy.cfg", haproxy::configuration(self)),
            Product::Envoy => ("envoy", "envoy.json", envoy::configuration(self)),
        };
        let file = self.directory.join(name);
        fs::write(&file, configuration)?;
        let mut command = Command::new(program);
        command.args(match product {
            Product::Nginx => nginx::arguments(&file),
            Product::Haproxy => haproxy::arguments(&file),
            Product::Envoy => envoy::arguments(&file),
        });
        let mut process = Running::start(program, command, &self.directory)?;
        let what = format!("{program} to listen");
        wait_for(&what, || {
            let ended = process.ended();
            async move {
                match ended {
                    Some(ended) => Some(Err(ended)),
                    None => TcpStream::connect(self.listen).await.ok().map(|_| Ok(())),
                }
            }
        })
        .await??;
        Ok(process)
    }
}

/// An address that was free a moment ago: these programs do not say which one they have taken.
fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
