//! The demonstration: a child is born, and every agency does its part, on this machine, told in words.

mod account;
mod birth;
mod container;
mod evidence;
mod many;
mod story;

use std::{fs, path::Path};

pub use account::Account;

use crate::{
    Error,
    federation::{
        ClientPlan, Endpoints, Plan, RightPlan, ServerPlan, ServiceEndpoint, ServicePlan,
    },
    newborn::{
        agencies::{Agencies, DESK},
        births::Order,
        step::Agency,
    },
    registers::{Adapter, civil_status, insurance, population, servers::Servers, units},
};

/// Persons in the population register.
const PERSONS: usize = 2_000;
/// The seed of who they are: the same in every demonstration.
const PEOPLE: u64 = 20_260_701;

/// Everything that runs, but the desk.
pub struct Stage {
    /// The agencies: registry, security servers, registers.
    pub agencies: Agencies,
    units: Adapter,
    endpoints: Endpoints,
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
        let logs = directory.join("logs");
        let units = Adapter::start(&units::create(&registers).await?, &logs).await?;
        let also = |plan: &mut Plan| also(plan, &units);
        let servers = Servers::from_environment()?;
        let agencies = Agencies::start_with(&directory, servers, PERSONS, PEOPLE, also).await?;
        let service = |subsystem: &str, grpc_service: &str, proto: &Path| ServiceEndpoint {
            subsystem: subsystem.to_owned(),
            grpc_service: grpc_service.to_owned(),
            proto: proto.to_owned(),
        };
        let proto = |agency| agencies.proto(agency);
        let endpoints = Endpoints {
            servers: agencies
                .federation
                .servers()
                .map(|server| server.endpoint().clone())
                .collect(),
            services: vec![
                service(UNITS, units::SERVICE, &units.proto),
                service(POPULATION, population::SERVICE, &proto(Agency::Population)),
                service(
                    CIVIL_STATUS,
                    civil_status::SERVICE,
                    &proto(Agency::CivilStatus),
                ),
                service(INSURANCE, insurance::SERVICE, &proto(Agency::Insurance)),
            ],
        };
        let file = directory.join("endpoints.json");
        fs::write(file, serde_json::to_string_pretty(&endpoints)? + "\n")?;
        Ok(Self {
            agencies,
            units,
            endpoints,
        })
    }

    /// Does the work and tells of it.
    ///
    /// # Errors
    /// When the demonstration itself cannot go on; what does not hold is told in the account.
    pub async fn perform(&mut self, order: Order, account: &mut Account) -> Result<(), Error> {
        story::tell(self, account).await?;
        let dossier = birth::tell(self, account).await?;
        evidence::tell(self, account).await?;
        container::tell(self, &dossier, account).await?;
        evidence::tell_of_a_flipped_bit(self, account).await?;
        if order.births > 0 {
            many::tell(self, order, account).await?;
            evidence::tell(self, account).await?;
            container::tell_of_some(self, order, account).await?;
        }
        container::tell_of_two_logs(self, account).await
    }

    /// A line of Python that makes a call of one's own.
    ///
    /// # Errors
    /// When the federation is not as it should be.
    pub fn line_of_python(&self) -> Result<String, Error> {
        let address = self
            .agencies
            .federation
            .server("commune")?
            .plaintext(DESK)?;
        Ok(format!(
            "import grpc; print(grpc.insecure_channel('{address}').unary_unary(\
             '/{}/FindUnit')(b'\\n\\x0201', metadata=[('x-road-service', '{UNITS}')]))",
            units::SERVICE,
        ))
    }

    /// Stops everything and waits until it has ended.
    ///
    /// # Errors
    /// When a program does not end well.
    pub async fn clear(self) -> Result<(), Error> {
        self.agencies.stop().await?;
        self.units.stop().await
    }
}

const UNITS: &str = "VN/GOV/G01/units";
const POPULATION: &str = "VN/GOV/G01/population";
const CIVIL_STATUS: &str = "VN/GOV/G15/civil-status";
const INSURANCE: &str = "VN/GOV/G24/insurance";
/// The code of its security server.
const TAX_OFFICE: &str = "tax";
const TAX: &str = "VN/GOV/G12.07";
const TAX_ASSESSMENT: &str = "VN/GOV/G12.07/assessment";

/// The list of units at the ministry, and a tax office that may ask for nothing else.
fn also(plan: &mut Plan, units: &Adapter) {
    let right = |id: &str, client: &str| RightPlan {
        id: id.to_owned(),
        client: client.to_owned(),
        subsystem: "units".to_owned(),
        grpc_service: units::SERVICE.to_owned(),
        methods: Vec::new(),
        purposes: Vec::new(),
    };
    for server in &mut plan.servers {
        if server.code == Agency::Population.server() {
            server.subsystems.push("units".to_owned());
            server.services.push(ServicePlan {
                subsystem: "units".to_owned(),
                grpc_service: units::SERVICE.to_owned(),
                adapter: units.address.clone(),
                descriptor: Some(units.descriptor.clone()),
            });
            server.rights.push(right("units-for-communes", DESK));
            server.rights.push(right("units-for-tax", TAX_ASSESSMENT));
        }
    }
    plan.servers.push(ServerPlan {
        code: TAX_OFFICE.to_owned(),
        member: TAX.to_owned(),
        name: "A tax office".to_owned(),
        subsystems: vec!["assessment".to_owned()],
        services: Vec::new(),
        clients: vec![ClientPlan {
            name: "tax-assessment".to_owned(),
            subsystem: "assessment".to_owned(),
        }],
        rights: Vec::new(),
    });
}
