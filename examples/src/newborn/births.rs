//! Many births while everybody is killed now and then: what came of them, counted where it stands.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    time::{Duration, Instant},
};

use tokio::{process::Command, time::sleep};

use super::{
    agencies::{Agencies, COMMUNE, declaration},
    declaration::{Child, Declaration},
    desk::now,
    settings::Settings,
    step::Agency,
    store::Store,
};
use crate::{
    Error,
    dice::Dice,
    process::{Running, finish},
    registers::{people::Person, servers::Engine},
};

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// How many births.
    pub births: usize,
    /// How often somebody is killed meanwhile.
    pub kills: usize,
    /// The order of it all.
    pub seed: u64,
    /// How long it may stand still before it is given up.
    pub patience: Duration,
}

/// What came of it, as the desk and the three databases say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Declared at the desk.
    pub declared: i64,
    /// Of these, by the desk's store: every step done.
    pub complete: i64,
    /// Refused for a reason of substance.
    pub refused: i64,
    /// Births registered for these declarations, by MariaDB's own client.
    pub births: i64,
    /// Of these with a number and a certificate.
    pub certified: i64,
    /// Persons with a number allocated for these declarations, by PostgreSQL's own client.
    pub numbers: i64,
    /// Residences registered for these.
    pub residences: i64,
    /// Cards issued for these, by SQLite's own client.
    pub cards: i64,
    /// Declarations whose number is not the same in all registers.
    pub different: i64,
}

impl Tally {
    /// Whether each declaration was brought to its end, once.
    #[must_use]
    pub const fn holds(&self) -> bool {
        let Self {
            declared,
            complete,
            refused,
            births,
            certified,
            numbers,
            residences,
            cards,
            different,
        } = *self;
        complete == declared
            && refused == 0
            && births == declared
            && certified == declared
            && numbers == declared
            && residences == declared
            && cards == declared
            && different == 0
    }
}

/// Who can be killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Desk,
    Registry,
    Server(&'static str),
    Adapter(Agency),
    Database(Engine),
}

const VICTIMS: [Victim; 11] = [
    Victim::Desk,
    Victim::Registry,
    Victim::Server(COMMUNE),
    Victim::Server(Agency::Population.server()),
    Victim::Server(Agency::CivilStatus.server()),
    Victim::Server(Agency::Insurance.server()),
    Victim::Adapter(Agency::Population),
    Victim::Adapter(Agency::CivilStatus),
    Victim::Adapter(Agency::Insurance),
    Victim::Database(Engine::PostgreSql),
    Victim::Database(Engine::MariaDb),
];

/// Whom to kill, in turn: everybody once, and then everybody again in another order.
struct Turn {
    dice: Dice,
    left: Vec<Victim>,
}

impl Turn {
    fn next(&mut self) -> Victim {
        if self.left.is_empty() {
            self.left.extend(VICTIMS);
        }
        let chosen = self.dice.below(self.left.len());
        self.left.swap_remove(chosen)
    }
}

/// Declares the births, kills, waits until all are complete, and counts. Tells its progress: complete, and killed so far.
///
/// # Errors
/// When something does not come back, or nothing moves any more.
pub async fn perform(
    agencies: &mut Agencies,
    desk: Running,
    order: Order,
    progress: &mut dyn FnMut(i64, usize),
) -> Result<(Running, Tally), Error> {
    let store = Store::open(&Settings::read(&agencies.settings)?.store).await?;
    let before = store.count().await?;
    for declared in declarations(agencies, order) {
        store.declare(&declared, now()).await?;
    }
    let mut turn = Turn {
        dice: Dice(order.seed ^ 0x6b69_6c6c),
        left: Vec::new(),
    };
    let (mut desk, mut killed, mut moved) = (Some(desk), 0, Instant::now());
    let mut last = before;
    loop {
        let count = store.count().await?;
        if count != last {
            (last, moved) = (count, Instant::now());
        }
        progress(count.complete - before.complete, killed);
        let open = count.dossiers - count.complete - count.refused;
        if open == 0 && killed >= order.kills {
            break;
        }
        if moved.elapsed() > order.patience {
            return Err(
                format!("{open} dossiers have stood still for {:?}", order.patience).into(),
            );
        }
        // Not a wait for anything: any moment of what is going on is as good.
        sleep(Duration::from_millis(20 + turn.dice.below(250) as u64)).await;
        if killed < order.kills {
            let pause = Duration::from_millis(turn.dice.below(700) as u64);
            kill(agencies, &mut desk, turn.next(), pause).await?;
            killed += 1;
            moved = Instant::now();
        }
    }
    let tally = count(
        agencies,
        order,
        last.complete - before.complete,
        last.refused - before.refused,
    )
    .await?;
    Ok((desk.ok_or("the desk is not running")?, tally))
}

/// Kills somebody, and starts them again after a pause.
async fn kill(
    agencies: &mut Agencies,
    desk: &mut Option<Running>,
    victim: Victim,
    pause: Duration,
) -> Result<(), Error> {
    match victim {
        Victim::Desk => {
            if let Some(running) = desk.take() {
                running.kill().await?;
            }
            sleep(pause).await;
            *desk = Some(agencies.start_desk()?);
        }
        Victim::Registry => {
            agencies.federation.registry.kill().await?;
            sleep(pause).await;
            agencies.federation.registry.restart().await?;
        }
        Victim::Server(code) => {
            agencies.federation.server_mut(code)?.kill().await?;
            sleep(pause).await;
            agencies.federation.server_mut(code)?.start().await?;
        }
        Victim::Adapter(agency) => {
            agencies.kill_adapter(agency).await?;
            sleep(pause).await;
            agencies.start_adapter(agency).await?;
        }
        Victim::Database(engine) => agencies.servers.kill(engine).await?,
    }
    Ok(())
}

