//! The history of a profile: an SQLite database, in the profile's directory or in memory.
//!
//! It must never lose what it said it keeps, delete a file that it cannot read, or stop the talk because a disk is
//! full: what cannot be written is held, and written when it can. Keys and bans are not its business.

mod export;
mod read;
mod schema;
mod words;
mod write;

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

pub use self::export::{Exported, Filter, export};
pub(super) use self::write::Write;
use crate::{
    api::{Hit, Part},
    model::{
        Delivery, Held, HistoryState, NetworkId, Page, PeerId, Place, Recalled, Recipient, SafeText,
        StoredMessage, Timestamp, limits,
    },
};

const FILE: &str = "history.db";

/// How long messages are kept, and how much room they may take. Zero = for good, as much as there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages older than this go.
    pub time: Duration,
    /// Bytes of the database; the oldest messages go first.
    pub bytes: u64,
}

/// A history that ends with the process.
const IN_MEMORY: Retention = Retention { time: Duration::ZERO, bytes: limits::MEMORY_HISTORY };

/// Where the history of a profile is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In the profile's directory.
    OnDisk(Retention),
    /// In memory: it ends with the program.
    InMemory,
}

#[derive(Debug)]
pub(super) struct History {
    me: PeerId,
    /// The database file; none for one in memory.
    path: Option<PathBuf>,
    db: Connection,
    ids: write::Ids,
    retention: Retention,
    looked_for_old: Option<Instant>,
    /// Bytes of text that were kept since then.
    kept_since: u64,
    continues: bool,
    /// This is not the database that the session began with: what its numberings are is not all here.
    is_anew: bool,
    /// What waits for room on the disk; in memory, for the first question.
    unsaved: VecDeque<Write>,
    rows_waiting: usize,
    /// Messages are indexed for the search as they are kept. In memory that begins with the first search: for most
    /// there is none.
    is_indexed: bool,
    state: HistoryState,
    /// What is to be said about it, once.
    message: String,
    tried: Instant,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// All of it, and all that waited before it, is kept.
    ForGood,
    /// It waits for room on the disk.
    NotYet,
}

impl History {
    /// Opens the history in a profile's directory. A database that cannot be used is set aside, or left alone and
    /// done without.
    pub(super) fn open(me: PeerId, dir: Option<&Path>, keeping: Keeping) -> rusqlite::Result<Self> {
        let in_memory = |message: String| {
            let db = prepared(Connection::open_in_memory()?)?;
            Ok(Self::with(me, None, db, IN_MEMORY, HistoryState::Memory, message))
        };
        let (Some(dir), Keeping::OnDisk(retention)) = (dir, keeping) else { return in_memory(String::new()) };
        let path = dir.join(FILE);
        let mut message = String::new();
        for _ in 0..2 {
            match opened(&path) {
                Ok((db, None)) => {
                    return Ok(Self::with(me, Some(path), db, retention, HistoryState::Saved, message));
                }
                Ok((db, Some(why))) => {
                    let message = not_saved(&why);
                    return Ok(Self::with(me, Some(path), db, retention, HistoryState::Unsaved, message));
                }
                Err(Unusable::SetAside(why)) => match set_aside(&path) {
                    Ok(name) => message = format!("{why}; it is now {name}, and a new history begins"),
                    Err(error) => {
                        return in_memory(format!(
                            "{why} and cannot be set aside ({error}); this session's history is in memory only"
                        ));
                    }
                },
                Err(Unusable::No(why)) => {
                    return in_memory(format!(
                        "the history cannot be opened ({why}); this session's history is in memory only"
                    ));
                }
            }
        }
        in_memory(message)
    }

    fn with(
        me: PeerId,
        path: Option<PathBuf>,
        db: Connection,
        retention: Retention,
        state: HistoryState,
        message: String,
    ) -> Self {
        let mut history = Self {
            me,
            path,
            db,
            ids: write::Ids::default(),
            retention,
            looked_for_old: None,
            kept_since: 0,
            continues: false,
            is_anew: false,
            unsaved: VecDeque::new(),
            rows_waiting: 0,
            is_indexed: state != HistoryState::Memory,
            state,
            message,
            tried: Instant::now(),
        };
        // Until the end is written in order, nobody knows whether something left that was not kept.
        history.continues = history.setting("whole").unwrap_or(false);
        if history.set("whole", false).is_err() {
            history.continues = false;
        }
        history
    }

    fn setting(&self, name: &str) -> rusqlite::Result<bool> {
        let query = "SELECT coalesce((SELECT value FROM setting WHERE name = ?), 0)";
        self.db.query_row(query, [name], |row| row.get(0))
    }

