//! The history on disk: an SQLite database that may be locked, full, damaged or gone, and is tried again until it works.
//!
//! It must never delete a file that it cannot read, call a message kept that is not in the file that others would open, or
//! stop the session because a disk takes nothing.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};

use super::{
    Committed, Reader, Retention, Unread, index, read, schema, streams,
    write::{self, Write},
};
use crate::{
    api::{Compared, Hit},
    model::{Batch, HistoryState, NetworkId, PeerId, Recalled, Timestamp, limits},
};

pub(super) const FILE: &str = "history.db";

#[derive(Debug)]
pub(in crate::store) struct Database {
    me: PeerId,
    path: PathBuf,
    /// The connection; nothing while the file cannot be opened.
    db: Option<Connection>,
    /// Which file it is, so that one that was taken away is noticed.
    file: Option<FileId>,
    /// Others may read it meanwhile.
    is_shared: bool,
    ids: write::Ids,
    retention: Retention,
    looked_for_old: Option<Instant>,
    /// Bytes of text that were kept since then.
    kept_since: u64,
    /// When the first and the last was kept of what the search's index may not have.
    unindexed: Option<(Instant, Instant)>,
    /// Changes that wait for the disk.
    unsaved: VecDeque<Write>,
    state: HistoryState,
    /// What is to be said about it, once.
    message: String,
    tried: Instant,
}

impl Database {
    /// Opens the database in a directory. One that cannot be used is set aside; one that cannot be opened or written is
    /// tried again.
    pub(super) fn open(me: PeerId, dir: &Path, retention: Retention) -> Self {
        let mut database = Self {
            me,
            path: dir.join(FILE),
            db: None,
            file: None,
            is_shared: false,
            ids: write::Ids::default(),
            retention,
            looked_for_old: None,
            kept_since: 0,
            // The last session may have left something.
            unindexed: Some((Instant::now(), Instant::now())),
            unsaved: VecDeque::new(),
            state: HistoryState::Unsaved,
            message: String::new(),
            tried: Instant::now(),
        };
        if database.reopen("").is_ok()
            && database.state == HistoryState::Unsaved
            && database.message.is_empty()
        {
            database.state = HistoryState::Saved;
        }
        database
    }

    /// Opens the file. `before` is what became of the one before, if anything.
    fn reopen(&mut self, before: &str) -> Result<(), ()> {
        self.ids = write::Ids::default();
        (self.db, self.file) = (None, None);
        let mut message = before.to_owned();
        for _ in 0..2 {
            match opened(&self.path) {
                Ok((db, full)) => {
                    self.is_shared = full.is_none();
                    self.db = Some(db);
                    self.file = FileId::of(&self.path);
                    match full {
                        Some(why) => self.message = not_saved(&why),
                        None if message.is_empty() => {}
                        None => {
                            self.message = message;
                            self.state = HistoryState::Saved;
                        }
                    }
                    return Ok(());
                }
                Err(Unusable::SetAside(why)) => match set_aside(&self.path) {
                    Ok(name) => message = format!("{why}; it is now {name}, and a new history begins"),
                    Err(error) => {
                        self.fail(&format!("{why}, and cannot be set aside: {error}"));
                        return Err(());
                    }
                },
                Err(Unusable::No(why)) => {
                    self.fail(&why);
                    return Err(());
                }
            }
        }
        self.fail("a new history cannot be begun");
        Err(())
    }

    /// Nothing can be written now.
    fn fail(&mut self, why: &str) {
        let message = not_saved(why);
        if self.state != HistoryState::Unsaved || self.message.is_empty() {
            self.message = message;
        }
        self.state = HistoryState::Unsaved;
    }

    /// Who answers other peers beside this.
    pub(super) fn reader(&self) -> Reader {
        Reader::new(self.me, self.path.clone())
    }

    /// Whether others can read the file now.
    pub(super) fn is_shared(&self) -> bool {
        self.db.is_some() && self.is_shared
    }

    /// Where the history is kept, and what is to be said about it.
    pub(super) fn state(&self) -> (HistoryState, &str) {
        (self.state, &self.message)
    }

