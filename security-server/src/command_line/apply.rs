//! `security-server apply`.

use std::path::{Path, PathBuf};

use clap::Args;
use proto::administration::{ApplyRequest, ShowRequest};

use super::{
    Answer,
    answers::{Outcome, in_json},
    connect_to, in_words,
};
use crate::state_file::{Difference, StateFile};

/// See [`super::Command::Apply`].
#[derive(Debug, Args)]
pub struct Apply {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// The state file; what it does not mention is removed.
    #[arg(short, long)]
    file: PathBuf,
    /// Only print the difference, if the server would accept it.
    #[arg(long)]
    dry_run: bool,
    /// Print the difference as JSON.
    #[arg(long)]
    json: bool,
}

impl Apply {
    pub(super) async fn execute(&self) -> Answer {
        let base = self.file.parent().unwrap_or_else(|| Path::new("."));
        let wanted = StateFile::load(&self.file)?.changes(base)?;
        let mut administration = connect_to(&self.settings).await?;
        let shown = administration.show(ShowRequest {}).await;
        let shown = shown.map_err(in_words)?.into_inner();
        let difference = Difference::between(&shown.state, wanted);
        let text = if self.json {
            in_json(&difference.summary())
        } else {
            difference.to_string()
        };
        if !difference.is_empty() {
            let request = ApplyRequest {
                changes: difference.into_changes(),
                dry_run: self.dry_run,
                based_on: Some(shown.changes),
            };
            administration.apply(request).await.map_err(in_words)?;
        }
        Ok(Outcome::good(text))
    }
}
