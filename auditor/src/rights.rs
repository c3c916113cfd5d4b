//! What the server hosts and allows, by the changes that its log recorded; and who was allowed.

use std::collections::{HashMap, HashSet};

use trust::{
    Digest, MethodPath, SubsystemId,
    access::{self, AccessRight, Question},
    wire::evidence::{
        Change, ServiceKey,
        change::{Key, Value},
    },
};

use crate::times::RECORDING_SECONDS;

/// The local state after the changes read so far.
#[derive(Default)]
pub(crate) struct LocalState {
    subsystems: HashSet<SubsystemId>,
    services: HashSet<(SubsystemId, String)>,
    certificates: HashMap<Digest, SubsystemId>,
    /// By the right's own id: the record that granted it.
    granted: HashMap<String, u64>,
    rights: HashMap<u64, GrantedRight>,
    /// By client and service: the records of rights in force, and of those withdrawn just now.
    by_parties: HashMap<(SubsystemId, SubsystemId), Vec<u64>>,
    /// Rights that are no longer in force: the record of the change that withdrew each.
    withdrawn: HashMap<u64, u64>,
}

struct GrantedRight {
    right: AccessRight,
    withdrawn_at: Option<i64>,
}

/// How a call was found to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// At the time of the record.
    Now,
    /// At the time of the decision, moments before.
    MomentsBefore,
}

impl LocalState {
    /// Applies the change of record `index`.
    pub(crate) fn apply(&mut self, index: u64, change: &Change, at: i64) -> Result<(), String> {
        let key = change.key.as_ref().ok_or("the change has no key")?;
        let value = change.value.as_ref();
        match key {
            Key::Subsystem(subsystem) => self.apply_subsystem(parse(subsystem)?, value),
            Key::Service(service) => self.apply_service(service, value),
            Key::ClientCertificate(key) => {
                let digest = Digest::from_slice(&key.digest);
                let digest = digest.ok_or("the digest of a client certificate has 32 bytes")?;
                self.apply_certificate(digest, value)
            }
            Key::AccessRight(id) => self.apply_right(index, id, value, at),
        }
    }

    /// Whether the right that record `granted` grants allowed a call that was recorded at
    /// `question.at`, at `logged_at` by the log.
    pub(crate) fn check_right(
        &self,
        granted: u64,
        question: &Question<'_>,
        logged_at: i64,
    ) -> Result<Allowed, String> {
        let Some(found) = self.rights.get(&granted) else {
            return Err(match self.withdrawn.get(&granted) {
                Some(by) => format!(
                    "it was allowed by the right of record {granted}, which record {by} withdrew"
                ),
                None => format!("record {granted}, which should allow it, grants no access right"),
            });
        };
        let overlap = match found.withdrawn_at {
            None => Allowed::Now,
            Some(at) if logged_at <= at.saturating_add(RECORDING_SECONDS) => Allowed::MomentsBefore,
            Some(_) => {
                let by = self.withdrawn.get(&granted).copied().unwrap_or_default();
                return Err(format!(
                    "it was allowed by the right of record {granted}, which record {by} withdrew"
                ));
            }
        };
        let decided = decide([(granted, &found.right)].into_iter(), question)
            .map_err(|why| format!("the right of record {granted} does not allow it: {why}"))?;
        Ok(if overlap == Allowed::Now {
            decided
        } else {
            overlap
        })
    }

    /// Whether some right allowed a call that was recorded at `question.at`, at `logged_at` by the log.
    pub(crate) fn check_any_right(
        &self,
        question: &Question<'_>,
        logged_at: i64,
    ) -> Result<Allowed, String> {
        let in_force = self
            .rights_of(question)
            .filter(|(_, found)| found.withdrawn_at.is_none());
        if let Ok(allowed) = decide(in_force.map(plain), question) {
            return Ok(allowed);
        }
        let moments_before = self.rights_of(question).filter(|(_, found)| {
            let until = found
                .withdrawn_at
                .map(|at| at.saturating_add(RECORDING_SECONDS));
            until.is_none_or(|until| logged_at <= until)
        });
        decide(moments_before.map(plain), question).map(|_| Allowed::MomentsBefore)
    }

    fn rights_of(
        &self,
        question: &Question<'_>,
    ) -> impl Iterator<Item = (u64, &GrantedRight)> + Clone {
        let parties = (question.client.clone(), question.service.clone());
        let known = self.by_parties.get(&parties).map_or(&[][..], Vec::as_slice);
        known
            .iter()
            .filter_map(|index| Some((*index, self.rights.get(index)?)))
    }

    fn apply_subsystem(
        &mut self,
        subsystem: SubsystemId,
        value: Option<&Value>,
    ) -> Result<(), String> {
        match value {
            Some(Value::LocalSubsystem(_)) => {
                self.subsystems.insert(subsystem);
                Ok(())
            }
            None => {
                let used = self.services.iter().any(|(host, _)| *host == subsystem)
                    || self.certificates.values().any(|of| *of == subsystem);
                if used {
                    return Err(format!("{subsystem} is removed and still used"));
                }
                removed(self.subsystems.remove(&subsystem))
            }
            Some(_) => Err(wrong_value()),
        }
    }

