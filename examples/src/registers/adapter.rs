//! An adapter process for one register, by configuration only.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{
    Error,
    process::{Running, finish, program},
    waiting::wait_for,
};

/// A running adapter.
pub struct Adapter {
    process: Running,
    /// Where it answers, as a security server's state file names it.
    pub address: String,
    /// The .proto file that it wrote from its configuration.
    pub proto: PathBuf,
    /// The descriptor set that it wrote with it.
    pub descriptor: PathBuf,
}

impl Adapter {
    /// Writes the .proto from the configuration and starts the adapter.
    ///
    /// # Errors
    /// When the program does not do what it should.
    pub async fn start(configuration: &Path, logs: &Path) -> Result<Self, Error> {
        let name = configuration
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or("adapter");
        let proto = configuration.with_extension("proto");
        let descriptor = configuration.with_extension("bin");
        let mut write = Command::new(program("adapter")?);
        write
            .arg("proto")
            .arg(configuration)
            .arg("--out")
            .arg(&proto)
            .arg("--descriptor")
            .arg(&descriptor);
        finish(write).await?;
        let address_file = configuration.with_extension("address");
        let _ = fs::remove_file(&address_file);
        let mut serve = Command::new(program("adapter")?);
        serve
            .arg("serve")
            .arg(configuration)
            .arg("--address-file")
            .arg(&address_file);
        let mut process = Running::start(&format!("adapter-{name}"), serve, logs)?;
        let address = wait_for("an adapter's address", || {
            let found = process.ended().map(Err).or_else(|| {
                fs::read_to_string(&address_file)
                    .ok()
                    .map(|text| Ok(text.trim().to_owned()))
            });
            std::future::ready(found)
        })
        .await??;
        Ok(Self {
            process,
            address,
            proto,
            descriptor,
        })
    }

    /// Lets an adapter listen where this one does, when it is started from this configuration.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_address(&self, configuration: &Path) -> Result<(), Error> {
        let text = fs::read_to_string(configuration)?;
        let address = self.address.trim_start_matches("http://");
        Ok(fs::write(
            configuration,
            text.replace("127.0.0.1:0", address),
        )?)
    }

    /// The number of its process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Kills the adapter at once.
    ///
    /// # Errors
    /// When it has ended by itself.
    pub async fn kill(self) -> Result<(), Error> {
        self.process.kill().await
    }

    /// Asks the adapter to stop and waits for it.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn stop(self) -> Result<(), Error> {
        self.process.stop().await.map(drop)
    }
}
