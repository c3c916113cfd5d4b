//! What the server shows of itself: its state, configuration, certificates and logs.

use certs::Certificate;
use proto::administration::{ShowReply, ShownCertificate, ShownLog, ShownPeerLog};
use trust::wire::evidence::{Change, change::Value};

use crate::server::Server;

impl Server {
    /// Everything that `show` prints.
    pub(super) fn shown(&self) -> ShowReply {
        let known = self.newest().peek();
        let head = known
            .as_ref()
            .map(|snapshot| snapshot.configuration().head());
        let not_serving = self.ready().err();
        ShowReply {
            state: self.local_state().shown().cloned().collect(),
            server: self.id().to_string(),
            configuration_serial: head.map_or(0, |head| head.serial()),
            configuration_expires_at: head.map_or(0, |head| head.publication().expires_at),
            configuration_issued_at: head.map_or(0, |head| head.publication().issued_at),
            clock: self.clock().seconds(),
            serving: not_serving.is_none(),
            not_serving_because: not_serving
                .map(|refusal| refusal.explanation)
                .unwrap_or_default(),
            certificates: self.shown_certificates(),
            log: Some(self.shown_log()),
            peer_logs: self.shown_peer_logs(),
            changes: self.local_state().changes,
        }
    }

    /// The certificates that this server shows, signs with, or accepts from its clients.
    pub(crate) fn shown_certificates(&self) -> Vec<ShownCertificate> {
        let (identities, id) = (self.identities(), self.id().to_string());
        let mut shown = vec![of(
            "authentication",
            &id,
            &identities.exchange.certificate(),
        )];
        if let Some(listener) = &identities.clients {
            shown.push(of("listener", &id, &listener.certificate()));
        }
        let signing = self.signers().certificates();
        shown.extend(signing.map(|(member, held)| of("signing", &member.to_string(), held)));
        shown.extend(self.local_state().shown().filter_map(of_client));
        shown
    }

    fn shown_log(&self) -> ShownLog {
        let log = self.recorder().log();
        ShownLog {
            origin: log.origin().to_string(),
            records: log.size(),
            checkpoint: log.last_checkpoint().map(|last| last.unverified().size),
        }
    }

    /// The logs of other servers.
    pub(crate) fn shown_peer_logs(&self) -> Vec<ShownPeerLog> {
        self.peer_logs().each(|origin, followed| ShownPeerLog {
            origin: origin.to_string(),
            checkpoint: followed.log.newest().map(|newest| newest.size),
            unproven: followed.log.unproven() as u64,
            verdict: followed.verdict.clone(),
        })
    }
}

fn of(role: &str, subject: &str, certificate: &Certificate) -> ShownCertificate {
    ShownCertificate {
        role: role.to_owned(),
        subject: subject.to_owned(),
        digest: certificate.digest().to_bytes(),
        not_after: certificate.not_after(),
    }
}

fn of_client(change: &Change) -> Option<ShownCertificate> {
    let Some(Value::Certificate(client)) = &change.value else {
        return None;
    };
    let certificate = Certificate::parse(&client.certificate).ok()?;
    Some(of("client", &client.subsystem, &certificate))
}
