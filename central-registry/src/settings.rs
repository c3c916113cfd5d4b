//! The settings of a registry: `registry.toml`, read strictly.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use trust::InstanceId;

use crate::Error;

/// The name of the file in the registry's directory.
pub const FILE: &str = "registry.toml";
/// The port that a new registry listens on.
const PORT: u16 = 8470;

/// What `registry.toml` says, paths made absolute or relative to the working directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The instance.
    pub instance: InstanceId,
    /// The key that signs configuration heads.
    pub head_key: PathBuf,
    /// The folder of the log.
    pub log: PathBuf,
    /// The folder of the root documents.
    pub root: PathBuf,
    /// The folder of the published files.
    pub public: PathBuf,
    /// The Unix socket for officers.
    pub admin_socket: PathBuf,
    /// Where the published files are served.
    pub listen: SocketAddr,
    /// The most connections at a time.
    pub connections: usize,
    /// The shortest time between a publication and the renewal of it; changes wait at most half
    /// of it.
    pub interval: Duration,
    /// How long a publication is valid.
    pub validity: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    instance: String,
    head_key: PathBuf,
    log: PathBuf,
    root: PathBuf,
    public: PathBuf,
    admin_socket: PathBuf,
    listen: SocketAddr,
    connections: usize,
    interval_seconds: f64,
    validity_seconds: f64,
}

impl Settings {
    /// Reads the settings of the registry in `directory`.
    ///
    /// # Errors
    /// When the file cannot be read, or says something that cannot be.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(FILE);
        let text = fs::read_to_string(&path).map_err(Error::file("reading", &path))?;
        let file: SettingsFile =
            toml::from_str(&text).map_err(|error| Error::content(&path, error))?;
        Self::check(file, directory).map_err(|problem| Error::content(&path, problem))
    }

    /// The file of a new registry.
    #[must_use]
    pub fn new_file(instance: &InstanceId, listen: Option<SocketAddr>) -> String {
        let listen =
            listen.unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT));
        format!(
            r#"# Settings of the central registry of instance {instance}. Relative paths start here.

instance = "{instance}"
# The key that signs configuration heads. The newest root document must name it.
head_key = "head-key.pem"
log = "log"
root = "root"
public = "public"
# Officers give in their changes here (mode 0600).
admin_socket = "admin.sock"

# The published files over plain HTTP: each of them is verified from the anchor, whoever serves it.
listen = "{listen}"
connections = 256

# Changes are published at once, but not sooner than half an interval after the publication
# before. Without changes a publication is renewed when a third of its validity has passed.
# Servers stop when their newest publication has expired.
interval_seconds = 10
validity_seconds = 600
"#
        )
    }

    fn check(file: SettingsFile, directory: &Path) -> Result<Self, String> {
        let SettingsFile {
            interval_seconds,
            validity_seconds,
            ..
        } = file;
        if !(0.05..=86_400.0).contains(&interval_seconds) {
            return Err("interval_seconds must lie between 0.05 and 86400".to_owned());
        }
        // A third of the validity passes before the renewal, a third is left when it fails once.
        if !(3.0 * interval_seconds.max(1.0)..=31.0 * 86_400.0).contains(&validity_seconds) {
            return Err(
                "validity_seconds must be at least three intervals and 3, and at most 31 \
                        days"
                    .to_owned(),
            );
        }
        if !(1..=65_536).contains(&file.connections) {
            return Err("connections must lie between 1 and 65536".to_owned());
        }
        Ok(Self {
            instance: file
                .instance
                .parse()
                .map_err(|error| format!("instance: {error}"))?,
            head_key: directory.join(file.head_key),
            log: directory.join(file.log),
            root: directory.join(file.root),
            public: directory.join(file.public),
            admin_socket: directory.join(file.admin_socket),
            listen: file.listen,
            connections: file.connections,
            interval: Duration::from_secs_f64(interval_seconds),
            validity: Duration::from_secs_f64(validity_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        Settings::load(folder.path())
    }

    #[test]
    fn the_file_of_a_new_registry_reads_back() {
        let text = Settings::new_file(&"VN".parse().unwrap(), None);
        let settings = read(&text).unwrap();
        assert_eq!(settings.validity, Duration::from_secs(600));
        assert!(settings.listen.ip().is_loopback());
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name() {
        let text = Settings::new_file(&"VN".parse().unwrap(), None);
        for (found, instead, named) in [
            (
                "interval_seconds = 10",
                "interval_seconds = 0",
                "interval_seconds",
            ),
            (
                "interval_seconds = 10",
                "interval_seconds = 201",
                "validity_seconds",
            ),
            ("connections = 256", "connections = 0", "connections"),
            ("connections = 256", "connexions = 2", "connexions"),
            ("instance = \"VN\"", "instance = \"V/N\"", "instance"),
        ] {
            let error = read(&text.replace(found, instead)).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains(FILE), "{error}");
        }
    }
}
