//! The configuration file of a security server, `server.toml`.

use std::{
    fs, io,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use trust::{InvalidIdentifier, MemberId, ServerId, SubsystemId, batch::MAX_BATCH};

use crate::grpc::budget::LEGS;

/// Everything that a security server is told before it starts. Relative paths are relative to the
/// file. What changes while it runs (subsystems, services, rights) is not here but in its log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The server's identifier, `INSTANCE/CLASS/MEMBER/SERVER`.
    #[serde(deserialize_with = "parsed")]
    pub server: ServerId,
    /// `anchor.json` of the instance, received from the governing authority by a safe way.
    pub anchor: PathBuf,
    /// The message log: a directory made by `security-server init`.
    pub log: PathBuf,
    /// Everything else that the server keeps: the newest configuration, its addresses.
    pub directory: PathBuf,
    /// Unix socket of the admin API, mode 0600.
    pub admin_socket: PathBuf,
    /// What becomes of the contents in the log.
    #[serde(default)]
    pub message_log: MessageLogSettings,
    /// Checkpoints of the log.
    pub log_key: LogKeySettings,
    /// The listener for other security servers, and the certificate shown to them.
    pub exchange: ExchangeSettings,
    /// Listeners for client systems.
    #[serde(default)]
    pub clients: ClientSettings,
    /// How adapters on other machines are known; none: all are on this machine.
    pub adapters: Option<AdapterSettings>,
    /// Signing keys, one for each member that this server speaks for.
    #[serde(default, rename = "signing")]
    pub signing_keys: Vec<SigningSettings>,
    /// Where the configuration comes from and how often.
    #[serde(default)]
    pub configuration: ConfigurationSettings,
    /// Following the logs of other servers.
    #[serde(default)]
    pub peer_logs: PeerLogSettings,
    /// Metrics, health and readiness over HTTP; none: not offered.
    pub monitoring: Option<MonitoringSettings>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// What becomes of the contents in the log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageLogSettings {
    /// Days after which the contents of messages are destroyed; none: they stay.
    pub keep_content_days: Option<NonZeroU32>,
}

/// The key that signs the checkpoints of the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeySettings {
    /// PEM file of an Ed25519 key.
    pub key: PathBuf,
    /// Counts the logs of this server; a lost log gets the next number.
    pub generation: u32,
    /// Seconds between checkpoints while there is something new.
    #[serde(default = "one_second", deserialize_with = "seconds")]
    pub interval: Duration,
}

/// The listener for other security servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// PEM files of the authentication certificate and its key.
    pub certificate: PathBuf,
    /// See `certificate`.
    pub key: PathBuf,
}

/// Listeners for client systems.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// TLS; a registered client certificate decides the subsystem.
    pub tls: Option<ClientTlsSettings>,
    /// Without TLS, on loopback or a Unix socket; the listener decides the subsystem.
    #[serde(default)]
    pub plaintext: Vec<ClientPlaintextSettings>,
}

/// The TLS listener for client systems.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// PEM files of the server certificate shown to clients and its key.
    pub certificate: PathBuf,
    /// See `certificate`.
    pub key: PathBuf,
}

/// A listener without TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientPlaintextSettings {
    /// A loopback address and port, or `unix:PATH`.
    pub listen: String,
    /// Every call on this listener is of this subsystem.
    #[serde(deserialize_with = "parsed")]
    pub subsystem: SubsystemId,
    /// Static route for clients that cannot set metadata: the provider's subsystem.
    #[serde(default, deserialize_with = "optionally_parsed")]
    pub service: Option<SubsystemId>,
}

/// How adapters on other machines are known, and what is shown to them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterSettings {
    /// PEM file of the authorities of the adapters' certificates.
    pub authorities: PathBuf,
    /// PEM files of the client certificate shown to adapters and its key.
    pub certificate: PathBuf,
    /// See `certificate`.
    pub key: PathBuf,
}

/// A member's signing key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningSettings {
    /// The member.
    #[serde(deserialize_with = "parsed")]
    pub member: MemberId,
    /// PEM file: the signing certificate, then any between it and the authority.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigurationSettings {
    /// Base URLs, `http://HOST:PORT/...`; none: those of the root document. What is fetched proves
    /// itself, so it needs no TLS.
    #[serde(deserialize_with = "http_urls")]
    pub sources: Vec<String>,
    /// Seconds between looks for a newer head.
    #[serde(deserialize_with = "seconds")]
    pub interval: Duration,
}

impl Default for ConfigurationSettings {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            interval: Duration::from_secs(30),
        }
    }
}

/// Following the logs of other servers, which promise to keep our requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerLogSettings {
    /// Seconds between questions to a server whose promises are not proven yet.
    #[serde(deserialize_with = "seconds")]
    pub interval: Duration,
}

impl Default for PeerLogSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
        }
    }
}

/// Metrics, health and readiness over HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitoringSettings {
    /// Address and port, without TLS and for whoever can reach it; port 0 takes a free one.
    pub listen: String,
}

