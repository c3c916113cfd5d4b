//! The agencies of the newborn: a commune with its desk, and those that have the registers, with people in them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::process::Command;

use super::{
    declaration::{Child, Declaration, Parent},
    settings::{ServiceSettings, Settings},
    step::Agency,
};
use crate::{
    Error,
    federation::{ClientPlan, Federation, Plan, RightPlan, ServerPlan, ServicePlan},
    process::{Running, finish, program},
    registers::{
        Adapter, civil_status, insurance,
        people::{Person, people},
        population,
        servers::{ServerDatabase, Servers},
    },
};

/// The code of the commune's security server.
pub const COMMUNE: &str = "commune";
/// The desk's subsystem.
pub const DESK: &str = "VN/GOV/H37.02/desk";
/// Why the desk asks.
pub const PURPOSE: &str = "birth registration";

/// An agency that has a register.
struct Office {
    agency: Agency,
    member: &'static str,
    name: &'static str,
    service: &'static str,
    /// What the desk may call.
    methods: &'static [&'static str],
}

const OFFICES: [Office; 3] = [
    Office {
        agency: Agency::Population,
        member: "VN/GOV/G01",
        name: "The ministry that has the population register",
        service: population::SERVICE,
        methods: &["FindPerson", "AllocateNumber", "RegisterResidence"],
    },
    Office {
        agency: Agency::CivilStatus,
        member: "VN/GOV/G15",
        name: "The ministry that has the civil status register",
        service: civil_status::SERVICE,
        methods: &["RegisterBirth", "WriteBackNumber", "IssueCertificate"],
    },
    Office {
        agency: Agency::Insurance,
        member: "VN/GOV/G24",
        name: "The agency that has the health insurance cards",
        service: insurance::SERVICE,
        methods: &["IssueCard"],
    },
];

impl Agency {
    /// The code of its security server.
    #[must_use]
    pub const fn server(self) -> &'static str {
        match self {
            Self::Population => "ministry",
            Self::CivilStatus => "justice",
            Self::Insurance => "insurance",
        }
    }
}

/// All that runs, but the desk.
pub struct Agencies {
    /// Registry and security servers.
    pub federation: Federation,
    /// The servers of the databases.
    pub servers: Servers,
    /// Who is in the population register.
    pub people: Vec<Person>,
    /// The population register's database.
    pub population: ServerDatabase,
    /// The civil status register's database.
    pub civil_status: ServerDatabase,
    /// The file of the insurance cards.
    pub insurance: PathBuf,
    /// The desk's settings.
    pub settings: PathBuf,
    adapters: BTreeMap<Agency, (PathBuf, Option<Adapter>)>,
    logs: PathBuf,
}

impl Agencies {
    /// Starts the agencies with so many people, made by a seed.
    ///
    /// # Errors
    /// When a program does not do what it should.
    pub async fn start(directory: &Path, persons: usize, seed: u64) -> Result<Self, Error> {
        let servers = Servers::from_environment()?;
        Self::start_with(directory, servers, persons, seed, |_| ()).await
    }

