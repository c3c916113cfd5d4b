//! The demonstration: a federation does real work on this machine, told in words.

mod account;
mod container;
mod evidence;
mod story;

use std::{fs, path::Path};

pub use account::Account;

use crate::{
    Error,
    federation::{
        ClientPlan, Endpoints, Federation, Plan, RightPlan, ServerPlan, ServiceEndpoint,
        ServicePlan,
    },
    registers::{
        Adapter,
        people::{Person, people},
        population,
        servers::Servers,
        units,
    },
};

/// Persons in the population register.
const PERSONS: usize = 2_000;

/// Everything that runs.
pub struct Stage {
    /// Registry and security servers.
    pub federation: Federation,
    adapters: Vec<Adapter>,
    endpoints: Endpoints,
    people: Vec<Person>,
}

impl Stage {
    /// Starts the registers' adapters and the federation.
    ///
    /// # Errors
    /// When a program does not do what it should.
    pub async fn set(directory: &Path) -> Result<Self, Error> {
        let directory = std::path::absolute(directory)?;
        let registers = directory.join("registers");
        fs::create_dir_all(&registers)?;
        let people = people(PERSONS, 20_260_701);
        let logs = directory.join("logs");
        let units = Adapter::start(&units::create(&registers).await?, &logs).await?;
        let servers = Servers::from_environment()?;
        let population = population::create(&registers, &servers, &people).await?;
        let population = Adapter::start(&population.configuration, &logs).await?;
        let plan = plan(&units.address, &population.address);
        let federation = Federation::start(&directory, &plan).await?;
        let service = |subsystem: &str, grpc_service: &str, adapter: &Adapter| ServiceEndpoint {
            subsystem: format!("{MINISTRY}/{subsystem}"),
            grpc_service: grpc_service.to_owned(),
            proto: adapter.proto.clone(),
        };
        let endpoints = Endpoints {
            servers: federation
                .servers()
                .map(|server| server.endpoint().clone())
                .collect(),
            services: vec![
                service("units", units::SERVICE, &units),
                service("population", population::SERVICE, &population),
            ],
        };
        let file = directory.join("endpoints.json");
        fs::write(file, serde_json::to_string_pretty(&endpoints)? + "\n")?;
        Ok(Self {
            federation,
            adapters: vec![units, population],
            endpoints,
            people,
        })
    }

    /// Does the work and tells of it.
    ///
    /// # Errors
    /// When the demonstration itself cannot go on; what does not hold is told in the account.
    pub async fn perform(&self, account: &mut Account) -> Result<(), Error> {
        story::tell(self, account).await?;
        evidence::tell(self, account).await?;
        container::tell(self, account).await?;
        container::tell_of_two_logs(self, account).await?;
        evidence::tell_of_a_flipped_bit(self, account).await
    }

    /// A line of Python that makes a call of one's own.
    ///
    /// # Errors
    /// When the federation is not as it should be.
    pub fn line_of_python(&self) -> Result<String, Error> {
        let address = self.federation.server("commune")?.plaintext(COMMUNE_DESK)?;
        Ok(format!(
            "import grpc; print(grpc.insecure_channel('{address}').unary_unary(\
             '/{}/FindUnit')(b'\\n\\x0201', metadata=[('x-road-service', '{MINISTRY}/units')]))",
            units::SERVICE,
        ))
    }

    /// Stops everything and waits until it has ended.
    ///
    /// # Errors
    /// When a program does not end well.
    pub async fn clear(self) -> Result<(), Error> {
        self.federation.stop().await?;
        for adapter in self.adapters {
            adapter.stop().await?;
        }
        Ok(())
    }
}

const MINISTRY: &str = "VN/GOV/G01";
const COMMUNE: &str = "VN/GOV/H37.02";
const COMMUNE_DESK: &str = "VN/GOV/H37.02/desk";
/// The case in which the commune looks up a mother.
const CASE_NUMBER: &str = "H37.02-2026-000123";
const TAX: &str = "VN/GOV/G12.07";
const TAX_ASSESSMENT: &str = "VN/GOV/G12.07/assessment";

fn plan(units_adapter: &str, population_adapter: &str) -> Plan {
    let server = |code: &str, member: &str, name: &str| ServerPlan {
        code: code.to_owned(),
        member: member.to_owned(),
        name: name.to_owned(),
        subsystems: Vec::new(),
        services: Vec::new(),
        clients: Vec::new(),
        rights: Vec::new(),
    };
    let client = |name: &str, subsystem: &str| ClientPlan {
        name: name.to_owned(),
        subsystem: subsystem.to_owned(),
    };
    let service = |subsystem: &str, grpc_service: &str, adapter: &str| ServicePlan {
        subsystem: subsystem.to_owned(),
        grpc_service: grpc_service.to_owned(),
        adapter: adapter.to_owned(),
        descriptor: None,
    };
    let right = |id: &str, client: &str, subsystem: &str, grpc_service: &str| RightPlan {
        id: id.to_owned(),
        client: client.to_owned(),
        subsystem: subsystem.to_owned(),
        grpc_service: grpc_service.to_owned(),
        methods: Vec::new(),
        purposes: Vec::new(),
    };
    let mut look_up = right(
        "look-up-at-birth",
        COMMUNE_DESK,
        "population",
        population::SERVICE,
    );
    look_up.methods = vec!["FindPerson".to_owned()];
    look_up.purposes = vec!["birth registration".to_owned()];
    Plan {
        instance: "VN".to_owned(),
        servers: vec![
            ServerPlan {
                subsystems: vec!["desk".to_owned()],
                clients: vec![client("commune-desk", "desk")],
                ..server("commune", COMMUNE, "A commune's People's Committee")
            },
            ServerPlan {
                subsystems: vec!["assessment".to_owned()],
                clients: vec![client("tax-assessment", "assessment")],
                ..server("tax", TAX, "A tax office")
            },
            ServerPlan {
                subsystems: vec!["units".to_owned(), "population".to_owned()],
                services: vec![
                    service("units", units::SERVICE, units_adapter),
                    service("population", population::SERVICE, population_adapter),
                ],
                rights: vec![
                    right("units-for-communes", COMMUNE_DESK, "units", units::SERVICE),
                    right("units-for-tax", TAX_ASSESSMENT, "units", units::SERVICE),
                    look_up,
                ],
                ..server("ministry", MINISTRY, "A ministry")
            },
        ],
    }
}
