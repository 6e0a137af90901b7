//! Writing into the history: everything of one batch, or nothing.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, params};

use super::words;
use crate::{
    api::Outcome,
    model::{Alias, Network, NetworkId, PeerId, Recipient, SafeText, Span, StoredMessage, Timestamp, limits},
};

/// One change.
#[derive(Debug, Clone)]
pub(in crate::store) enum Write {
    /// A message, and what is here of its numbering.
    Keep { network: NetworkId, message: Box<StoredMessage>, spans: Vec<Span> },
    /// What became of own messages.
    Settle(Box<Outcome>),
    /// A conversation is to go.
    Forget { network: NetworkId, conversation: Recipient },
    /// A network and its name.
    Name(Network),
    /// Whatever changes the file: is there room?
    Probe,
}

impl Write {
    /// Rows that it takes, about.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Keep { message, .. } => 1 + message.deliveries.len(),
            _ => 1,
        }
    }

    /// Bytes of text in it.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Keep { message, .. } => message.text.as_str().len() as u64,
            _ => 0,
        }
    }
}

/// Rows that are known to be there; only as good as the transactions that made them.
#[derive(Debug, Default)]
pub(super) struct Ids {
    networks: HashMap<NetworkId, i64>,
    people: HashMap<PeerId, (i64, Alias)>,
    conversations: HashMap<(i64, i64), i64>,
}

/// A stream's row, and what it is to say.
type Streams<'a> = HashMap<(i64, i64, i64), &'a [Span]>;

/// Makes all changes at once; messages can be searched at once when they are to be `indexed`.
pub(super) fn write(
    db: &mut Connection,
    ids: &mut Ids,
    me: &PeerId,
    writes: &[Write],
    indexed: bool,
) -> Result<()> {
    let change = db.transaction()?;
    let mut streams = Streams::new();
    for write in writes {
        match write {
            Write::Keep { network, message, spans } => {
                let (conversation, author) = count(&change, ids, me, network, message, spans, &mut streams)?;
                keep(&change, ids, message, (conversation, author), indexed)?;
            }
            Write::Settle(outcome) => settle(&change, ids, me, outcome)?,
            Write::Forget { network, conversation } => forget(&change, ids, network, conversation)?,
            Write::Name(network) => name(&change, ids, network)?,
            Write::Probe => probe(&change)?,
        }
    }
    for ((conversation, author, epoch), spans) in streams {
        let spans = postcard::to_stdvec(spans).unwrap_or_default();
        let values = params![conversation, author, epoch, spans];
        change.prepare_cached("INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?)")?.execute(values)?;
        // An author that loses count again and again costs no more than one that does not.
        change
            .prepare_cached(
                "DELETE FROM stream WHERE conversation = ?1 AND author = ?2 AND epoch <
                    (SELECT epoch FROM stream WHERE conversation = ?1 AND author = ?2
                     ORDER BY epoch DESC LIMIT 1 OFFSET ?3)",
            )?
            .execute(params![conversation, author, i64::try_from(limits::EPOCHS).unwrap_or(i64::MAX)])?;
    }
    change.commit()
}

/// Notes how far a numbering has come. Gives the rows of its conversation and its author.
fn count<'a>(
    db: &Transaction<'_>,
    ids: &mut Ids,
    me: &PeerId,
    network: &NetworkId,
    message: &StoredMessage,
    spans: &'a [Span],
    streams: &mut Streams<'a>,
) -> Result<(i64, i64)> {
    let id = &message.id;
    let author = person(db, ids, &id.author, Some(&message.alias))?;
    let with = match message.conversation(me) {
        Recipient::Everyone => 0,
        Recipient::Peer(peer) => person(db, ids, &peer, None)?,
    };
    let network = network_row(db, ids, network)?;
    let conversation = conversation(db, ids, network, with)?;
    streams.insert((conversation, author, id.epoch.cast_signed()), spans);
    Ok((conversation, author))
}

