//! The command line.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};
use trust::{InstanceId, MemberId, ServerId, SubsystemId};

/// The central registry: who takes part in an instance, published as its signed configuration.
///
/// `init` makes a registry; `serve` runs it and publishes; officers change it with `apply` or the
/// single commands, which talk to the running registry through its administration socket and sign
/// with the officer's key. `root` makes the next root document, offline.
#[derive(Debug, Parser)]
#[command(
    name = "central-registry",
    version,
    after_help = "Example:\n  \
        central-registry init --instance VN --out registry --source http://127.0.0.1:8470\n  \
        central-registry serve --directory registry &\n  \
        central-registry apply --directory registry --officer registry/officers/officer-1.pem -f members.toml\n  \
        central-registry show --directory registry\n\n\
        Exit status: 0 done; 1 refused or failed; 2 wrong use."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new registry: keys, first root document, anchor, log.
    Init(Init),
    /// Run the registry: publish, serve the published files, answer officers.
    Serve(Serve),
    /// Bring the state to what a file says, and print the difference.
    Apply(Apply),
    /// Print the state in the form that `apply` accepts.
    Show(Show),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Root documents; works on files, the registry need not run.
    #[command(subcommand)]
    Root(RootCommand),
    /// Agencies that take part.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Information systems of members.
    #[command(subcommand)]
    Subsystem(SubsystemCommand),
    /// Security servers.
    #[command(subcommand)]
    Server(ServerCommand),
    /// Which subsystem is hosted at which security server.
    #[command(subcommand)]
    Registration(RegistrationCommand),
    /// TLS certificates of security servers.
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Keys that sign the checkpoints of message logs.
    #[command(subcommand)]
    LogKey(LogKeyCommand),
    /// gRPC services that subsystems offer.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Certification authorities whose certificates are accepted.
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Who decides on changes.
    #[command(subcommand)]
    Officer(OfficerCommand),
}

#[derive(Debug, Args)]
pub struct Init {
    /// The instance, e.g. VN.
    #[arg(long)]
    pub instance: InstanceId,
    /// The directory to make; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Base URL of the published files, for servers and auditors; may be repeated.
    #[arg(long = "source", value_name = "URL")]
    pub sources: Vec<String>,
    /// How many of how many root keys must sign a root document.
    #[arg(long, value_name = "K-of-N", default_value = "1-of-1")]
    pub root_keys: RootKeys,
    /// How many days the first root document is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 730,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub valid_days: u32,
    /// The name of the first officer.
    #[arg(long, value_name = "NAME", default_value = "officer-1")]
    pub officer: String,
    /// Where the published files will be served [default: 127.0.0.1:8470].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// `K-of-N`.
#[derive(Debug, Clone, Copy)]
pub struct RootKeys {
    pub threshold: u32,
    pub number: u32,
}

impl FromStr for RootKeys {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (threshold, number) = text
            .split_once("-of-")
            .and_then(|(threshold, number)| Some((threshold.parse().ok()?, number.parse().ok()?)))
            .ok_or("write it as 2-of-3")?;
        if threshold == 0 || threshold > number || number > 16 {
            return Err("at least one, and not more than there are; at most 16 keys");
        }
        Ok(Self { threshold, number })
    }
}

#[derive(Debug, Args)]
pub struct Directory {
    /// The directory of the registry.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    pub directory: Directory,
    /// Where to serve the published files, instead of where registry.toml says.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Write the address here once everything is ready and a head is published.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
}

/// How a change is decided.
#[derive(Debug, Args)]
pub struct Decision {
    #[command(flatten)]
    pub directory: Directory,
    /// The officer's private key; not needed with --dry-run.
    #[arg(long, value_name = "KEYFILE", required_unless_present = "dry_run")]
    pub officer: Option<PathBuf>,
    /// Why, in words, for whoever reads the log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Only print the difference.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the difference as JSON, and the entries that were recorded.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    pub decision: Decision,
    /// The file.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Also remove what the file does not mention; officers only if it mentions some.
    #[arg(long)]
    pub prune: bool,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    pub directory: Directory,
    /// As JSON, for other programs.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum RootCommand {
    /// Make the document that follows the newest, and sign it.
    Next(RootNext),
    /// Add signatures to a document that someone else made.
    Sign(RootSign),
    /// Verify a signed document and publish it.
    Publish(RootPublish),
    /// Print the newest document.
    Show(Directory),
}