    fn apply_service(&mut self, key: &ServiceKey, value: Option<&Value>) -> Result<(), String> {
        let subsystem = self.hosted(&key.subsystem)?;
        let name = MethodPath::new(&key.grpc_service, "Method");
        let name = name.map_err(|error| error.to_string())?;
        let key = (subsystem, name.service().to_owned());
        match value {
            Some(Value::LocalService(_)) => {
                self.services.insert(key);
                Ok(())
            }
            None => removed(self.services.remove(&key)),
            Some(_) => Err(wrong_value()),
        }
    }

    fn apply_certificate(&mut self, digest: Digest, value: Option<&Value>) -> Result<(), String> {
        match value {
            Some(Value::Certificate(certificate)) => {
                if Digest::of(&certificate.certificate) != digest {
                    return Err("the key is the digest of another client certificate".to_owned());
                }
                let subsystem = self.hosted(&certificate.subsystem)?;
                self.certificates.insert(digest, subsystem);
                Ok(())
            }
            None => removed(self.certificates.remove(&digest).is_some()),
            Some(_) => Err(wrong_value()),
        }
    }

    fn apply_right(
        &mut self,
        index: u64,
        id: &str,
        value: Option<&Value>,
        at: i64,
    ) -> Result<(), String> {
        let right = match value {
            Some(Value::Right(right)) => {
                let right = AccessRight::try_from(right).map_err(|error| error.to_string())?;
                self.hosted(right.service.as_str())?;
                Some(right)
            }
            None => None,
            Some(_) => return Err(wrong_value()),
        };
        let former = self.granted.remove(id);
        if let Some(former) = former {
            self.withdraw(former, index, at);
        }
        match right {
            Some(right) => {
                let parties = (right.client.clone(), right.service.clone());
                self.forget_withdrawn(&parties, at);
                self.by_parties.entry(parties).or_default().push(index);
                self.granted.insert(id.to_owned(), index);
                self.rights.insert(
                    index,
                    GrantedRight {
                        right,
                        withdrawn_at: None,
                    },
                );
                Ok(())
            }
            None => removed(former.is_some()),
        }
    }

    /// A right stays known for the moments in which decisions by it may still be recorded.
    fn withdraw(&mut self, granted: u64, by: u64, at: i64) {
        self.withdrawn.insert(granted, by);
        let Some(found) = self.rights.get_mut(&granted) else {
            return;
        };
        found.withdrawn_at = Some(at);
        let parties = (found.right.client.clone(), found.right.service.clone());
        self.forget_withdrawn(&parties, at);
    }

    fn forget_withdrawn(&mut self, parties: &(SubsystemId, SubsystemId), now: i64) {
        let Some(indices) = self.by_parties.get_mut(parties) else {
            return;
        };
        indices.retain(|index| {
            let withdrawn_at = self.rights.get(index).and_then(|found| found.withdrawn_at);
            let past = withdrawn_at.is_some_and(|at| now > at.saturating_add(RECORDING_SECONDS));
            if past {
                self.rights.remove(index);
            }
            !past
        });
    }

    fn hosted(&self, subsystem: &str) -> Result<SubsystemId, String> {
        let subsystem = parse(subsystem)?;
        if self.subsystems.contains(&subsystem) {
            Ok(subsystem)
        } else {
            Err(format!(
                "{subsystem} is not a subsystem of this server at that point"
            ))
        }
    }
}

const fn plain((index, found): (u64, &GrantedRight)) -> (u64, &AccessRight) {
    (index, &found.right)
}

/// Asks at the time of the record, and else at the time of the decision.
fn decide<'r>(
    rights: impl Iterator<Item = (u64, &'r AccessRight)> + Clone,
    question: &Question<'_>,
) -> Result<Allowed, String> {
    let Err(refusal) = access::decide(rights.clone(), question) else {
        return Ok(Allowed::Now);
    };
    let decided_at = question.at.saturating_sub(RECORDING_SECONDS);
    let before = Question {
        at: decided_at,
        ..*question
    };
    match access::decide(rights, &before) {
        Ok(_) => Ok(Allowed::MomentsBefore),
        Err(_) => Err(refusal.explanation),
    }
}

fn parse(subsystem: &str) -> Result<SubsystemId, String> {
    subsystem
        .parse()
        .map_err(|error: trust::InvalidIdentifier| error.to_string())
}

fn removed(was_there: bool) -> Result<(), String> {
    if was_there {
        Ok(())
    } else {
        Err("there is nothing to remove".to_owned())
    }
}

fn wrong_value() -> String {
    "the value is of another kind than the key".to_owned()
}
