//! One exchange leaves the log as evidence that needs nobody's word, nor our software.

use std::{fs, path::Path};

use tokio::process::Command;

use super::{Account, CASE_NUMBER, Stage, evidence::last_line};
use crate::{Error, container::as_told, process::program};

/// Tells the whole of it. The log must be covered by a checkpoint.
pub(super) async fn tell(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter("The look-up is taken out of the ministry's log, as evidence for a court");
    let log = stage.federation.server("ministry")?.endpoint().log.clone();
    let anchor = stage.federation.directory.join("anchor.json");
    let exchange = exchange_of_case(&log).await?;
    account.tell(&format!("case {CASE_NUMBER} is exchange {exchange}"));

    let evidence = stage.federation.directory.join("evidence");
    fs::create_dir_all(&evidence)?;
    let container = evidence.join(format!("{exchange}.asice"));
    let mut export = Command::new(program("auditor")?);
    export.arg("export").arg(&log).arg(&exchange);
    let exported = export.arg("-o").arg(&container).output().await?;
    account.expect(
        exported.status.success(),
        &format!("exported as evidence/{exchange}.asice"),
    );

    let mut verify = Command::new(program("auditor")?);
    verify.arg("verify").arg(&container).arg("--anchor");
    let verified = verify.arg(&anchor).output().await?;
    account.expect(
        verified.status.success(),
        &format!("the auditor says: {}", last_line(&verified)),
    );

    let said = as_told(&container, &evidence.join("unpacked")).await?;
    let count = |part: &str| said.matches(part).count();
    account.expect(
        count("CAdES Verification successful") == 2
            && count("Signature Verified Successfully") == 1
            && count(": OK") == 4,
        "openssl, as VERIFY.txt says: request and reply \"CAdES Verification successful\", the \
         checkpoint \"Signature Verified Successfully\"",
    );
    Ok(())
}

/// Tells of both sides' logs, which no provider can bring to agree again with its own keys.
pub(super) async fn tell_of_two_logs(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter("The commune's log and the ministry's are held against each other");
    let found = stage.federation.reconcile("commune", "ministry").await;
    let line = match &found {
        Ok(found) => format!(
            "{} exchanges recorded alike by both; {} promises of the ministry to keep a request, \
             all kept",
            found["alike"], found["promises_kept"]
        ),
        Err(error) => error.to_string(),
    };
    account.expect(found.is_ok_and(|found| found["alike"] == 5), &line);
    Ok(())
}

/// The first exchange of the case that was answered.
async fn exchange_of_case(log: &Path) -> Result<String, Error> {
    let mut list = Command::new(program("auditor")?);
    list.arg("list").arg(log).args(["--case", CASE_NUMBER]);
    let listed = list.args(["--outcome", "OK", "--json"]).output().await?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    let exchange = listed["exchanges"][0]["exchange"].as_str();
    Ok(exchange
        .ok_or("no exchange of the case is listed")?
        .to_owned())
}