    /// The same on these database servers, with more in the plan.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        directory: &Path,
        servers: Servers,
        persons: usize,
        seed: u64,
        more: impl FnOnce(&mut Plan),
    ) -> Result<Self, Error> {
        let directory = std::path::absolute(directory)?;
        let (registers, logs) = (directory.join("registers"), directory.join("logs"));
        fs::create_dir_all(&registers)?;
        let people = people(persons, seed);
        let population = population::create(&registers, &servers, &people).await?;
        let civil_status = civil_status::create(&registers, &servers, &people).await?;
        let (cards, insurance) = insurance::create(&registers, &people).await?;
        let configurations = [
            population.configuration,
            civil_status.configuration,
            insurance,
        ];
        let mut adapters = BTreeMap::new();
        let mut services = Vec::new();
        for (office, configuration) in OFFICES.iter().zip(configurations) {
            let adapter = Adapter::start(&configuration, &logs).await?;
            // From now on it answers where it answers now.
            adapter.keep_address(&configuration)?;
            services.push((office, adapter.address.clone(), adapter.descriptor.clone()));
            adapters.insert(office.agency, (configuration, Some(adapter)));
        }
        let mut plan = plan(&services);
        more(&mut plan);
        let federation = Federation::start(&directory, &plan).await?;
        let mut agencies = Self {
            federation,
            servers,
            people,
            population: population.database,
            civil_status: civil_status.database,
            insurance: cards,
            settings: directory.join("desk.toml"),
            adapters,
            logs,
        };
        agencies.write_settings(&directory)?;
        Ok(agencies)
    }

    fn write_settings(&mut self, directory: &Path) -> Result<(), Error> {
        let service = |office: &Office| ServiceSettings {
            subsystem: format!(
                "{}/{}",
                office.member,
                office.agency.name().replace('_', "-")
            ),
            service: office.service.to_owned(),
            proto: self.proto(office.agency),
        };
        let [population, civil_status, insurance] = OFFICES.each_ref().map(service);
        let settings = Settings {
            store: directory.join("desk.db"),
            security_server: self.federation.server(COMMUNE)?.plaintext(DESK)?.to_owned(),
            tls: None,
            purpose: PURPOSE.to_owned(),
            at_once: 16,
            answer_seconds: 10.0,
            pause_seconds: 2.0,
            population,
            civil_status,
            insurance,
        };
        Ok(fs::write(&self.settings, toml::to_string(&settings)?)?)
    }

    /// The `.proto` of an agency's service.
    #[must_use]
    pub fn proto(&self, agency: Agency) -> PathBuf {
        let adapter = self.adapters.get(&agency);
        adapter.map_or_else(PathBuf::new, |(configuration, _)| {
            configuration.with_extension("proto")
        })
    }

    /// Kills an agency's adapter.
    ///
    /// # Errors
    /// When it is not running.
    pub async fn kill_adapter(&mut self, agency: Agency) -> Result<(), Error> {
        let adapter = self
            .adapters
            .get_mut(&agency)
            .and_then(|(_, adapter)| adapter.take());
        adapter.ok_or("the adapter is not running")?.kill().await
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_adapter(&mut self, agency: Agency) -> Result<(), Error> {
        let (configuration, adapter) = self.adapters.get_mut(&agency).ok_or("no such adapter")?;
        *adapter = Some(Adapter::start(configuration, &self.logs).await?);
        Ok(())
    }

    /// Starts a desk.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn start_desk(&self) -> Result<Running, Error> {
        let mut serve = Command::new(program("newborn")?);
        serve.arg("serve").arg(&self.settings);
        Running::start("newborn", serve, &self.logs)
    }

    /// Runs a command of the desk; gives what it printed.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    pub async fn desk(&self, command: &str, arguments: &[&str]) -> Result<String, Error> {
        let mut desk = Command::new(program("newborn")?);
        desk.arg(command).arg(&self.settings).args(arguments);
        Ok(String::from_utf8(finish(desk).await?.stdout)?)
    }

    /// Declares a birth at the desk; gives the dossiers.
    ///
    /// # Errors
    /// When the desk does not take it.
    pub async fn declare(&self, declaration: &Declaration) -> Result<Vec<String>, Error> {
        let file = self
            .settings
            .with_file_name(format!("{}.json", declaration.case_number));
        fs::write(&file, serde_json::to_string_pretty(declaration)?)?;
        let said = self.desk("declare", &[&file.display().to_string()]).await?;
        Ok(said.lines().map(ToOwned::to_owned).collect())
    }

    /// The steps of a dossier as the desk shows them, by name.
    ///
    /// # Errors
    /// When the desk does not know it.
    pub async fn steps(&self, dossier: &str) -> Result<BTreeMap<String, Value>, Error> {
        let shown: Value = serde_json::from_str(&self.desk("show", &[dossier, "--json"]).await?)?;
        let steps = shown["dossiers"][0]["steps"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let named = |step: Value| Some((step["step"].as_str()?.to_owned(), step));
        Ok(steps.into_iter().filter_map(named).collect())
    }

    /// Stops everything and waits until it has ended.
    ///
    /// # Errors
    /// When a program does not end well.
    pub async fn stop(self) -> Result<(), Error> {
        self.federation.stop().await?;
        for (_, adapter) in self.adapters.into_values() {
            if let Some(adapter) = adapter {
                adapter.stop().await?;
            }
        }
        Ok(())
    }

    /// Couples among the people, of an age to have children: mother and father.
    pub fn couples(&self) -> impl Iterator<Item = (&Person, &Person)> {
        let mothers = self.people.iter().filter(|person| person.is_female);
        let young = mothers.filter(|mother| (19..46).contains(&mother.age()));
        young.filter_map(|mother| Some((mother, self.people.get(mother.spouse?)?)))
    }
}

/// A declaration of one child of these parents.
#[must_use]
pub fn declaration(
    case_number: &str,
    mother: &Person,
    father: Option<&Person>,
    child: Child,
) -> Declaration {
    let parent = |person: &Person| Parent {
        number: Some(person.number.clone()),
        ..Parent::default()
    };
    Declaration {
        case_number: case_number.to_owned(),
        officer: "officer-7".to_owned(),
        declared_on: "2026-11-27".to_owned(),
        commune: mother.commune.to_owned(),
        province: mother.province(),
        address: mother.address.clone(),
        mother: Some(parent(mother)),
        father: father.map(parent),
        foundling: false,
        children: vec![child],
    }
}

fn plan(services: &[(&Office, String, PathBuf)]) -> Plan {
    let commune = ServerPlan {
        code: COMMUNE.to_owned(),
        member: "VN/GOV/H37.02".to_owned(),
        name: "A commune's People's Committee".to_owned(),
        subsystems: vec!["desk".to_owned()],
        services: Vec::new(),
        clients: vec![ClientPlan {
            name: "commune-desk".to_owned(),
            subsystem: "desk".to_owned(),
        }],
        rights: Vec::new(),
    };
    let offices = services.iter().map(|(office, adapter, descriptor)| {
        let subsystem = office.agency.name().replace('_', "-");
        ServerPlan {
            code: office.agency.server().to_owned(),
            member: office.member.to_owned(),
            name: office.name.to_owned(),
            subsystems: vec![subsystem.clone()],
            services: vec![ServicePlan {
                subsystem: subsystem.clone(),
                grpc_service: office.service.to_owned(),
                adapter: adapter.clone(),
                descriptor: Some(descriptor.clone()),
            }],
            clients: Vec::new(),
            rights: vec![RightPlan {
                id: "birth-registration".to_owned(),
                client: DESK.to_owned(),
                subsystem,
                grpc_service: office.service.to_owned(),
                methods: office
                    .methods
                    .iter()
                    .map(|&method| method.to_owned())
                    .collect(),
                purposes: vec![PURPOSE.to_owned()],
            }],
        }
    });
    Plan {
        instance: "VN".to_owned(),
        servers: std::iter::once(commune).chain(offices).collect(),
    }
}
