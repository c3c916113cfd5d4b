//! What a configuration must keep to beyond its shape; every fault is collected, with its line.

use std::path::Path;

use tokio_rustls::rustls::pki_types::ServerName;
use toml::Spanned;

use super::{
    Configuration, DatabaseSettings, Limits, Listen, Method, Problem, ServiceName, Source,
    TlsFiles,
    database::database,
    fields::{Stored, text_form, texts_of_tables},
    file::{File, ListenTable},
    findings::{Findings, is_field_name, is_type_name},
    grants,
    method::method,
};
use crate::engine::Engine;

/// The mark, on its own line of a field's comment, of the field that identifies the person.
pub(crate) const SUBJECT_MARK: &str = "@data-subject";

pub(super) const MEBIBYTE: u64 = 1024 * 1024;

pub(super) fn validate(path: &Path, text: &str, file: File) -> Result<Configuration, Vec<Problem>> {
    let mut findings = Findings {
        text,
        problems: Vec::new(),
    };
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let service = service_name(&mut findings, &file.service.name);
    let doc = findings.doc("[service]", file.service.doc);
    let listen = listen(&mut findings, folder, &file.listen);
    let monitoring = file
        .listen
        .get_ref()
        .monitoring
        .as_ref()
        .and_then(|written| {
            let parsed = written.get_ref().parse().ok();
            if parsed.is_none() {
                let fault =
                    "monitoring is no address; write IP:PORT, for example \"127.0.0.1:9464\"";
                findings.add(written.span().start, "[listen]", fault.to_owned());
            }
            parsed
        });
    let start_of_database = file.database.span().start;
    let table = file.database.into_inner();
    let text_form = text_form(&mut findings, "[database] text", table.text.as_ref());
    let text_form = text_form.unwrap_or_default();
    let tables = texts_of_tables(&mut findings, &file.tables);
    let stored = Stored {
        of_database: text_form,
        of_tables: &tables,
    };
    let database = database(&mut findings, folder, start_of_database, table);
    let message_bytes = 1024..=1024 * MEBIBYTE;
    let limits = Limits {
        request_bytes: findings.number(
            "[limits] request_bytes",
            file.limits.request_bytes,
            MEBIBYTE,
            message_bytes.clone(),
        ),
        reply_bytes: findings.number(
            "[limits] reply_bytes",
            file.limits.reply_bytes,
            16 * MEBIBYTE,
            message_bytes,
        ),
        concurrent_calls: findings.number(
            "[limits] concurrent_calls",
            file.limits.concurrent_calls,
            64,
            1..=10_000,
        ),
    };
    if file.methods.is_empty() {
        findings.add(
            0,
            "the file",
            "there is no method; add a [[methods]] table".to_owned(),
        );
    }
    let granted = grants::grants(&mut findings, &file.grants);
    if let (false, Some(Listen::Tcp(_))) = (granted.is_empty(), &listen) {
        let fault = "grants depend on who calls, and whoever reaches a port can say to be anybody; listen on a Unix socket, \
                     which only the security server may open, or give `tls`";
        findings.add(file.listen.span().start, "[listen]", fault.to_owned());
    }
    let mut methods: Vec<Method> = Vec::new();
    for table in file.methods {
        let start = table.name.span().start;
        let engine = database
            .as_ref()
            .map_or(Engine::Sqlite, |settings| settings.source.engine());
        if let Some(method) = method(&mut findings, table, &stored, engine, &file.grants) {
            if methods.iter().any(|earlier| earlier.name == method.name) {
                let place = format!("method {}", method.name);
                findings.add(
                    start,
                    &place,
                    "the name is used twice; rename one".to_owned(),
                );
            }
            methods.push(method);
        }
    }
    if let Some(DatabaseSettings {
        source: Source::Csv { .. },
        ..
    }) = &database
        && methods
            .iter()
            .any(|method| method.write.is_some() || method.changes.is_some())
    {
        let fault = "CSV files are only read, and keep no changes; remove the methods that write or are of kind \"changes\"";
        findings.add(start_of_database, "[database]", fault.to_owned());
    }
    // A method with a fault of its own is not there, and what names it is not wrong for that.
    if findings.problems.is_empty() {
        for table in &file.tables {
            let name = table.name.get_ref();
            if !methods.iter().any(|method| method.names_in_sql(name)) {
                let fault =
                    format!("no SQL text names the table {name}; write it as it stands there");
                findings.add(table.name.span().start, "[[tables]]", fault);
            }
        }
        grants::unknown_names(&mut findings, &file.grants, &methods);
    }
    match (service, listen, database, findings.problems.is_empty()) {
        (Some(service), Some(listen), Some(database), true) => Ok(Configuration {
            path: path.to_owned(),
            service,
            doc,
            listen,
            monitoring,
            database,
            limits,
            grants: granted,
            methods,
        }),
        _ => Err(findings.problems),
    }
}

