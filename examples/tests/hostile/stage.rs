//! Two honest security servers, and the keys and registrations of members that are not.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use certs::{Certificate, LogKey, PrivateKey, SigningKey, Subject, TestAuthority, Validity};
use examples::{
    federation::{ClientPlan, Federation, Plan, RightPlan, ServerPlan, ServicePlan},
    handmade_provider::HandmadeProvider,
    message_log::MessageLog,
    mirror::{self, Mirror},
};
use proto::exchange::{Frame, TrustMaterial, frame::Body};
use security_server::{Clock, SystemClock};
use tokio::net::TcpListener;
use trust::{
    Content, Digest,
    header::Header,
    message::SignedMessage,
    signature::{Signer, SigningFailed},
};

/// The honest servers.
pub const CONSUMER: &str = "VN/GOV/A/consumer";
pub const PROVIDER: &str = "VN/GOV/B/provider";
/// Their subsystems.
pub const CLIENT: &str = "VN/GOV/A/client";
pub const SERVICE: &str = "VN/GOV/B/mirror";
/// The member that owns the hostile servers, and its subsystems: with a right, without one, and not
/// registered at any of the servers.
pub const HOSTILE: &str = "VN/GOV/E";
pub const ASKER: &str = "VN/GOV/E/asker";
pub const OUTSIDER: &str = "VN/GOV/E/outsider";
pub const ELSEWHERE: &str = "VN/GOV/E/elsewhere";
/// The hostile provider, and the subsystem of another member that it hosts.
pub const HANDMADE: &str = "VN/GOV/E/handmade";
pub const GUEST: &str = "VN/GOV/F/guest";
pub const GUEST_MEMBER: &str = "VN/GOV/F";

/// Everybody that the cases need.
pub struct Stage {
    pub federation: Federation,
    pub mirror: Mirror,
    /// Issues the servers' certificates.
    pub authority: TestAuthority,
    /// Approved for signing certificates; older than the federation, so that its are too.
    pub older: TestAuthority,
    pub handmade: HandmadeProvider,
    directory: PathBuf,
}

impl Stage {
    /// Registers as many hostile servers as asked for, each with [`ASKER`] and [`OUTSIDER`].
    pub async fn set(directory: &Path, peers: usize) -> Self {
        let mirror = Mirror::start().await.unwrap();
        let federation = Federation::start(directory, &plan(&mirror.address))
            .await
            .unwrap();
        let authority = TestAuthority::load(&directory.join("trust")).unwrap();
        let now = SystemClock.seconds();
        let validity = Validity {
            not_before: now - 30 * DAY,
            not_after: now + 30 * DAY,
        };
        let older = TestAuthority::create("An older authority", validity).unwrap();
        older.write(&directory.join("older")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let handmade = directory.join("handmade.pem");
        issue_authentication(&federation, HANDMADE, &handmade);
        let log_key = directory.join("handmade-log.pem");
        LogKey::generate().unwrap().write(&log_key).unwrap();
        let mut registrations = registrations(&address, &handmade, &log_key);
        let _ = write!(
            registrations,
            "\n[[authorities]]\nname = \"An older authority\"\nuse = [\"signing\"]\n\
             certificate = {:?}\n",
            directory.join("older/ca.pem"),
        );
        for number in 0..peers {
            let peer = directory.join(format!("peer-{number}.pem"));
            issue_authentication(&federation, &peer_id(number), &peer);
            let _ = write!(
                registrations,
                "\n[[servers]]\nid = {:?}\naddress = \"127.0.0.1:1\"\n\
                 authentication_certificates = [{peer:?}]\nsubsystems = [{ASKER:?}, {OUTSIDER:?}]\n",
                peer_id(number),
            );
        }
        let file = directory.join("hostile.toml");
        std::fs::write(&file, registrations).unwrap();
        federation.registry.apply(&file).await.unwrap();
        let serial = federation.registry.serial_after_changes().await.unwrap();
        for server in federation.servers() {
            server.wait_for_serial(serial).await.unwrap();
        }
        let consumer = federation.server("consumer").unwrap();
        let shown = (handmade.as_path(), &*handmade.with_extension("key"));
        let handmade = HandmadeProvider::start(listener, shown, &federation, consumer).unwrap();
        Self {
            federation,
            mirror,
            authority,
            older,
            handmade,
            directory: directory.to_owned(),
        }
    }

    /// The authentication certificate and key of a hostile server.
    pub fn peer_files(&self, number: usize) -> (PathBuf, PathBuf) {
        let certificate = self.directory.join(format!("peer-{number}.pem"));
        let key = certificate.with_extension("key");
        (certificate, key)
    }

    /// An authentication certificate of an existing server that nobody registered.
    pub fn unregistered_files(&self) -> (PathBuf, PathBuf) {
        let certificate = self.directory.join("unregistered.pem");
        issue_authentication(&self.federation, &peer_id(0), &certificate);
        let key = certificate.with_extension("key");
        (certificate, key)
    }

    pub fn log(&self, server: &str) -> MessageLog {
        let server = self.federation.server(server).unwrap();
        MessageLog::read(&server.endpoint().log).unwrap()
    }

    /// A new signing certificate of a member, from the approved authority.
    /// The key of the log that the handmade provider does not have.
    pub fn handmade_log_key(&self) -> LogKey {
        LogKey::load(&self.directory.join("handmade-log.pem")).unwrap()
    }

    pub fn member(&self, member: &str) -> Signatory {
        let now = SystemClock.seconds();
        self.member_from(&self.older, member, now - DAY, now + DAY)
    }

    /// The same from any authority and for any time.
    pub fn member_from(
        &self,
        authority: &TestAuthority,
        member: &str,
        not_before: i64,
        not_after: i64,
    ) -> Signatory {
        let subject = Subject::Signing {
            member: member.parse().unwrap(),
            organization: None,
        };
        let validity = Validity {
            not_before,
            not_after,
        };
        self.signatory(authority, &subject, validity)
    }

    /// A certificate of any kind with its key, to sign messages with, whether it may or not.
    pub fn signatory(
        &self,
        authority: &TestAuthority,
        subject: &Subject,
        validity: Validity,
    ) -> Signatory {
        let key = PrivateKey::generate().unwrap();
        let der = authority.issue_for(&key, subject, validity).unwrap();
        let file = self.directory.join(format!("{}.key", Digest::of(&der)));
        key.write(&file).unwrap();
        Signatory {
            certificate: Certificate::parse(&der).unwrap(),
            key: SigningKey::load(&file).unwrap(),
        }
    }
}

pub const DAY: i64 = 86_400;

pub fn peer_id(number: usize) -> String {
    format!("{HOSTILE}/peer-{number}")
}

/// Somebody who signs whatever a test wants.
pub struct Signatory {
    certificate: Certificate,
    key: SigningKey,
}

impl Signatory {
    /// The certificate, as it goes ahead of the first envelope.
    pub fn trust_material(&self) -> Frame {
        Frame {
            body: Some(Body::TrustMaterial(TrustMaterial {
                certificate: Bytes::copy_from_slice(self.certificate.der()),
                ..TrustMaterial::default()
            })),
        }
    }

