//! What a certificate is for, and whether it meets its profile.

use std::{error::Error, fmt::Write};

use certs::{
    Certificate, Role, file,
    profile::{extended_words, usage_words},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{Answer, arguments::Show};

pub fn show(wanted: &Show, now: i64) -> Result<Answer, Box<dyn Error>> {
    let mut shown = Vec::new();
    for der in file::read_certificates(&wanted.file)? {
        let certificate = Certificate::parse(&der)
            .map_err(|error| format!("{}: {error}", wanted.file.display()))?;
        shown.push(Shown::new(&certificate, now)?);
    }
    let success = shown
        .iter()
        .all(|certificate| certificate.meets_profile && certificate.valid_now);
    let text = if wanted.json {
        format!("{}\n", serde_json::to_string_pretty(&shown)?)
    } else {
        let texts: Vec<_> = shown.iter().map(Shown::to_text).collect();
        texts.join("\n")
    };
    Ok(Answer { text, success })
}

#[derive(Serialize)]
struct Shown {
    role: Option<Role>,
    subject: String,
    member: Option<String>,
    server: Option<String>,
    names: Vec<String>,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    days_left: i64,
    valid_now: bool,
    key: String,
    key_usage: String,
    extended_key_usage: String,
    sha256: String,
    meets_profile: bool,
    violations: Vec<String>,
}

impl Shown {
    fn new(certificate: &Certificate, now: i64) -> Result<Self, jiff::Error> {
        let role = certificate.role();
        let violations = match role {
            Some(role) => certificate
                .violations(role)
                .iter()
                .map(ToString::to_string)
                .collect(),
            None => vec!["its key usages are those of no role".into()],
        };
        // A member or server is named only where the role gives its name a meaning.
        let member = match role {
            Some(Role::Signing | Role::Authentication) => certificate.member(),
            _ => None,
        };
        let server = match role {
            Some(Role::Authentication) => certificate.server(),
            _ => None,
        };
        Ok(Self {
            role,
            subject: certificate.subject().into(),
            member: member.map(|member| member.to_string()),
            server: server.map(|server| server.to_string()),
            names: certificate.names().to_vec(),
            issuer: certificate.issuer().into(),
            serial: certificate.serial().into(),
            not_before: Timestamp::from_second(certificate.not_before())?.to_string(),
            not_after: Timestamp::from_second(certificate.not_after())?.to_string(),
            days_left: certificate
                .not_after()
                .saturating_sub(now)
                .div_euclid(86_400),
            valid_now: certificate.valid_at(now).is_ok(),
            key: certificate.key_description().into(),
            key_usage: usage_words(certificate.key_usages()),
            extended_key_usage: extended_words(certificate.extended_key_usages()),
            sha256: certificate.digest().to_string(),
            meets_profile: violations.is_empty(),
            violations,
        })
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{name:<14}{value}");
        };
        line("role", self.role.map_or("none", Role::as_str));
        line("subject", &self.subject);
        if let Some(member) = &self.member {
            line("member", member);
        }
        if let Some(server) = &self.server {
            line("server", server);
        }
        if !self.names.is_empty() {
            line("names", &self.names.join(", "));
        }
        line("issuer", &self.issuer);
        line("serial", &self.serial);
        line("valid from", &self.not_before);
        let left = match (self.valid_now, self.days_left) {
            (true, days) => format!("{days} days left"),
            (false, days) if days < 0 => "EXPIRED".into(),
            (false, _) => "NOT VALID YET".into(),
        };
        line("valid until", &format!("{} ({left})", self.not_after));
        line("key", &self.key);
        line("key usage", &self.key_usage);
        line("extended", &self.extended_key_usage);
        line("SHA-256", &self.sha256);
        if self.meets_profile {
            line("profile", "met");
        }
        for violation in &self.violations {
            line("profile", &format!("VIOLATED: {violation}"));
        }
        text
    }
}
