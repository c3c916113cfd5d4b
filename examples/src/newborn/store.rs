//! The desk's own store: dossiers and their steps, in one SQLite file that survives a power cut.

use std::{
    collections::BTreeMap, fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, str::FromStr,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use sqlx::{
    Row, SqliteConnection, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use super::{
    declaration::{Child, Declaration},
    outcome::{Attempt, Outcome},
    step::{Agency, Step},
};
use crate::Error;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS declaration (
    case_number TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    version INTEGER NOT NULL,             -- how often it was corrected
    declared_at INTEGER NOT NULL          -- milliseconds since 1970 (UTC), as all times here
) STRICT;
CREATE TABLE IF NOT EXISTS dossier (
    id TEXT PRIMARY KEY,
    case_number TEXT NOT NULL REFERENCES declaration,
    child INTEGER NOT NULL                -- its place in the declaration, from 0
) STRICT;
CREATE TABLE IF NOT EXISTS step (
    dossier TEXT NOT NULL REFERENCES dossier,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    agency TEXT NOT NULL,
    state TEXT NOT NULL,                  -- blocked, waiting, done, refused
    said TEXT NOT NULL DEFAULT '',        -- why it waits, or was refused
    brought TEXT,                         -- what the agency answered
    exchange TEXT NOT NULL DEFAULT '',    -- the newest attempt's
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER NOT NULL DEFAULT 0,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (dossier, name)
) STRICT;
CREATE INDEX IF NOT EXISTS step_due ON step (state, agency, next_at);
";

/// The store, open. Several processes may have it open.
#[derive(Clone)]
pub struct Store(SqlitePool);

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Something before it is not done.
    Blocked,
    /// It will be tried, at once or after a pause.
    Waiting,
    /// The agency has done it.
    Done,
    /// The agency has refused it for good.
    Refused,
}

/// A step of a dossier as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepState {
    /// Which.
    pub step: Step,
    /// Whom it asks.
    pub agency: Agency,
    /// Where it stands.
    pub state: State,
    /// Why it waits, or was refused.
    pub said: String,
    /// What the agency answered.
    pub brought: Option<Value>,
    /// The exchange of the newest attempt; empty if there was none.
    pub exchange: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When that changed, in milliseconds since 1970 (UTC).
    pub changed_at: i64,
}

/// A dossier: one child of a declaration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dossier {
    /// The case number and the child's place: the key of all that is written for it.
    pub id: String,
    /// What was declared.
    pub declaration: Declaration,
    /// How often that was corrected.
    pub version: i64,
    /// This child.
    pub child: Child,
    /// In the order in which they are shown.
    pub steps: Vec<StepState>,
}

impl Dossier {
    /// A field of what a step has brought.
    #[must_use]
    pub fn brought(&self, step: Step, field: &str) -> Option<Value> {
        let of = self.steps.iter().find(|state| state.step == step)?;
        of.brought.as_ref()?.get(field).cloned()
    }

    /// Whether all steps are done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.steps.iter().all(|step| step.state == State::Done)
    }
}

/// How many dossiers there are, and how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// All of them.
    pub dossiers: i64,
    /// Those of which every step is done.
    pub complete: i64,
    /// Those of which a step was refused.
    pub refused: i64,
}

