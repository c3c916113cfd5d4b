//! An adapter that has been proven to fit its database, and its methods as routes.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use crate::{
    beside::beside,
    changes::ServedChanges,
    configuration::{
        Configuration, Method, MethodKind, Note, POSITION, RECORDS, SUBJECT_MARK, is_number,
    },
    database::Database,
    error::Error,
    granting::{GrantedMethod, ServedGrant},
    inspection::{Fit, Misfit, Unfit, fit_method, open_for_reading, open_for_writing},
    lock::Lock,
    method_service::MethodService,
    reloading::{Current, Unchanged},
    schema::Schema,
    served_method::{Folded, Parameter, ReplyColumn, ServedMethod},
};

/// A service over a database, ready to be bound to its address.
#[derive(Debug)]
pub struct Adapter {
    pub(crate) configuration: Configuration,
    schema: Schema,
    pub(crate) current: Arc<ArcSwap<Current>>,
    /// Told to streams that wait when the adapter is to end.
    pub(crate) stopping: watch::Sender<bool>,
}

impl Adapter {
    /// Opens a configuration: its lock must cover it and every statement must fit the database.
    pub async fn open(configuration: Configuration) -> Result<Self, Error> {
        Self::open_with(configuration, watch::Sender::new(false)).await
    }

    /// The same for an adapter that is told by others when to end.
    pub(crate) async fn open_with(
        configuration: Configuration,
        stopping: watch::Sender<bool>,
    ) -> Result<Self, Error> {
        let lock_path = configuration.lock_path();
        let lock = Lock::read(&lock_path)?;
        lock.require_cover(&lock_path, &configuration)?;
        let schema = Schema::write(&configuration, &lock)?;
        let writers = open_for_writing(&configuration).await?;
        let database = open_for_reading(&configuration).await?;
        let admission = Arc::new(Semaphore::new(configuration.limits.concurrent_calls));
        let mut methods = BTreeMap::new();
        let mut misfits = Vec::new();
        let grants = configuration
            .grants
            .iter()
            .map(|grant| Arc::new(ServedGrant::new(grant)));
        let grants: Vec<_> = grants.collect();
        for method in &configuration.methods {
            let mut answers = Vec::new();
            for (grant, method) in method.answered() {
                match fit_method(method, &database, writers.as_ref()).await {
                    Ok(fit) => {
                        let grant = grant.and_then(|grant| grants.get(grant)).map(Arc::clone);
                        let served = served_method(
                            &configuration,
                            &schema,
                            (method, grant.as_deref().map_or("", ServedGrant::name)),
                            fit,
                            database.clone(),
                            Arc::clone(&admission),
                            stopping.subscribe(),
                        )?;
                        answers.push((grant, Arc::new(served)));
                    }
                    Err(Unfit::Database(error)) => {
                        return Err(configuration.database.failed(error));
                    }
                    Err(Unfit::Faults(faults)) => {
                        misfits.extend(faults.into_iter().map(|fault| Misfit {
                            method: method.name.clone(),
                            fault,
                        }))
                    }
                }
            }
            let name = method.name.clone();
            methods.insert(name.clone(), Arc::new(GrantedMethod { name, answers }));
        }
        if misfits.is_empty() {
            Ok(Self {
                configuration,
                schema,
                current: Arc::new(ArcSwap::from_pointee(Current { database, methods })),
                stopping,
            })
        } else {
            Err(Error::Misfits(misfits))
        }
    }

    /// The published form of the service.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    pub(crate) fn unchanged(&self) -> Unchanged {
        Unchanged {
            proto: without_comments(&self.schema.text),
            listen: self.configuration.listen.clone(),
            monitoring: self.configuration.monitoring,
        }
    }

    pub(crate) fn routes(&self) -> Result<(Routes, HealthReporter), Error> {
        let (mut router, reporter) = beside(&self.schema.descriptors)?;
        for method in &self.configuration.methods {
            let path = format!("/{}/{}", self.configuration.service, method.name);
            let service = MethodService {
                current: Arc::clone(&self.current),
                method: method.name.clone(),
            };
            router = router.route_service(&path, service);
        }
        Ok((Routes::from(router).prepare(), reporter))
    }
}

/// The published form as far as callers depend on it, and security servers by the mark of the data subject.
fn without_comments(proto: &str) -> String {
    let lines = proto.lines().map(|line| match line.split_once("//") {
        Some((_, comment)) if comment.trim() == SUBJECT_MARK => SUBJECT_MARK,
        Some((before, _)) => before.trim(),
        None => line.trim(),
    });
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn served_method(
    configuration: &Configuration,
    schema: &Schema,
    (method, grant): (&Method, &str),
    fit: Fit,
    database: Database,
    admission: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
) -> Result<ServedMethod, Error> {
    let package = &configuration.service.package;
    let request = schema.message(package, &method.request_message())?;
    let reply = schema.message(package, &method.record_message())?;
    let batch = match method.kind {
        MethodKind::Batches => {
            let batch = schema.message(package, &method.reply_message())?;
            batch
                .get_field_by_name(RECORDS)
                .map(|records| (batch, records))
        }
        MethodKind::Unary | MethodKind::ServerStreaming | MethodKind::Changes => None,
    };
    let number = method.changes.as_ref().map(|table| table.number.as_str());
    let column = method
        .reply
        .iter()
        .zip(&fit.positions)
        .find(|(field, _)| number.is_some_and(|number| is_number(field, number)))
        .and_then(|(_, positions)| positions.first().copied());
    let changes = match (fit.numbers, column) {
        (Some(numbers), Some(column)) => {
            let message = schema.message(package, &method.reply_message())?;
            let (records, position) = (
                message.get_field_by_name(RECORDS),
                message.get_field_by_name(POSITION),
            );
            records
                .zip(position)
                .map(|(records, position)| ServedChanges {
                    numbers,
                    column,
                    message,
                    records,
                    position,
                    stopping,
                })
        }
        _ => None,
    };
    let widths = method.statement.widths.iter();
    let parameters = method
        .request
        .iter()
        .zip(widths)
        .filter_map(|(field, width)| {
            Some(Parameter {
                descriptor: request.get_field_by_name(&field.name)?,
                field: field.clone(),
                width: *width,
            })
        });
    let folded = method.folded.iter().filter_map(|field| {
        Some(Folded {
            descriptor: request.get_field_by_name(&field.name)?,
            required: field.required,
            column: method
                .reply
                .iter()
                .position(|answered| answered.name == field.reply)?,
            ignoring: field.ignoring,
        })
    });
    let columns = method
        .reply
        .iter()
        .zip(fit.positions)
        .filter_map(|(field, positions)| {
            Some(ReplyColumn {
                positions,
                descriptor: reply.get_field_by_name(&field.name)?,
                field_type: field.field_type,
                rules: field.rules.clone(),
            })
        });
    Ok(ServedMethod {
        parameters: parameters.collect(),
        columns: columns.collect(),
        folded: folded.collect(),
        undecodable: reply.get_field_by_name(Note::Undecodable.field()),
        withheld: reply.get_field_by_name(Note::Withheld.field()),
        method: method.clone(),
        grant: grant.to_owned(),
        request,
        reply,
        batch,
        statement: fit.statement,
        write: fit.write,
        changes,
        database,
        limits: configuration.limits,
        admission,
    })
}
