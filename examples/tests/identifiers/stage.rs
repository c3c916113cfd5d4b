//! Two agencies with services of the same name, one that calls them, and a provider that tells what
//! it saw.

use std::path::{Path, PathBuf};

use certs::Subject;
use examples::{
    bare_caller::BareCaller,
    federation::{ClientPlan, Federation, Plan, RightPlan, ServerPlan, ServicePlan},
    message_log::MessageLog,
    mirror::{self, Mirror},
    registers::Adapter,
};
use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};

/// The service that both agencies offer.
pub const OFFICES: &str = "same.offices.v1.Offices";

/// Everybody that the cases need; nobody changes it.
pub struct Stage {
    pub federation: Federation,
    pub mirror: Mirror,
    pub offices: [Adapter; 2],
    directory: PathBuf,
}

impl Stage {
    pub async fn set(directory: &Path) -> Self {
        let mirror = Mirror::start().await.unwrap();
        let offices = [
            offices_of(directory, "b", "Office of B").await,
            offices_of(directory, "c", "Office of C").await,
        ];
        let addresses = [offices[0].address.as_str(), offices[1].address.as_str()];
        let plan = plan(addresses, &mirror.address);
        let federation = Federation::start(directory, &plan).await.unwrap();
        let consumer = federation.server("consumer").unwrap();
        let state = std::fs::read_to_string(consumer.path("state.toml")).unwrap();
        let sleeping = "id = \"VN/GOV/A/sleeping\"\n";
        assert!(state.contains(sleeping));
        let state = state.replacen(sleeping, &format!("{sleeping}enabled = false\n"), 1);
        std::fs::write(consumer.path("state.toml"), state).unwrap();
        consumer
            .apply_file(&consumer.path("state.toml"))
            .await
            .unwrap();
        Self {
            federation,
            mirror,
            offices,
            directory: directory.to_owned(),
        }
    }

    pub async fn caller(&self, door: Door) -> BareCaller {
        let server = self.federation.server("consumer").unwrap();
        let certificate = match door {
            Door::Plaintext(subsystem) => {
                let address = server.plaintext(&format!("VN/GOV/A/{subsystem}")).unwrap();
                return BareCaller::plaintext(address).await.unwrap();
            }
            Door::Tls(certificate) => certificate,
        };
        let client = |name: &str| {
            let folder = self.directory.join("clients").join(name);
            (folder.join("client.pem"), folder.join("client.key"))
        };
        let identity = match certificate {
            Certificate::None => None,
            Certificate::Unregistered => {
                let subject = Subject::Client {
                    name: "stranger".to_owned(),
                };
                let files = ["stranger.pem", "stranger.key"].map(|name| self.directory.join(name));
                let issued = self
                    .federation
                    .authority
                    .issue(&subject, &files[0], &files[1]);
                issued.unwrap();
                let [certificate, key] = files;
                Some((certificate, key))
            }
            Certificate::Of(name) => Some(client(name)),
        };
        let identity = identity
            .as_ref()
            .map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let address = server.endpoint().client_tls.as_deref().unwrap();
        let authority = self.federation.authority.certificate();
        BareCaller::tls(address, &authority, identity)
            .await
            .unwrap()
    }

    pub fn log(&self, server: &str) -> MessageLog {
        let server = self.federation.server(server).unwrap();
        MessageLog::read(&server.endpoint().log).unwrap()
    }
}

/// Two members with a subsystem of the same name that offers a service of the same name.
fn plan(offices: [&str; 2], mirror: &str) -> Plan {
    let server = |code: &str, member: &str| ServerPlan {
        code: code.to_owned(),
        member: format!("VN/GOV/{member}"),
        name: format!("Agency {member}"),
        subsystems: Vec::new(),
        services: Vec::new(),
        clients: Vec::new(),
        rights: Vec::new(),
    };
    let service = |grpc_service: &str, adapter: &str| ServicePlan {
        subsystem: "registry".to_owned(),
        grpc_service: grpc_service.to_owned(),
        adapter: adapter.to_owned(),
        descriptor: None,
    };
    let right = |grpc_service: &str| RightPlan {
        id: grpc_service.to_owned(),
        client: "VN/GOV/A/desk".to_owned(),
        subsystem: "registry".to_owned(),
        grpc_service: grpc_service.to_owned(),
        methods: Vec::new(),
        purposes: Vec::new(),
    };
    // One subsystem for each group of wrong calls: of one client's only ten a minute are recorded.
    let clients = ["desk", "counter", "typist", "wanderer", "sleeping"];
    Plan {
        instance: "VN".to_owned(),
        servers: vec![
            ServerPlan {
                subsystems: clients.map(ToOwned::to_owned).to_vec(),
                clients: clients
                    .map(|name| ClientPlan {
                        name: name.to_owned(),
                        subsystem: name.to_owned(),
                    })
                    .to_vec(),
                ..server("consumer", "A")
            },
            ServerPlan {
                subsystems: vec!["registry".to_owned()],
                services: vec![
                    service(OFFICES, offices[0]),
                    service(mirror::SERVICE, mirror),
                ],
                rights: vec![right(OFFICES), right(mirror::SERVICE)],
                ..server("provider-b", "B")
            },
            ServerPlan {
                subsystems: vec!["registry".to_owned()],
                services: vec![service(OFFICES, offices[1])],
                rights: vec![right(OFFICES)],
                ..server("provider-c", "C")
            },
        ],
    }
}

async fn offices_of(directory: &Path, member: &str, name: &str) -> Adapter {
    let folder = directory.join("registers").join(member);
    std::fs::create_dir_all(&folder).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.join("offices.db"))
        .create_if_missing(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    database
        .execute("CREATE TABLE OFFICES (CODE TEXT PRIMARY KEY, NAME TEXT NOT NULL)")
        .await
        .unwrap();
    sqlx::query("INSERT INTO OFFICES VALUES ('01', ?)")
        .bind(name)
        .execute(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    let configuration = folder.join(format!("offices-{member}.toml"));
    std::fs::write(
        &configuration,
        format!(
            r#"[service]
name = "{OFFICES}"

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "offices.db"

[[methods]]
name = "FindOffice"
kind = "unary"
sql = "SELECT CODE, NAME FROM OFFICES WHERE CODE = :code"
request = [{{ name = "code", type = "text" }}]
reply = [
    {{ name = "code", column = "CODE", type = "text" }},
    {{ name = "name", column = "NAME", type = "text" }},
]
"#
        ),
    )
    .unwrap();
    Adapter::start(&configuration, &directory.join("logs"))
        .await
        .unwrap()
}

/// Through which listener a call comes, and as whom.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    Plaintext(&'static str),
    Tls(Certificate),
}

#[derive(Debug, Clone, Copy)]
pub enum Certificate {
    None,
    Unregistered,
    Of(&'static str),
}
