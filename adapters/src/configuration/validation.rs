//! What a configuration must keep to beyond its shape; every fault is collected, with its line.

use std::{path::Path, time::Duration};

use toml::Spanned;

use super::{
    Configuration, Limits, Listen, Method, MethodKind, Note, Problem, ReplyField, RequestField,
    ServiceName, WhenNone,
    database::database,
    fields::{reply_fields, request_fields, sample, text_form},
    file::{File, ListenTable, MethodTable},
    findings::{Findings, is_field_name, is_type_name},
    write::{Written, outline},
};
use crate::{
    encoding::{TextForm, Undecodable},
    engine::Engine,
    field_type::FieldType,
    statement::{Purpose, Statement},
};

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
    let start_of_database = file.database.span().start;
    let table = file.database.into_inner();
    let text_form = text_form(&mut findings, "[database] text", table.text.as_ref());
    let text_form = text_form.unwrap_or_default();
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
    let mut methods: Vec<Method> = Vec::new();
    for table in file.methods {
        let start = table.name.span().start;
        let engine = database
            .as_ref()
            .map_or(Engine::Sqlite, |settings| settings.source.engine());
        if let Some(method) = method(&mut findings, table, text_form, engine) {
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
    match (service, listen, database, findings.problems.is_empty()) {
        (Some(service), Some(listen), Some(database), true) => Ok(Configuration {
            path: path.to_owned(),
            service,
            doc,
            listen,
            database,
            limits,
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
        (None, Some(unix)) => return Some(Listen::Unix(folder.join(unix.get_ref()))),
        (Some(address), None) => match address.get_ref().parse::<std::net::SocketAddr>() {
            Ok(parsed) if parsed.ip().is_loopback() => return Some(Listen::Tcp(parsed)),
            Ok(parsed) => (
                address.span().start,
                format!(
                    "{parsed} can be reached from other machines, and calls to an adapter are \
                     plaintext; use 127.0.0.1 or a Unix socket, on the machine of the security \
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
            "give either `address` or `unix`".to_owned(),
        ),
    };
    findings.add(start, "[listen]", fault);
    None
}

fn method(
    findings: &mut Findings<'_>,
    table: MethodTable,
    text_of_database: TextForm,
    engine: Engine,
) -> Option<Method> {
    let before = findings.problems.len();
    let start = table.name.span().start;
    let name = table.name.into_inner();
    let place = format!("method {name}");
    let text = text_form(findings, &format!("{place} text"), table.text.as_ref());
    let text = text.unwrap_or(text_of_database);
    if !is_type_name(&name) {
        let fault = "a method name begins with a capital letter and holds letters and digits only, \
                     for example FindPerson";
        findings.add(start, &place, fault.to_owned());
    }
    let doc = findings.doc(&place, table.doc);
    let request = request_fields(findings, &place, table.request, text);
    let reply = reply_fields(findings, &place, start, table.reply, text);
    let reports = |field: &ReplyField| {
        field.field_type == FieldType::Text && field.rules.text.undecodable == Undecodable::Report
    };
    let notes = if reply.iter().any(reports) {
        vec![Note::Undecodable]
    } else {
        Vec::new()
    };
    for note in &notes {
        if reply.iter().any(|field| field.name == note.field()) {
            let fault = format!(
                "the adapter itself answers the field {}; rename yours",
                note.field()
            );
            findings.add(start, &place, fault);
        }
    }
    let fields: Vec<_> = request.iter().map(RequestField::in_statement).collect();
    let written = Written {
        start,
        kind: table.kind,
        steps: &table.steps,
        idempotency_key: table.idempotency_key.as_ref(),
        natural_key: table.natural_key.as_ref(),
    };
    let outline = outline(findings, &place, &written, &request);
    let steps = table.steps.iter().map(|step| &step.sql);
    let texts: Vec<_> = steps.chain([&table.sql]).collect();
    let purposed = texts.iter().enumerate().map(|(position, text)| {
        let is_step = position < table.steps.len();
        let purpose = if is_step {
            Purpose::Writing
        } else {
            Purpose::Reading
        };
        (text.get_ref().as_str(), purpose)
    });
    let statements = Statement::parse_together(&purposed.collect::<Vec<_>>(), &fields, engine)
        .map_err(|(position, fault)| {
            findings.add(texts[position].span().start, &place, fault.to_string());
        });
    let statement = statements.and_then(|mut statements| {
        let answer = statements.pop().ok_or(())?;
        Ok((answer, outline.map(|outline| outline.with(statements))))
    });
    let subject = table.subject.and_then(|subject| {
        let field = request
            .iter()
            .find(|field| field.name == *subject.get_ref());
        if field.is_none_or(|field| !field.required) {
            let fault = format!(
                "subject {:?} is no required request field; name the request field that identifies \
                 the person",
                subject.get_ref()
            );
            findings.add(subject.span().start, &place, fault);
        }
        field.map(|field| field.name.clone())
    });
    let (default_rows, default_timeout) = match table.kind {
        MethodKind::Unary => (100, Duration::from_secs(5)),
        MethodKind::ServerStreaming => (10_000, Duration::from_secs(60)),
        MethodKind::Batches => (1_000_000, Duration::from_secs(600)),
    };
    let when_none = match (table.kind, table.when_none) {
        (MethodKind::Unary, Some(written)) if *written.get_ref() == WhenNone::Empty => {
            let fault = "a unary method has no empty answer; remove when_none or stream";
            findings.add(written.span().start, &place, fault.to_owned());
            WhenNone::NotFound
        }
        (MethodKind::Unary, _) => WhenNone::NotFound,
        (MethodKind::ServerStreaming | MethodKind::Batches, written) => {
            written.map_or(WhenNone::Empty, Spanned::into_inner)
        }
    };
    let max_rows = findings.number(
        &format!("{place}, max_rows"),
        table.max_rows,
        default_rows,
        1..=1_000_000_000_000,
    ) as u64;
    if let Some(written) = &table.rows_per_message
        && table.kind != MethodKind::Batches
    {
        let fault =
            "only a method of kind \"batches\" has many rows in a message; remove rows_per_message";
        findings.add(written.span().start, &place, fault.to_owned());
    }
    let rows_per_message = findings.number(
        &format!("{place}, rows_per_message"),
        table.rows_per_message,
        1_000,
        1..=100_000,
    );
    let timeout = findings.duration(
        &format!("{place}, timeout"),
        table.timeout,
        default_timeout,
        Duration::from_secs(24 * 60 * 60),
    );
    let widths = statement
        .as_ref()
        .map_or(&[][..], |(statement, _)| &statement.widths);
    let sample = table
        .sample
        .map(|written| sample(findings, &place, &request, widths, written));
    let (statement, write) = statement
        .ok()
        .filter(|_| findings.problems.len() == before)?;
    Some(Method {
        name,
        kind: table.kind,
        doc,
        statement,
        write,
        subject,
        when_none,
        max_rows,
        rows_per_message,
        timeout,
        request,
        reply,
        notes,
        sample,
    })
}
