//! What a profile keeps: its key, what its host needs after a restart, the hosts it knows, and the history.
//!
//! All files of a profile are read and written here and nowhere else, by one [`Worker`] on a blocking thread. It must never write a
//! file in place, follow a name that came from a peer, or leave a secret readable by others.

mod files;
mod history;
mod worker;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
    },
};

use tokio::sync::{mpsc, watch};

use self::{files::Files, history::History};
pub use self::{
    history::{Exported, Filter, Keeping, Retention, export, room_for_history},
    worker::Worker,
};
use crate::{
    api::{StoreCommand, StoreEvent},
    model::{Deputyship, HostState, KnownHost, Network, Verified, limits},
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
    /// It is somebody else's, who could read and change it at any time.
    #[error(
        "{path} belongs to another user (number {owner}, and this is {me}); run pyile as that user, or choose another place \
         with --data-dir DIR"
    )]
    NotYours {
        /// Which directory.
        path: String,
        /// Whose it is.
        owner: u32,
        /// Who this is.
        me: u32,
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
    /// Others could read the secrets, and nothing can be done about it there.
    #[error(
        "{path} can be read by others (mode {mode:o}), and the file system there keeps no modes (a network or Windows \
         disk, or a volume of a container with a group); keep the profile somewhere else with --data-dir DIR, or mount \
         that one for you alone (umask=077)"
    )]
    NoModes {
        /// Which file or directory.
        path: String,
        /// Its mode.
        mode: u32,
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
    /// Nothing was ever kept.
    #[error("there is no history in {dir}; choose another profile with --profile NAME or --data-dir DIR")]
    NoHistory {
        /// Where it would be.
        dir: String,
    },
    /// The history cannot be read.
    #[error("cannot read {path}: {found}; when pyile starts it sets a damaged history aside and says so")]
    Unreadable {
        /// Which file.
        path: String,
        /// What is wrong.
        found: String,
    },
    /// No key could be made.
    #[error("cannot make a key: {0}")]
    Identity(#[from] crate::security::IdentityError),
}

/// The files of the profile, as they are kept now.
#[derive(Debug, Clone)]
struct Kept {
    host: Option<HostState>,
    /// The network that was handed over last.
    retired: Option<Network>,
    recents: Vec<KnownHost>,
    verified: Vec<Verified>,
    deputyship: Option<Deputyship>,
}

/// Commands of one asker, and where the answers go.
pub type Bundle = (Vec<StoreCommand>, mpsc::Sender<StoreEvent>);

/// Has the commands for a profile carried out, one bundle after the other.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Takes a bundle, or gives it back when it cannot take more now.
    fn take(&self, bundle: Bundle) -> Result<(), Bundle>;
}

/// A profile that is open, and locked against other processes while it is.
///
/// The last handle that goes waits until everything is written.
#[derive(Debug, Clone)]
pub struct Profile {
    identity: Arc<Identity>,
    kept: watch::Receiver<Kept>,
    store: Arc<dyn Store>,
    /// Commands that nobody waits for.
    later: Arc<Mutex<Vec<Bundle>>>,
    remark: Option<Arc<str>>,
}

/// The store's thread, which ends with the last handle.
#[derive(Debug)]
struct Thread {
    bundles: Option<SyncSender<Bundle>>,
    ended: Mutex<Receiver<()>>,
}

impl Thread {
    fn start(mut worker: Worker) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { action: "start", path: "the store".to_owned(), source };
        worker.read_beside().map_err(failed)?;
        let (bundles, inbox) = sync_channel(limits::STORE_COMMANDS);
        let (end, ended) = channel();
        let run = move || {
            worker.run(&inbox);
            let _ = end.send(());
        };
        let spawned = std::thread::Builder::new().name("store".to_owned()).spawn(run);
        spawned.map_err(failed)?;
        Ok(Self { bundles: Some(bundles), ended: Mutex::new(ended) })
    }
}