fn keep(
    db: &Transaction<'_>,
    ids: &mut Ids,
    message: &StoredMessage,
    (conversation, author): (i64, i64),
    indexed: bool,
) -> Result<()> {
    let (epoch, sequence) = (message.id.epoch.cast_signed(), message.id.sequence.cast_signed());
    let is_new = db
        .prepare_cached(
            "INSERT OR IGNORE INTO message
             (conversation, author, epoch, sequence, place, sent_at, at, text, signature, reference,
              claims) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            conversation,
            author,
            epoch,
            sequence,
            message.place,
            message.sent_at.0,
            message.at.0,
            message.text.as_str(),
            message.signature.as_ref().map(<[u8; 64]>::as_slice),
            message.reference.as_deref(),
            message.claims.as_ref().map(SafeText::as_str),
        ])?;
    if is_new == 0 {
        return Ok(());
    }
    let row = db.last_insert_rowid();
    if indexed {
        index(db, row, message.text.as_str())?;
    }
    for delivery in &message.deliveries {
        let recipient = person(db, ids, &delivery.peer, Some(&delivery.alias))?;
        let reason = delivery.reason.map(|reason| reason as u8);
        db.prepare_cached("INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?, ?)")?.execute(params![
            row,
            recipient,
            delivery.status as u8,
            reason,
            delivery.at.0
        ])?;
    }
    Ok(())
}

fn index(db: &Connection, row: i64, text: &str) -> Result<()> {
    db.prepare_cached("INSERT INTO message_text (rowid, text) VALUES (?, ?)")?
        .execute(params![row, words::to_index(text)])
        .map(|_| ())
}

/// Makes messages searchable, none of which are so far.
pub(super) fn index_all(db: &mut Connection) -> Result<()> {
    let change = db.transaction()?;
    let mut messages = change.prepare("SELECT id, text FROM message")?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        index(&change, row.get(0)?, row.get_ref(1)?.as_str()?)?;
    }
    drop(rows);
    drop(messages);
    change.commit()
}

fn settle(db: &Transaction<'_>, ids: &mut Ids, me: &PeerId, outcome: &Outcome) -> Result<()> {
    let author = person(db, ids, me, None)?;
    let recipient = person(db, ids, &outcome.peer, None)?;
    let network = network_row(db, ids, &outcome.network)?;
    let with = match outcome.to {
        Recipient::Everyone => 0,
        Recipient::Peer(_) => recipient,
    };
    let conversation = conversation(db, ids, network, with)?;
    // 0 is what is queued. Bound to a name it would have the statement made anew each time, for the index has it too.
    db.prepare_cached(
        "UPDATE delivery SET status = ?, reason = ?, at = ?
         WHERE person = ? AND status = 0 AND message IN
            (SELECT id FROM message
             WHERE conversation = ? AND author = ? AND epoch = ? AND sequence BETWEEN ? AND ?)",
    )?
    .execute(params![
        outcome.status as u8,
        outcome.reason.map(|reason| reason as u8),
        outcome.at.0,
        recipient,
        conversation,
        author,
        outcome.epoch.cast_signed(),
        outcome.first.cast_signed(),
        outcome.last.cast_signed(),
    ])?;
    Ok(())
}

fn forget(db: &Transaction<'_>, ids: &mut Ids, network: &NetworkId, with: &Recipient) -> Result<()> {
    let with = match with {
        Recipient::Everyone => 0,
        Recipient::Peer(peer) => person(db, ids, peer, None)?,
    };
    let network = network_row(db, ids, network)?;
    let conversation = conversation(db, ids, network, with)?;
    let which = "SELECT id FROM message WHERE conversation = ?";
    db.execute(&format!("DELETE FROM delivery WHERE message IN ({which})"), [conversation])?;
    db.execute(&format!("DELETE FROM message_text WHERE rowid IN ({which})"), [conversation])?;
    db.execute("DELETE FROM message WHERE conversation = ?", [conversation])?;
    // The index keeps deleted words until it is rewritten.
    db.execute("INSERT INTO message_text (message_text) VALUES ('optimize')", [])?;
    Ok(())
}