fn service_name(findings: &mut Findings<'_>, written: &Spanned<String>) -> Option<ServiceName> {
    let parsed = written
        .get_ref()
        .rsplit_once('.')
        .filter(|(package, name)| {
            is_type_name(name)
                && written.get_ref().len() <= 200
                && package.split('.').all(is_field_name)
        });
    let Some((package, name)) = parsed else {
        findings.add(
            written.span().start,
            "[service] name",
            format!(
                "{:?} is no gRPC service name; write a package in small letters and a name, \
                 for example \"vn.population.v1.Population\"",
                written.get_ref()
            ),
        );
        return None;
    };
    Some(ServiceName {
        package: package.to_owned(),
        name: name.to_owned(),
    })
}

fn listen(
    findings: &mut Findings<'_>,
    folder: &Path,
    table: &Spanned<ListenTable>,
) -> Option<Listen> {
    let (address, unix) = (&table.get_ref().address, &table.get_ref().unix);
    let (start, fault) = match (address, unix) {
        (None, Some(unix)) if table.get_ref().tls.is_none() => {
            return Some(Listen::Unix {
                path: folder.join(unix.get_ref()),
                group_may_connect: table.get_ref().group_may_connect,
            });
        }
        (Some(address), None) => match address.get_ref().parse::<std::net::SocketAddr>() {
            Ok(address) if let Some(tls) = &table.get_ref().tls => {
                let start = table.span().start;
                if ServerName::try_from(tls.name.as_str()).is_err() {
                    let fault =
                        format!("tls: {:?} is no name of a host and no IP address", tls.name);
                    findings.add(start, "[listen]", fault);
                }
                if table.get_ref().group_may_connect {
                    let fault = "group_may_connect is for a Unix socket; remove it";
                    findings.add(start, "[listen]", fault.to_owned());
                }
                return Some(Listen::Tls {
                    address,
                    name: tls.name.clone(),
                    files: TlsFiles {
                        certificate: folder.join(&tls.certificate),
                        key: folder.join(&tls.key),
                        callers: folder.join(&tls.callers),
                    },
                });
            }
            Ok(parsed) if parsed.ip().is_loopback() => return Some(Listen::Tcp(parsed)),
            Ok(parsed) => (
                address.span().start,
                format!(
                    "{parsed} can be reached from other machines, and calls to an adapter are \
                     plaintext; give `tls`, or use 127.0.0.1 or a Unix socket, on the machine of the security \
                     server"
                ),
            ),
            Err(_) => (
                address.span().start,
                format!(
                    "{:?} is no address; write IP:PORT, for example \"127.0.0.1:0\"",
                    address.get_ref()
                ),
            ),
        },
        _ => (
            table.span().start,
            "give either `address`, with `tls` if it is for other machines, or `unix`".to_owned(),
        ),
    };
    findings.add(start, "[listen]", fault);
    None
}
