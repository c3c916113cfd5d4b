//! What servers read: gRPC bodies and headers of calls, their settings, what an operator or an
//! integrator has written, requests to an adapter.

use std::{fs, path::Path, sync::LazyLock};

use adapters::{Configuration, Lock, Schema};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage};
use security_server::{Settings, fuzzing, state_file::StateFile};
use tempfile::TempDir;

use crate::{files::folder, seeds};

pub fn grpc_bodies() -> Vec<Vec<u8>> {
    let mut bodies = seeds::of("proto/tests/vectors/frame.json", &["on_the_wire"]);
    bodies.push(b"\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\0\x01c".to_vec());
    // The first byte says how the body is cut.
    bodies
        .iter()
        .map(|body| [&[3][..], body].concat())
        .collect()
}

/// However a body is cut into pieces, its messages are those that a plain reading finds.
pub fn grpc_messages(bytes: &[u8]) {
    const LIMIT: usize = 4096;
    let Some((size, body)) = bytes.split_first() else {
        return;
    };
    let (mut expected, mut rest, mut is_whole) = (Vec::new(), body, true);
    while !rest.is_empty() {
        let whole = rest
            .split_first_chunk::<5>()
            .and_then(|([flag, length @ ..], behind)| {
                let length = u32::from_be_bytes(*length) as usize;
                let (message, behind) = behind.split_at_checked(length)?;
                (*flag < 2 && length <= LIMIT).then_some((*flag == 1, message, behind))
            });
        let Some((compressed, message, behind)) = whole else {
            is_whole = false;
            break;
        };
        expected.push((compressed, message.to_vec()));
        rest = behind;
    }
    let pieces = body
        .chunks(usize::from(*size).max(1))
        .map(<[u8]>::to_vec)
        .collect();
    let (found, ended) = fuzzing::grpc_messages(pieces, LIMIT);
    assert_eq!((found, ended), (expected, is_whole));
}

/// Lines `name: value`; the first is the path.
pub fn call_headers() -> Vec<Vec<u8>> {
    let calls: [&str; 3] = [
        "/vn.population.v1.Population/LookUp\ncontent-type: application/grpc\n\
         x-road-client: VN/GOV/G01/desk\nx-road-service: VN/GOV/G02/population\n\
         grpc-timeout: 99999999m\nx-road-userid: VN012345678901",
        "/a.B/C\ncontent-type: application/grpc+proto\n\
         x-road-service: VN/GOV/G02/population/a.B\nx-road-purpose: birth%20registration\n\
         x-road-legal-basis: Lu%E1%BA%ADt%20H%E1%BB%99%20t%E1%BB%8Bch\nx-road-id: 1",
        "/a.B/C\ngrpc-timeout: 5n\nx_road_client: a\nkey-bin: AAA=\nte: trailers\nkey-bin: AA",
    ];
    calls.map(|call| call.as_bytes().to_vec()).to_vec()
}

/// What a client says is understood or refused by name; what is passed on is never the bus's own.
pub fn call_metadata(bytes: &[u8]) {
    fuzzing::call(bytes);
}

pub fn statuses() -> Vec<Vec<u8>> {
    let statuses: [&str; 3] = [
        "grpc-status: 7\ngrpc-message: kh%C3%B4ng: 100 %25\ngrpc-status-details-bin: AP8Q",
        "grpc-status: 0",
        "grpc-status: 14\ngrpc-status-details-bin: AA==",
    ];
    statuses.map(|status| status.as_bytes().to_vec()).to_vec()
}

/// A status is put into headers and taken out as the same.
pub fn status(bytes: &[u8]) {
    fuzzing::status(bytes);
}

thread_local! {
    static FOLDER: TempDir = folder();
}

fn written(name: &str, bytes: &[u8]) -> std::path::PathBuf {
    let path = FOLDER.with(|folder| folder.path().join(name));
    fs::write(&path, bytes).unwrap();
    path
}

pub fn settings_files() -> Vec<Vec<u8>> {
    let registry = seeds::read("central-registry/sample/federation.toml");
    vec![seeds::read("security-server/sample/server.toml"), registry]
}

pub fn settings(bytes: &[u8]) {
    if let Ok(settings) = Settings::load(&written("server.toml", bytes)) {
        settings
            .log_origin()
            .parse::<trust::checkpoint::Origin>()
            .unwrap();
    }
    written("registry.toml", bytes);
    let folder = FOLDER.with(|folder| folder.path().to_owned());
    let _ = central_registry::Settings::load(&folder);
}

