//! The settings of a desk, `desk.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::step::Agency;
use crate::Error;

/// Everything that a desk is told. Relative paths are relative to the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The desk's store.
    pub store: PathBuf,
    /// `ADDRESS:PORT` of the own agency's security server, on this machine and without TLS; with `tls` its other listener.
    pub security_server: String,
    /// The client certificate by which the server knows the desk.
    pub tls: Option<TlsSettings>,
    /// `x-road-purpose` of every exchange.
    pub purpose: String,
    /// Steps of each agency that are under way at once: one that does not answer holds up no other.
    #[serde(default = "sixteen")]
    pub at_once: usize,
    /// How long an answer is waited for, in seconds.
    #[serde(default = "ten")]
    pub answer_seconds: f64,
    /// The longest pause before a step is tried again, in seconds.
    #[serde(default = "thirty")]
    pub pause_seconds: f64,
    /// The agencies' services.
    pub population: ServiceSettings,
    /// See `population`.
    pub civil_status: ServiceSettings,
    /// See `population`.
    pub insurance: ServiceSettings,
}

/// How the own security server knows the desk.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Authority of the server's certificate (PEM).
    pub authority: PathBuf,
    /// Client certificate (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
}

/// A service of another agency.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSettings {
    /// The agency's subsystem, `INSTANCE/CLASS/MEMBER/SUBSYSTEM`.
    pub subsystem: String,
    /// `package.Service`
    pub service: String,
    /// Its `.proto` file.
    pub proto: PathBuf,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or says something that is not understood.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let unusable = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| unusable(&error))?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| unusable(&error))?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        let services = [
            &mut settings.population,
            &mut settings.civil_status,
            &mut settings.insurance,
        ];
        for service in services {
            service.proto = base.join(&service.proto);
        }
        settings.store = base.join(&settings.store);
        if let Some(tls) = &mut settings.tls {
            for path in [&mut tls.authority, &mut tls.certificate, &mut tls.key] {
                *path = base.join(&*path);
            }
        }
        for (name, seconds) in [
            ("answer_seconds", settings.answer_seconds),
            ("pause_seconds", settings.pause_seconds),
        ] {
            if !(0.05..=86_400.0).contains(&seconds) {
                return Err(unusable(&format!("{name} is 0.05 to 86400")).into());
            }
        }
        Ok(settings)
    }

    /// The service of an agency.
    #[must_use]
    pub const fn service(&self, agency: Agency) -> &ServiceSettings {
        match agency {
            Agency::Population => &self.population,
            Agency::CivilStatus => &self.civil_status,
            Agency::Insurance => &self.insurance,
        }
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn answer_patience(&self) -> Duration {
        Duration::from_secs_f64(self.answer_seconds)
    }

    /// The longest pause.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        Duration::from_secs_f64(self.pause_seconds)
    }
}

const fn sixteen() -> usize {
    16
}

const fn ten() -> f64 {
    10.0
}

const fn thirty() -> f64 {
    30.0
}
