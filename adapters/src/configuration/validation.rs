//! What a configuration must keep to beyond its shape; every fault is collected, with its line.

use std::{path::Path, time::Duration};

use toml::Spanned;

use super::{
    Configuration, DatabaseSettings, Granted, Limits, Listen, Method, MethodKind, Note, Problem,
    ReplyField, RequestField, ServiceName, Source, WhenNone,
    database::database,
    fields::{reply_fields, request_fields, sample, text_form},
    file::{File, GrantTable, ListenTable, MethodTable},
    findings::{Findings, is_field_name, is_type_name},
    grants,
    write::{Written, is_sound, outline},
};
use crate::{
    encoding::{TextForm, Undecodable},
    engine::Engine,
    field_type::{Cell, FieldType},
    statement::{Purpose, Statement, StatementFault},
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
                     which only the security server may open";
        findings.add(file.listen.span().start, "[listen]", fault.to_owned());
    }
    let mut methods: Vec<Method> = Vec::new();
    for table in file.methods {
        let start = table.name.span().start;
        let engine = database
            .as_ref()
            .map_or(Engine::Sqlite, |settings| settings.source.engine());
        if let Some(method) = method(&mut findings, table, text_form, engine, &file.grants) {
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
        && methods.iter().any(|method| method.write.is_some())
    {
        let fault = "CSV files are only read; remove the methods that write";
        findings.add(start_of_database, "[database]", fault.to_owned());
    }
    grants::unknown_names(&mut findings, &file.grants, &methods);
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
        (None, Some(unix)) => {
            return Some(Listen::Unix {
                path: folder.join(unix.get_ref()),
                group_may_connect: table.get_ref().group_may_connect,
            });
        }
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
    granting: &[GrantTable],
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
    let granting_it = grants::of_method(granting, &name);
    let mut notes: Vec<Note> = grants::note(&reply, &granting_it).into_iter().collect();
    if reply.iter().any(reports) {
        notes.push(Note::Undecodable);
    }
    for note in &notes {
        if reply.iter().any(|field| field.name == note.field()) {
            let fault = format!(
                "the adapter itself answers the field {}; rename yours",
                note.field()
            );
            findings.add(start, &place, fault);
        }
    }
    let filters = request_fields(findings, &format!("{place}, filters"), table.filters, text);
    if !filters.is_empty() && granting_it.is_empty() {
        let fault = "filters get their values from [[grants]], and none is for this method";
        findings.add(start, &place, fault.to_owned());
    }
    if !granting.is_empty() && granting_it.is_empty() {
        let fault = "no grant is for this method, so that nobody could call it; add one, or remove the method";
        findings.add(start, &place, fault.to_owned());
    }
    let values_of =
        |(_, grant): &(usize, &GrantTable)| grants::filter_values(findings, &name, &filters, grant);
    let filter_values: Vec<Vec<Vec<Cell>>> = granting_it.iter().map(values_of).collect();
    let most_values = |position: usize| {
        let counts = filter_values
            .iter()
            .filter_map(|values| values.get(position));
        counts.map(Vec::len).max().unwrap_or(1)
    };
    let fields = request.iter().map(RequestField::in_statement);
    let filter_fields = filters
        .iter()
        .enumerate()
        .map(|(position, filter)| grants::in_statement(filter, most_values(position)));
    let fields: Vec<_> = fields.chain(filter_fields).collect();
    let written = Written {
        start,
        kind: table.kind,
        steps: &table.steps,
        idempotency_key: table.idempotency_key.as_ref(),
        natural_key: table.natural_key.as_ref(),
    };
    let outline = outline(findings, &place, &written, &request);
    let texts: Vec<_> = table
        .steps
        .iter()
        .map(|step| &step.sql)
        .chain([&table.sql])
        .collect();
    let has_columns = table.sql.get_ref().contains(grants::COLUMNS);
    // The statements, with these columns in the answer.
    let parse = |reply: &[ReplyField]| {
        let answer = match has_columns {
            true => table
                .sql
                .get_ref()
                .replace(grants::COLUMNS, &grants::columns(engine, reply)),
            false => table.sql.get_ref().clone(),
        };
        let steps = table
            .steps
            .iter()
            .map(|step| (step.sql.get_ref().as_str(), Purpose::Writing));
        let purposed: Vec<_> = steps.chain([(answer.as_str(), Purpose::Reading)]).collect();
        let mut statements = Statement::parse_together(&purposed, &fields, engine)?;
        let answer = statements.pop().ok_or((0, StatementFault::Empty))?;
        Ok((
            answer,
            outline.clone().map(|outline| outline.with(statements)),
        ))
    };
    let statement = parse(&reply).map_err(|(position, fault): (usize, StatementFault)| {
        findings.add(texts[position].span().start, &place, fault.to_string());
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
    let (statement, write) = statement.ok()?;
    if write.as_ref().is_some_and(|write| !is_sound(write)) {
        let fault = "natural_key is for steps that INSERT only: what is there already is answered, and other steps would be \
                     left out; use `idempotency_key`";
        findings.add(start, &place, fault.to_owned());
    }
    let whole = Method {
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
        request: request.clone(),
        filters: filters.clone(),
        filter_values: Vec::new(),
        reply,
        withheld: Vec::new(),
        granted: Vec::new(),
        notes,
        sample,
    };
    let mut granted = Vec::with_capacity(granting_it.len());
    for ((grant, of_grant), values) in granting_it.into_iter().zip(filter_values) {
        let (reply, withheld) = grants::fields(&whole.reply, of_grant);
        grants::check(
            findings,
            &whole.name,
            of_grant,
            &reply,
            !withheld.is_empty() && !has_columns,
        );
        let most = max_rows.max(1);
        let place = format!("grant {}, max_rows", of_grant.name.get_ref());
        let max_rows = findings.number(&place, of_grant.max_rows.clone(), most, 1..=most) as u64;
        let Ok((statement, write)) = parse(&reply) else {
            continue;
        };
        let widths = statement.widths.iter().skip(whole.request.len());
        let filled = values
            .into_iter()
            .zip(widths)
            .map(|(cells, width)| width.fill(cells));
        let method = Method {
            filter_values: filled.flatten().collect(),
            statement,
            write,
            reply,
            withheld,
            max_rows,
            ..whole.clone()
        };
        granted.push(Granted { grant, method });
    }
    let is_sound = findings.problems.len() == before;
    is_sound.then_some(Method { granted, ..whole })
}
