//! Evidence containers as their recipient uses them, without any program of this project.

use std::{fs, path::Path};

use tokio::process::Command;

use crate::Error;

/// Does in a new folder what VERIFY.txt in the container tells to do, and gives what was printed.
///
/// # Errors
/// When `unzip` or `bash` cannot be run.
pub async fn as_told(container: &Path, folder: &Path) -> Result<String, Error> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    fs::copy(container, folder.join("THIS_FILE.asice"))?;
    let mut unzip = Command::new("unzip");
    let text = unzip.arg("-p").arg(container).arg("VERIFY.txt");
    let text = String::from_utf8(text.output().await?.stdout)?;
    let mut bash = Command::new("bash");
    bash.args(["-c", &text]).current_dir(folder);
    let output = bash.kill_on_drop(true).output().await?;
    Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
}
