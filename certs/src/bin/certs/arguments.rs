//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keys, requests and certificates for a test federation, and a look into any certificate.
///
/// A member has a signing key, a security server an authentication key. For each: `certs key new`
/// makes the key and a request, the authority answers the request with `certs issue`, and
/// `certs show` says what a certificate is for and whether it meets its profile. The authority made
/// here is for tests and demonstrations; a real one serves as well if its certificates meet the
/// same profiles.
#[derive(Debug, Parser)]
#[command(
    name = "certs",
    version,
    after_help = "Example:\n  \
        certs authority new --name \"Test authority\" --out ca\n  \
        certs key new --role signing --subject VN/GOV/G01 --out member\n  \
        certs issue --authority ca --request member/request.pem --role signing --out member/certificate.pem\n  \
        certs show member/certificate.pem\n\n\
        Exit status: 0 done; 1 refused or failed, also when `show` finds a certificate outside\n\
        its profile or its validity; 2 wrong use."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The test authority.
    #[command(subcommand)]
    Authority(AuthorityCommand),
    /// Keys of members, servers and clients.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Issue a certificate for the key of a request.
    Issue(Issue),
    /// Say what certificates are for and whether they meet their profiles.
    Show(Show),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Keys that sign the checkpoints of a log (Ed25519).
    #[command(subcommand)]
    LogKey(LogKeyCommand),
}

#[derive(Debug, Subcommand)]
pub enum AuthorityCommand {
    /// Make an authority for tests and demonstrations: ca.pem and ca.key in a directory.
    New(NewAuthority),
}

#[derive(Debug, Args)]
pub struct NewAuthority {
    /// The directory for ca.pem and ca.key; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The name that its certificates give as their issuer.
    #[arg(long)]
    pub name: String,
    /// How many days it is valid [default: 3650].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make an ECDSA P-256 key and a certificate request: key.pem and request.pem in a directory.
    New(NewKey),
}

#[derive(Debug, Args)]
pub struct NewKey {
    /// What the certificate will be for.
    #[arg(long)]
    pub role: EndRole,
    /// Whom it is for: a member (VN/GOV/G01) for signing, a security server
    /// (VN/GOV/G01/server-1) for authentication, a free name for client and listener.
    #[arg(long, value_name = "ID")]
    pub subject: String,
    /// The directory for key.pem and request.pem; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Issue {
    /// The directory of the authority.
    #[arg(long, value_name = "DIR")]
    pub authority: PathBuf,
    /// The request (PKCS #10, PEM or DER). Only its key is taken, and the name asked for if
    /// --subject is absent; extensions that it asks for are ignored.
    #[arg(long, value_name = "FILE")]
    pub request: PathBuf,
    /// What the certificate is for; decides its usages.
    #[arg(long)]
    pub role: EndRole,
    /// Whom it is for, in place of the name that the request asks for.
    #[arg(long, value_name = "ID")]
    pub subject: Option<String>,
    /// The name of the member, for signing and authentication.
    #[arg(long, value_name = "NAME")]
    pub organization: Option<String>,
    /// For a listener: a DNS name or address by which it is called, besides localhost, 127.0.0.1
    /// and ::1. May be given several times.
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The file for the certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How many days it is valid [default: signing 730, others 365].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub days: Option<u32>,
}

#[derive(Debug, Args)]
pub struct Show {
    /// A file of certificates (PEM or DER).
    pub file: PathBuf,
    /// Print a JSON array, one object a certificate.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum LogKeyCommand {
    /// Make a key and print its public part, which is registered for the server.
    New {
        /// The file for the key (PEM).
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public part of a key.
    Show {
        /// The file of the key (PEM).
        file: PathBuf,
    },
}

/// The roles that a certificate is issued for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EndRole {
    /// A member's, to sign messages.
    Signing,
    /// A security server's, towards other security servers.
    Authentication,
    /// An agency's system's, towards its security server.
    Client,
    /// A server's, towards the systems that call it.
    Listener,
}