impl Store for Thread {
    fn take(&self, bundle: Bundle) -> Result<(), Bundle> {
        let Some(bundles) = &self.bundles else { return Ok(()) };
        bundles.try_send(bundle).map_err(|error| match error {
            TrySendError::Full(bundle) | TrySendError::Disconnected(bundle) => bundle,
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.bundles = None;
        // A disk that hangs must not keep the process for good.
        if let Ok(ended) = self.ended.lock() {
            let _ = ended.recv_timeout(limits::LEAVE_TIMEOUT);
        }
    }
}

impl Profile {
    /// Opens the profile in `dir`, which is made when it is missing.
    pub fn open(dir: &Path, keeping: Keeping) -> Result<Self, StoreError> {
        Self::open_on(dir, keeping, |worker| Ok(Arc::new(Thread::start(worker)?)))
    }

    /// As [`Self::open`], with somebody else than a thread of its own to have the work done.
    pub fn open_on(
        dir: &Path,
        keeping: Keeping,
        store: impl FnOnce(Worker) -> Result<Arc<dyn Store>, StoreError>,
    ) -> Result<Self, StoreError> {
        let files = Files::open(dir)?;
        let identity = files.identity()?;
        let kept = Kept {
            host: files.host()?,
            retired: files.retired().map(|state| state.network),
            recents: files.recents()?,
            verified: files.verified()?,
            // It is of use only while it can be read, and the host gives it again.
            deputyship: files.deputyship().ok().flatten(),
        };
        Self::start(identity, kept, Some((files, dir)), keeping, store)
    }

    /// A profile of its own that is gone when the process ends.
    pub fn ephemeral() -> Result<Self, StoreError> {
        let (identity, _) = Identity::generate()?;
        let store = |worker| Ok(Arc::new(Thread::start(worker)?) as Arc<dyn Store>);
        let kept =
            Kept { host: None, retired: None, recents: Vec::new(), verified: Vec::new(), deputyship: None };
        Self::start(identity, kept, None, Keeping::InMemory, store)
    }

    fn start(
        identity: Identity,
        kept: Kept,
        files: Option<(Files, &Path)>,
        keeping: Keeping,
        store: impl FnOnce(Worker) -> Result<Arc<dyn Store>, StoreError>,
    ) -> Result<Self, StoreError> {
        let (kept, watched) = watch::channel(kept);
        let dir = files.as_ref().map(|(_, dir)| *dir);
        let remark = files.as_ref().and_then(|(files, _)| files.remark.as_deref().map(Arc::from));
        let history = History::open(identity.peer_id(), dir, keeping);
        let worker = Worker::new(files.map(|(files, _)| files), history, kept);
        let (identity, store) = (Arc::new(identity), store(worker)?);
        Ok(Self { identity, kept: watched, store, later: Arc::default(), remark })
    }

    /// What the file system of this profile does not guarantee, for people.
    #[must_use]
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
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

    /// The network that this profile hosted until it handed it over.
    #[must_use]
    pub fn retired(&self) -> Option<Network> {
        self.kept.borrow().retired.clone()
    }

    /// Hosts that this profile knows, latest first.
    #[must_use]
    pub fn recents(&self) -> Vec<KnownHost> {
        self.kept.borrow().recents.clone()
    }

    /// What this profile was given as the deputy of somebody else's network.
    #[must_use]
    pub fn deputyship(&self) -> Option<Deputyship> {
        self.kept.borrow().deputyship.clone()
    }

    /// Keys that the person here has verified, the newest last.
    #[must_use]
    pub fn verified(&self) -> Vec<Verified> {
        self.kept.borrow().verified.clone()
    }

    /// Keeps commands that nobody waits for until the store is given others, whoever gives those, so that it never
    /// answers without them. Gives how many wait.
    #[must_use]
    pub fn commands_later(&self, commands: Vec<StoreCommand>, reply: &mpsc::Sender<StoreEvent>) -> usize {
        let mut later = self.later();
        match later.last_mut().filter(|(_, other)| other.same_channel(reply)) {
            Some((waiting, _)) => waiting.extend(commands),
            None => later.push((commands, reply.clone())),
        }
        later.iter().map(|(waiting, _)| waiting.len()).sum()
    }

    fn later(&self) -> MutexGuard<'_, Vec<Bundle>> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands commands to the store, and before them what waits; what it did comes back on `reply`. Gives them back when
    /// the store cannot take more now.
    pub fn commands(
        &self,
        commands: Vec<StoreCommand>,
        reply: &mpsc::Sender<StoreEvent>,
    ) -> Result<(), Vec<StoreCommand>> {
        let mut later = self.later();
        let mut waiting = std::mem::take(&mut *later).into_iter();
        while let Some(bundle) = waiting.next() {
            if let Err(bundle) = self.store.take(bundle) {
                *later = std::iter::once(bundle).chain(waiting).collect();
                return Err(commands);
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.store.take((commands, reply.clone())).map_err(|(commands, _)| commands)
    }

    /// Hands one command to the store. A store that cannot follow says so at once.
    pub fn command(&self, command: StoreCommand, reply: &mpsc::Sender<StoreEvent>) {
        let token = match &command {
            StoreCommand::SaveHost { token, .. } => Some(*token),
            _ => None,
        };
        if self.commands(vec![command], reply).is_err() {
            let message = "the disk does not keep up, or the store has stopped".to_owned();
            let _ = reply.try_send(StoreEvent::Failed { token, message });
        }
    }
}

#[cfg(test)]
mod tests;
