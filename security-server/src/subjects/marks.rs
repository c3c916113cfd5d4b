//! Which fields name the persons that a message is about, read from the descriptors of a service.
//!
//! A field is marked by a line of its own in its comment: `@data-subject`. Only the fields that lead
//! to a mark are kept: a message is walked over, never decoded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::Type, source_code_info::Location,
};
use trust::{MethodPath, header::Direction};

const MARK: &str = "@data-subject";

/// What is declared below a message or a file, as `SourceCodeInfo` numbers it.
const MESSAGES_OF_FILE: i32 = 4;
const FIELDS_OF_MESSAGE: i32 = 2;
const MESSAGES_OF_MESSAGE: i32 = 3;

/// The most bytes of a descriptor set that is read for marks: in memory it is many times as large.
pub(super) const LIMIT: usize = 512 * 1024;

/// The most types, and as many methods, and the longest name of one in bytes.
const DECLARED: usize = 10_000;
const NAME: usize = 512;

/// Types of Google's own, which a descriptor set may lack: nothing in them is marked.
const WELL_KNOWN: &str = ".google.protobuf.";

/// But this one may hold any message.
const ANY: &str = ".google.protobuf.Any";

/// The marked fields of all methods of a descriptor set.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(super) messages: Vec<MarkedMessage>,
    methods: HashMap<String, MarkedMethod>,
}

/// The fields of a message that lead to persons, by number.
#[derive(Debug, Default)]
pub(super) struct MarkedMessage {
    pub(super) fields: BTreeMap<u32, Field>,
}

/// What is done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// It names a person.
    Names(Kind),
    /// A message in which persons are named, by its position.
    Holds(usize),
}

/// How a value that names a person is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    /// What nobody is known by, or no walk goes into: a fraction, a yes, bytes, a message, a group.
    Other,
}

/// The messages of a method in both directions.
#[derive(Debug, Clone, Copy)]
struct MarkedMethod {
    request: Root,
    reply: Root,
}

/// Where a walk over a message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// Nobody is named in it.
    Nobody,
    /// The position of its type.
    At(usize),
    /// Its type, or one in it, is not in the descriptor set.
    Unknown,
}

impl Marks {
    /// Reads an encoded `FileDescriptorSet`; none if it is not one.
    pub(super) fn read(descriptors: &[u8]) -> Option<Self> {
        if descriptors.len() > LIMIT {
            return None;
        }
        let set = FileDescriptorSet::decode(descriptors).ok()?;
        let mut types = Types::default();
        for file in &set.file {
            types.add_file(file);
        }
        let methods = set.file.iter().flat_map(|file| &file.service);
        let methods: usize = methods.map(|service| service.method.len()).sum();
        if types.is_excessive || methods > DECLARED {
            return None;
        }
        let marks = Marked::of(&types);
        let methods = set.file.iter().flat_map(|file| {
            let package = file.package();
            file.service.iter().flat_map(move |service| {
                let service_name = match package {
                    "" => service.name().to_owned(),
                    package => format!("{package}.{}", service.name()),
                };
                service
                    .method
                    .iter()
                    .map(move |method| (format!("{service_name}/{}", method.name()), method))
            })
        });
        let methods = methods
            .map(|(path, method)| {
                let marked = MarkedMethod {
                    request: marks.root(method.input_type()),
                    reply: marks.root(method.output_type()),
                };
                (path, marked)
            })
            .collect();
        Some(Self {
            messages: marks.messages,
            methods,
        })
    }

    /// Where a message of a method begins; none if the descriptor set does not have the method.
    pub(super) fn root(&self, method: &MethodPath, direction: Direction) -> Option<Root> {
        let path = format!("{}/{}", method.service(), method.method());
        let marked = self.methods.get(&path)?;
        Some(match direction {
            Direction::Request => marked.request,
            Direction::Reply => marked.reply,
        })
    }
}

/// All message types, by full name with the leading dot.
#[derive(Default)]
struct Types<'a> {
    declared: BTreeMap<String, DeclaredType<'a>>,
    /// There are more, or longer names, than a service has.
    is_excessive: bool,
}

struct DeclaredType<'a> {
    message: &'a DescriptorProto,
    /// The numbers of the fields that are marked.
    marked: HashSet<u32>,
}

impl<'a> Types<'a> {
    /// The types of a file whose comments are not there, or that extends types, are left out: what they mark
    /// cannot be known.
    fn add_file(&mut self, file: &'a FileDescriptorProto) {
        if file.source_code_info.is_none() || !file.extension.is_empty() {
            return;
        }
        let marked: HashSet<&[i32]> = file
            .source_code_info
            .iter()
            .flat_map(|info| &info.location)
            .filter(|location| is_marked(location))
            .map(|location| location.path.as_slice())
            .collect();
        let prefix = match file.package() {
            "" => String::new(),
            package => format!(".{package}"),
        };
        for (position, message) in (0..).zip(&file.message_type) {
            self.add(&prefix, &[MESSAGES_OF_FILE, position], message, &marked);
        }
    }