#[derive(Debug, Args)]
pub struct RootNext {
    #[command(flatten)]
    pub directory: Directory,
    /// A root key to sign with, old or new; may be repeated.
    #[arg(long = "key", value_name = "KEYFILE")]
    pub keys: Vec<PathBuf>,
    /// Write the document here for others to sign, instead of publishing it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// A root key to add: 64 hexadecimal digits or a PEM file; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub add_root_key: Vec<String>,
    /// A root key to leave out; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub remove_root_key: Vec<String>,
    /// How many root keys must sign from now on.
    #[arg(long, value_name = "K")]
    pub threshold: Option<u32>,
    /// A head key to add; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub add_head_key: Vec<String>,
    /// A head key to leave out; may be repeated.
    #[arg(long, value_name = "KEY")]
    pub remove_head_key: Vec<String>,
    /// A source to add; may be repeated.
    #[arg(long, value_name = "URL")]
    pub add_source: Vec<String>,
    /// A source to leave out; may be repeated.
    #[arg(long, value_name = "URL")]
    pub remove_source: Vec<String>,
    /// How many days it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 730,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub valid_days: u32,
}

#[derive(Debug, Args)]
pub struct RootSign {
    /// The document.
    pub file: PathBuf,
    /// A root key to sign with; may be repeated.
    #[arg(long = "key", value_name = "KEYFILE", required = true)]
    pub keys: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RootPublish {
    #[command(flatten)]
    pub directory: Directory,
    /// The signed document.
    pub file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Register a member, or change its name.
    Add {
        /// INSTANCE/CLASS/MEMBER
        id: MemberId,
        /// The agency's name.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove a member that has no subsystem and no server left.
    Remove {
        /// INSTANCE/CLASS/MEMBER
        id: MemberId,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum SubsystemCommand {
    /// Register a subsystem, or change its name.
    Add {
        /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
        id: SubsystemId,
        /// What it is, for people.
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove a subsystem that has no registration and no service left.
    Remove {
        /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
        id: SubsystemId,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Register a security server of a member, or change its address.
    Add {
        /// INSTANCE/CLASS/MEMBER/SERVER
        id: ServerId,
        /// HOST:PORT of the listener for other security servers.
        #[arg(long)]
        address: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove a security server that nothing depends on.
    Remove {
        /// INSTANCE/CLASS/MEMBER/SERVER
        id: ServerId,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum RegistrationCommand {
    /// A subsystem is hosted at a server, and may speak there.
    Add(Registration),
    /// It stays registered and may not speak.
    Disable(Registration),
    /// It is not hosted there any more.
    Remove(Registration),
}

#[derive(Debug, Args)]
pub struct Registration {
    /// INSTANCE/CLASS/MEMBER/SERVER
    pub server: ServerId,
    /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
    pub subsystem: SubsystemId,
    #[command(flatten)]
    pub decision: Decision,
}

#[derive(Debug, Subcommand)]
pub enum CertificateCommand {
    /// Register an authentication certificate for the server that it names.
    Add {
        /// The certificate, PEM or DER.
        file: PathBuf,
        /// The server that it must name.
        #[arg(long)]
        server: Option<ServerId>,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove a certificate.
    Remove {
        /// The certificate's file, or SHA-256 of its DER in hexadecimal.
        certificate: String,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum LogKeyCommand {
    /// Register the key of a server's message log.
    Add {
        /// INSTANCE/CLASS/MEMBER/SERVER
        server: ServerId,
        /// Which log of the server: a lost log gets the next.
        #[arg(long, default_value_t = 1)]
        generation: u32,
        /// 64 hexadecimal digits, or a PEM file.
        #[arg(long)]
        key: String,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Register a gRPC service of a subsystem, or change its descriptor.
    Add {
        /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
        subsystem: SubsystemId,
        /// package.Service
        grpc_service: String,
        /// File of an encoded FileDescriptorSet that describes it.
        #[arg(long, value_name = "FILE")]
        descriptor: Option<PathBuf>,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove a service.
    Remove {
        /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
        subsystem: SubsystemId,
        /// package.Service
        grpc_service: String,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Approve an authority, or change what for.
    Add {
        /// Its certificate, PEM or DER.
        file: PathBuf,
        /// Its name, for people; left out: the subject of the certificate.
        #[arg(long)]
        name: Option<String>,
        /// For signing certificates of members.
        #[arg(long, required_unless_present = "authentication")]
        signing: bool,
        /// For authentication certificates of security servers.
        #[arg(long)]
        authentication: bool,
        #[command(flatten)]
        decision: Decision,
    },
    /// Withdraw the approval.
    Remove {
        /// The certificate's file, or SHA-256 of its DER in hexadecimal.
        certificate: String,
        #[command(flatten)]
        decision: Decision,
    },
}

#[derive(Debug, Subcommand)]
pub enum OfficerCommand {
    /// Name an officer, or change the key of one.
    Add {
        /// Letters, digits, dot and hyphen.
        name: String,
        /// The public key: 64 hexadecimal digits, or a PEM file.
        #[arg(long)]
        key: String,
        #[command(flatten)]
        decision: Decision,
    },
    /// Remove an officer; not the last one.
    Remove {
        /// The name.
        name: String,
        #[command(flatten)]
        decision: Decision,
    },
}
