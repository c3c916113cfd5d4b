//! The exchanges of a dossier leave the logs as evidence that needs nobody's word, nor our software.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::{Account, Stage, evidence::last_line};
use crate::{
    Error,
    container::as_told,
    newborn::{
        agencies::COMMUNE,
        step::{Agency, Step},
    },
    process::program,
};

/// Tells the whole of it. The logs must be covered by checkpoints.
pub(super) async fn tell(stage: &Stage, dossier: &str, account: &mut Account) -> Result<(), Error> {
    account.chapter(
        "All exchanges of the dossier are taken out of the agencies' logs, as evidence for a court",
    );
    let evidence = stage
        .agencies
        .federation
        .directory
        .join("evidence")
        .join(dossier);
    fs::create_dir_all(&evidence)?;
    let steps = stage.agencies.steps(dossier).await?;
    let mut containers = Vec::new();
    for (place, step) in (1..).zip(Step::ALL) {
        let Some(exchange) = steps
            .get(step.name())
            .and_then(|step| step["exchange"].as_str())
        else {
            continue;
        };
        let log = &stage
            .agencies
            .federation
            .server(step.agency().server())?
            .endpoint()
            .log;
        let container = evidence.join(format!("{place}-{}.asice", step.name()));
        let mut export = Command::new(program("auditor")?);
        export
            .arg("export")
            .arg(log)
            .arg(exchange)
            .arg("-o")
            .arg(&container);
        let exported = export.output().await?;
        if !exported.status.success() {
            account.expect(false, &format!("{}: {}", step.name(), last_line(&exported)));
            continue;
        }
        containers.push(container);
    }
    account.expect(
        containers.len() == steps.len(),
        &format!(
            "{} exchanges exported to evidence/{dossier}",
            containers.len()
        ),
    );
    let anchor = stage.agencies.federation.directory.join("anchor.json");
    let mut holding = 0;
    for container in &containers {
        holding += usize::from(verify(container, &anchor).await?);
    }
    account.expect(
        holding == containers.len(),
        &format!("the auditor verifies each alone: {holding} hold"),
    );
    let card = containers
        .last()
        .ok_or("there is no evidence of the card")?;
    let said = as_told(card, &evidence.join("unpacked")).await?;
    let count = |part: &str| said.matches(part).count();
    account.expect(
        count("CAdES Verification successful") == 2
            && count("Signature Verified Successfully") == 1
            && count(": OK") == 4,
        "openssl, as VERIFY.txt of the card's says: request and reply \"CAdES Verification successful\", the \
         checkpoint \"Signature Verified Successfully\"",
    );
    Ok(())
}

async fn verify(container: &PathBuf, anchor: &Path) -> Result<bool, Error> {
    let mut verify = Command::new(program("auditor")?);
    verify
        .arg("verify")
        .arg(container)
        .arg("--anchor")
        .arg(anchor);
    Ok(verify.output().await?.status.success())
}

/// Tells of both sides' logs, which no provider can bring to agree again with its own keys.
pub(super) async fn tell_of_two_logs(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter("The commune's log is held against that of each agency");
    for agency in [Agency::Population, Agency::CivilStatus, Agency::Insurance] {
        let found = stage
            .agencies
            .federation
            .reconcile(COMMUNE, agency.server())
            .await;
        let line = match &found {
            Ok(found) => format!(
                "{}: {} exchanges recorded alike by both; {} promises to keep a request, all kept",
                agency.server(),
                found["alike"],
                found["promises_kept"]
            ),
            Err(error) => error.to_string(),
        };
        account.expect(found.is_ok(), &line);
    }
    Ok(())
}