impl Store {
    /// Opens the store, or makes it.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        // It is full of persons: for the desk's own user alone.
        let mut file = OpenOptions::new();
        file.create(true).append(true).mode(0o600).open(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged at the desk is there after a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(4);
        let pool = pool.connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Takes a declaration; gives its dossiers. The same declaration again is the same dossiers.
    ///
    /// # Errors
    /// When it lacks something, or another one has its case number.
    pub async fn declare(&self, declaration: &Declaration, now: i64) -> Result<Vec<String>, Error> {
        declaration.check()?;
        let content = serde_json::to_string(declaration)?;
        let case_number = &declaration.case_number;
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let known = sqlx::query("SELECT content FROM declaration WHERE case_number = ?")
            .bind(case_number)
            .fetch_optional(&mut *transaction)
            .await?;
        let ids: Vec<_> = (1..=declaration.children.len())
            .map(|place| format!("{case_number}.{place}"))
            .collect();
        if let Some(known) = known {
            return match known.get::<&str, _>(0) == content {
                true => Ok(ids),
                false => {
                    Err(format!("another declaration has the case number {case_number}").into())
                }
            };
        }
        sqlx::query("INSERT INTO declaration VALUES (?, ?, 0, ?)")
            .bind(case_number)
            .bind(&content)
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        for (id, place) in ids.iter().zip(0_i64..) {
            sqlx::query("INSERT INTO dossier VALUES (?, ?, ?)")
                .bind(id)
                .bind(case_number)
                .bind(place)
                .execute(&mut *transaction)
                .await?;
            open_steps(&mut transaction, id, declaration, now).await?;
        }
        transaction.commit().await?;
        Ok(ids)
    }

    /// The steps of an agency that are to be tried now, those first that wait longest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn due(
        &self,
        agency: Agency,
        now: i64,
        limit: usize,
    ) -> Result<Vec<(String, Step)>, Error> {
        let rows = sqlx::query(
            "SELECT dossier, name FROM step WHERE state = 'waiting' AND agency = ? AND next_at <= ? ORDER BY next_at, dossier LIMIT ?",
        )
        .bind(agency.name())
        .bind(now)
        .bind(i64::try_from(limit)?)
        .fetch_all(&self.0)
        .await?;
        let due = rows
            .iter()
            .filter_map(|row| Some((row.get(0), Step::named(row.get(1))?)));
        Ok(due.collect())
    }

    /// Notes an attempt: what it brought, or when it is made again. What it makes possible is due at once. A look-up of what the
    /// declaration said in an older version is made again: it may have been for somebody else.
    ///
    /// # Errors
    /// When the store cannot be written: the step is then tried again.
    pub async fn note(
        &self,
        (id, step, version): (&str, Step, i64),
        attempt: &Attempt,
        now: i64,
        next_at: i64,
    ) -> Result<(), Error> {
        let (state, said, brought) = match &attempt.outcome {
            Outcome::Done(brought) => ("done", "", Some(brought.to_string())),
            Outcome::Waits(why) => ("waiting", why.as_str(), None),
            Outcome::Refused(why) => ("refused", why.as_str(), None),
        };
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "UPDATE step SET state = ?, said = ?, brought = ?, exchange = coalesce(nullif(?, ''), exchange), attempts = attempts + 1,
             next_at = ?, changed_at = ? WHERE dossier = ? AND name = ? AND state = 'waiting' AND (? OR ? =
             (SELECT c.version FROM declaration c JOIN dossier d ON d.case_number = c.case_number WHERE d.id = dossier))",
        )
        .bind(state)
        .bind(said)
        .bind(brought)
        .bind(&attempt.exchange)
        .bind(next_at)
        .bind(now)
        .bind(id)
        .bind(step.name())
        .bind(!step.is_look_up())
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        unblock(&mut transaction, id, now).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Corrects a declaration. Before its births are asked for, anything but how many children there are; after that, what the birth does
    /// not say, and only while no register is asked for it: a request that may have been carried out is never another one under the same key.
    ///
    /// # Errors
    /// When it lacks something, there is no such case, or it must not be corrected so, or not now.
    pub async fn correct(&self, declaration: &Declaration, now: i64) -> Result<u64, Error> {
        declaration.check()?;
        let case_number = &declaration.case_number;
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let before = sqlx::query("SELECT content FROM declaration WHERE case_number = ?")
            .bind(case_number)
            .fetch_optional(&mut *transaction)
            .await?;
        let before = before.ok_or("there is no such case")?;
        let before: Declaration = serde_json::from_str(before.get(0))?;
        if declaration.children.len() != before.children.len() {
            return Err("a correction has the same children".into());
        }
        let steps = sqlx::query(
            "SELECT coalesce(sum(name = 'birth' AND state <> 'blocked'), 0),
                    coalesce(sum(name IN ('birth', 'number', 'residence') AND state = 'waiting'), 0)
             FROM step WHERE dossier IN (SELECT id FROM dossier WHERE case_number = ?)",
        )
        .bind(case_number)
        .fetch_one(&mut *transaction)
        .await?;
        let (begun, asked): (i64, i64) = (steps.get(0), steps.get(1));
        if begun > 0 && !declaration.has_the_birth_of(&before) {
            return Err("the birth may be registered already: only officer, address and native place can be corrected here, the \
                        rest is an amendment of civil status".into());
        }
        if begun > 0 && asked > 0 {
            return Err(
                "a register is being asked for what would be corrected: wait until it has answered"
                    .into(),
            );
        }
        sqlx::query(
            "UPDATE declaration SET content = ?, version = version + 1 WHERE case_number = ?",
        )
        .bind(serde_json::to_string(declaration)?)
        .bind(case_number)
        .execute(&mut *transaction)
        .await?;
        let tried = match begun {
            0 => open_anew(&mut transaction, declaration, now).await?,
            _ => {
                let refused = sqlx::query(
                    "UPDATE step SET state = 'waiting', next_at = ? WHERE state = 'refused'
                     AND dossier IN (SELECT id FROM dossier WHERE case_number = ?)",
                );
                let refused = refused.bind(now).bind(case_number);
                refused.execute(&mut *transaction).await?.rows_affected()
            }
        };
        transaction.commit().await?;
        Ok(tried)
    }

