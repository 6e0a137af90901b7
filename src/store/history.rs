//! The history of a profile: an SQLite database in the profile's directory, or a queue in memory where the user wants
//! that.
//!
//! It must never lose a message that it has called kept, or call a message kept that the disk has not taken. Keys and bans
//! are not its business.

mod database;
mod export;
mod index;
mod memory;
mod read;
mod reader;
mod schema;
mod streams;
mod tokenizer;
mod write;

use std::{path::Path, time::Duration};

pub use self::export::{Exported, Filter, export};
pub(super) use self::reader::Reader;
pub(super) use self::write::Write;
use self::{database::Database, memory::Memory};
use crate::{
    api::{Compared, Hit, OpenedHistory, Part},
    model::{
        Batch, Delivery, Held, HistoryState, NetworkId, Page, PeerId, Place, Recalled, Recipient, Timestamp,
        limits,
    },
};

/// How long messages are kept, and how much room they may take. Zero = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Messages older than this are deleted.
    pub time: Duration,
    /// Bytes of the database; the oldest messages are deleted first.
    pub bytes: u64,
}

/// Bytes that the history of the profile in `dir` may take when nobody has said how many: at most
/// [`limits::HISTORY_BYTES`], at most a tenth of the room that is free there, what the history takes already included. A limit
/// that nobody chose deletes nothing that is there: it is never below what the history takes.
#[must_use]
pub fn room_for_history(dir: &Path) -> u64 {
    #[cfg(unix)]
    {
        let there = dir.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok());
        let taken = std::fs::metadata(dir.join(database::FILE)).map_or(0, |file| file.len());
        if let Some(disk) = there {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(taken);
            return limits::HISTORY_BYTES.min(free / 10).max(limits::HISTORY_LEAST).max(taken);
        }
    }
    limits::HISTORY_BYTES
}

/// Where the history of a profile is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In the profile's directory.
    OnDisk(Retention),
    /// In memory: it ends with the program.
    InMemory,
}

/// The result of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// All of it, and all that waited before it, is kept.
    ForGood,
    /// It waits until the disk takes it.
    NotYet,
}

/// The history could not be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread;

/// A history, on disk or in memory.
#[derive(Debug)]
pub(super) enum History {
    OnDisk(Box<Database>),
    InMemory(Box<Memory>),
}

impl History {
    /// Opens the history in a profile's directory, or begins one in memory where that is wanted. A disk that cannot be
    /// written now is tried again: what is said meanwhile waits for it.
    pub(super) fn open(me: PeerId, dir: Option<&Path>, keeping: Keeping) -> Self {
        match (dir, keeping) {
            (Some(dir), Keeping::OnDisk(retention)) => {
                Self::OnDisk(Box::new(Database::open(me, dir, retention)))
            }
            _ => Self::InMemory(Box::new(Memory::new(me, limits::MEMORY_HISTORY))),
        }
    }

    /// Who answers other peers beside this; nothing for a history in memory.
    pub(super) fn reader(&self) -> Option<Reader> {
        match self {
            Self::OnDisk(database) => Some(database.reader()),
            Self::InMemory(_) => None,
        }
    }

    /// Whether others can read what is kept now.
    pub(super) fn is_shared(&self) -> bool {
        match self {
            Self::OnDisk(database) => database.is_shared(),
            Self::InMemory(_) => false,
        }
    }

    /// Where the history is kept, and what is to be said about it.
    pub(super) fn state(&self) -> (HistoryState, &str) {
        match self {
            Self::OnDisk(database) => database.state(),
            Self::InMemory(_) => (HistoryState::Memory, ""),
        }
    }