    fn add(
        &mut self,
        prefix: &str,
        path: &[i32],
        message: &'a DescriptorProto,
        all_marked: &HashSet<&[i32]>,
    ) {
        let name = format!("{prefix}.{}", message.name());
        self.is_excessive |= name.len() > NAME || self.declared.len() >= DECLARED;
        if self.is_excessive || name == ANY || is_extending(message) {
            return;
        }
        for (position, nested) in (0..).zip(&message.nested_type) {
            let path = [path, &[MESSAGES_OF_MESSAGE, position]].concat();
            self.add(&name, &path, nested, all_marked);
        }
        let marked = (0..)
            .zip(&message.field)
            .filter(|(position, _)| {
                let path = [path, &[FIELDS_OF_MESSAGE, *position]].concat();
                all_marked.contains(path.as_slice())
            })
            .map(|(_, field)| number(field))
            .collect();
        self.declared.insert(name, DeclaredType { message, marked });
    }

    /// The types from which one is reached that `ends` tells of, those among them.
    fn leading_to(&self, ends: impl Fn(&DeclaredType<'_>) -> bool) -> BTreeSet<&str> {
        let mut holders: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, declared) in &self.declared {
            for field in held(declared.message) {
                holders.entry(field.type_name()).or_default().push(name);
            }
        }
        let ends = self.declared.iter().filter(|(_, declared)| ends(declared));
        let mut next: Vec<&str> = ends.map(|(name, _)| name.as_str()).collect();
        let mut leading = BTreeSet::new();
        while let Some(name) = next.pop() {
            if leading.insert(name) {
                next.extend(holders.get(name).into_iter().flatten());
            }
        }
        leading
    }

    fn lacks(&self, name: &str) -> bool {
        let is_harmless = name.starts_with(WELL_KNOWN) && name != ANY;
        !self.declared.contains_key(name) && !is_harmless
    }
}

/// The types that lead to marks, numbered.
struct Marked<'a> {
    messages: Vec<MarkedMessage>,
    positions: HashMap<&'a str, usize>,
    incomplete: BTreeSet<&'a str>,
    types: &'a Types<'a>,
}

impl<'a> Marked<'a> {
    fn of(types: &'a Types<'a>) -> Self {
        let leading = types.leading_to(|declared| !declared.marked.is_empty());
        let incomplete = types.leading_to(|declared| {
            held(declared.message).any(|field| types.lacks(field.type_name()))
        });
        let positions: HashMap<_, _> = leading.iter().copied().zip(0..).collect();
        let messages = leading.iter().filter_map(|name| types.declared.get(*name));
        let messages = messages.map(|declared| marked_message(declared, &positions));
        Self {
            messages: messages.collect(),
            positions,
            incomplete,
            types,
        }
    }

    fn root(&self, type_name: &str) -> Root {
        if self.incomplete.contains(type_name) || self.types.lacks(type_name) {
            return Root::Unknown;
        }
        let position = self.positions.get(type_name);
        position.map_or(Root::Nobody, |position| Root::At(*position))
    }
}

fn marked_message(declared: &DeclaredType<'_>, positions: &HashMap<&str, usize>) -> MarkedMessage {
    let holding = held(declared.message).filter_map(|field| {
        let position = positions.get(field.type_name())?;
        let done = match field.r#type() {
            Type::Group => Field::Names(Kind::Other),
            _ => Field::Holds(*position),
        };
        Some((number(field), done))
    });
    let naming = declared.message.field.iter().filter_map(|field| {
        let number = number(field);
        let names = declared.marked.contains(&number);
        names.then(|| (number, Field::Names(kind(field.r#type()))))
    });
    MarkedMessage {
        fields: holding.chain(naming).collect(),
    }
}

/// Whether it extends others, or a field of it has no type of its own: nobody marks those.
fn is_extending(message: &DescriptorProto) -> bool {
    !message.extension.is_empty() || message.field.iter().any(|field| field.r#type.is_none())
}

/// The fields of a message that hold messages.
fn held(message: &DescriptorProto) -> impl Iterator<Item = &FieldDescriptorProto> {
    let fields = message.field.iter();
    fields.filter(|field| matches!(field.r#type(), Type::Message | Type::Group))
}

/// Numbers of fields are positive; what is not is no field of any message.
fn number(field: &FieldDescriptorProto) -> u32 {
    u32::try_from(field.number()).unwrap_or(0)
}

fn is_marked(location: &Location) -> bool {
    let comments = [location.leading_comments(), location.trailing_comments()];
    let mut lines = comments.into_iter().flat_map(str::lines);
    lines.any(|line| line.trim() == MARK)
}

const fn kind(declared: Type) -> Kind {
    match declared {
        Type::String => Kind::Text,
        Type::Int32 => Kind::Int32,
        Type::Int64 => Kind::Int64,
        Type::Uint32 => Kind::Uint32,
        Type::Uint64 => Kind::Uint64,
        Type::Sint32 => Kind::Sint32,
        Type::Sint64 => Kind::Sint64,
        Type::Fixed32 => Kind::Fixed32,
        Type::Fixed64 => Kind::Fixed64,
        Type::Sfixed32 => Kind::Sfixed32,
        Type::Sfixed64 => Kind::Sfixed64,
        Type::Double
        | Type::Float
        | Type::Bool
        | Type::Group
        | Type::Message
        | Type::Bytes
        | Type::Enum => Kind::Other,
    }
}
