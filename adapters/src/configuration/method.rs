//! One method of the file: its fields, its SQL texts, its limits, and what each grant leaves of it.

use std::time::Duration;

use toml::Spanned;

use super::{
    Granted, Method, MethodKind, Note, ReplyField, RequestField, WhenNone, Write,
    changes::{bounds, change_table, fault_of_changes, is_number},
    fields::{Stored, reply_fields, request_fields, sample, text_form},
    file::{GrantTable, MethodTable, StepTable},
    findings::{Findings, is_type_name},
    folded::{self, fault_of_folded, folded_fields},
    grants,
    subjects::subjects,
    write::{Outline, Written, fault_of_natural_key, outline},
};
use crate::{
    encoding::Undecodable,
    engine::Engine,
    field_type::{Cell, FieldType},
    statement::{Field, Purpose, Statement, StatementFault},
};

pub(super) fn method(
    findings: &mut Findings<'_>,
    mut table: MethodTable,
    stored: &Stored<'_>,
    engine: Engine,
    granting: &[GrantTable],
) -> Option<Method> {
    let before = findings.problems.len();
    let start = table.name.span().start;
    let name = table.name.into_inner();
    let place = format!("method {name}");
    let text = text_form(findings, &format!("{place} text"), table.text.as_ref());
    let steps = table.steps.iter().map(|step| step.sql.get_ref().as_str());
    let texts = steps.chain([table.sql.get_ref().as_str()]);
    let text = text.or_else(|| stored.of(texts)).unwrap_or_else(|| {
        let fault = "its tables keep text in different ways; say at the method or at each field how it is stored";
        findings.add(start, &place, fault.to_owned());
        stored.of_database
    });
    if !is_type_name(&name) {
        let fault = "a method name begins with a capital letter and holds letters and digits only, \
                     for example FindPerson";
        findings.add(start, &place, fault.to_owned());
    }
    let doc = findings.doc(&place, table.doc);
    let folded = folded_fields(findings, &place, &mut table.request);
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
    let key = table.idempotency_key.as_ref().map(Spanned::get_ref);
    let fields = request.iter().map(|field| Field {
        is_key: key == Some(&field.name),
        ..field.in_statement()
    });
    let changes = change_table(
        findings,
        &place,
        start,
        (table.kind, table.changes),
        (&request, &reply),
        engine,
    );
    let bounds = changes.as_ref().map(|_| bounds()).unwrap_or_default();
    let filter_fields = filters
        .iter()
        .enumerate()
        .map(|(position, filter)| grants::in_statement(filter, most_values(position)));
    let bound_fields = bounds.iter().map(RequestField::in_statement);
    let fields: Vec<_> = fields.chain(filter_fields).chain(bound_fields).collect();
    let written = Written {
        start,
        kind: table.kind,
        steps: &table.steps,
        idempotency_key: table.idempotency_key.as_ref(),
        natural_key: table.natural_key.as_ref(),
    };
    let outline = outline(findings, &place, &written, &request);
    let texts = Texts {
        steps: &table.steps,
        answer: &table.sql,
        fields: &fields,
        outline,
        engine,
    };
    let statement = texts.parse(&reply).map_err(|(position, fault)| {
        findings.add(texts.start(position), &place, fault.to_string());
    });
    let subjects = subjects(findings, &place, table.subject, &request, &reply);
    let (default_rows, default_timeout) = match table.kind {
        MethodKind::Unary => (100, Duration::from_secs(5)),
        MethodKind::ServerStreaming => (10_000, Duration::from_secs(60)),
        MethodKind::Batches | MethodKind::Changes => (1_000_000, Duration::from_secs(600)),
    };
    let when_none = match (table.kind, table.when_none) {
        (MethodKind::Unary, Some(written)) if *written.get_ref() == WhenNone::Empty => {
            let fault = "a unary method has no empty answer; remove when_none or stream";
            findings.add(written.span().start, &place, fault.to_owned());
            WhenNone::NotFound
        }
        (MethodKind::Unary, _) => WhenNone::NotFound,
        (MethodKind::Changes, Some(written)) => {
            let fault = "a stream without changes is empty; remove when_none";
            findings.add(written.span().start, &place, fault.to_owned());
            WhenNone::Empty
        }
        (MethodKind::ServerStreaming | MethodKind::Batches | MethodKind::Changes, written) => {
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
        && !matches!(table.kind, MethodKind::Batches | MethodKind::Changes)
    {
        let fault = "only a method of kind \"batches\" or \"changes\" has many rows in a message; remove rows_per_message";
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
    let sample = table.sample.map(|mut written| {
        // A sample has all rows that could be compared.
        written.retain(|name, _| !folded.iter().any(|field| field.name == *name.get_ref()));
        sample(findings, &place, &request, widths, written)
    });
    let (statement, write) = statement.ok()?;
    let of_key = write.as_ref();
    let of_key = of_key.and_then(|write| fault_of_natural_key(write, &statement, &request));
    if let Some(fault) = of_key {
        findings.add(start, &place, fault);
    }
    if let Some(fault) = changes.as_ref().and_then(|_| fault_of_changes(&statement)) {
        findings.add(start, &place, fault);
    }
    let fields = (request.as_slice(), reply.as_slice());
    if let Some(fault) = fault_of_folded(&folded, table.kind, fields, &statement) {
        findings.add(start, &place, fault);
    }
    let whole = Method {
        name,
        kind: table.kind,
        doc,
        statement,
        write,
        changes,
        subjects,
        when_none,
        max_rows,
        rows_per_message,
        timeout,
        request: request.clone(),
        folded,
        filters: filters.clone(),
        filter_values: Vec::new(),
        bounds: bounds.clone(),
        reply,
        withheld: Vec::new(),
        granted: Vec::new(),
        notes,
        sample,
    };
    let granting_it = granting_it.into_iter().zip(filter_values);
    let granted = granting_it.filter_map(|((grant, table), values)| {
        let method = under_grant(findings, &whole, &texts, table, values)?;
        Some(Granted { grant, method })
    });
    let granted = granted.collect();
    let is_sound = findings.problems.len() == before;
    is_sound.then_some(Method { granted, ..whole })
}

/// The method as a grant leaves it.
fn under_grant(
    findings: &mut Findings<'_>,
    whole: &Method,
    texts: &Texts<'_>,
    table: &GrantTable,
    filter_values: Vec<Vec<Cell>>,
) -> Option<Method> {
    let (reply, withheld) = grants::fields(&whole.reply, table);
    let selects_withheld = !withheld.is_empty() && !texts.has_columns();
    grants::check(findings, &whole.name, table, &reply, selects_withheld);
    if let Some(field) = folded::withheld(whole, &reply) {
        let place = format!("grant {}", table.name.get_ref());
        let fault = format!(
            "it withholds {}, which callers of {} would find out by asking with {}; grant it, or make a method of its own",
            field.reply, whole.name, field.name
        );
        findings.add(table.name.span().start, &place, fault);
    }
    let number = whole.changes.as_ref().map(|changes| &changes.number);
    if number.is_some_and(|number| !reply.iter().any(|field| is_number(field, number))) {
        let place = format!("grant {}", table.name.get_ref());
        let fault = format!(
            "it leaves callers of {} no number of the change; add its field",
            whole.name
        );
        findings.add(table.name.span().start, &place, fault);
    }
    let most = whole.max_rows.max(1);
    let place = format!("grant {}, max_rows", table.name.get_ref());
    let max_rows = findings.number(&place, table.max_rows.clone(), most, 1..=most) as u64;
    let (statement, write) = texts.parse(&reply).ok()?;
    let widths = statement.widths.iter().skip(whole.request.len());
    let filled = filter_values
        .into_iter()
        .zip(widths)
        .map(|(cells, width)| width.fill(cells));
    Some(Method {
        filter_values: filled.flatten().collect(),
        statement,
        write,
        reply,
        withheld,
        max_rows,
        ..whole.clone()
    })
}

/// The SQL texts of a method, which bind the same fields.
struct Texts<'a> {
    steps: &'a [StepTable],
    answer: &'a Spanned<String>,
    fields: &'a [Field<'a>],
    outline: Option<Outline>,
    engine: Engine,
}

impl Texts<'_> {
    /// The statements, with the columns of these fields in the answer.
    fn parse(
        &self,
        reply: &[ReplyField],
    ) -> Result<(Statement, Option<Write>), (usize, StatementFault)> {
        let answer = match self.has_columns() {
            true => {
                let columns = grants::columns(self.engine, reply);
                self.answer.get_ref().replace(grants::COLUMNS, &columns)
            }
            false => self.answer.get_ref().clone(),
        };
        let steps = self
            .steps
            .iter()
            .map(|step| (step.sql.get_ref().as_str(), Purpose::Writing));
        let purposed: Vec<_> = steps.chain([(answer.as_str(), Purpose::Reading)]).collect();
        let mut statements = Statement::parse_together(&purposed, self.fields, self.engine)?;
        let answer = statements.pop().ok_or((0, StatementFault::Empty))?;
        let write = self.outline.clone().map(|outline| outline.with(statements));
        Ok((answer, write))
    }

    fn has_columns(&self) -> bool {
        self.answer.get_ref().contains(grants::COLUMNS)
    }

    /// Where a text stands in the file.
    fn start(&self, position: usize) -> usize {
        let step = self.steps.get(position).map(|step| &step.sql);
        step.unwrap_or(self.answer).span().start
    }
}
