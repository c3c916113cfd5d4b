//! The federation of a simulation, and what each operation does to it.

use std::{fs, time::Duration};

use durable::simulated::Fault;
use examples::{
    Error,
    echo::{self, CLIENT, Echo, PROVIDER},
    federation::{Federation, Plan},
    link::{Link, Passage},
    waiting::wait_for,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::{
    machine::ServerMachine,
    operation::{Between, Operation, Who},
    seen::{Outcomes, Seen, is_answered},
    verdict,
};

/// Longer than any list runs.
const LONG: i64 = 1_000_000;

/// Two servers on simulated machines, a registry as a process, an adapter and the links.
pub struct World {
    pub federation: Federation,
    pub echo: Echo,
    pub directory: TempDir,
    pub consumer: ServerMachine,
    pub provider: ServerMachine,
    between_servers: Link,
    to_adapter: Link,
    address: String,
    seen: Seen,
    /// Whose disk was full or was to meet a fault since the server was started: it may then end by
    /// itself.
    faulty: [bool; 2],
    /// Whose disk is full: a server may then not start.
    full: [bool; 2],
    tampering: Option<(Who, usize)>,
    /// Calls that reached the adapter before the list.
    before: usize,
}

impl World {
    pub async fn set() -> Result<Self, Error> {
        let directory = tempfile::tempdir()?;
        let echo = Echo::start().await?;
        let to_adapter = Link::to(echo.address.trim_start_matches("http://")).await?;
        let plan = echo::plan(&format!("http://{}", to_adapter.address));
        let mut federation = Federation::start(directory.path(), &plan).await?;
        // The clocks of the servers go far ahead of the registry's.
        federation.registry.set("validity_seconds", "2000000")?;
        federation.registry.restart().await?;
        let between_servers = connect(&mut federation, &plan).await?;
        let mut machines = Vec::new();
        for code in ["consumer", "provider"] {
            let server = federation.server_mut(code)?;
            server.stop().await?;
            machines.push(ServerMachine::of(&server.path(""))?);
        }
        let address = federation.server("consumer")?.plaintext(CLIENT)?.to_owned();
        let [Some(provider), Some(consumer)] = [machines.pop(), machines.pop()] else {
            return Err("a server is missing".into());
        };
        Ok(Self {
            federation,
            echo,
            directory,
            consumer,
            provider,
            between_servers,
            to_adapter,
            address,
            seen: Seen::default(),
            faulty: [false; 2],
            full: [false; 2],
            tampering: None,
            before: 0,
        })
    }

    /// Runs a list from the beginning, mends everything, and holds what is left against what was
    /// seen.
    pub async fn run(&mut self, list: &[Operation]) -> Result<Outcomes, Error> {
        self.reset().await.map_err(in_step("at the beginning"))?;
        self.before = self.echo.calls();
        for (number, operation) in list.iter().enumerate() {
            let done = self.carry_out(*operation, number as u64).await;
            done.map_err(in_step(&format!("operation {number}, {operation}")))?;
        }
        self.mend().await.map_err(in_step("mending"))?;
        let outcomes = self.seen.outcomes();
        self.pronounce(&outcomes).await?;
        if let Some((who, number)) = self.tampering.take() {
            self.tamper(who, number)
                .await
                .map_err(in_step("tampering"))?;
        }
        Ok(outcomes)
    }

    /// Holds what is left against what was seen.
    pub async fn pronounce(&self, outcomes: &Outcomes) -> Result<(), Error> {
        let reached = self.echo.exchanges().split_off(self.before);
        verdict::pronounce(self, outcomes, &reached).await
    }

    async fn reset(&mut self) -> Result<(), Error> {
        self.seen = Seen::default();
        (self.faulty, self.full, self.tampering) = ([false; 2], [false; 2], None);
        self.between_servers.set(Passage::Open);
        self.to_adapter.set(Passage::Open);
        self.consumer.reset().await?;
        self.provider.reset().await?;
        self.start(Who::Consumer).await?;
        self.start(Who::Provider).await?;
        self.wait_until_answered().await
    }

    async fn wait_until_answered(&self) -> Result<(), Error> {
        let address = &self.address;
        wait_for("a call to be answered", || async {
            is_answered(address).await.then_some(())
        })
        .await
    }

    pub const fn machine(&mut self, who: Who) -> &mut ServerMachine {
        match who {
            Who::Consumer => &mut self.consumer,
            Who::Provider => &mut self.provider,
        }
    }

    const fn link(&self, between: Between) -> &Link {
        match between {
            Between::Servers => &self.between_servers,
            Between::Adapter => &self.to_adapter,
        }
    }

    async fn carry_out(&mut self, operation: Operation, number: u64) -> Result<(), Error> {
        match operation {
            Operation::Call(call, times) => {
                for _ in 0..times {
                    self.seen.call(&self.address, call);
                }
            }
            // Nothing that is held comes to an end by itself, and that takes longer than a list.
            Operation::Settle => {
                let settled = timeout(Duration::from_secs(1), self.seen.settle()).await;
                settled.unwrap_or(Ok(()))?;
            }
            Operation::Grant(seconds) => self.grant(seconds).await?,
            Operation::Revoke => self.apply("").await?,
            Operation::Move(who, seconds) => {
                let clock = &self.machine(who).clock;
                clock.set(clock.moved() + seconds);
            }
            Operation::Jump(who, readings, seconds) => {
                self.machine(who).clock.jump(Some((readings, seconds)));
            }
            Operation::Kill(who) => self.machine(who).kill(number).await?,
            Operation::Stop(who) => {
                self.machine(who).stop().await?;
                self.must_have_ended_well(who)?;
            }
            Operation::Start(who) => self.start(who).await?,
            Operation::Cut(between) => self.link(between).set(Passage::Cut),
            Operation::Hold(between) => self.link(between).set(Passage::Held),
            Operation::Open(between) => self.link(between).set(Passage::Open),
            Operation::Fill(who) => {
                (self.faulty[who as usize], self.full[who as usize]) = (true, true);
                let disk = &self.machine(who).disk;
                disk.limit(Some(disk.used()));
            }
            Operation::Empty(who) => self.empty(who),
            Operation::Fail(who, after, fault) => {
                self.faulty[who as usize] = true;
                let fault = Fault::ALL.get(fault).copied().unwrap_or(Fault::Full);
                self.machine(who).disk.arm(after, fault);
            }
            Operation::DeleteViews(who) => self.machine(who).delete_views(),
            Operation::Tamper(who, number) => self.tampering = Some((who, number)),
            Operation::Wait(microseconds) => sleep(Duration::from_micros(microseconds)).await,
        }
        Ok(())
    }

    fn empty(&mut self, who: Who) {
        self.full[who as usize] = false;
        self.machine(who).disk.limit(None);
    }

    /// Starts a server; it ends at once only where its disk is full.
    async fn start(&mut self, who: Who) -> Result<(), Error> {
        if self.machine(who).runs() {
            return Ok(());
        }
        // It may have ended by itself, and nobody has looked why.
        self.machine(who).stop().await?;
        self.must_have_ended_well(who)?;
        // A fault that was still to come does not.
        self.faulty[who as usize] = self.full[who as usize];
        self.machine(who).start().await?;
        if self.machine(who).runs() {
            return Ok(());
        }
        self.machine(who).stop().await?;
        self.must_have_ended_well(who)
    }

    fn must_have_ended_well(&mut self, who: Who) -> Result<(), Error> {
        let faulty = self.faulty[who as usize];
        match self.machine(who).why_ended() {
            Some(why) if !faulty => Err(format!("the {who} ended: {why}").into()),
            _ => Ok(()),
        }
    }

    async fn grant(&self, seconds: i64) -> Result<(), Error> {
        let now = security_server::Clock::seconds(&*self.provider.clock);
        let until = jiff::Timestamp::from_second(now + seconds)?;
        self.apply(&format!(
            "[[access_rights]]\nid = \"echo\"\nclient = {CLIENT:?}\nservice = {PROVIDER:?}\n\
             grpc_service = {:?}\nvalid_until = \"{until}\"\n",
            echo::SERVICE
        ))
        .await
    }

    /// Brings the provider's rights to these; a provider that is down or cannot record stays as it
    /// is.
    async fn apply(&self, rights: &str) -> Result<(), Error> {
        let provider = self.federation.server("provider")?;
        let state = fs::read_to_string(provider.path("state.toml"))?;
        let others = state.split("[[access_rights]]").next().unwrap_or_default();
        let file = provider.path("simulated.toml");
        fs::write(&file, others.to_owned() + rights)?;
        if self.provider.runs() {
            let _ = timeout(Duration::from_secs(10), provider.apply_file(&file)).await?;
        }
        Ok(())
    }

    /// Takes every fault away, waits until the bus works again, and stops the servers.
    pub async fn mend(&mut self) -> Result<(), Error> {
        for between in [Between::Servers, Between::Adapter] {
            self.link(between).set(Passage::Open);
        }
        let clocks = [&self.consumer.clock, &self.provider.clock];
        clocks.iter().for_each(|clock| clock.jump(None));
        let furthest = clocks.map(|clock| clock.furthest()).into_iter().max();
        for who in [Who::Consumer, Who::Provider] {
            self.empty(who);
            self.machine(who).clock.set(furthest.unwrap_or_default());
            if self.faulty[who as usize] {
                // A fault that is still to come would come now.
                self.machine(who).stop().await?;
            }
            self.start(who).await?;
        }
        self.grant(LONG).await?;
        self.wait_until_answered().await?;
        self.seen.give_up().await?;
        self.seen.settle().await?;
        for who in [Who::Consumer, Who::Provider] {
            self.machine(who).stop().await?;
            self.must_have_ended_well(who)?;
        }
        Ok(())
    }
}

impl World {
    /// Changes a byte of a log that was stopped well: the auditor says so, and the server does not
    /// go on with it.
    async fn tamper(&mut self, who: Who, number: usize) -> Result<(), Error> {
        let machine = self.machine(who);
        let place = machine.tamper(number).ok_or("there is no segment")?;
        let folder = tempfile::tempdir_in(self.directory.path())?;
        self.machine(who).export(folder.path())?;
        if verdict::verify(self, folder.path()).await.is_ok() {
            return Err(format!("the auditor does not see what was changed at {place}").into());
        }
        let machine = self.machine(who);
        machine.start().await?;
        wait_for("the server to notice what was changed", || {
            std::future::ready((!machine.runs()).then_some(()))
        })
        .await
        .map_err(in_step(&place))?;
        machine.stop().await?;
        match machine.why_ended() {
            Some(_) => Ok(()),
            None => Err(format!("the server does not say why it ended: {place}").into()),
        }
    }
}

/// Lets the consumer reach the provider through a link.
async fn connect(federation: &mut Federation, plan: &Plan) -> Result<Link, Error> {
    let provider = federation.server_mut("provider")?;
    let link = Link::to(&provider.endpoint().exchange).await?;
    provider.be_reached_at(&link.address);
    federation.register(plan).await?;
    Ok(link)
}

fn in_step(step: &str) -> impl FnOnce(Error) -> Error {
    move |error| format!("{step}: {error}").into()
}