    /// How long until the waiting changes are to be tried again.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        let due = self.tried + limits::DISK_RETRY;
        (self.state == HistoryState::Unsaved).then(|| due.saturating_duration_since(Instant::now()))
    }

    /// How long until what was kept lately is to be made known to the search: not while one message follows another.
    pub(super) fn index_in(&self) -> Option<Duration> {
        let (first, last) = self.unindexed.filter(|_| self.state == HistoryState::Saved)?;
        let due = (last + limits::INDEX_AFTER).min(first + limits::INDEX_AFTER_ALL);
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Makes a part of what was kept lately known to the search.
    pub(super) fn index(&mut self) {
        let Some(db) = &mut self.db else {
            self.unindexed = None;
            return;
        };
        match index::add(db) {
            // While messages pour in, the next part waits as long.
            Ok(true) => self.unindexed = self.unindexed.map(|(_, last)| (Instant::now(), last)),
            Ok(false) => self.unindexed = None,
            Err(error) => {
                // Tried again after the next message, which finds out what is wrong with the file.
                tracing::warn!(%error, "the index of the search cannot be written");
                self.unindexed = None;
            }
        }
    }

    /// The same for all of it, or for so much as nobody notices.
    fn index_rest(&mut self) {
        let begun = Instant::now();
        while self.unindexed.is_some()
            && self.state == HistoryState::Saved
            && begun.elapsed() < limits::INDEX_FOR_SEARCH
        {
            self.index();
        }
    }

    /// Where all that was typed occurs, the newest first.
    pub(super) fn search(&mut self, network: &NetworkId, typed: &str) -> Vec<Hit> {
        self.index_rest();
        self.ask(|db, me| read::search(db, me, network, typed)).unwrap_or_default()
    }

    /// Makes changes, after those that wait already.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Committed {
        for write in writes {
            if let Write::Drafts { network, drafts } = &write {
                write::drop_older_drafts(&mut self.unsaved, network, drafts);
            }
            self.unsaved.push_back(write);
        }
        if self.state == HistoryState::Unsaved && self.tried.elapsed() < limits::DISK_RETRY {
            self.bound();
            return Committed::NotYet;
        }
        self.write_waiting()
    }

    /// Deletes a conversation, from the file as well.
    pub(super) fn forget(&mut self, forget: Write) -> Committed {
        self.pragma("secure_delete", "ON");
        let outcome = self.commit(vec![forget]);
        self.pragma("secure_delete", "FAST");
        if let Some(db) = &self.db {
            // Nor does the log that is written ahead keep it.
            let _ = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        outcome
    }

    fn pragma(&self, name: &str, value: &str) {
        if let Some(db) = &self.db {
            let _ = db.pragma_update(None, name, value);
        }
    }

    /// Tries again to write the waiting changes.
    pub(super) fn write_waiting(&mut self) -> Committed {
        self.tried = Instant::now();
        // What is written to a file that was deleted is kept nowhere.
        if self.db.is_some() && FileId::of(&self.path) != self.file {
            let _ = self.reopen("the history's file was taken away; a new history begins");
        } else if self.db.is_none() {
            let _ = self.reopen("");
        }
        if self.state == HistoryState::Unsaved && !matches!(self.unsaved.back(), Some(Write::Probe)) {
            // A write that changes nothing does not prove that the disk takes anything.
            self.unsaved.push_back(Write::Probe);
        }
        let mut outcome = self.write();
        if let Err(Failed::Sqlite(error)) = &outcome {
            self.ids = write::Ids::default();
            if is_damage(error) && self.begin_anew(&format!("the history is damaged ({error})")) {
                outcome = self.write();
            }
        }
        match outcome {
            Ok(()) => {
                self.kept_since += self.unsaved.iter().map(Write::bytes).sum::<u64>();
                if self.unsaved.iter().any(|write| matches!(write, Write::Keep { .. })) {
                    let now = Instant::now();
                    self.unindexed = Some((self.unindexed.map_or(now, |(first, _)| first), now));
                }
                self.unsaved.clear();
                if self.state == HistoryState::Unsaved {
                    self.state = HistoryState::Saved;
                    "the history is being saved again, with all that waited".clone_into(&mut self.message);
                }
                self.delete_old();
                Committed::ForGood
            }
            Err(failed) => {
                if let Failed::Sqlite(error) = failed {
                    self.fail(&words_for(&error));
                }
                self.bound();
                Committed::NotYet
            }
        }
    }

    fn write(&mut self) -> Result<(), Failed> {
        let Some(db) = &mut self.db else { return Err(Failed::NotOpen) };
        let writes = self.unsaved.make_contiguous();
        write::write(db, &mut self.ids, &self.me, writes).map_err(Failed::Sqlite)
    }

    /// Waiting messages are never dropped; the node bounds them. Waiting receipts may be dropped: then the messages are sent
    /// again, and the receivers drop them.
    fn bound(&mut self) {
        if self.unsaved.len() as u64 > 2 * limits::UNSAVED_MESSAGES {
            self.unsaved.retain(|write| !matches!(write, Write::Receipt(_) | Write::Probe));
        }
    }

    /// Sets a damaged database aside and begins a new one; false when that is not possible now.
    fn begin_anew(&mut self, why: &str) -> bool {
        // The file must not be open while it is renamed.
        self.db = None;
        match set_aside(&self.path) {
            Ok(name) => self.reopen(&format!("{why}; it is now {name}, and a new history begins")).is_ok(),
            Err(error) => {
                self.fail(&format!("{why}, and cannot be set aside: {error}"));
                false
            }
        }
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
        let retention = self.retention;
        if let Some(db) = &mut self.db
            && let Err(error) = delete_old(db, &self.me, retention)
        {
            tracing::warn!(%error, "old messages cannot be deleted");
        }
    }

    /// Answers a question; a damaged database is set aside.
    pub(super) fn ask<T>(
        &mut self,
        ask: impl FnOnce(&Connection, &PeerId) -> rusqlite::Result<T>,
    ) -> Result<T, Unread> {
        let db = self.db.as_ref().ok_or(Unread)?;
        ask(db, &self.me).map_err(|error| {
            tracing::error!(%error, "the history cannot be read");
            if is_damage(&error) {
                self.ids = write::Ids::default();
                self.begin_anew(&format!("the history is damaged ({error})"));
            }
            Unread
        })
    }

    /// What a node needs to go on where it was.
    pub(super) fn recall(&mut self, network: &NetworkId) -> Recalled {
        if !self.unsaved.is_empty() && self.tried.elapsed() >= limits::DISK_RETRY {
            self.write_waiting();
        }
        let streams = self.ask(|db, me| read::streams(db, me, network)).unwrap_or_default();
        let own = self.ask(|db, me| streams::own_streams(db, me, network)).unwrap_or_default();
        let people = self.ask(|db, _| read::people(db, network)).unwrap_or_default();
        Recalled { state: self.state, message: self.message.clone(), streams, own, people }
    }

    /// Whether a batch is what is kept, or waits to be kept, under its numbers.
    pub(super) fn compare(&mut self, network: &NetworkId, batch: &Batch) -> Result<Compared, Unread> {
        let waits = self.unsaved.iter().find_map(|write| match write {
            Write::Keep { network: in_network, batch: waiting, .. }
                if in_network == network
                    && waiting.batch.stream == batch.stream
                    && waiting.batch.first <= batch.last()
                    && waiting.batch.last() >= batch.first =>
            {
                Some(&waiting.batch)
            }
            _ => None,
        });
        if let Some(waiting) = waits {
            let is_same = waiting.first == batch.first && waiting.texts == batch.texts;
            return Ok(if is_same {
                Compared::Same
            } else {
                Compared::Differs(Some(Box::new(waiting.clone())))
            });
        }
        self.ask(|db, me| streams::compare(db, me, network, batch))
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        self.db.as_ref().expect("it is open")
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        used(self.connection()).expect("it can be read")
    }

    /// Writes the waiting changes.
    pub(super) fn close(&mut self) {
        if !self.unsaved.is_empty() && self.write_waiting() == Committed::NotYet {
            tracing::error!(messages = self.unsaved.len(), "not saved: the disk takes nothing");
        }
        self.index_rest();
    }
}