/// One of the dossiers of an order.
#[must_use]
pub fn dossier(order: Order, number: usize) -> String {
    format!("{}-{number:06}.1", case(order))
}

/// What the case numbers of an order begin with.
fn case(order: Order) -> String {
    // No year: the demonstration's own case has one there.
    format!("H37.02-S{}", order.seed)
}

fn declarations(agencies: &Agencies, order: Order) -> Vec<Declaration> {
    let mut dice = Dice(order.seed);
    let couples: Vec<_> = agencies.couples().collect();
    (0..order.births)
        .filter_map(|number| {
            let (mother, father) = *couples.get(dice.below(couples.len()))?;
            let child = child(&mut dice, father);
            // Some fathers are not there.
            let father = (dice.below(12) > 0).then_some(father);
            Some(declaration(
                &format!("{}-{number:06}", case(order)),
                mother,
                father,
                child,
            ))
        })
        .collect()
}

fn child(dice: &mut Dice, father: &Person) -> Child {
    const GIVEN: [&str; 12] = [
        "An", "Ánh", "Bảo", "Châu", "Đạt", "Hà", "Khang", "Linh", "Minh", "Ngọc", "Phúc", "Ý",
    ];
    let given_name = GIVEN.get(dice.below(GIVEN.len())).copied().unwrap_or("An");
    Child {
        family_name: father.family_name.to_owned(),
        middle_name: ["Gia", "Thị", ""]
            .get(dice.below(3))
            .copied()
            .unwrap_or("")
            .to_owned(),
        given_name: given_name.to_owned(),
        sex: ["male", "female"]
            .get(dice.below(2))
            .copied()
            .unwrap_or("male")
            .to_owned(),
        born_on: format!("2026-11-{:02}", 1 + dice.below(26)),
        place_of_birth: "Trạm y tế".to_owned(),
        native_place: String::new(),
        ethnicity: father.ethnicity.to_owned(),
    }
}

/// What the databases hold of an order. Each is asked by a client of its own for a line of each row: the declaration, and the
/// number or what stands for it.
async fn count(
    agencies: &Agencies,
    order: Order,
    complete: i64,
    refused: i64,
) -> Result<Tally, Error> {
    let like = format!("{}-%", case(order));
    let (justice, ministry) = (&agencies.civil_status, &agencies.population);
    let births = format!(
        "SELECT to_khai, coalesce(so_dinh_danh, '-') FROM khai_sinh WHERE to_khai LIKE '{like}'"
    );
    let births = rows(&justice.ask_mariadb(&births).await?)?;
    let certified = format!(
        "SELECT to_khai, so_dinh_danh FROM khai_sinh WHERE to_khai LIKE '{like}' AND giay_so IS NOT NULL"
    );
    let certified = rows(&justice.ask_mariadb(&certified).await?)?;
    let numbers = format!("SELECT to_khai, so_dinh_danh FROM cong_dan WHERE to_khai LIKE '{like}'");
    let numbers = rows(&ministry.ask_postgresql(&numbers).await?)?;
    let residences =
        format!("SELECT to_khai, so_dinh_danh FROM cu_tru WHERE to_khai LIKE '{like}'");
    let residences = rows(&ministry.ask_postgresql(&residences).await?)?;
    let cards = format!("SELECT TO_KHAI, SO_DINH_DANH FROM THE_BHYT WHERE TO_KHAI LIKE '{like}'");
    let cards = rows(&ask_sqlite(&agencies.insurance, &cards).await?)?;
    let distinct: HashSet<&String> = numbers.values().collect();
    let registers = [&births, &certified, &residences, &cards];
    let different = numbers.iter().filter(|(declaration, number)| {
        registers
            .iter()
            .any(|register| register.get(*declaration) != Some(number))
    });
    let whole = |count: usize| i64::try_from(count);
    Ok(Tally {
        declared: whole(order.births)?,
        complete,
        refused,
        births: whole(births.len())?,
        certified: whole(certified.len())?,
        numbers: whole(distinct.len())?,
        residences: whole(residences.len())?,
        cards: whole(cards.len())?,
        different: whole(different.count())?,
    })
}

async fn ask_sqlite(file: &Path, question: &str) -> Result<String, Error> {
    let mut client = Command::new("sqlite3");
    client.args(["-readonly", "-separator", " "]);
    client.arg(file).arg(question);
    Ok(String::from_utf8(finish(client).await?.stdout)?)
}

/// Declarations with their numbers; one that is there twice is an error.
fn rows(printed: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut rows = BTreeMap::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace().map(ToOwned::to_owned);
        let (Some(declaration), Some(number)) = (words.next(), words.next()) else {
            return Err(format!("not a declaration and a number: {line:?}").into());
        };
        if rows.insert(declaration, number).is_some() {
            return Err(format!("done twice: {line}").into());
        }
    }
    Ok(rows)
}
