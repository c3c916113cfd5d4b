//! The evidence of a dossier: its exchanges, taken out of the agencies' logs, each a file that proves itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use tokio::process::Command;

use super::{
    agencies::Agencies,
    births::{Order, dossier},
    step::Agency,
};
use crate::{
    Error,
    dice::Dice,
    process::{finish, program},
    waiting::wait_for,
};

/// The files of a dossier.
pub struct Evidence {
    /// One for each exchange that an agency recorded of it, in a folder of each agency.
    pub files: Vec<PathBuf>,
    /// The file of each step that was done, in order.
    pub steps: Vec<PathBuf>,
}

impl Evidence {
    /// Exports the exchanges of a dossier's case from the log of each agency into a new folder, once the logs are covered by
    /// checkpoints.
    ///
    /// # Errors
    /// When a log does not give them, or a step that was done has none.
    pub async fn export(agencies: &Agencies, dossier: &str, to: &Path) -> Result<Self, Error> {
        let (case, _) = dossier.rsplit_once('.').ok_or("not a dossier")?;
        fs::create_dir_all(to)?;
        let mut files = Vec::new();
        for agency in [Agency::Population, Agency::CivilStatus, Agency::Insurance] {
            let folder = to.join(agency.server());
            let log = &agencies.federation.server(agency.server())?.endpoint().log;
            wait_for("an agency's log to give what it has of a case", || async {
                let mut export = Command::new(program("auditor").ok()?);
                export.arg("export").arg(log).args(["--case", case]);
                export.arg("-o").arg(&folder);
                finish(export).await.ok()
            })
            .await?;
            for file in fs::read_dir(folder)? {
                files.push(file?.path());
            }
        }
        files.sort();
        let mut steps = Vec::new();
        for (name, step) in agencies.steps(dossier).await? {
            let Some(exchange) = step["exchange"].as_str() else {
                continue; // There was nobody to ask for.
            };
            let is_of = |file: &&PathBuf| file.to_string_lossy().contains(exchange);
            let file = files.iter().find(is_of);
            steps.push(
                file.ok_or_else(|| format!("no evidence of {name}"))?
                    .clone(),
            );
        }
        Ok(Self { files, steps })
    }

    /// Lets the auditor verify each of the files, alone.
    ///
    /// # Errors
    /// When the program is missing.
    pub async fn verify(&self, anchor: &Path) -> Result<Output, Error> {
        let mut verify = Command::new(program("auditor")?);
        verify.arg("verify").args(&self.files);
        verify.arg("--anchor").arg(anchor);
        Ok(verify.output().await?)
    }
}

/// Exports and verifies the evidence of so many dossiers of an order, chosen by chance; gives how many files hold.
///
/// # Errors
/// When one does not hold.
pub async fn by_chance(agencies: &Agencies, order: Order, count: usize) -> Result<usize, Error> {
    let (directory, mut dice) = (&agencies.federation.directory, Dice(order.seed));
    let mut holding = 0;
    for _ in 0..count {
        let dossier = dossier(order, dice.below(order.births));
        let to = directory.join("evidence").join(&dossier);
        if to.exists() {
            continue;
        }
        let evidence = Evidence::export(agencies, &dossier, &to).await?;
        let verified = evidence.verify(&directory.join("anchor.json")).await?;
        if !verified.status.success() {
            let said = String::from_utf8_lossy(&verified.stdout);
            return Err(format!("the evidence of {dossier} does not hold: {said}").into());
        }
        holding += evidence.files.len();
    }
    Ok(holding)
}
