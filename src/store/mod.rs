//! What a profile keeps: its key, what its host needs after a restart, and the hosts it knows.
//!
//! All files of a profile are read and written here and nowhere else, by one blocking thread. It must never write a
//! file in place, follow a name that came from a peer, or leave a secret readable by others.

mod files;

use std::{path::Path, sync::Arc};

use tokio::sync::{mpsc, watch};

use self::files::Files;
use crate::{
    api::{StoreCommand, StoreEvent},
    model::{HostState, KnownHost, limits},
    security::Identity,
};

/// Why a profile cannot be used. Nothing changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error(
        "the profile in {dir} is in use by another pyile; end that one, or choose another profile with \
         --profile NAME"
    )]
    InUse {
        /// Where it is.
        dir: String,
    },
    /// Others could read the secrets.
    #[error("{path} can be read by others (mode {mode:o}); take that right away: chmod {wanted:o} {path}")]
    TooOpen {
        /// Which file or directory.
        path: String,
        /// Its mode.
        mode: u32,
        /// The mode that it should have.
        wanted: u32,
    },
    /// The file cannot be understood.
    #[error("{path} is damaged ({found}); restore it from a copy, or move it away to begin anew without it")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        found: String,
    },
    /// The system refuses.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// No key could be made.
    #[error("cannot make a key: {0}")]
    Identity(#[from] crate::security::IdentityError),
}

/// What is kept now.
#[derive(Debug, Clone)]
struct Kept {
    host: Option<HostState>,
    recents: Vec<KnownHost>,
}

/// A profile that is open, and locked against other processes while it is.
#[derive(Debug, Clone)]
pub struct Profile {
    identity: Arc<Identity>,
    kept: watch::Receiver<Kept>,
    commands: mpsc::Sender<(StoreCommand, mpsc::Sender<StoreEvent>)>,
}

impl Profile {
    /// Opens the profile in `dir`, which is made when it is missing.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let files = Files::open(dir)?;
        let identity = files.identity()?;
        let (host, recents) = (files.host()?, files.recents()?);
        Ok(Self::start(identity, host, recents, Some(files)))
    }

    /// A profile of its own that is gone when the process ends.
    pub fn ephemeral() -> Result<Self, StoreError> {
        let (identity, _) = Identity::generate()?;
        Ok(Self::start(identity, None, Vec::new(), None))
    }

    fn start(
        identity: Identity,
        host: Option<HostState>,
        recents: Vec<KnownHost>,
        files: Option<Files>,
    ) -> Self {
        let (commands, inbox) = mpsc::channel(limits::STORE_COMMANDS);
        let (kept, watched) = watch::channel(Kept { host, recents });
        let worker = Worker { files, kept };
        // The thread ends with the last handle.
        let spawned = std::thread::Builder::new().name("store".to_owned()).spawn(move || worker.run(inbox));
        if let Err(error) = spawned {
            tracing::error!(%error, "nothing will be kept: no thread for the store");
        }
        Self { identity: Arc::new(identity), kept: watched, commands }
    }

    /// Who this profile is.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.identity.clone()
    }

    /// What is kept of the network that this profile hosts.
    #[must_use]
    pub fn host(&self) -> Option<HostState> {
        self.kept.borrow().host.clone()
    }

    /// Hosts that this profile knows, latest first.
    #[must_use]
    pub fn recents(&self) -> Vec<KnownHost> {
        self.kept.borrow().recents.clone()
    }

    /// Hands a command to the store's thread; what it did comes back on `reply`. A store that cannot follow says
    /// so at once.
    pub fn command(&self, command: StoreCommand, reply: &mpsc::Sender<StoreEvent>) {
        let token = match &command {
            StoreCommand::SaveHost { token, .. } => Some(*token),
            _ => None,
        };
        if self.commands.try_send((command, reply.clone())).is_err() {
            let message = "the disk does not keep up, or the store has stopped".to_owned();
            let _ = reply.try_send(StoreEvent::Failed { token, message });
        }
    }
}

/// The store's thread.
struct Worker {
    files: Option<Files>,
    kept: watch::Sender<Kept>,
}

impl Worker {
    fn run(self, mut inbox: mpsc::Receiver<(StoreCommand, mpsc::Sender<StoreEvent>)>) {
        let mut next = inbox.blocking_recv();
        while let Some((command, reply)) = next.take() {
            // Of host states that wait only the last one is written: it holds all that the others do.
            let newer = inbox.try_recv().ok();
            let outdated = matches!(
                (&command, &newer),
                (StoreCommand::SaveHost { .. }, Some((StoreCommand::SaveHost { .. }, other)))
                    if reply.same_channel(other)
            );
            if !outdated {
                let event = self.perform(command);
                let _ = reply.blocking_send(event);
            }
            // Whoever waits for the last answer sees the end of the channel before the next wait.
            drop(reply);
            next = newer.or_else(|| inbox.blocking_recv());
        }
    }

    fn perform(&self, command: StoreCommand) -> StoreEvent {
        match command {
            StoreCommand::SaveHost { token, state } => {
                let saved = self.files.as_ref().map_or(Ok(()), |files| files.save_host(&state));
                self.kept.send_modify(|kept| kept.host = Some(*state));
                match saved {
                    Ok(()) => StoreEvent::Saved(token),
                    Err(error) => StoreEvent::Failed { token: Some(token), message: error.to_string() },
                }
            }
            StoreCommand::RememberHost(known) => self.change_recents(|recents| {
                recents.retain(|other| other.target != known.target);
                recents.insert(0, *known);
                recents.truncate(limits::RECENTS);
            }),
            StoreCommand::ForgetHost { target } => {
                self.change_recents(|recents| recents.retain(|other| other.target != target))
            }
            StoreCommand::Recents => StoreEvent::Recents(self.kept.borrow().recents.clone()),
        }
    }

    fn change_recents(&self, change: impl FnOnce(&mut Vec<KnownHost>)) -> StoreEvent {
        self.kept.send_modify(|kept| change(&mut kept.recents));
        let recents = self.kept.borrow().recents.clone();
        match self.files.as_ref().map_or(Ok(()), |files| files.save_recents(&recents)) {
            Ok(()) => StoreEvent::Recents(recents),
            Err(error) => StoreEvent::Failed { token: None, message: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
