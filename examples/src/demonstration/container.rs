//! The exchanges of a dossier leave the logs as evidence that needs nobody's word, nor our software.

use std::path::PathBuf;

use super::{Account, Stage, evidence::last_line};
use crate::{
    Error,
    container::as_told,
    newborn::{
        agencies::COMMUNE,
        births::Order,
        evidence::{Evidence, by_chance},
        step::{Agency, Step},
    },
};

/// Tells the whole of it. The logs must be covered by checkpoints.
pub(super) async fn tell(stage: &Stage, dossier: &str, account: &mut Account) -> Result<(), Error> {
    account.chapter(
        "All exchanges of the dossier are taken out of the agencies' logs, as evidence for a court",
    );
    let directory = &stage.agencies.federation.directory;
    let to = directory.join("evidence").join(dossier);
    let evidence = Evidence::export(&stage.agencies, dossier, &to).await?;
    account.expect(
        evidence.steps.len() == Step::ALL.len(),
        &format!(
            "{} exchanges exported to evidence/{dossier}, those of all {} steps among them",
            evidence.files.len(),
            evidence.steps.len()
        ),
    );
    let verified = evidence.verify(&directory.join("anchor.json")).await?;
    let verdict = if verified.status.success() {
        format!("all {} hold", evidence.files.len())
    } else {
        last_line(&verified)
    };
    account.expect(
        verified.status.success(),
        &format!("the auditor verifies each alone: {verdict}"),
    );
    let is_card = |file: &&PathBuf| file.to_string_lossy().contains("IssueCard");
    let card = evidence.steps.iter().find(is_card);
    let card = card.ok_or("there is no evidence of the card")?;
    let said = as_told(card, &to.join("unpacked")).await?;
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

/// Tells of the evidence of some of many births.
pub(super) async fn tell_of_some(
    stage: &Stage,
    order: Order,
    account: &mut Account,
) -> Result<(), Error> {
    account.chapter("The evidence of some of these births, chosen by chance");
    let found = by_chance(&stage.agencies, order, 5).await;
    let line = match &found {
        Ok(holding) => format!("of five dossiers: {holding} exchanges, each holds alone"),
        Err(error) => error.to_string(),
    };
    account.expect(found.is_ok(), &line);
    Ok(())
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
