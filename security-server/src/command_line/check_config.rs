//! `security-server check-config`: what would not work is said before the server is started.

use std::{fs, net::TcpListener, os::unix::net::UnixStream, path::Path};

use certs::{
    Certificate, LogKey, Role, SigningIdentity,
    tls::{ReplaceableIdentity, read_authorities},
};
use serde::Serialize;
use trust::{checkpoint, configuration::Anchor, leaf::LeafPreimage};
use verifiable_log::Reader;

use super::answers::{Outcome, days, in_json, in_utc};
use crate::{
    Clock, Settings, SystemClock, open_files,
    settings::is_local,
    subjects::{path_of_key, read_key},
};

/// Fewer days than these left of a certificate are said.
const DAYS_WARNED: i64 = 30;

/// One thing that was looked at.
#[derive(Serialize)]
struct Checked {
    /// What.
    subject: String,
    /// "good", "warning" or "wrong".
    outcome: &'static str,
    /// What was found.
    found: String,
}

/// What was looked at so far.
#[derive(Default)]
struct Checklist(Vec<Checked>);

impl Checklist {
    fn note(&mut self, subject: impl Into<String>, outcome: &'static str, found: String) {
        let subject = subject.into();
        self.0.push(Checked {
            subject,
            outcome,
            found,
        });
    }

    /// Notes what was found, or what is wrong; gives what is good.
    fn judge<T>(
        &mut self,
        subject: impl Into<String>,
        looked: Result<(T, String), String>,
    ) -> Option<T> {
        match looked {
            Ok((value, found)) => {
                self.note(subject, "good", found);
                Some(value)
            }
            Err(problem) => {
                self.note(subject, "wrong", problem);
                None
            }
        }
    }
}

/// Looks at everything that a settings file names.
pub(super) fn check(path: &Path, json: bool) -> Outcome {
    let mut list = Checklist::default();
    let settings = Settings::load(path).map_err(|error| in_words(&error));
    let settings = settings.map(|settings| {
        let server = settings.server.to_string();
        (settings, server)
    });
    if let Some(settings) = list.judge("settings", settings) {
        list.check_all(&settings);
    }
    let wrong = list.0.iter().filter(|of| of.outcome == "wrong").count();
    let text = if json {
        in_json(&serde_json::json!({ "holds": wrong == 0, "checked": list.0 }))
    } else {
        let lines = list.0.iter().map(
            |Checked {
                 subject,
                 outcome,
                 found,
             }| { format!("{outcome:<8} {subject}: {found}\n") },
        );
        let verdict = match wrong {
            0 => "The server can be started.\n".to_owned(),
            wrong => format!("{wrong} WRONG: correct them first.\n"),
        };
        lines.chain([verdict]).collect()
    };
    Outcome {
        text,
        holds: wrong == 0,
    }
}

impl Checklist {
    fn check_all(&mut self, settings: &Settings) {
        self.judge("anchor", anchor(settings));
        self.check_certificates(settings);
        self.check_log(settings);
        let key = path_of_key(settings).display().to_string();
        let read = read_key(settings).map(|_| ((), key));
        self.judge("subject key", read.map_err(|error| in_words(&error)));
        self.check_listeners(settings);
        for (what, folder) in [
            ("directory", Some(settings.directory.as_path())),
            ("admin_socket", settings.admin_socket.parent()),
        ] {
            if let Some(folder) = folder {
                self.judge(what, writable(folder));
            }
        }
    }

    fn check_certificates(&mut self, settings: &Settings) {
        let exchange = &settings.exchange;
        let mut tls = vec![(
            "[exchange]",
            Role::Authentication,
            &exchange.certificate,
            &exchange.key,
        )];
        if let Some(of) = &settings.clients.tls {
            tls.push(("[clients.tls]", Role::Listener, &of.certificate, &of.key));
        }
        if let Some(of) = &settings.adapters {
            tls.push(("[adapters]", Role::Client, &of.certificate, &of.key));
            let read = read_authorities(&of.authorities);
            let read = read.map(|found| ((), format!("{} authorities", found.len())));
            self.judge(
                "[adapters] authorities",
                read.map_err(|error| in_words(&error)),
            );
        }
        for (what, role, certificate, key) in tls {
            let loaded = ReplaceableIdentity::load(role, certificate, key);
            let loaded = loaded.map(|identity| identity.certificate());
            self.certificate(what, loaded.map_err(|error| in_words(&error)));
        }
        if settings.signing_keys.is_empty() {
            let found = "none: this server can sign nothing, not even a refusal".to_owned();
            self.note("[[signing]]", "warning", found);
        }
        for signing in &settings.signing_keys {
            let what = format!("[[signing]] {}", signing.member);
            let loaded = SigningIdentity::load(&signing.certificate, &signing.key);
            let loaded = loaded.map_err(|error| in_words(&error));
            let loaded = loaded.and_then(|identity| {
                let named = identity.certificate.member();
                if *named == signing.member {
                    Ok(identity.certificate.certificate().clone())
                } else {
                    Err(format!("the certificate names {named}"))
                }
            });
            self.certificate(&what, loaded);
        }
    }

