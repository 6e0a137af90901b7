//! Answers what other peers ask of a history on disk, on a connection of its own: what this profile does itself never waits
//! for it.

use std::path::PathBuf;

use rusqlite::{Connection, OpenFlags};

use super::{Unread, database::FileId, streams};
use crate::{
    api::{HistoryCommand, HistoryEvent},
    model::{PeerId, limits},
};

/// Reads a history that others write.
#[derive(Debug)]
pub(in crate::store) struct Reader {
    me: PeerId,
    path: PathBuf,
    /// The connection, and which file it has open.
    db: Option<(Connection, FileId)>,
}

impl Reader {
    pub(super) fn new(me: PeerId, path: PathBuf) -> Self {
        Self { me, path, db: None }
    }

    /// True for a question that it answers.
    pub(in crate::store) fn answers(command: &HistoryCommand) -> bool {
        matches!(command, HistoryCommand::Held { .. } | HistoryCommand::Range { .. })
    }

    /// Answers a question; nothing to any other command.
    pub(in crate::store) fn ask(&mut self, command: &HistoryCommand) -> Option<HistoryEvent> {
        let me = self.me;
        let (token, read) = match command {
            HistoryCommand::Held { token, network, since } => {
                let held = self.read(|db| streams::held(db, network, *since));
                (*token, held.map(|held| HistoryEvent::Held { token: *token, held }))
            }
            HistoryCommand::Range { token, network, conversation, wanted, since } => {
                let range = self.read(|db| streams::range(db, &me, network, conversation, wanted, *since));
                let event = |(batches, next)| HistoryEvent::Range { token: *token, batches, next };
                (*token, range.map(event))
            }
            _ => return None,
        };
        Some(read.unwrap_or(HistoryEvent::NotRead { token }))
    }

    fn read<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unread> {
        let file = FileId::of(&self.path).ok_or(Unread)?;
        let db = self.db.take().filter(|(_, opened)| *opened == file);
        let db = match db {
            Some((db, _)) => db,
            None => self.open().map_err(|error| unread(&error))?,
        };
        let result = read(&db);
        self.db = Some((db, file));
        result.map_err(|error| unread(&error))
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags)?;
        db.busy_timeout(limits::LEAVE_TIMEOUT)?;
        Ok(db)
    }
}

/// Damage is found and mended by whoever writes.
fn unread(error: &rusqlite::Error) -> Unread {
    tracing::warn!(%error, "the history cannot be read for another peer");
    Unread
}