/// Bounds of memory and time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest gRPC message, in bytes; at most 60 MiB, since a record of the log holds 64.
    #[serde(deserialize_with = "message_bytes")]
    pub message_bytes: usize,
    /// Memory for all messages under way, in bytes: a sixth for each leg of their ways, so at least six
    /// times `message_bytes`.
    pub budget_bytes: usize,
    /// Seconds that a message may take from its first byte to its last, and the first request of a
    /// call that another server has opened.
    #[serde(rename = "message_seconds", deserialize_with = "seconds")]
    pub message_timeout: Duration,
    /// Calls at once on one connection.
    pub calls_per_connection: u32,
    /// Connections at once on one listener.
    pub connections: usize,
    /// Of these, from one address, so that nobody takes all of them.
    pub connections_per_address: usize,
    /// Exchanges under way at once.
    pub exchanges: usize,
    /// The most messages that one signature is made over; 1: each is signed alone.
    #[serde(deserialize_with = "messages_per_signature")]
    pub messages_per_signature: usize,
    /// Seconds that open exchanges get to end by themselves when the server stops.
    #[serde(rename = "stop_grace_seconds", deserialize_with = "seconds")]
    pub stop_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 * 1024 * 1024,
            budget_bytes: 256 * 1024 * 1024,
            message_timeout: Duration::from_secs(60),
            calls_per_connection: 256,
            connections: 1024,
            connections_per_address: 256,
            exchanges: 8192,
            messages_per_signature: MAX_BATCH,
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No message of the allowed size would find room.
    #[error(
        "{path}: budget_bytes = {budget} is less than six times message_bytes = {message}: each leg \
         of the way has a sixth of it"
    )]
    Budget {
        /// The file.
        path: PathBuf,
        /// `budget_bytes`.
        budget: usize,
        /// `message_bytes`.
        message: usize,
    },
    /// The file is not what it must be.
    #[error("{path} is not a valid server.toml")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
}

impl Settings {
    /// Reads the file and makes its paths independent of the working directory.
    ///
    /// # Errors
    /// When the file cannot be read or says something that is not understood.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let mut settings: Self =
            toml::from_str(&text).map_err(|source| SettingsError::Invalid {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
        let limits = &settings.limits;
        if limits.budget_bytes / LEGS < limits.message_bytes {
            return Err(SettingsError::Budget {
                path: path.to_owned(),
                budget: limits.budget_bytes,
                message: limits.message_bytes,
            });
        }
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        settings.for_each_path(|path| *path = base.join(&*path));
        for plaintext in &mut settings.clients.plaintext {
            if let Some(socket) = plaintext.listen.strip_prefix("unix:") {
                plaintext.listen = format!("unix:{}", base.join(socket).display());
            }
        }
        Ok(settings)
    }

    fn for_each_path(&mut self, mut change: impl FnMut(&mut PathBuf)) {
        for path in [
            &mut self.anchor,
            &mut self.log,
            &mut self.directory,
            &mut self.admin_socket,
            &mut self.log_key.key,
            &mut self.exchange.certificate,
            &mut self.exchange.key,
        ] {
            change(path);
        }
        if let Some(tls) = &mut self.clients.tls {
            change(&mut tls.certificate);
            change(&mut tls.key);
        }
        if let Some(adapters) = &mut self.adapters {
            change(&mut adapters.authorities);
            change(&mut adapters.certificate);
            change(&mut adapters.key);
        }
        for signing in &mut self.signing_keys {
            change(&mut signing.certificate);
            change(&mut signing.key);
        }
    }

    /// The origin line of this server's log.
    #[must_use]
    pub fn log_origin(&self) -> String {
        format!("{}/{}", self.server, self.log_key.generation)
    }
}

/// Whether only this machine can reach an address.
pub(crate) fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |host: &str| {
        host.parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
    };
    address.starts_with("unix:") || host == "localhost" || is_loopback(host)
}

fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err = InvalidIdentifier>,
    D: serde::Deserializer<'de>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn optionally_parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err = InvalidIdentifier>,
    D: serde::Deserializer<'de>,
{
    parsed(deserializer).map(Some)
}

fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    if !(0.05..=86_400.0).contains(&seconds) {
        return Err(serde::de::Error::custom(
            "an interval is 0.05 to 86400 seconds",
        ));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn message_bytes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let bytes = usize::deserialize(deserializer)?;
    if !(1..=60 * 1024 * 1024).contains(&bytes) {
        return Err(serde::de::Error::custom(
            "message_bytes is 1 to 62914560 (60 MiB)",
        ));
    }
    Ok(bytes)
}

fn messages_per_signature<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<usize, D::Error> {
    let messages = usize::deserialize(deserializer)?;
    if !(1..=MAX_BATCH).contains(&messages) {
        let problem = format!("messages_per_signature is 1 to {MAX_BATCH}");
        return Err(serde::de::Error::custom(problem));
    }
    Ok(messages)
}

fn http_urls<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let urls = Vec::<String>::deserialize(deserializer)?;
    for url in &urls {
        let parsed: Result<http::Uri, _> = url.parse();
        if !parsed.is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some()) {
            let problem = format!("\"{url}\" is not a URL of the form http://HOST:PORT");
            return Err(serde::de::Error::custom(problem));
        }
    }
    Ok(urls)
}

const fn one_second() -> Duration {
    Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../sample/server.toml");

    #[test]
    fn the_sample_is_understood_and_its_paths_follow_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        fs::write(&path, SAMPLE).unwrap();
        let settings = Settings::load(&path).unwrap();
        assert_eq!(settings.log_origin(), "VN/GOV/G01/server-1/1");
        assert_eq!(settings.log, directory.path().join("log"));
        assert_eq!(settings.limits.message_bytes, 16 * 1024 * 1024);
    }

    #[test]
    fn a_budget_has_room_for_a_message_on_each_leg_of_its_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.toml");
        let written = |bytes: &str| fs::write(&path, SAMPLE.replace("268435456", bytes));
        written("100663296").unwrap();
        Settings::load(&path).unwrap();
        written("100663295").unwrap();
        let refused = Settings::load(&path).unwrap_err().to_string();
        assert!(refused.contains("less than six times"), "{refused}");
    }

    #[test]
    fn a_misspelt_setting_is_named() {
        let error = toml::from_str::<Settings>(&SAMPLE.replace("anchor =", "ancor =")).unwrap_err();
        assert!(error.to_string().contains("ancor"), "{error}");
    }
}