    /// How long until the waiting changes are to be tried again.
    pub(super) fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::OnDisk(database) => database.retry_in(),
            Self::InMemory(_) => None,
        }
    }

    /// Makes changes, after those that wait already.
    pub(super) fn commit(&mut self, writes: Vec<Write>) -> Committed {
        match self {
            Self::OnDisk(database) => database.commit(writes),
            Self::InMemory(memory) => {
                for write in writes {
                    memory.write(write);
                }
                Committed::ForGood
            }
        }
    }

    /// Tries again to write the waiting changes.
    pub(super) fn write_waiting(&mut self) -> Committed {
        match self {
            Self::OnDisk(database) => database.write_waiting(),
            Self::InMemory(_) => Committed::ForGood,
        }
    }

    /// Deletes a conversation, from the file as well.
    pub(super) fn forget(&mut self, network: NetworkId, conversation: Recipient) -> Committed {
        let forget = Write::Forget { network, conversation };
        match self {
            Self::OnDisk(database) => database.forget(forget),
            Self::InMemory(_) => self.commit(vec![forget]),
        }
    }

    /// What a node needs to go on where it was.
    pub(super) fn recall(&mut self, network: &NetworkId) -> Recalled {
        match self {
            Self::OnDisk(database) => database.recall(network),
            Self::InMemory(_) => Recalled::nothing(),
        }
    }

    pub(super) fn open_all(&mut self, network: &NetworkId) -> OpenedHistory {
        match self {
            Self::OnDisk(database) => {
                let pages = database.ask(|db, me| read::open(db, me, network)).unwrap_or_default();
                let drafts = database.ask(|db, _| read::drafts(db, network)).unwrap_or_default();
                let muted = database.ask(|db, _| read::muted(db)).unwrap_or_default();
                OpenedHistory { pages, drafts, muted }
            }
            Self::InMemory(memory) => {
                OpenedHistory { pages: memory.open(network), ..OpenedHistory::default() }
            }
        }
    }

    pub(super) fn page(&mut self, network: &NetworkId, with: &Recipient, part: Part) -> Page {
        let nothing = Page { conversation: *with, messages: Vec::new(), is_first: true, is_last: true };
        match self {
            Self::OnDisk(database) => {
                database.ask(|db, me| read::page(db, me, network, with, part)).unwrap_or(nothing)
            }
            Self::InMemory(memory) => memory.page(network, with, part),
        }
    }

    pub(super) fn held(&mut self, network: &NetworkId, since: Timestamp) -> Result<Vec<Held>, Unread> {
        match self {
            Self::OnDisk(database) => database.ask(|db, _| streams::held(db, network, since)),
            Self::InMemory(memory) => Ok(memory.held(network, since)),
        }
    }

    pub(super) fn range(
        &mut self,
        network: &NetworkId,
        with: &Recipient,
        wanted: &Held,
        since: Timestamp,
    ) -> Result<streams::Batches, Unread> {
        match self {
            Self::OnDisk(database) => {
                database.ask(|db, me| streams::range(db, me, network, with, wanted, since))
            }
            Self::InMemory(memory) => Ok(memory.range(network, with, wanted, since)),
        }
    }

    pub(super) fn compare(&mut self, network: &NetworkId, batch: &Batch) -> Result<Compared, Unread> {
        match self {
            Self::OnDisk(database) => database.compare(network, batch),
            Self::InMemory(memory) => Ok(memory.compare(network, batch)),
        }
    }

    pub(super) fn search(&mut self, network: &NetworkId, typed: &str) -> Vec<Hit> {
        match self {
            Self::OnDisk(database) => database.search(network, typed),
            Self::InMemory(memory) => memory.search(network, typed),
        }
    }

    pub(super) fn info(&mut self, network: &NetworkId, with: &Recipient, place: Place) -> Vec<Delivery> {
        match self {
            Self::OnDisk(database) => {
                database.ask(|db, me| read::info(db, me, network, with, place)).unwrap_or_default()
            }
            Self::InMemory(memory) => memory.info(network, with, place),
        }
    }

    /// How long until what was kept lately is to be made known to the search.
    pub(super) fn index_in(&self) -> Option<Duration> {
        match self {
            Self::OnDisk(database) => database.index_in(),
            Self::InMemory(_) => None,
        }
    }

    /// Makes a part of what was kept lately known to the search.
    pub(super) fn index(&mut self) {
        if let Self::OnDisk(database) = self {
            database.index();
        }
    }

    /// Writes the waiting changes.
    pub(super) fn close(&mut self) {
        if let Self::OnDisk(database) = self {
            database.close();
        }
    }
}

#[cfg(test)]
mod tests;
