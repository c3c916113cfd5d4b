//! Where a method finds what has changed: a table with a row for each change, which the database numbers.

use toml::Spanned;

use super::{
    MethodKind, ReplyField, RequestField,
    file::{ChangesTable, OneOrMany},
    findings::Findings,
};
use crate::{
    column::{ColumnRules, Meaning},
    engine::Engine,
    field_type::FieldType,
    statement::Statement,
};

/// The table with a row for each change; names are as the catalogue has them, without quotation marks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeTable {
    /// Its name.
    pub table: String,
    /// The column that the database numbers, a change after the other.
    pub number: String,
    /// SQL that stands in for the table, where fixtures do.
    pub stand_in: Option<String>,
    /// The table whose triggers fill it, if `adapter ddl` is to print them.
    pub watched: Option<Watched>,
}

/// A table whose changes are kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watched {
    /// Its name.
    pub table: String,
    /// The columns that tell its rows apart.
    pub key: Vec<String>,
}

/// The request field with the point to go on from.
pub const AFTER: &str = "after";
/// The request field that asks to wait for more.
pub const FOLLOW: &str = "follow";
/// The reply field with the point to go on from.
pub const POSITION: &str = "position";
/// What the table has besides: what was done, and when.
const OPERATION: &str = "operation";
const CHANGED_AT: &str = "changed_at";
/// The parameter with the last number of those that are read.
const UNTIL: &str = "until";

/// The request fields that a method of this kind has besides its own: name, type and comment.
pub const OWN_FIELDS: [(&str, FieldType, &str); 2] = [
    (
        AFTER,
        FieldType::Text,
        "The position of the last message that was taken; absent to begin with the first change that is kept.",
    ),
    (
        FOLLOW,
        FieldType::Boolean,
        "Whether the stream waits for what changes meanwhile, until its time is over; if not, it ends with the last change.",
    ),
];

/// What the statement binds of where it stands: from behind `:after` to `:until`.
pub(super) fn bounds() -> Vec<RequestField> {
    let bound = |name: &str| RequestField {
        name: name.to_owned(),
        field_type: FieldType::Integer,
        rules: ColumnRules::default(),
        required: true,
        doc: String::new(),
    };
    vec![bound(AFTER), bound(UNTIL)]
}

/// What the file says of changes; none if the method is of another kind.
pub(super) fn change_table(
    findings: &mut Findings<'_>,
    place: &str,
    start: usize,
    (kind, written): (MethodKind, Option<Spanned<ChangesTable>>),
    (request, reply): (&[RequestField], &[ReplyField]),
    engine: Engine,
) -> Option<ChangeTable> {
    let mut fault = |start, fault: &str| findings.add(start, place, fault.to_owned());
    let (start, table) = match (kind, written) {
        (MethodKind::Changes, Some(written)) => (written.span().start, written.into_inner()),
        (MethodKind::Changes, None) => {
            let said = "a method of kind \"changes\" says where they are kept: changes = { table = \"TABLE\", number = \
                        \"COLUMN\" }";
            fault(start, said);
            return None;
        }
        (_, Some(written)) => {
            let said = "only a method of kind \"changes\" has `changes`; remove it";
            fault(written.span().start, said);
            return None;
        }
        (_, None) => return None,
    };
    let taken = [AFTER, FOLLOW, UNTIL];
    if let Some(field) = request.iter().find(|field| taken.contains(&&*field.name)) {
        let said = format!(
            "the adapter itself has {}; rename your request field",
            field.name
        );
        fault(start, &said);
    }
    if !reply.iter().any(|field| is_number(field, &table.number)) {
        let said = format!(
            "no reply field of type integer has the column {}; answer it, since callers tell by it which changes they have \
             had before",
            table.number
        );
        fault(start, &said);
    }
    let key = table.key.map(OneOrMany::into_vec).unwrap_or_default();
    let named = key
        .iter()
        .chain(&table.of)
        .chain([&table.table, &table.number]);
    for name in named {
        if !is_plain_name(name) {
            fault(
                start,
                &format!("{name:?} is no plain name; write letters, digits and _"),
            );
        }
    }
    if engine == Engine::Sqlite && table.table.contains('.') {
        fault(start, "a table of SQLite is named without a schema");
    }
    let own = [table.number.as_str(), OPERATION, CHANGED_AT];
    if let Some(taken) = key.iter().find(|column| own.contains(&column.as_str())) {
        let said = format!(
            "the table of changes has a column {taken} of its own; it cannot be part of the key"
        );
        fault(start, &said);
    }
    let watched = match (table.of, key.is_empty()) {
        (Some(table), false) => Some(Watched { table, key }),
        (None, true) => None,
        _ => {
            let said = "`of` is the table whose changes are kept and `key` the columns that tell its rows apart; give both \
                        or none";
            fault(start, said);
            None
        }
    };
    Some(ChangeTable {
        table: table.table,
        number: table.number,
        stand_in: None,
        watched,
    })
}

/// Why a statement would leave out changes in the middle, where nobody would notice.
pub(super) fn fault_of_changes(statement: &Statement) -> Option<String> {
    let has_order = statement
        .words()
        .any(|word| word.eq_ignore_ascii_case("ORDER"));
    if !has_order {
        let fault =
            "the SQL text has no ORDER BY; it must answer changes in the order of their numbers";
        return Some(fault.to_owned());
    }
    let mut words = statement.words();
    let cuts = |word: &&str| {
        let cuts = ["LIMIT", "OFFSET", "FETCH"];
        cuts.iter().any(|one| one.eq_ignore_ascii_case(word))
    };
    let word = words.find(cuts)?;
    Some(format!(
        "the SQL text has {word}, so that changes could be left out; it must answer all between :after and :until"
    ))
}

/// Whether a reply field is the number of the change.
pub(crate) fn is_number(field: &ReplyField, number: &str) -> bool {
    field.field_type == FieldType::Integer
        && field.rules.meaning == Meaning::Plain
        && field.rules.absent.is_empty()
        && matches!(field.columns.as_slice(), [column] if column == number)
}

/// A name that needs no quotation marks, perhaps with the schema before it.
fn is_plain_name(name: &str) -> bool {
    let is_plain = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    name.len() <= 120 && name.split('.').count() <= 2 && name.split('.').all(is_plain)
}