/// Why something was not written.
enum Failed {
    NotOpen,
    Sqlite(rusqlite::Error),
}

/// Which file it is, whatever its name is now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(path).ok().map(|file| Self(file.dev(), file.ino()))
    }

    /// Elsewhere a file that is open cannot be taken away.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> Option<Self> {
        path.exists().then_some(Self(0, 0))
    }
}

fn delete_old(db: &mut Connection, me: &PeerId, retention: Retention) -> rusqlite::Result<()> {
    if !retention.time.is_zero() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = now.saturating_sub(retention.time);
        let before = Timestamp(i64::try_from(before.as_micros()).unwrap_or(0));
        write::delete_before(db, before, limits::DELETED_AT_ONCE)?;
    }
    if retention.bytes == 0 {
        return Ok(());
    }
    loop {
        let used = used(db)?;
        let Some(excess) = used.checked_sub(retention.bytes).filter(|excess| *excess > 0) else { break };
        let messages: i64 = db.query_row("SELECT count(*) FROM message", [], |row| row.get(0))?;
        // About as many as take the bytes that are too much.
        let share = u128::from(messages.unsigned_abs()) * u128::from(excess) / u128::from(used) + 1;
        let most = usize::try_from(share).unwrap_or(usize::MAX).min(limits::DELETED_AT_ONCE);
        if write::delete_oldest(db, me, most)? == 0 {
            break;
        }
    }
    Ok(())
}

/// Bytes in use; what was deleted is used again.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let used = (number("page_count")? - number("freelist_count")?) * number("page_size")?;
    Ok(u64::try_from(used).unwrap_or(0))
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
        "the history is not being saved ({why}); talk goes on, and what is said is saved as soon as the disk takes it"
    )
}

/// Opens a database. Gives why it cannot be written now, where only room is missing.
fn opened(path: &Path) -> Result<(Connection, Option<String>), Unusable> {
    make_private(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::No("the profile's directory is gone".to_owned()),
        _ => Unusable::No(error.to_string()),
    })?;
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
    // A commit returns when the disk has it, not while it is on its way there.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.set_prepared_statement_cache_capacity(64);
    // Otherwise statements are prepared anew for each value that is bound.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
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

pub(super) fn words_for(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        Some(ErrorCode::ReadOnly) => "the disk or the file can only be read".to_owned(),
        Some(ErrorCode::SystemIoFailure) => "the disk reports an error".to_owned(),
        Some(ErrorCode::CannotOpen) => "the file cannot be opened".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked the file".to_owned()
        }
        _ => error.to_string(),
    }
}