    fn set(&self, name: &str, value: bool) -> rusqlite::Result<()> {
        self.db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", params![name, value]).map(|_| ())
    }

    /// Where the history is kept, and what is to be said about it.
    pub(super) fn state(&self) -> (HistoryState, &str) {
        (self.state, &self.message)
    }

    /// How long until what waits is to be tried again.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        let due = self.tried + limits::DISK_RETRY;
        let waits = match self.state {
            HistoryState::Memory => false,
            HistoryState::Saved => !self.unsaved.is_empty(),
            HistoryState::Unsaved => true,
        };
        waits.then(|| due.saturating_duration_since(Instant::now()))
    }

    /// Makes changes, after those that wait already.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Committed {
        self.rows_waiting += writes.iter().map(Write::rows).sum::<usize>();
        self.unsaved.extend(writes);
        // No crash leaves anything of a history in memory: it is put in order when enough has gathered, or when somebody
        // asks.
        if self.state == HistoryState::Memory && self.rows_waiting < limits::ROWS_TOGETHER {
            return Committed::ForGood;
        }
        if self.state == HistoryState::Unsaved && self.tried.elapsed() < limits::DISK_RETRY {
            self.bound();
            return Committed::NotYet;
        }
        self.write_waiting()
    }

    /// Deletes a conversation, from the file as well.
    pub(super) fn forget(&mut self, network: NetworkId, conversation: Recipient) -> Committed {
        let _ = self.db.pragma_update(None, "secure_delete", "ON");
        let mut outcome = self.commit(vec![Write::Forget { network, conversation }]);
        if self.state == HistoryState::Memory {
            outcome = self.write_waiting();
        }
        let _ = self.db.pragma_update(None, "secure_delete", "FAST");
        // Nor does the log that is written ahead keep it.
        let _ = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        outcome
    }

    /// Tries again to write what waits.
    pub(super) fn write_waiting(&mut self) -> Committed {
        self.tried = Instant::now();
        if self.state == HistoryState::Unsaved {
            // What changes nothing proves nothing.
            if !matches!(self.unsaved.back(), Some(Write::Probe)) {
                self.unsaved.push_back(Write::Probe);
            }
        }
        let writes = self.unsaved.make_contiguous();
        let mut outcome = write::write(&mut self.db, &mut self.ids, &self.me, writes, self.is_indexed);
        if let Err(error) = &outcome {
            self.ids = write::Ids::default();
            if is_damage(error) && self.begin_anew(&format!("the history is damaged ({error})")) {
                let writes = self.unsaved.make_contiguous();
                outcome = write::write(&mut self.db, &mut self.ids, &self.me, writes, self.is_indexed);
            }
        }
        match outcome {
            Ok(()) => {
                self.kept_since += self.unsaved.iter().map(Write::bytes).sum::<u64>();
                self.unsaved.clear();
                self.rows_waiting = 0;
                if self.state == HistoryState::Unsaved {
                    self.state = HistoryState::Saved;
                    "there is room again: the history is being saved, with all that waited"
                        .clone_into(&mut self.message);
                }
                self.delete_old();
                Committed::ForGood
            }
            Err(error) => {
                if self.state != HistoryState::Unsaved {
                    self.state = HistoryState::Unsaved;
                    self.message = not_saved(&words_for(&error));
                }
                self.bound();
                Committed::NotYet
            }
        }
    }

    /// Messages that wait are never dropped: the node sees to it that they do not become too many. What became of
    /// own ones may be: they are delivered again, and dropped there as duplicates.
    fn bound(&mut self) {
        if self.unsaved.len() > 2 * limits::UNSAVED_MESSAGES {
            self.unsaved.retain(|write| !matches!(write, Write::Settle(_) | Write::Probe));
        }
    }

    /// Sets a damaged database aside and begins a new one; false when that is not possible either.
    fn begin_anew(&mut self, why: &str) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let Ok(nothing) = Connection::open_in_memory() else { return false };
        // The file must not be open while it is renamed.
        drop(std::mem::replace(&mut self.db, nothing));
        let renamed = set_aside(&path);
        let (db, message) = match (&renamed, opened(&path)) {
            (Ok(name), Ok((db, _))) => (db, format!("{why}; it is now {name}, and a new history begins")),
            _ => {
                self.path = None;
                self.state = HistoryState::Memory;
                self.retention = IN_MEMORY;
                let Ok(db) = Connection::open_in_memory().and_then(prepared) else { return false };
                (db, format!("{why} and cannot be replaced; this session's history is in memory only"))
            }
        };
        (self.db, self.message) = (db, message);
        self.is_anew = true;
        if self.state == HistoryState::Unsaved {
            self.state = HistoryState::Saved;
        }
        true
    }

    /// Deletes what is not to be kept any longer, from time to time.
    fn delete_old(&mut self) {
        let is_time = self.looked_for_old.is_none_or(|at| at.elapsed() > limits::RETENTION_EVERY);
        // In a flood a part of the room may be taken in less time.
        let is_much =
            self.retention.bytes > 0 && self.kept_since > self.retention.bytes / limits::RETENTION_PART;
        if self.retention == Retention::default() || !(is_time || is_much) {
            return;
        }
        (self.looked_for_old, self.kept_since) = (Some(Instant::now()), 0);
        if let Err(error) = self.try_delete_old() {
            tracing::warn!(%error, "old messages cannot be deleted");
        }
    }

    fn try_delete_old(&mut self) -> rusqlite::Result<()> {
        if !self.retention.time.is_zero() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let before = now.saturating_sub(self.retention.time);
            let before = Timestamp(i64::try_from(before.as_micros()).unwrap_or(0));
            write::delete_before(&mut self.db, before, limits::DELETED_AT_ONCE)?;
        }
        while self.retention.bytes > 0 {
            let used = self.used()?;
            let Some(excess) = used.checked_sub(self.retention.bytes).filter(|excess| *excess > 0) else {
                break;
            };
            let messages: i64 = self.db.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
            // About as many as take the bytes that are too much.
            let share = u128::from(messages.unsigned_abs()) * u128::from(excess) / u128::from(used) + 1;
            let most = usize::try_from(share).unwrap_or(usize::MAX).min(limits::DELETED_AT_ONCE);
            if write::delete_oldest(&mut self.db, most)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Bytes in use; what was deleted is used again.
    fn used(&self) -> rusqlite::Result<u64> {
        let number =
            |name: &str| self.db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
        let used = (number("page_count")? - number("freelist_count")?) * number("page_size")?;
        Ok(u64::try_from(used).unwrap_or(0))
    }

    /// Answers a question; a damaged database is set aside, and the answer is that there is nothing.
    fn answer<T: Default>(&mut self, ask: impl FnOnce(&Connection, &PeerId) -> rusqlite::Result<T>) -> T {
        if self.state == HistoryState::Memory && !self.unsaved.is_empty() {
            self.write_waiting();
        }
        match ask(&self.db, &self.me) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::error!(%error, "the history cannot be read");
                if is_damage(&error) {
                    self.ids = write::Ids::default();
                    self.begin_anew(&format!("the history is damaged ({error})"));
                }
                T::default()
            }
        }
    }

    /// What a node takes up again.
    pub(super) fn recall(&mut self, network: &NetworkId) -> Recalled {
        if !self.unsaved.is_empty() && self.tried.elapsed() >= limits::DISK_RETRY {
            self.write_waiting();
        }
        let streams = self.answer(|db, me| read::streams(db, me, network));
        let outbox = self.answer(|db, me| read::outbox(db, me, network));
        let people = self.answer(|db, _| read::people(db, network));
        Recalled {
            state: self.state,
            message: self.message.clone(),
            continues: self.continues && !self.is_anew && self.unsaved.is_empty(),
            streams,
            outbox,
            people,
        }
    }

    pub(super) fn open_all(&mut self, network: &NetworkId) -> Vec<(Page, SafeText)> {
        self.answer(|db, me| read::open(db, me, network))
    }

    pub(super) fn page(&mut self, network: &NetworkId, with: &Recipient, part: Part) -> Page {
        let page = self.answer(|db, me| read::page(db, me, network, with, part).map(Some));
        page.unwrap_or(Page { conversation: *with, messages: Vec::new(), is_first: true, is_last: true })
    }

    pub(super) fn held(&mut self, network: &NetworkId, since: Timestamp) -> Vec<Held> {
        self.answer(|db, _| read::held(db, network, since))
    }

    pub(super) fn range(
        &mut self,
        network: &NetworkId,
        with: &Recipient,
        wanted: &Held,
        since: Timestamp,
    ) -> (Vec<StoredMessage>, Option<u64>) {
        self.answer(|db, me| read::range(db, me, network, with, wanted, since))
    }

    pub(super) fn search(&mut self, network: &NetworkId, typed: &str) -> Vec<Hit> {
        if !self.is_indexed {
            self.write_waiting();
            match write::index_all(&mut self.db) {
                Ok(()) => self.is_indexed = true,
                Err(error) => tracing::error!(%error, "the history cannot be indexed"),
            }
        }
        self.answer(|db, me| read::search(db, me, network, typed))
    }

    pub(super) fn info(&mut self, network: &NetworkId, with: &Recipient, place: Place) -> Vec<Delivery> {
        self.answer(|db, me| read::info(db, me, network, with, place))
    }

    /// Writes what waits, and that nothing is missing.
    pub(super) fn close(&mut self) {
        if self.unsaved.is_empty() || self.write_waiting() == Committed::ForGood {
            let closed = self.set("whole", !self.is_anew);
            if let Err(error) = closed {
                tracing::warn!(%error, "the history could not be closed in order");
            }
        } else {
            tracing::error!(messages = self.unsaved.len(), "not saved: the disk takes nothing");
        }
    }
}

