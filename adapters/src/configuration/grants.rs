//! What may be answered to whom: a method as each grant leaves it.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{
    Method, Note, ReplyField, RequestField, fields::sample_value, file::GrantTable,
    findings::Findings,
};
use crate::{engine::Engine, field_type::Cell, statement::Field};

/// What stands in a SQL text for the columns that may be answered.
pub(super) const COLUMNS: &str = "{columns}";

/// The most values of one filter.
const MOST_VALUES: usize = 100;

/// Who may call, and what for; what is answered then is in the methods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its name, for logs and refusals.
    pub name: String,
    /// The consumers (`x-road-client`); any if not given.
    pub consumers: Option<Vec<String>>,
    /// The purposes (`x-road-purpose`), letter for letter; any if not given.
    pub purposes: Option<Vec<String>>,
    /// The access rights of the security server (`x-road-access-right`) that calls come by; any if not given.
    pub rights: Option<Vec<String>>,
    /// How many calls it allows in a minute.
    pub calls_per_minute: Option<u32>,
}

/// A method as a grant leaves it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The grant, by its position.
    pub grant: usize,
    /// The method with what may be answered only.
    pub method: Method,
}

pub(super) fn grants(findings: &mut Findings<'_>, tables: &[GrantTable]) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    for table in tables {
        let (start, name) = (table.name.span().start, table.name.get_ref());
        let place = format!("grant {name}");
        if grants.iter().any(|grant| grant.name == *name) {
            findings.add(
                start,
                &place,
                "the name is used twice; rename one".to_owned(),
            );
        }
        for (key, list) in [
            ("consumers", &table.consumers),
            ("purposes", &table.purposes),
            ("access_rights", &table.access_rights),
        ] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                let fault = format!("{key} is empty; leave it out for any, or name some");
                findings.add(start, &place, fault);
            }
        }
        let calls = table.calls_per_minute.clone().map(|written| {
            let place = format!("{place}, calls_per_minute");
            findings.number(&place, Some(written), 1, 1..=1_000_000)
        });
        grants.push(Grant {
            name: name.clone(),
            consumers: table.consumers.clone(),
            purposes: table.purposes.clone(),
            rights: table.access_rights.clone(),
            calls_per_minute: calls.and_then(|calls| u32::try_from(calls).ok()),
        });
    }
    grants
}

/// The grants that a method has, by their positions.
pub(super) fn of_method<'a>(
    tables: &'a [GrantTable],
    method: &str,
) -> Vec<(usize, &'a GrantTable)> {
    let applies = |table: &GrantTable| {
        let methods = table.methods.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|name| name.get_ref() == method))
    };
    tables
        .iter()
        .enumerate()
        .filter(|(_, table)| applies(table))
        .collect()
}

/// Names in grants that nothing has.
pub(super) fn unknown_names(
    findings: &mut Findings<'_>,
    tables: &[GrantTable],
    methods: &[Method],
) {
    for table in tables {
        let place = format!("grant {}", table.name.get_ref());
        for name in table.methods.iter().flatten() {
            if !methods.iter().any(|method| method.name == *name.get_ref()) {
                let fault = format!("there is no method {}", name.get_ref());
                findings.add(name.span().start, &place, fault);
            }
        }
        for name in table.fields.iter().flatten() {
            let has = |method: &Method| {
                method
                    .reply
                    .iter()
                    .any(|field| field.name == *name.get_ref())
            };
            if !methods.iter().any(has) {
                let fault = format!("no method has a reply field {}", name.get_ref());
                findings.add(name.span().start, &place, fault);
            }
        }
        for name in table.filters.keys() {
            let has = |method: &Method| {
                method
                    .filters
                    .iter()
                    .any(|field| field.name == *name.get_ref())
            };
            if !methods.iter().any(has) {
                let fault = format!("no method has a filter {}", name.get_ref());
                findings.add(name.span().start, &place, fault);
            }
        }
    }
}

