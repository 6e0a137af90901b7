//! Writing a draft in an editor of one's own, while the network goes on.

use std::{
    env,
    io::{self, Read as _},
    path::Path,
    process::Stdio,
};

use tempfile::TempDir;
use tokio::{process::Command, sync::oneshot, time};

use crate::model::limits;

/// Has `draft` written in the editor that the environment names, on the terminal that this process has given back, until `stop`
/// says that this process ends. Gives what it became, or why it stays as it was; what was written all the same stays in its
/// file then.
pub(super) async fn edit(draft: String, stop: oneshot::Receiver<()>) -> Result<String, String> {
    let named = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // A directory that nobody else can look into: editors leave copies beside the file.
    let failed = |error: io::Error| format!("cannot put the draft into a file for the editor: {error}");
    let mut builder = tempfile::Builder::new();
    builder.prefix("pyile-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let dir = builder.tempdir().map_err(failed)?;
    let file = dir.path().join("draft.md");
    std::fs::write(&file, &draft).map_err(failed)?;
    let mut child = command(&editor, &file).kill_on_drop(true).spawn().map_err(|error| {
        format!("cannot run {editor:?} ({error}); set VISUAL or EDITOR to an editor that is installed")
    })?;
    let status = tokio::select! {
        status = child.wait() => status.map_err(failed)?,
        Ok(()) = stop => {
            // It gives the terminal back as it was.
            #[cfg(unix)]
            if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = time::timeout(limits::LEAVE_TIMEOUT, child.wait()).await;
            return finished(dir, &file, &draft, "the session ended while the editor was open");
        }
    };
    if !status.success() {
        let why = match status.code() {
            Some(127) => format!("there is no editor {editor:?}; VISUAL or EDITOR names another one"),
            _ => format!("the editor {editor:?} ended with an error ({status})"),
        };
        return finished(dir, &file, &draft, &why);
    }
    let text = read(&file).map_err(failed)?;
    match text {
        Some(text) => Ok(text),
        None => {
            let why = format!("what was written is longer than {} bytes", limits::DRAFT_BYTES);
            finished(dir, &file, &draft, &why)
        }
    }
}

/// The text of a file; nothing when it is too long for a draft.
fn read(file: &Path) -> io::Result<Option<String>> {
    let most = limits::DRAFT_BYTES as u64;
    let mut text = Vec::new();
    std::fs::File::open(file)?.take(most + 1).read_to_end(&mut text)?;
    Ok((text.len() as u64 <= most).then(|| String::from_utf8_lossy(&text).into_owned()))
}

/// The draft stays as it was. What was written all the same is not lost.
fn finished(dir: TempDir, file: &Path, draft: &str, why: &str) -> Result<String, String> {
    let is_other = read(file).is_ok_and(|text| text.as_deref() != Some(draft));
    if !is_other {
        return Err(format!("the draft is as it was: {why}"));
    }
    let _ = dir.keep();
    Err(format!("{why}; what was written is in {}", file.display()))
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
    command.arg(file).env_remove("PYILE_PASSWORD").env_remove("PYILE_INVITE").stdin(Stdio::inherit());
    command
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_environment_names_the_editor() {
        // One test for all: the environment is the process's.
        let file = std::path::Path::new("x y.md");
        let command = super::command("ed -s", file);
        let words: Vec<_> =
            command.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert_eq!(words, ["-c", "ed -s \"$@\"", "ed -s", "x y.md"]);
    }
}