/// Why a database cannot be opened.
enum Unusable {
    /// It is damaged or too new: it is to be set aside.
    SetAside(String),
    /// The system does not let us.
    No(String),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::SetAside(format!("the history is damaged ({error})"))
        } else {
            Self::No(words_for(&error))
        }
    }
}

fn not_saved(why: &str) -> String {
    format!(
        "the history is not being saved ({why}); talk goes on, and what is said is saved as soon as there is room"
    )
}

/// Opens a database. Gives why it cannot be written now, where only room is missing.
fn opened(path: &Path) -> Result<(Connection, Option<String>), Unusable> {
    make_private(path).map_err(|error| Unusable::No(error.to_string()))?;
    let lacks_room = |error: &rusqlite::Error| {
        matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
    };
    match shared(path) {
        Ok(db) => Ok((db, None)),
        // Alone, SQLite needs no file beside the database to begin with.
        Err(Tried::Sqlite(error)) if lacks_room(&error) => match exclusive(path) {
            Ok(db) => Ok((db, Some("the disk is full".to_owned()))),
            Err(_) => Err(error.into()),
        },
        Err(Tried::Sqlite(error)) => Err(error.into()),
        Err(Tried::Newer(version)) => Err(Unusable::SetAside(format!(
            "the history was written by a newer pyile (form {version}, this one knows {})",
            schema::newest()
        ))),
    }
}

