//! A session of an officer with the registry: look, sign, give in.

use std::path::Path;

use bytes::Bytes;
use certs::LogKey;
use hyper_util::rt::TokioIo;
use prost::Message;
use proto::administration::{
    ShowRegistryRequest, SubmitRequest,
    central_registry_administration_client::CentralRegistryAdministrationClient,
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use trust::{
    configuration::{OFFICER_SIGNATURE_CONTEXT, State, StateKey},
    wire::configuration::{ChangeSet, Changes, Officer, OfficerDecision, Snapshot},
};

use super::{difference::Plan, parcel};
use crate::{Error, administration};

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 1024;

/// An officer's key, and the name it has in the registry.
#[derive(Debug)]
pub struct OfficerKey {
    name: String,
    key: LogKey,
}

impl OfficerKey {
    /// Loads the key and finds the officer whose it is.
    ///
    /// # Errors
    /// When the file cannot be used or the key is no officer's.
    pub fn load(path: &Path, state: &State) -> Result<Self, Error> {
        let key = LogKey::load(path)?;
        Self::of(key, state).ok_or_else(|| {
            Error::content(
                path,
                "is the key of no officer of this registry; see the officers in \
                 `central-registry show`",
            )
        })
    }

    /// The officer whose key this is.
    #[must_use]
    pub fn of(key: LogKey, state: &State) -> Option<Self> {
        let public_key = key.public_key();
        let name = state.pairs().find_map(|(text, value)| {
            let StateKey::Officer(name) = StateKey::parse(state.instance(), text).ok()? else {
                return None;
            };
            let officer = Officer::decode(value.clone()).ok()?;
            (officer.public_key == public_key.as_slice()).then_some(name)
        })?;
        Some(Self { name, key })
    }

    /// Signs a decision on changes.
    #[must_use]
    pub fn decide(&self, set: &ChangeSet) -> Changes {
        decide(&self.name, &self.key, set)
    }
}

/// An officer's decision on changes.
pub(crate) fn decide(officer: &str, key: &LogKey, set: &ChangeSet) -> Changes {
    let change_set = set.encode_to_vec();
    let signature = key.sign(&[OFFICER_SIGNATURE_CONTEXT, &change_set].concat());
    let signature = Bytes::copy_from_slice(&signature);
    Changes {
        change_set: change_set.into(),
        decision: Some(OfficerDecision {
            officer: officer.to_owned(),
            signature,
        }),
        request_header: Bytes::new(),
        request_signature: Bytes::new(),
    }
}

/// A connection to the administration socket, and the state as it was seen through it.
#[derive(Debug)]
pub struct Session {
    client: CentralRegistryAdministrationClient<Channel>,
    state: State,
    log_size: u64,
}

impl Session {
    /// Connects and looks at the state.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn open(socket: &Path) -> Result<Self, Error> {
        let path = socket.to_owned();
        let connector = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The address is not used: the connector knows the socket.
        let channel = Endpoint::from_static("http://central-registry")
            .connect_with_connector(connector)
            .await
            .map_err(|source| Error::Unreachable {
                path: socket.to_owned(),
                source,
            })?;
        let mut client = CentralRegistryAdministrationClient::new(channel)
            .max_decoding_message_size(administration::SHOW_LIMIT)
            .max_encoding_message_size(administration::SUBMIT_LIMIT);
        let shown = client.show(ShowRegistryRequest {}).await?.into_inner();
        let instance = shown.instance.parse().map_err(|error| {
            Error::Unusable(format!(
                "the registry names an impossible instance: {error}"
            ))
        })?;
        let state = State::from_snapshot(instance, Snapshot { pairs: shown.state })?;
        Ok(Self {
            client,
            state,
            log_size: shown.log_size,
        })
    }

    /// The state as it was when the session began.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The number of records of the log at that time.
    #[must_use]
    pub const fn log_size(&self) -> u64 {
        self.log_size
    }

    /// Signs a plan and gives it in, in as many entries as it needs. Gives their indices.
    ///
    /// # Errors
    /// When the registry refuses; entries before the refused one are recorded and stay.
    pub async fn submit(
        mut self,
        plan: &Plan,
        officer: &OfficerKey,
        reason: &str,
    ) -> Result<Vec<u64>, Error> {
        if reason.len() > REASON_LIMIT {
            let problem = format!("the reason has more than {REASON_LIMIT} bytes");
            return Err(Error::Unusable(problem));
        }
        plan.check(&self.state)?;
        let mut indices = Vec::new();
        let mut based_on = self.log_size;
        for parcel in parcel::split(plan)? {
            let set = ChangeSet {
                instance: self.state.instance().to_string(),
                changes: parcel.changes,
                reason: reason.to_owned(),
                based_on,
            };
            let request = SubmitRequest {
                changes: Some(officer.decide(&set)),
                blobs: parcel.blobs,
            };
            let index = self.client.submit(request).await?.into_inner().index;
            indices.push(index);
            // The next entry builds on this one, and on nobody else's between them.
            based_on = index + 1;
        }
        Ok(indices)
    }
}
