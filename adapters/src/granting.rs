//! Which grant a call has, and whether it may be used once more now.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use percent_encoding::percent_decode_str;
use tonic::metadata::MetadataMap;

use crate::{configuration::Grant, refusal::Refusal, served_method::ServedMethod};

/// A method as each grant leaves it; without grants as it is.
#[derive(Debug)]
pub(crate) struct GrantedMethod {
    pub(crate) name: String,
    pub(crate) answers: Vec<(Option<Arc<ServedGrant>>, Arc<ServedMethod>)>,
}

/// A grant and what is left of its calls.
#[derive(Debug)]
pub(crate) struct ServedGrant {
    grant: Grant,
    rate: Option<Rate>,
}

/// A bucket of calls that fills up evenly; a minute's worth may be used at once.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    most: f64,
    left: Mutex<(f64, Instant)>,
}

impl GrantedMethod {
    /// The method as the first grant leaves it that the call has.
    ///
    /// The consumer, the purpose and the access right are those that the security server has verified: only it can connect.
    pub(crate) fn choose(&self, metadata: &MetadataMap) -> Result<Arc<ServedMethod>, Refusal> {
        let stated = ["x-road-client", "x-road-purpose", "x-road-access-right"]
            .map(|key| text(metadata, key));
        let fits = |grant: &ServedGrant| grant.fits(stated.each_ref().map(Option::as_deref));
        let mut answers = self.answers.iter();
        let chosen = answers.find(|(grant, _)| grant.as_deref().is_none_or(fits));
        let (grant, method) = chosen.ok_or(Refusal::NotGranted)?;
        if let Some(rate) = grant.as_ref().and_then(|grant| grant.rate.as_ref())
            && !rate.take(Instant::now())
        {
            return Err(Refusal::TooOften);
        }
        Ok(Arc::clone(method))
    }
}

impl ServedGrant {
    pub(crate) fn new(grant: &Grant) -> Self {
        let rate = grant.calls_per_minute.map(|calls| Rate {
            per_second: f64::from(calls) / 60.0,
            most: f64::from(calls),
            left: Mutex::new((f64::from(calls), Instant::now())),
        });
        Self {
            grant: grant.clone(),
            rate,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.grant.name
    }

    fn fits(&self, [consumer, purpose, right]: [Option<&str>; 3]) -> bool {
        let is_among = |list: &Option<Vec<String>>, value: Option<&str>| match list {
            None => true,
            Some(list) => value.is_some_and(|value| list.iter().any(|one| one == value)),
        };
        // Nobody is nobody's consumer, also where any may call.
        consumer.is_some()
            && is_among(&self.grant.consumers, consumer)
            && is_among(&self.grant.purposes, purpose)
            && is_among(&self.grant.rights, right)
    }
}

impl Rate {
    fn take(&self, now: Instant) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, since) = *left;
        let filled = now.saturating_duration_since(since).as_secs_f64() * self.per_second;
        let calls = (before + filled).min(self.most);
        let allowed = calls >= 1.0;
        *left = (if allowed { calls - 1.0 } else { calls }, now);
        allowed
    }
}

/// A value as the security server writes it, percent-encoded.
fn text(metadata: &MetadataMap, key: &str) -> Option<String> {
    let value = metadata.get(key)?.to_str().ok()?;
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    (!decoded.is_empty()).then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_minutes_calls_may_come_at_once_and_then_evenly() {
        let begun = Instant::now();
        let rate = Rate {
            per_second: 1.0,
            most: 60.0,
            left: Mutex::new((60.0, begun)),
        };
        for _ in 0..60 {
            assert!(rate.take(begun));
        }
        assert!(!rate.take(begun));
        assert!(!rate.take(begun + Duration::from_millis(900)));
        assert!(rate.take(begun + Duration::from_millis(1_100)));
        assert!(!rate.take(begun + Duration::from_millis(1_200)));
        let later = begun + Duration::from_secs(3600);
        for _ in 0..60 {
            assert!(rate.take(later));
        }
        assert!(!rate.take(later));
    }

    #[test]
    fn a_grant_is_for_its_consumers_purposes_and_rights_letter_for_letter() {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let grant = |consumers, purposes, rights| {
            ServedGrant::new(&Grant {
                name: "g".to_owned(),
                consumers,
                purposes,
                rights,
                calls_per_minute: None,
            })
        };
        let narrow = grant(
            list(&["VN/GOV/A/desk"]),
            list(&["birth registration"]),
            None,
        );
        let fits = |grant: &ServedGrant, consumer, purpose| grant.fits([consumer, purpose, None]);
        assert!(fits(
            &narrow,
            Some("VN/GOV/A/desk"),
            Some("birth registration")
        ));
        for (consumer, purpose) in [
            (Some("VN/GOV/A/desk"), None),
            (Some("VN/GOV/A/desk"), Some("Birth registration")),
            (Some("VN/GOV/A/des"), Some("birth registration")),
            (Some("VN/GOV/A/desk2"), Some("birth registration")),
            (None, Some("birth registration")),
        ] {
            assert!(
                !fits(&narrow, consumer, purpose),
                "{consumer:?} {purpose:?}"
            );
        }
        let any = grant(None, None, None);
        assert!(fits(&any, Some("x"), None));
        assert!(!fits(&any, None, None));
        let by_right = grant(None, None, list(&["agreement 7"]));
        assert!(by_right.fits([Some("x"), None, Some("agreement 7")]));
        for right in [None, Some("agreement"), Some("Agreement 7")] {
            assert!(!by_right.fits([Some("x"), None, right]), "{right:?}");
        }
    }
}