    pub fn sign(&self, header: Header, content: Content) -> SignedMessage {
        SignedMessage::sign(header, content, self).unwrap()
    }
}

impl Signer for Signatory {
    fn certificate_digest(&self) -> Digest {
        self.certificate.digest()
    }

    fn sign(&self, signed_attributes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        self.key.sign(signed_attributes)
    }
}

fn issue_authentication(federation: &Federation, server: &str, certificate: &Path) {
    let subject = Subject::Authentication {
        server: server.parse().unwrap(),
        organization: None,
    };
    let key = certificate.with_extension("key");
    let issued = federation.authority.issue(&subject, certificate, &key);
    issued.unwrap();
}

fn plan(mirror: &str) -> Plan {
    let right = |client: &str| RightPlan {
        id: client.replace('/', "-"),
        client: client.to_owned(),
        subsystem: "mirror".to_owned(),
        grpc_service: mirror::SERVICE.to_owned(),
        methods: Vec::new(),
        purposes: Vec::new(),
    };
    Plan {
        instance: "VN".to_owned(),
        servers: vec![
            ServerPlan {
                code: "consumer".to_owned(),
                member: "VN/GOV/A".to_owned(),
                name: "An agency that asks".to_owned(),
                subsystems: vec!["client".to_owned()],
                services: Vec::new(),
                clients: vec![ClientPlan {
                    name: "client".to_owned(),
                    subsystem: "client".to_owned(),
                }],
                rights: Vec::new(),
            },
            ServerPlan {
                code: "provider".to_owned(),
                member: "VN/GOV/B".to_owned(),
                name: "An agency that answers".to_owned(),
                subsystems: vec!["mirror".to_owned()],
                services: vec![ServicePlan {
                    subsystem: "mirror".to_owned(),
                    grpc_service: mirror::SERVICE.to_owned(),
                    adapter: mirror.to_owned(),
                    descriptor: None,
                }],
                clients: Vec::new(),
                rights: [CLIENT, ASKER, ELSEWHERE].map(right).to_vec(),
            },
        ],
    }
}

/// The members that are not honest, and what they offer.
fn registrations(address: &str, certificate: &Path, log_key: &Path) -> String {
    let mut text = String::new();
    for member in [HOSTILE, GUEST_MEMBER] {
        let _ = write!(text, "[[members]]\nid = {member:?}\nname = {member:?}\n\n");
    }
    for subsystem in [ASKER, OUTSIDER, ELSEWHERE, GUEST] {
        let _ = write!(text, "[[subsystems]]\nid = {subsystem:?}\n\n");
    }
    let _ = write!(
        text,
        "[[services]]\nsubsystem = {GUEST:?}\ngrpc_service = {:?}\n\n\
         [[servers]]\nid = {HANDMADE:?}\naddress = {address:?}\n\
         authentication_certificates = [{certificate:?}]\nsubsystems = [{GUEST:?}]\n\
         log_keys = [{{ generation = 1, key = {log_key:?} }}]\n",
        mirror::SERVICE,
    );
    text
}