    /// Lets what was refused be tried again, and what waits at once; how many steps.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn retry(&self, id: &str, now: i64) -> Result<u64, Error> {
        let changed = sqlx::query(
            "UPDATE step SET state = 'waiting', next_at = ? WHERE dossier = ? AND state IN ('waiting', 'refused')",
        )
        .bind(now)
        .bind(id)
        .execute(&self.0)
        .await?;
        Ok(changed.rows_affected())
    }

    /// A dossier; none if there is none of this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dossier(&self, id: &str) -> Result<Option<Dossier>, Error> {
        let found = self.find("d.id = ?", id).await?;
        Ok(found.into_iter().next())
    }

    /// The dossiers of a case, or of one dossier.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_case(&self, case: &str) -> Result<Vec<Dossier>, Error> {
        let found = self.find("d.case_number = ?", case).await?;
        match found.is_empty() {
            true => self.find("d.id = ?", case).await,
            false => Ok(found),
        }
    }

    /// The dossiers with a step of an agency that waits, or that were refused; all that are not complete without either.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open_dossiers(
        &self,
        waits_on: Option<Agency>,
        refused: bool,
    ) -> Result<Vec<Dossier>, Error> {
        let condition = match (waits_on, refused) {
            (Some(_), _) => {
                "EXISTS (SELECT 1 FROM step w WHERE w.dossier = d.id AND w.state = 'waiting' AND w.agency = ?)"
            }
            (None, true) => {
                "'' = ? AND EXISTS (SELECT 1 FROM step w WHERE w.dossier = d.id AND w.state = 'refused')"
            }
            (None, false) => {
                "'' = ? AND EXISTS (SELECT 1 FROM step w WHERE w.dossier = d.id AND w.state <> 'done')"
            }
        };
        self.find(condition, waits_on.map_or("", Agency::name))
            .await
    }

    /// How many dossiers there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count(&self) -> Result<Count, Error> {
        let row = sqlx::query(
            "SELECT count(*), coalesce(sum(o.open = 0), 0), coalesce(sum(o.refused > 0), 0) FROM
             (SELECT sum(state <> 'done') AS open, sum(state = 'refused') AS refused FROM step GROUP BY dossier) o",
        )
        .fetch_one(&self.0)
        .await?;
        Ok(Count {
            dossiers: row.get(0),
            complete: row.get(1),
            refused: row.get(2),
        })
    }

    async fn find(&self, condition: &'static str, value: &str) -> Result<Vec<Dossier>, Error> {
        let sql = format!(
            "SELECT d.id, d.child, c.content, s.name, s.state, s.said, s.brought, s.exchange, s.attempts, s.changed_at, c.version
             FROM dossier d JOIN declaration c ON c.case_number = d.case_number JOIN step s ON s.dossier = d.id
             WHERE {condition} ORDER BY c.declared_at, d.id, s.position"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(value)
            .fetch_all(&self.0)
            .await?;
        let mut dossiers: Vec<Dossier> = Vec::new();
        for row in &rows {
            let id: String = row.get(0);
            if dossiers.last().is_none_or(|last| last.id != id) {
                dossiers.push(dossier(id, row)?);
            }
            if let Some(last) = dossiers.last_mut() {
                last.steps.push(step_state(row)?);
            }
        }
        Ok(dossiers)
    }
}