/// The values of a method's filters under a grant, for each filter in order.
pub(super) fn filter_values(
    findings: &mut Findings<'_>,
    method: &str,
    filters: &[RequestField],
    table: &GrantTable,
) -> Vec<Vec<Cell>> {
    let place = format!("grant {}", table.name.get_ref());
    let mut values = Vec::with_capacity(filters.len());
    for filter in filters {
        let written = table.filters.get(filter.name.as_str());
        let Some(written) = written else {
            let fault = format!(
                "the method {method} has a filter {}; give it a value in filters, since without one all rows would be answered",
                filter.name
            );
            findings.add(table.name.span().start, &place, fault);
            values.push(vec![Cell::Null]);
            continue;
        };
        let listed = match written.get_ref() {
            toml::Value::Array(values) => values.clone(),
            one => vec![one.clone()],
        };
        let mut cells = Vec::new();
        for value in &listed {
            let value = sample_value(value);
            let bound = value.and_then(|value| filter.rules.bind(filter.field_type, &value).ok());
            match bound {
                Some(bound) => cells.extend(bound),
                None => {
                    let expected = filter.rules.expectation(filter.field_type);
                    let fault = format!("the filter {} is {expected}", filter.name);
                    findings.add(written.span().start, &place, fault);
                }
            }
        }
        if listed.is_empty() || listed.len() > MOST_VALUES {
            let fault = format!("a filter has 1 to {MOST_VALUES} values");
            findings.add(written.span().start, &place, fault);
        }
        values.push(cells);
    }
    values
}

/// A filter as the statement sees it, with so many values at the most.
pub(super) fn in_statement(filter: &RequestField, most: usize) -> Field<'_> {
    let field = filter.in_statement();
    Field {
        ways: most.max(1),
        needs_all: field.needs_all || most > 1,
        ..field
    }
}

/// The reply fields that a grant leaves, and the names of the others.
pub(super) fn fields(reply: &[ReplyField], table: &GrantTable) -> (Vec<ReplyField>, Vec<String>) {
    let Some(named) = &table.fields else {
        return (reply.to_vec(), Vec::new());
    };
    let is_left = |field: &&ReplyField| named.iter().any(|name| *name.get_ref() == field.name);
    let (left, withheld): (Vec<_>, Vec<_>) = reply.iter().partition(is_left);
    let names = withheld.into_iter().map(|field| field.name.clone());
    (left.into_iter().cloned().collect(), names.collect())
}

/// What a grant makes of a method must be a method, and must not select what it withholds.
pub(super) fn check(
    findings: &mut Findings<'_>,
    method: &str,
    table: &GrantTable,
    left: &[ReplyField],
    selects_withheld: bool,
) {
    let place = format!("grant {}", table.name.get_ref());
    let start = table.name.span().start;
    if left.is_empty() {
        let fault = format!("it leaves no field of the method {method}; name some in fields");
        findings.add(start, &place, fault);
    }
    if selects_withheld {
        let fault = format!(
            "it withholds fields of the method {method}, whose columns must not even be selected: write {COLUMNS} in its \
             SQL text in the place of the columns"
        );
        findings.add(start, &place, fault);
    }
}

/// The columns of reply fields, as they are written in SQL.
pub(super) fn columns(engine: Engine, reply: &[ReplyField]) -> String {
    let mut written: Vec<String> = Vec::new();
    for column in reply.iter().flat_map(|field| &field.columns) {
        let column = engine.quoted(column);
        if !written.contains(&column) {
            written.push(column);
        }
    }
    written.join(", ")
}

/// What the replies of a method say of themselves because of its grants.
pub(super) fn note(reply: &[ReplyField], granted: &[(usize, &GrantTable)]) -> Option<Note> {
    let mut withheld = granted.iter().map(|(_, table)| fields(reply, table).1);
    withheld
        .any(|withheld| !withheld.is_empty())
        .then_some(Note::Withheld)
}

/// The filters of a grant as they are written.
pub(super) type WrittenFilters = BTreeMap<Spanned<String>, Spanned<toml::Value>>;
