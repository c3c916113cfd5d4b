//! The evidence: the auditor reads every log, and one in which a bit was flipped.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use tokio::process::Command;

use super::{Account, Stage};
use crate::{Error, folders, process::program, waiting::wait_for};

/// Tells of every log.
pub(super) async fn tell(stage: &Stage, account: &mut Account) -> Result<(), Error> {
    account.chapter("The auditor, who trusts nothing but the anchor, reads every log");
    let anchor = stage.agencies.federation.directory.join("anchor.json");
    for server in stage.agencies.federation.servers() {
        let log = &server.endpoint().log;
        covered(log, &anchor).await?;
        let verified = verify(log, &anchor).await?;
        let verdict = last_line(&verified);
        account.expect(
            verified.status.code() == Some(0),
            &format!("{}: {verdict}", server.endpoint().id),
        );
    }
    Ok(())
}

/// Tells of a log in which one bit was flipped.
pub(super) async fn tell_of_a_flipped_bit(
    stage: &Stage,
    account: &mut Account,
) -> Result<(), Error> {
    account.chapter("One bit is flipped in a copy of the ministry's log");
    let anchor = stage.agencies.federation.directory.join("anchor.json");
    let log = stage
        .agencies
        .federation
        .server("ministry")?
        .endpoint()
        .log
        .clone();
    let copy = stage.agencies.federation.directory.join("tampered-log");
    let _ = fs::remove_dir_all(&copy);
    folders::copy(&log, &copy)?;
    let offset = flip_one_bit(&copy)?;
    let verified = verify(&copy, &anchor).await?;
    account.expect(
        verified.status.code() == Some(1),
        &format!(
            "flipped at byte {offset}; the auditor says: {}",
            last_line(&verified)
        ),
    );
    Ok(())
}

/// Waits until a checkpoint covers what has happened so far.
async fn covered(log: &Path, anchor: &Path) -> Result<(), Error> {
    wait_for("a checkpoint over all records", || async {
        let mut command = Command::new(program("auditor").ok()?);
        command
            .arg("verify")
            .arg(log)
            .arg("--anchor")
            .arg(anchor)
            .arg("--json");
        let output = command.output().await.ok()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        // A log that does not verify will not do so by waiting.
        let uncovered = report["records_after_checkpoint"].as_u64();
        (output.status.code() != Some(0) || uncovered == Some(0)).then_some(())
    })
    .await
}

async fn verify(log: &Path, anchor: &Path) -> Result<Output, Error> {
    let mut command = Command::new(program("auditor")?);
    command.arg("verify").arg(log).arg("--anchor").arg(anchor);
    Ok(command.kill_on_drop(true).output().await?)
}

/// What a command said last.
pub(super) fn last_line(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Flips the lowest bit of a byte in the middle of what the first segment holds.
fn flip_one_bit(log: &Path) -> Result<usize, Error> {
    let mut segments: Vec<PathBuf> = fs::read_dir(log.join("segments"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    segments.sort();
    let segment = segments.first().ok_or("the log has no segment")?;
    let mut bytes = fs::read(segment)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .ok_or("the segment is empty")?;
    let offset = (end / 2..end)
        .find(|offset| bytes.get(*offset).is_some_and(|byte| *byte != 0))
        .ok_or("the segment is empty")?;
    if let Some(byte) = bytes.get_mut(offset) {
        *byte ^= 1;
    }
    fs::write(segment, bytes)?;
    Ok(offset)
}
