//! The desk at work: takes the steps that are due, and tries each until it is done or refused.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    path::Path,
    sync::Arc,
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tokio::{
    sync::OnceCell,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Response;

use super::{
    outcome::{Attempt, Outcome},
    settings::Settings,
    step::{Agency, Step},
    store::{Dossier, Store},
};
use crate::{
    Error,
    caller::{Caller, Method},
};

/// How soon a step is tried again at first.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked for what others have declared meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// A desk.
pub struct Desk {
    store: Store,
    settings: Settings,
    methods: HashMap<Step, Method>,
    /// Made when somebody answers.
    caller: OnceCell<Caller>,
    /// Held as long as the desk is open: two would do the same steps.
    _lock: File,
}

impl Desk {
    /// Opens the desk: its store, and what the agencies' services look like.
    ///
    /// # Errors
    /// When the store or a `.proto` cannot be used.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        let mut methods = HashMap::new();
        for step in Step::ALL {
            let of = settings.service(step.agency());
            methods.insert(step, Method::load(&of.proto, &of.service, step.method())?);
        }
        Ok(Self {
            store: Store::open(&settings.store).await?,
            _lock: lock(&settings.store)?,
            settings,
            methods,
            caller: OnceCell::new(),
        })
    }

    /// Works for as long as it is polled. Dropped at any moment it loses nothing: what was under way is tried again.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn work(self: &Arc<Self>) -> Result<(), Error> {
        let mut taken: HashSet<(String, Step)> = HashSet::new();
        // Tasks of their own: they hold connections to the store while this here waits for one.
        let mut attempts = JoinSet::new();
        loop {
            for agency in Agency::ALL {
                let under_way = taken
                    .iter()
                    .filter(|(_, step)| step.agency() == agency)
                    .count();
                let room = self.settings.at_once.saturating_sub(under_way);
                // Those under way are due as well, until it is noted what came of them.
                let due = self.store.due(agency, now(), room + under_way).await?;
                let due: Vec<_> = due
                    .into_iter()
                    .filter(|due| !taken.contains(due))
                    .take(room)
                    .collect();
                for (id, step) in due {
                    taken.insert((id.clone(), step));
                    let desk = Arc::clone(self);
                    attempts.spawn(async move {
                        let noted = desk.attempt(&id, step).await;
                        ((id, step), noted)
                    });
                }
            }
            tokio::select! {
                Some(ended) = attempts.join_next() => {
                    let (due, noted) = ended?;
                    taken.remove(&due);
                    noted?;
                }
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Tries a step, and notes what came of it.
    async fn attempt(&self, id: &str, step: Step) -> Result<(), Error> {
        let Some(dossier) = self.store.dossier(id).await? else {
            return Ok(());
        };
        let patience = self.settings.answer_patience();
        let attempt = match timeout(patience, self.ask(&dossier, step)).await {
            Ok(attempt) => attempt,
            Err(_) => Attempt::unreached(format!("no answer within {} s", patience.as_secs_f64())),
        };
        let before = dossier.steps.iter().find(|state| state.step == step);
        let pause = match attempt.outcome {
            Outcome::Done(_) | Outcome::Refused(_) => Duration::ZERO,
            Outcome::Waits(_) => self.pause(before.map_or(0, |state| state.attempts)),
        };
        let noted_at = now();
        let next_at = noted_at + i64::try_from(pause.as_millis())?;
        self.store
            .note((id, step, dossier.version), &attempt, noted_at, next_at)
            .await
    }

    /// Twice as long each time, so that an agency that comes back is not overrun, up to the longest.
    fn pause(&self, attempts: i64) -> Duration {
        let doubled = u32::try_from(attempts.clamp(0, 16)).unwrap_or(0);
        (FIRST_PAUSE * 2_u32.pow(doubled)).min(self.settings.longest_pause())
    }

    async fn ask(&self, dossier: &Dossier, step: Step) -> Attempt {
        let called = match self.caller_for(dossier, step).await {
            Ok(caller) => caller,
            Err(error) => return Attempt::unreached(format!("the own security server: {error}")),
        };
        let Some(method) = self.methods.get(&step) else {
            return Attempt::unreached(format!("the step {} is not known", step.name()));
        };
        let answer = called.unary(method, step.request(dossier)).await;
        let attempt = Attempt::judge(answer.map(|reply| {
            let (metadata, message, extensions) = reply.into_parts();
            // A message of a .proto is always JSON.
            let message = serde_json::to_value(&message).unwrap_or(Value::Null);
            Response::from_parts(metadata, message, extensions)
        }));
        match &attempt.outcome {
            Outcome::Done(brought) => match step.objection(dossier, brought) {
                Some(objection) => Attempt {
                    outcome: Outcome::Refused(format!("OTHER_PERSON: {objection}")),
                    ..attempt
                },
                None => attempt,
            },
            Outcome::Waits(_) | Outcome::Refused(_) => attempt,
        }
    }

    /// With what the bus is told of this exchange: who asks, in which case, why, and by which law.
    async fn caller_for(&self, dossier: &Dossier, step: Step) -> Result<Caller, Error> {
        let caller = self.caller.get_or_try_init(|| self.connect()).await?;
        let declaration = &dossier.declaration;
        caller
            .clone()
            .with(
                "x-road-service",
                &self.settings.service(step.agency()).subsystem,
            )?
            .with(
                "x-road-id",
                &encoded(&format!("{}/{}", dossier.id, step.name())),
            )?
            .with("x-road-userid", &encoded(&declaration.officer))?
            .with("x-road-issue", &encoded(&declaration.case_number))?
            .with("x-road-purpose", &encoded(&self.settings.purpose))?
            .with("x-road-legal-basis", step.legal_basis())
    }

    async fn connect(&self) -> Result<Caller, Error> {
        let address = &self.settings.security_server;
        match &self.settings.tls {
            None => Caller::plaintext(address).await,
            Some(tls) => Caller::tls(address, &tls.authority, &tls.certificate, &tls.key).await,
        }
    }
}

/// Nobody else works on the same store; it is free as soon as whoever had it is gone.
fn lock(store: &Path) -> Result<File, Error> {
    let file = File::create(store.with_extension("lock"))?;
    file.try_lock()
        .map_err(|_| format!("another desk works on {}", store.display()))?;
    Ok(file)
}

/// As the bus takes texts of people: what is not ASCII is percent-encoded.
fn encoded(text: &str) -> String {
    const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Milliseconds since 1970 (UTC).
#[must_use]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