/// Why a database was not opened.
enum Tried {
    Newer(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Tried {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Opens a database so that others may read it meanwhile.
fn shared(path: &Path) -> Result<Connection, Tried> {
    let db = connected(path)?;
    let version = schema::version(&db)?;
    if version > schema::newest() {
        return Err(Tried::Newer(version));
    }
    let db = prepared(db)?;
    // A database that can only be read is of no use here.
    db.execute_batch("BEGIN IMMEDIATE; INSERT OR REPLACE INTO setting VALUES ('probe', 1); COMMIT")?;
    Ok(db)
}

/// Opens a database of this version for this process alone.
fn exclusive(path: &Path) -> rusqlite::Result<Connection> {
    let db = connected(path)?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    prepared(db)
}

fn connected(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(limits::LEAVE_TIMEOUT)?;
    Ok(db)
}

fn prepared(mut db: Connection) -> rusqlite::Result<Connection> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    // What was said to be kept is on the disk, not on its way there.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.set_prepared_statement_cache_capacity(64);
    schema::migrate(&mut db)?;
    Ok(db)
}

/// The file is its owner's only; what SQLite puts beside it has the same mode.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// Renames a database that cannot be used, with what belongs to it. Gives its new name.
fn set_aside(path: &Path) -> io::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut name = format!("history-set-aside-{now}.db");
    let mut number = 1;
    while path.with_file_name(&name).exists() {
        number += 1;
        name = format!("history-set-aside-{now}-{number}.db");
    }
    fs::rename(path, path.with_file_name(&name))?;
    for suffix in ["-wal", "-shm"] {
        let beside = path.with_file_name(format!("{FILE}{suffix}"));
        if beside.exists() {
            fs::rename(beside, path.with_file_name(format!("{name}{suffix}")))?;
        }
    }
    Ok(name)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(error, message) => {
            // A table that is missing from a file of this version has been damaged, too.
            let no_table = || message.as_ref().is_some_and(|message| message.contains("no such table"));
            matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) || no_table()
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => false,
    }
}

fn words_for(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        Some(ErrorCode::ReadOnly) => "the disk or the file can only be read".to_owned(),
        Some(ErrorCode::SystemIoFailure) => "the disk reports an error".to_owned(),
        Some(ErrorCode::CannotOpen) => "the file cannot be opened".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
