//! Reading the whole history from outside, also while a session writes to it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row, ToSql};

use super::{
    database::{FILE, words_for},
    read, tokenizer,
};
use crate::{
    model::{PeerId, Recipient, SafeText, StoredMessage, Timestamp, limits},
    store::{StoreError, files},
};

/// Which messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Written by this peer, or to it alone: its label, its key, or how its key begins.
    pub peer: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// With these words.
    pub search: Option<String>,
    /// Said in a network of this name.
    pub network: Option<String>,
}

/// A message of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The message; of an own one `deliveries` has every recipient.
    pub message: StoredMessage,
    /// Written here.
    pub own: bool,
    /// The label of whom it was for: everyone's, a peer's, or one's own.
    pub to: SafeText,
    /// The network's name.
    pub network: SafeText,
    /// The network's identity, as text.
    pub network_id: String,
}

/// Gives the messages of the profile in `dir` in their order, until `each` says that it is enough.
pub fn export(dir: &Path, filter: &Filter, each: impl FnMut(Exported) -> bool) -> Result<(), StoreError> {
    let path = dir.join(FILE);
    let me = files::read_identity(dir)?.peer_id();
    if !path.exists() {
        return Err(StoreError::NoHistory { dir: dir.display().to_string() });
    }
    let failed = |error: rusqlite::Error| StoreError::Unreadable {
        path: path.display().to_string(),
        found: words_for(&error),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags).map_err(failed)?;
    db.busy_timeout(limits::LEAVE_TIMEOUT).map_err(failed)?;
    run(&db, &me, filter, each).map_err(failed)
}

fn run(
    db: &Connection,
    me: &PeerId,
    filter: &Filter,
    mut each: impl FnMut(Exported) -> bool,
) -> rusqlite::Result<()> {
    let by_key = match &filter.peer {
        Some(peer) => {
            peer.parse().ok().map_or_else(|| key_that_begins(db, peer), |key: PeerId| Ok(Some(key)))?
        }
        None => None,
    };
    let by_key = by_key.map(|peer| peer.0);
    let search = filter.search.as_deref().map(tokenizer::Query::new);
    let found = match &search {
        None => "?1 IS NULL".to_owned(),
        // Nothing that could be found.
        Some(None) => return Ok(()),
        Some(Some(search)) => {
            let parts = search.has_parts(6);
            format!("({parts} OR m.id IN (SELECT rowid FROM message_text WHERE message_text MATCH ?1))")
        }
    };
    let search = search.flatten();
    let query = format!(
        "SELECT {}, n.key, n.name, w.alias FROM {} JOIN network n ON n.id = c.network
         WHERE {found} AND (?2 IS NULL OR m.at >= ?2) AND (?3 IS NULL OR n.name = ?3)
            AND ((?4 IS NULL AND ?5 IS NULL) OR a.key = ?4 OR w.key = ?4 OR a.alias = ?5 OR w.alias = ?5)
         ORDER BY m.place, m.id",
        read::COLUMNS,
        read::TABLES
    );
    let mut query = db.prepare(&query)?;
    let since = filter.since.map(|since| since.0);
    let alias = filter.peer.as_ref().filter(|_| by_key.is_none());
    // A query for the index that finds nothing, where what was typed is more than words.
    let words = search.as_ref().map(|search| search.words.as_deref().unwrap_or("\"\""));
    let parts = search.iter().flat_map(|search| &search.parts).map(|part| part as &dyn ToSql);
    let all: [&dyn ToSql; 5] = [&words, &since, &filter.network, &by_key, &alias];
    let all: Vec<&dyn ToSql> = all.into_iter().chain(parts).collect();
    let mut rows = query.query(all.as_slice())?;
    while let Some(row) = rows.next()? {
        if !each(exported(db, me, row)?) {
            break;
        }
    }
    Ok(())
}

/// The key that begins with what was typed, as the screen shows it, unless that is somebody's label.
fn key_that_begins(db: &Connection, typed: &str) -> rusqlite::Result<Option<PeerId>> {
    let start = typed.replace('-', "").to_lowercase();
    let mut query = db.prepare("SELECT key, alias FROM person")?;
    let people: Vec<(PeerId, String)> = query
        .query_map([], |row| Ok((PeerId(row.get(0)?), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if start.len() < limits::SHORT_KEY || people.iter().any(|(_, alias)| alias == typed) {
        return Ok(None);
    }
    let mut meant =
        people.into_iter().map(|(peer, _)| peer).filter(|peer| peer.to_string().starts_with(&start));
    Ok(meant.next().filter(|_| meant.next().is_none()))
}

fn exported(db: &Connection, me: &PeerId, row: &Row<'_>) -> rusqlite::Result<Exported> {
    let (mut message, [conversation, _]) = read::message(me)(row)?;
    let own = message.id.author == *me;
    if own {
        message.deliveries = read::deliveries(db, conversation, &message)?;
        message.summary = read::summary_of(&message.deliveries);
    }
    let network: [u8; 16] = row.get(14)?;
    let name: String = row.get(15)?;
    let with: Option<String> = row.get(16)?;
    let to = match message.id.to {
        Recipient::Everyone => SafeText::line("everyone"),
        Recipient::Peer(_) if own => SafeText::line(&with.unwrap_or_default()),
        Recipient::Peer(_) => SafeText::line("you"),
    };
    let network_id = crate::model::NetworkId(network).to_string();
    Ok(Exported { message, own, to, network: SafeText::line(&name), network_id })
}
