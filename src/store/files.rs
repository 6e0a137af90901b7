//! The files of a profile: `identity.key`, `host.json`, `known_hosts.json`, `verified.json`, `deputy.json`, and `lock`.
//!
//! Every file is replaced as a whole: written beside, flushed, renamed. A crash leaves the old one or the new one.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::StoreError;
use crate::{
    model::{Deputyship, HostState, KnownHost, Verified},
    security::Identity,
};

const IDENTITY: &str = "identity.key";
const HOST: &str = "host.json";
/// The package of a network that this profile may be about to host.
const PACKAGE: &str = "host-pending.json";
const KNOWN_HOSTS: &str = "known_hosts.json";
const VERIFIED: &str = "verified.json";
/// What this profile was given as the deputy of somebody else's network.
const DEPUTY: &str = "deputy.json";
const LOCK: &str = "lock";

/// The form of the JSON files; a newer one is refused, not guessed at.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize, Deserialize)]
struct KnownHosts {
    hosts: Vec<KnownHost>,
}

#[derive(Serialize, Deserialize)]
struct VerifiedKeys {
    keys: Vec<Verified>,
}

#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    /// Held for as long as the profile is open.
    _lock: File,
    /// What the file system does not guarantee.
    pub(super) remark: Option<String>,
}

/// The file system does not know what it was asked for.
fn is_unknown_here(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.display().to_string();
    move |source| StoreError::Io { action, path, source }
}

impl Files {
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        make_private_dir(dir)?;
        let path = dir.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock
            .or_else(|error| match error.kind() {
                // Where nothing can be written, the lock of another session still counts.
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => File::open(&path),
                _ => Err(error),
            })
            .map_err(failed("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock, remark: None }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { dir: dir.display().to_string() }),
            // Whether a second program has the profile cannot be known here.
            Err(TryLockError::Error(error)) if is_unknown_here(&error) => {
                let remark = format!(
                    "the file system of {} cannot lock: end this program before you start another one with this \
                     profile",
                    dir.display()
                );
                Ok(Self { dir: dir.to_owned(), _lock: lock, remark: Some(remark) })
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
        }
    }

    /// The profile's key; made at the first run.
    pub(super) fn identity(&self) -> Result<Identity, StoreError> {
        match read_identity(&self.dir) {
            Err(StoreError::NoHistory { .. }) => {
                let (identity, bytes) = Identity::generate()?;
                self.write(IDENTITY, &bytes)?;
                Ok(identity)
            }
            result => result,
        }
    }

    pub(super) fn host(&self) -> Result<Option<HostState>, StoreError> {
        self.read(HOST)
    }

    pub(super) fn save_host(&self, state: &HostState) -> Result<(), StoreError> {
        self.save(HOST, state)
    }

    pub(super) fn keep_package(&self, state: &HostState) -> Result<(), StoreError> {
        self.save(PACKAGE, state)
    }

    pub(super) fn drop_package(&self) {
        // There may be none.
        let _ = fs::remove_file(self.dir.join(PACKAGE));
    }

    /// Sets the host's file aside, under the first name that is free.
    pub(super) fn retire_host(&self) -> Result<(), StoreError> {
        let path = self.dir.join(HOST);
        let mut numbers = 1_u32..;
        let free = numbers.find_map(|number| {
            let name = self.dir.join(format!("host-retired-{number}.json"));
            (!name.exists()).then_some(name)
        });
        match free.map_or(Ok(()), |name| fs::rename(&path, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("rename", &path)(error)),
            _ => Ok(()),
        }
    }

    /// The network that was set aside last.
    pub(super) fn retired(&self) -> Option<HostState> {
        let names = (1_u32..).map(|number| format!("host-retired-{number}.json"));
        let last = names.take_while(|name| self.dir.join(name).exists()).last()?;
        self.read(&last).ok().flatten()
    }

    pub(super) fn recents(&self) -> Result<Vec<KnownHost>, StoreError> {
        let known: Option<KnownHosts> = self.read(KNOWN_HOSTS)?;
        Ok(known.map(|known| known.hosts).unwrap_or_default())
    }

    pub(super) fn save_recents(&self, recents: &[KnownHost]) -> Result<(), StoreError> {
        self.save(KNOWN_HOSTS, &KnownHosts { hosts: recents.to_vec() })
    }

    pub(super) fn verified(&self) -> Result<Vec<Verified>, StoreError> {
        let kept: Option<VerifiedKeys> = self.read(VERIFIED)?;
        Ok(kept.map(|kept| kept.keys).unwrap_or_default())
    }

    pub(super) fn save_verified(&self, keys: &[Verified]) -> Result<(), StoreError> {
        self.save(VERIFIED, &VerifiedKeys { keys: keys.to_vec() })
    }

    pub(super) fn deputyship(&self) -> Result<Option<Deputyship>, StoreError> {
        self.read(DEPUTY)
    }

    pub(super) fn keep_deputyship(&self, given: Option<&Deputyship>) -> Result<(), StoreError> {
        if let Some(given) = given {
            return self.save(DEPUTY, given);
        }
        let path = self.dir.join(DEPUTY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let damaged = |found: String| StoreError::Damaged { path: path.display().to_string(), found };
        let versioned: Versioned<T> =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if versioned.format != FORMAT {
            return Err(damaged(format!("format {}, this pyile knows format {FORMAT}", versioned.format)));
        }
        Ok(Some(versioned.content))
    }

    fn save<T: Serialize>(&self, name: &str, content: &T) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let bytes = serde_json::to_vec_pretty(&Versioned { format: FORMAT, content })
            .map_err(|error| failed("write", &path)(error.into()))?;
        self.write(name, &bytes)
    }

    /// Replaces a file as a whole, readable by its owner only.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let replace = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            #[cfg(unix)]
            match File::open(&self.dir)?.sync_all() {
                // Some network file systems know no such thing, and keep names in order by themselves.
                Err(error) if is_unknown_here(&error) => {}
                result => result?,
            }
            Ok(())
        };
        replace().map_err(failed("write", &path))
    }
}

/// The key of the profile in `dir`. A profile without one has never been used.
pub(super) fn read_identity(dir: &Path) -> Result<Identity, StoreError> {
    let path = dir.join(IDENTITY);
    match fs::read(&path) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            check_private(&path, 0o600)?;
            Identity::from_pkcs8(&bytes).map_err(|error| StoreError::Damaged {
                path: path.display().to_string(),
                found: error.to_string(),
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(StoreError::NoHistory { dir: dir.display().to_string() })
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("make", dir)(error)),
        _ => check_private(dir, 0o700),
    }
}

#[cfg(unix)]
fn check_private(path: &Path, wanted: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).map_err(failed("read", path))?;
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        return Err(StoreError::NotYours { path: path.display().to_string(), owner, me });
    }
    let mode = metadata.mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    // Where a mode can be set, it is for the user to say so; where it cannot, another place must do.
    let is_kept = |metadata: fs::Metadata| metadata.mode().trailing_zeros() >= 6;
    let probe =
        tempfile::NamedTempFile::new_in(if path.is_dir() { path } else { path.parent().unwrap_or(path) });
    if probe.is_ok_and(|file| file.as_file().metadata().is_ok_and(|metadata| !is_kept(metadata))) {
        return Err(StoreError::NoModes { path: path.display().to_string(), mode });
    }
    Err(StoreError::TooOpen { path: path.display().to_string(), mode, wanted })
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(dir).map_err(failed("make", dir))
}

/// Elsewhere the user's own directories are private by default.
#[cfg(not(unix))]
fn check_private(_: &Path, _: u32) -> Result<(), StoreError> {
    Ok(())
}