/// Deletes messages that came before `time`, so many at most. Gives how many.
pub(super) fn delete_before(db: &mut Connection, time: Timestamp, most: usize) -> Result<usize> {
    // The index is by conversation.
    let which = "conversation IN (SELECT id FROM conversation) AND place < ?1";
    delete(db, which, time.0, most)
}

/// Deletes the oldest messages, so many at most. Gives how many.
pub(super) fn delete_oldest(db: &mut Connection, most: usize) -> Result<usize> {
    delete(db, "id > ?1", 0, most)
}

fn delete(db: &mut Connection, which: &str, number: i64, most: usize) -> Result<usize> {
    let change = db.transaction()?;
    // What still waits for somebody stays.
    let query = format!(
        "SELECT id FROM message WHERE {which} AND id NOT IN (SELECT message FROM delivery WHERE status = 0)
         ORDER BY id LIMIT ?2"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: Vec<i64> = change
        .prepare_cached(&query)?
        .query_map(params![number, most], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for row in &rows {
        change.prepare_cached("DELETE FROM delivery WHERE message = ?")?.execute([row])?;
        change.prepare_cached("DELETE FROM message_text WHERE rowid = ?")?.execute([row])?;
        change.prepare_cached("DELETE FROM message WHERE id = ?")?.execute([row])?;
    }
    change.commit()?;
    Ok(rows.len())
}

fn name(db: &Transaction<'_>, ids: &mut Ids, network: &Network) -> Result<()> {
    let row = network_row(db, ids, &network.id)?;
    db.execute("UPDATE network SET name = ? WHERE id = ?", params![network.name, row])?;
    Ok(())
}

fn probe(db: &Transaction<'_>) -> Result<()> {
    let sql = "INSERT INTO setting VALUES ('probe', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
    db.execute(sql, []).map(|_| ())
}

fn network_row(db: &Transaction<'_>, ids: &mut Ids, network: &NetworkId) -> Result<i64> {
    if let Some(row) = ids.networks.get(network) {
        return Ok(*row);
    }
    db.execute("INSERT OR IGNORE INTO network (key, name) VALUES (?, '')", [network.0])?;
    let row = db.query_row("SELECT id FROM network WHERE key = ?", [network.0], |row| row.get(0))?;
    ids.networks.insert(*network, row);
    Ok(row)
}

/// The row of a person, whose label is learnt on the way.
fn person(db: &Transaction<'_>, ids: &mut Ids, peer: &PeerId, alias: Option<&Alias>) -> Result<i64> {
    // A label that only stands for the key never takes the place of a real one.
    let alias = alias.filter(|alias| **alias != Alias::of_key(peer));
    if let Some((row, known)) = ids.people.get(peer)
        && alias.is_none_or(|alias| alias == known)
    {
        return Ok(*row);
    }
    let found: Option<(i64, String)> = db
        .prepare_cached("SELECT id, alias FROM person WHERE key = ?")?
        .query_row([peer.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let label = alias.cloned().or_else(|| Alias::new(&found.as_ref()?.1).ok());
    let text = label.as_ref().map(ToString::to_string).unwrap_or_default();
    let row = match found {
        Some((row, known)) => {
            if known != text {
                db.execute("UPDATE person SET alias = ? WHERE id = ?", params![text, row])?;
            }
            row
        }
        None => {
            db.execute("INSERT INTO person (key, alias) VALUES (?, ?)", params![peer.0, text])?;
            db.last_insert_rowid()
        }
    };
    if let Some(label) = label {
        ids.people.insert(*peer, (row, label));
    }
    Ok(row)
}

fn conversation(db: &Transaction<'_>, ids: &mut Ids, network: i64, with: i64) -> Result<i64> {
    if let Some(row) = ids.conversations.get(&(network, with)) {
        return Ok(*row);
    }
    db.execute("INSERT OR IGNORE INTO conversation (network, person) VALUES (?, ?)", [network, with])?;
    let row = db.query_row(
        "SELECT id FROM conversation WHERE network = ? AND person = ?",
        [network, with],
        |row| row.get(0),
    )?;
    ids.conversations.insert((network, with), row);
    Ok(row)
}