async fn open_steps(
    connection: &mut SqliteConnection,
    id: &str,
    declaration: &Declaration,
    now: i64,
) -> Result<(), Error> {
    for (step, position) in Step::ALL.into_iter().zip(0_i64..) {
        if step.is_part_of(declaration) {
            sqlx::query(
                "INSERT INTO step (dossier, name, position, agency, state, changed_at) VALUES (?, ?, ?, ?, 'blocked', ?)",
            )
            .bind(id)
            .bind(step.name())
            .bind(position)
            .bind(step.agency().name())
            .bind(now)
            .execute(&mut *connection)
            .await?;
        }
    }
    unblock(connection, id, now).await
}

/// Begins the dossiers of a declaration again, of which nothing but look-ups was done; how many steps are to be tried.
async fn open_anew(
    connection: &mut SqliteConnection,
    declaration: &Declaration,
    now: i64,
) -> Result<u64, Error> {
    let mut tried = 0;
    for place in 1..=declaration.children.len() {
        let id = format!("{}.{place}", declaration.case_number);
        sqlx::query("DELETE FROM step WHERE dossier = ?")
            .bind(&id)
            .execute(&mut *connection)
            .await?;
        open_steps(connection, &id, declaration, now).await?;
        tried += Step::ALL
            .iter()
            .filter(|step| step.is_look_up() && step.is_part_of(declaration))
            .count() as u64;
    }
    Ok(tried)
}

/// Lets the steps wait that nothing before them holds back any more.
async fn unblock(connection: &mut SqliteConnection, id: &str, now: i64) -> Result<(), Error> {
    let rows = sqlx::query("SELECT name, state FROM step WHERE dossier = ?")
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    let states: BTreeMap<Step, String> = rows
        .iter()
        .filter_map(|row| Some((Step::named(row.get(0))?, row.get(1))))
        .collect();
    for (step, state) in &states {
        // A step that this dossier does not have holds nothing back.
        let mut before = step.after().iter().filter_map(|before| states.get(before));
        if state == "blocked" && before.all(|before| before == "done") {
            sqlx::query("UPDATE step SET state = 'waiting', next_at = ?, changed_at = ? WHERE dossier = ? AND name = ?")
                .bind(now)
                .bind(now)
                .bind(id)
                .bind(step.name())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

fn dossier(id: String, row: &SqliteRow) -> Result<Dossier, Error> {
    let declaration: Declaration = serde_json::from_str(row.get(2))?;
    let place = usize::try_from(row.get::<i64, _>(1))?;
    let child = declaration.children.get(place).cloned();
    Ok(Dossier {
        id,
        version: row.get(10),
        child: child.ok_or("a dossier of a child that was not declared")?,
        declaration,
        steps: Vec::new(),
    })
}

fn step_state(row: &SqliteRow) -> Result<StepState, Error> {
    let step = Step::named(row.get(3)).ok_or("a step that this desk does not know")?;
    let brought: Option<&str> = row.get(6);
    Ok(StepState {
        step,
        agency: step.agency(),
        state: State::from_str(row.get(4))?,
        said: row.get(5),
        brought: brought.map(serde_json::from_str).transpose()?,
        exchange: row.get(7),
        attempts: row.get(8),
        changed_at: row.get(9),
    })
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "blocked" => Ok(Self::Blocked),
            "waiting" => Ok(Self::Waiting),
            "done" => Ok(Self::Done),
            "refused" => Ok(Self::Refused),
            other => Err(format!("{other:?} is no state of a step").into()),
        }
    }
}

#[cfg(test)]
mod tests;