pub fn state_files() -> Vec<Vec<u8>> {
    let state = r#"
[[subsystems]]
id = "VN/GOV/G02/population"
[[services]]
subsystem = "VN/GOV/G02/population"
grpc_service = "vn.population.v1.Population"
adapter = "http://127.0.0.1:5000"
plaintext_loopback = true
timeout_milliseconds = 5000
[[access_rights]]
id = "decision 12/2027"
client = "VN/GOV/G01/desk"
service = "VN/GOV/G02/population"
grpc_service = "vn.population.v1.Population"
methods = ["LookUp"]
purposes = ["birth registration"]
valid_from = "2027-01-01T00:00:00Z"
valid_until = "2028-01-01T00:00:00+07:00"
"#;
    vec![state.into()]
}

/// The changes that a file asks for make a state whose file asks for the same.
pub fn state_file(bytes: &[u8]) {
    let Ok(file) = StateFile::load(&written("state.toml", bytes)) else {
        return;
    };
    let Ok(changes) = file.changes(Path::new("/nowhere")) else {
        return;
    };
    let state: Vec<_> = changes.values().cloned().collect();
    let again = toml::to_string(&StateFile::of(&state)).unwrap();
    let again = StateFile::load(&written("state.toml", again.as_bytes())).unwrap();
    assert_eq!(again.changes(Path::new("/nowhere")).unwrap(), changes);
}

pub fn registry_files() -> Vec<Vec<u8>> {
    vec![seeds::read("central-registry/sample/federation.toml")]
}

/// What is wanted of a registry: refused in words, or written and read to the same.
pub fn registry_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(file) = toml::from_str::<central_registry::officer::RegistryFile>(text) {
        let again = toml::to_string(&file).unwrap();
        let read: central_registry::officer::RegistryFile = toml::from_str(&again).unwrap();
        assert_eq!(toml::to_string(&read).unwrap(), again);
    }
    let path = written("federation.toml", bytes);
    let _ = central_registry::officer::Wanted::load(&path, &"VN".parse().unwrap());
}

const EXAMPLE: &str = "adapters/tests/adapter/register.toml";

pub fn adapter_files() -> Vec<Vec<u8>> {
    vec![
        seeds::read(EXAMPLE),
        seeds::read("adapters/src/example.toml"),
    ]
}

/// A configuration that is accepted has a `.proto`, and its lock covers it.
pub fn adapter_configuration(bytes: &[u8]) {
    let path = Path::new("/nowhere/register.toml");
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Configuration::parse(path, text) {
        Ok(configuration) => {
            let lock = Lock::begin(&configuration);
            lock.require_cover(path, &configuration).unwrap();
            Schema::write(&configuration, &lock).unwrap();
        }
        Err(problems) => {
            assert!(
                !problems.is_empty(),
                "what is refused is refused for something"
            );
            let lines = 1 + text.matches('\n').count();
            assert!(
                problems
                    .iter()
                    .all(|problem| (1..=lines).contains(&problem.line))
            );
        }
    }
}

static SCHEMA: LazyLock<(Lock, Vec<MessageDescriptor>)> = LazyLock::new(|| {
    let text = String::from_utf8(seeds::read(EXAMPLE)).unwrap();
    let configuration = Configuration::parse(Path::new("/nowhere/register.toml"), &text).unwrap();
    let lock = Lock::begin(&configuration);
    let schema = Schema::write(&configuration, &lock).unwrap();
    let message = |method: &adapters::configuration::Method| {
        let package = &configuration.service.package;
        schema.message(package, &method.request_message()).unwrap()
    };
    let messages = configuration.methods.iter().map(message).collect();
    (lock, messages)
});

pub fn adapter_locks() -> Vec<Vec<u8>> {
    let path = written("a.lock", b"");
    SCHEMA.0.write(&path).unwrap();
    vec![fs::read(path).unwrap()]
}

/// What is read is written and read to the same.
pub fn adapter_lock(bytes: &[u8]) {
    let path = written("a.lock", bytes);
    if let Ok(lock) = Lock::read(&path) {
        lock.write(&path).unwrap();
        assert_eq!(Lock::read(&path).unwrap(), lock);
    }
}

pub fn adapter_requests() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 4] = [
        b"\0",
        b"\0\x0a\x0207\x10\x01",
        b"\x01\x0a\x0a2027-01-15",
        b"\x02\x08\x96\x01\x1a\0",
    ];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// A request that decodes by its descriptor is encoded and decoded to the same.
pub fn adapter_request(bytes: &[u8]) {
    let Some((method, bytes)) = bytes.split_first() else {
        return;
    };
    let messages = &SCHEMA.1;
    let descriptor = &messages[usize::from(*method) % messages.len()];
    if let Ok(request) = DynamicMessage::decode(descriptor.clone(), bytes) {
        let again = request.encode_to_vec();
        let read = DynamicMessage::decode(request.descriptor(), again.as_slice()).unwrap();
        // Not by their values: a number may be none (NaN).
        assert_eq!(read.encode_to_vec(), again);
    }
}