    fn certificate(&mut self, what: &str, loaded: Result<Certificate, String>) {
        let now = SystemClock.seconds();
        let judged = loaded.and_then(|certificate| {
            certificate
                .valid_at(now)
                .map_err(|error| error.to_string())?;
            Ok(certificate)
        });
        match judged {
            Err(problem) => self.note(what, "wrong", problem),
            Ok(certificate) => {
                let left = days(now, certificate.not_after());
                let outcome = if left < DAYS_WARNED {
                    "warning"
                } else {
                    "good"
                };
                let until = in_utc(certificate.not_after());
                self.note(what, outcome, format!("{left} days left, until {until}"));
            }
        }
    }

    fn check_log(&mut self, settings: &Settings) {
        let path = &settings.log_key.key;
        let key = LogKey::load(path).map_err(|error| in_words(&error));
        let key = self.judge(
            "[log_key]",
            key.map(|key| (key, path.display().to_string())),
        );
        let reader = Reader::open(&settings.log, |kept| {
            Ok(LeafPreimage::of_local_record(
                kept.kind,
                &kept.header,
                &kept.annex,
            ))
        });
        let expected = settings.log_origin();
        let reader = reader
            .map_err(|error| match is_empty(&settings.log) {
                true => format!(
                    "there is none in {}: make it with init",
                    settings.log.display()
                ),
                false => format!("{}; keep the folder as it is", in_words(&error)),
            })
            .and_then(|reader| {
                let found = reader.origin().to_string();
                if found == expected {
                    Ok((reader, found))
                } else {
                    Err(format!("it is the log {found}, not {expected}"))
                }
            });
        let (Some(key), Some(reader)) = (key, self.judge("log", reader)) else {
            return;
        };
        let public = checkpoint::LogKey::from_slice(&key.public_key());
        let found = match (reader.checkpoint(), public) {
            (Ok(None), _) => Ok(((), "none: right for a log that was never used".to_owned())),
            (Ok(Some(signed)), Some(public)) => signed
                .verify(reader.origin(), &public)
                .map(|of| {
                    let size = of.size;
                    (
                        (),
                        format!("covers {size} records; `run` reads whether they are there"),
                    )
                })
                .map_err(|error| format!("{error}: the log key is another one")),
            (Ok(Some(_)), None) => Err("the log key is no key".to_owned()),
            (Err(error), _) => Err(in_words(&error)),
        };
        self.judge("checkpoint", found);
    }

    fn check_listeners(&mut self, settings: &Settings) {
        let mut listeners = vec![("[exchange] listen".to_owned(), &settings.exchange.listen)];
        if let Some(tls) = &settings.clients.tls {
            listeners.push(("[clients.tls] listen".to_owned(), &tls.listen));
        }
        for plaintext in &settings.clients.plaintext {
            let what = format!("[[clients.plaintext]] {}", plaintext.subsystem);
            if is_local(&plaintext.listen) {
                listeners.push((what, &plaintext.listen));
            } else {
                let found = format!("{} is plain text and no loopback address", plaintext.listen);
                self.note(&what, "wrong", found);
            }
        }
        if let Some(monitoring) = &settings.monitoring {
            listeners.push(("[monitoring] listen".to_owned(), &monitoring.listen));
        }
        let room = open_files::make_room(settings);
        self.judge(
            "[limits] connections",
            room.map(|()| ((), "enough open files".to_owned())),
        );
        let runs = UnixStream::connect(&settings.admin_socket).is_ok();
        let mut taken = Vec::new();
        for (what, address) in listeners {
            let usable = match address.strip_prefix("unix:") {
                Some(path) => Path::new(path)
                    .parent()
                    .map_or(Ok(((), String::new())), writable),
                None if runs => Ok(((), format!("{address}; not tried, the server is running"))),
                None => TcpListener::bind(address)
                    .map(|listener| taken.push(listener))
                    .map(|()| ((), format!("{address} is free")))
                    .map_err(|error| format!("{address}: {error}")),
            };
            self.judge(what, usable);
        }
    }
}

/// Whether nothing stands in a folder, or there is none.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

fn anchor(settings: &Settings) -> Result<((), String), String> {
    let path = settings.anchor.display();
    let text = fs::read_to_string(&settings.anchor).map_err(|error| format!("{path}: {error}"))?;
    let anchor = Anchor::from_json(&text).map_err(|refusal| refusal.explanation)?;
    let instance = anchor.root().instance().clone();
    if instance.as_str() == settings.server.instance() {
        Ok(((), format!("of instance {instance}")))
    } else {
        Err(format!(
            "it is of instance {instance}, the server is {}",
            settings.server
        ))
    }
}

fn writable(folder: &Path) -> Result<((), String), String> {
    // The parent of a bare file name.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let shown = folder.display();
    match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Ok(((), shown.to_string())),
        Err(error) => Err(format!("{shown} cannot be written to: {error}")),
    }
}

fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
