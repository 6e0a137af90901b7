//! Writing a draft in an editor of one's own, while the network goes on.

use std::{env, io::Read as _, path::Path, process::Stdio};

use tokio::process::Command;

use crate::model::limits;

/// Has `draft` written in the editor that the environment names, on the terminal that this process has given back. Gives what it
/// became, or why it stays as it was.
pub(super) async fn edit(draft: String) -> Result<String, String> {
    let named = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // A directory that nobody else can look into: editors leave copies beside the file.
    let failed = |error: std::io::Error| format!("cannot put the draft into a file for the editor: {error}");
    let mut builder = tempfile::Builder::new();
    builder.prefix("pyile-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let dir = builder.tempdir().map_err(failed)?;
    let file = dir.path().join("draft.md");
    std::fs::write(&file, &draft).map_err(failed)?;
    let status = command(&editor, &file).kill_on_drop(true).status().await;
    let status = status.map_err(|error| {
        format!("cannot run {editor:?} ({error}); set VISUAL or EDITOR to an editor that is installed")
    })?;
    if !status.success() {
        return Err(format!(
            "the editor {editor:?} ended with an error ({status}): the draft is as it was; VISUAL or EDITOR names \
             another one"
        ));
    }
    let most = limits::TEXT_BYTES as u64;
    let mut text = Vec::new();
    let opened = std::fs::File::open(&file).map_err(|error| format!("the editor left no draft: {error}"))?;
    opened.take(most + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > most {
        return Err(format!(
            "what was written is longer than the {most} bytes that a message may have: the draft is as it was"
        ));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The editor as a shell runs it: what the environment names may have arguments. It needs no password.
fn command(editor: &str, file: &Path) -> Command {
    #[cfg(unix)]
    let mut command = {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{editor} \"$@\""), editor]);
        command
    };
    #[cfg(not(unix))]
    let mut command = Command::new(editor);
    command.arg(file).env_remove("PYILE_PASSWORD").stdin(Stdio::inherit());
    command
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_environment_names_the_editor() {
        // One test for all: the environment is the process's.
        let file = std::path::Path::new("/tmp/x y");
        let command = super::command("ed -s", file);
        let words: Vec<_> =
            command.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(words, ["-c", "ed -s \"$@\"", "ed -s", "/tmp/x y"]);
    }
}
