//! The exchanges of a dossier leave the logs as evidence that needs nobody's word, nor our software.

use std::path::PathBuf;

use super::{Account, Stage, TAX_OFFICE, evidence::last_line};
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
    // A call is a request and a reply; when its end comes late, another request. Those signed together have one signature.
    let messages = count(".header: OK");
    let signatures = messages.saturating_sub(count(".manifest: OK")) + count(".root: OK");
    let complaints = ["REFUSED", "CHANGED", "NOT IN ITS BATCH", "FAILED"];
    account.expect(
        messages >= 2
            && count("CAdES Verification successful") == signatures
            && count("Signature Verified Successfully") == 1
            && complaints.into_iter().all(|complaint| count(complaint) == 0),
        &format!(
            "openssl, as VERIFY.txt of the card's says: {messages} messages, {signatures} times \"CAdES Verification \
             successful\", the checkpoint \"Signature Verified Successfully\""
        ),
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
    account.chapter("The logs of all who have called each other are held against each other");
    let ministry = Agency::Population.server();
    for (consumer, provider) in [
        (COMMUNE, ministry),
        (COMMUNE, Agency::CivilStatus.server()),
        (COMMUNE, Agency::Insurance.server()),
        (TAX_OFFICE, ministry),
    ] {
        let federation = &stage.agencies.federation;
        let found = federation.reconcile(consumer, provider).await;
        let line = match &found {
            Ok(found) => format!(
                "{consumer} and {provider}: {} exchanges recorded alike by both; {} promises to keep a request, all kept",
                found["alike"], found["promises_kept"]
            ),
            Err(error) => error.to_string(),
        };
        account.expect(found.is_ok(), &line);
    }
    Ok(())
}
