//! Writing into the history: everything that has gathered, or nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension as _, Result, Transaction, params};

use super::index;
use crate::{
    api::{Audience, Receipt},
    model::{
        Alias, Network, NetworkId, PeerId, Recipient, Resolution, SafeText, Span, StoredBatch, StreamId,
        Timestamp, history::conversation_of, limits,
    },
};

/// One change.
#[derive(Debug, Clone)]
pub(in crate::store) enum Write {
    /// A batch, and what is here of its stream.
    Keep { network: NetworkId, batch: Arc<StoredBatch>, spans: Vec<Span> },
    /// Whom own messages are for.
    Audience(Box<Audience>),
    /// Who has own messages.
    Receipt(Box<Receipt>),
    /// What is written and not sent in some conversations of a network.
    Drafts { network: NetworkId, drafts: Vec<(Recipient, String)> },
    /// The words of a peer are folded, or are not any more.
    Muted(PeerId, bool),
    /// A conversation is to go.
    Forget { network: NetworkId, conversation: Recipient },
    /// A network and its name.
    Name(Network),
    /// Whatever changes the file: does the disk take it?
    Probe,
}

impl Write {
    /// Bytes of text in it.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Keep { batch, .. } => batch.batch.bytes() as u64,
            Self::Drafts { drafts, .. } => drafts.iter().map(|(_, text)| text.len() as u64).sum(),
            _ => 0,
        }
    }
}

/// Of drafts that wait for the disk only the last one of each conversation is needed.
pub(super) fn drop_older_drafts(
    waiting: &mut VecDeque<Write>,
    network: &NetworkId,
    newer: &[(Recipient, String)],
) {
    for write in waiting.iter_mut() {
        if let Write::Drafts { network: other, drafts } = write
            && other == network
        {
            drafts.retain(|(with, _)| !newer.iter().any(|(other, _)| other == with));
        }
    }
    waiting.retain(|write| !matches!(write, Write::Drafts { drafts, .. } if drafts.is_empty()));
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

/// Makes all changes at once.
pub(super) fn write(db: &mut Connection, ids: &mut Ids, me: &PeerId, writes: &[Write]) -> Result<()> {
    let change = db.transaction()?;
    let mut streams = Streams::new();
    for write in writes {
        match write {
            Write::Keep { network, batch, spans } => {
                let author = person(&change, ids, &batch.batch.stream.author, Some(&batch.alias))?;
                let conversation = conversation_row(&change, ids, me, network, &batch.batch.stream)?;
                let epoch = batch.batch.stream.epoch.cast_signed();
                streams.insert((conversation, author, epoch), spans);
                keep(&change, batch, (conversation, author, epoch))?;
            }
            Write::Audience(audience) => keep_audience(&change, ids, me, audience)?,
            Write::Receipt(receipt) => keep_receipt(&change, ids, me, receipt)?,
            Write::Drafts { network, drafts } => keep_drafts(&change, ids, network, drafts)?,
            Write::Muted(peer, is_muted) => keep_muted(&change, ids, peer, *is_muted)?,
            Write::Forget { network, conversation } => forget(&change, ids, network, conversation)?,
            Write::Name(network) => name(&change, ids, network)?,
            Write::Probe => probe(&change)?,
        }
    }
    for ((conversation, author, epoch), spans) in streams {
        let spans = postcard::to_stdvec(spans).unwrap_or_default();
        let sql = "UPDATE stream SET spans = ?4 WHERE conversation = ?1 AND author = ?2 AND epoch = ?3";
        let values = params![conversation, author, epoch, spans];
        if change.prepare_cached(sql)?.execute(values)? == 0 {
            begin_stream(&change, (conversation, author, epoch), &spans)?;
        }
    }
    change.commit()
}

/// Adds a stream's row. An author that begins anew again and again costs no more than one that does not.
fn begin_stream(
    db: &Transaction<'_>,
    (conversation, author, epoch): (i64, i64, i64),
    spans: &[u8],
) -> Result<()> {
    let values = params![conversation, author, epoch, spans];
    db.execute("INSERT INTO stream VALUES (?, ?, ?, ?)", values)?;
    db.execute(
        "DELETE FROM stream WHERE conversation = ?1 AND author = ?2 AND epoch <
            (SELECT epoch FROM stream WHERE conversation = ?1 AND author = ?2
             ORDER BY epoch DESC LIMIT 1 OFFSET ?3)",
        params![conversation, author, i64::try_from(limits::EPOCHS).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// The row of the conversation that a stream belongs to.
fn conversation_row(
    db: &Transaction<'_>,
    ids: &mut Ids,
    me: &PeerId,
    network: &NetworkId,
    stream: &StreamId,
) -> Result<i64> {
    conversation_with(db, ids, network, &conversation_of(stream, me))
}

fn keep(
    db: &Transaction<'_>,
    stored: &StoredBatch,
    (conversation, author, epoch): (i64, i64, i64),
) -> Result<()> {
    let batch = &stored.batch;
    if let Some(signature) = &batch.signature {
        db.prepare_cached("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?, ?)")?.execute(params![
            conversation,
            author,
            epoch,
            batch.first.cast_signed(),
            batch.last().cast_signed(),
            signature.0.as_slice()
        ])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT OR IGNORE INTO message
         (conversation, author, epoch, sequence, place, sent_at, at, text, reference, claims)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (id, text) in batch.messages() {
        insert.execute(params![
            conversation,
            author,
            epoch,
            id.sequence.cast_signed(),
            stored.place_of(id.sequence),
            batch.sent_at.0,
            stored.at.0,
            text.as_str(),
            stored.reference_of(id.sequence).map(AsRef::as_ref),
            stored.claims.as_ref().map(SafeText::as_str),
        ])?;
    }
    Ok(())
}

fn keep_audience(db: &Transaction<'_>, ids: &mut Ids, me: &PeerId, audience: &Audience) -> Result<()> {
    let conversation = conversation_row(db, ids, me, &audience.network, &audience.stream)?;
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO audience VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    for (peer, alias, interval) in &audience.intervals {
        let recipient = person(db, ids, peer, Some(alias))?;
        let (resolution, reason) = match interval.resolution {
            None => (None, None),
            Some(Resolution::Failed(reason)) => (Some(1), Some(reason.number())),
            Some(Resolution::Sent) => (Some(2), None),
        };
        insert.execute(params![
            conversation,
            audience.stream.epoch.cast_signed(),
            recipient,
            interval.first.cast_signed(),
            interval.last.map(u64::cast_signed),
            resolution,
            reason,
            interval.at.0
        ])?;
    }
    Ok(())
}

fn keep_receipt(db: &Transaction<'_>, ids: &mut Ids, me: &PeerId, receipt: &Receipt) -> Result<()> {
    let conversation = conversation_row(db, ids, me, &receipt.network, &receipt.stream)?;
    let recipient = person(db, ids, &receipt.peer, None)?;
    db.prepare_cached("INSERT OR IGNORE INTO receipt VALUES (?, ?, ?, ?, ?)")?.execute(params![
        conversation,
        receipt.stream.epoch.cast_signed(),
        recipient,
        receipt.up_to.cast_signed(),
        receipt.at.0
    ])?;
    Ok(())
}

fn keep_drafts(
    db: &Transaction<'_>,
    ids: &mut Ids,
    network: &NetworkId,
    drafts: &[(Recipient, String)],
) -> Result<()> {
    for (with, text) in drafts {
        let conversation = conversation_with(db, ids, network, with)?;
        if text.is_empty() {
            db.execute("DELETE FROM draft WHERE conversation = ?", [conversation])?;
        } else {
            db.execute("INSERT OR REPLACE INTO draft VALUES (?, ?)", params![conversation, text])?;
        }
    }
    Ok(())
}

fn keep_muted(db: &Transaction<'_>, ids: &mut Ids, peer: &PeerId, is_muted: bool) -> Result<()> {
    let person = person(db, ids, peer, None)?;
    let sql = if is_muted {
        "INSERT OR REPLACE INTO muted VALUES (?)"
    } else {
        "DELETE FROM muted WHERE person = ?"
    };
    db.execute(sql, [person]).map(|_| ())
}

/// The row of a conversation.
fn conversation_with(
    db: &Transaction<'_>,
    ids: &mut Ids,
    network: &NetworkId,
    with: &Recipient,
) -> Result<i64> {
    let with = match with {
        Recipient::Everyone => 0,
        Recipient::Peer(peer) => person(db, ids, peer, None)?,
    };
    let network = network_row(db, ids, network)?;
    conversation(db, ids, network, with)
}

fn forget(db: &Transaction<'_>, ids: &mut Ids, network: &NetworkId, with: &Recipient) -> Result<()> {
    let conversation = conversation_with(db, ids, network, with)?;
    let which = "SELECT id FROM message WHERE conversation = ?";
    db.execute(&format!("DELETE FROM message_text WHERE rowid IN ({which})"), [conversation])?;
    for table in ["message", "batch", "audience", "receipt"] {
        db.execute(&format!("DELETE FROM {table} WHERE conversation = ?"), [conversation])?;
    }
    index::after_deleting(db)?;
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

/// Deletes the oldest messages, so many at most: those of others before those of `me`, or whoever says most would decide
/// what others lose of their own. Gives how many.
pub(super) fn delete_oldest(db: &mut Connection, me: &PeerId, most: usize) -> Result<usize> {
    let own: Option<i64> =
        db.query_row("SELECT id FROM person WHERE key = ?1", [me.0], |row| row.get(0)).optional()?;
    match delete(db, "author <> ?1", own.unwrap_or(-1), most)? {
        0 => delete(db, "id > ?1", 0, most),
        deleted => Ok(deleted),
    }
}

/// The first own message of each stream that somebody has not got, so far as that is not given up.
const NEEDED: &str = "
    CREATE TEMP TABLE IF NOT EXISTS needed (conversation INTEGER, epoch INTEGER, first INTEGER,
        PRIMARY KEY (conversation, epoch));
    DELETE FROM needed;
    INSERT INTO needed SELECT conversation, epoch, min(first) FROM (
        SELECT a.conversation, a.epoch, a.last, max(a.first, 1 + coalesce((
            SELECT max(r.up_to) FROM receipt r
            WHERE r.conversation = a.conversation AND r.epoch = a.epoch AND r.person = a.person), 0)) AS first
        FROM audience a WHERE a.resolution IS NULL
    ) WHERE last IS NULL OR first <= last GROUP BY conversation, epoch";

fn delete(db: &mut Connection, which: &str, number: i64, most: usize) -> Result<usize> {
    let change = db.transaction()?;
    change.execute_batch(NEEDED)?;
    // What still waits for somebody stays.
    let query = format!(
        "SELECT id, conversation, author, epoch, sequence FROM message WHERE {which} AND NOT EXISTS (
            SELECT 1 FROM needed n WHERE n.conversation = message.conversation AND n.epoch = message.epoch
                AND message.sequence >= n.first)
         ORDER BY id LIMIT ?2"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows: Vec<i64> = Vec::new();
    let mut ends: HashMap<(i64, i64, i64), i64> = HashMap::new();
    let mut query = change.prepare_cached(&query)?;
    let mut found = query.query(params![number, most])?;
    while let Some(row) = found.next()? {
        rows.push(row.get(0)?);
        let (stream, sequence) = ((row.get(1)?, row.get(2)?, row.get(3)?), row.get(4)?);
        let end = ends.entry(stream).or_insert(sequence);
        *end = sequence.max(*end);
    }
    drop(found);
    drop(query);
    // A batch goes as a whole, with what is known of it.
    for ((conversation, author, epoch), end) in ends {
        let mut rest = change.prepare_cached(
            "SELECT m.id FROM batch b JOIN message m ON m.conversation = b.conversation AND m.author = b.author
                AND m.epoch = b.epoch AND m.sequence BETWEEN ?4 + 1 AND b.last
             WHERE b.conversation = ?1 AND b.author = ?2 AND b.epoch = ?3 AND b.first <= ?4 AND b.last > ?4",
        )?;
        let values = params![conversation, author, epoch, end];
        rows.extend(rest.query_map(values, |row| row.get(0))?.collect::<Result<Vec<i64>>>()?);
    }
    for row in &rows {
        change.prepare_cached("DELETE FROM message_text WHERE rowid = ?")?.execute([row])?;
        change.prepare_cached("DELETE FROM message WHERE id = ?")?.execute([row])?;
    }
    if !rows.is_empty() {
        index::after_deleting(&change)?;
        change.execute_batch(
            "DELETE FROM batch WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.conversation = batch.conversation
                AND m.author = batch.author AND m.epoch = batch.epoch AND m.sequence = batch.last);
             CREATE TEMP TABLE IF NOT EXISTS said (conversation INTEGER, epoch INTEGER, first INTEGER,
                PRIMARY KEY (conversation, epoch));
             DELETE FROM said;
             INSERT INTO said SELECT conversation, epoch, min(sequence) FROM message GROUP BY conversation, epoch;
             DELETE FROM audience WHERE last < coalesce((SELECT first FROM said WHERE
                said.conversation = audience.conversation AND said.epoch = audience.epoch), 9223372036854775807);
             DELETE FROM receipt WHERE up_to < coalesce((SELECT first FROM said WHERE
                said.conversation = receipt.conversation AND said.epoch = receipt.epoch), 9223372036854775807)
                AND NOT EXISTS (SELECT 1 FROM audience a WHERE a.conversation = receipt.conversation
                AND a.epoch = receipt.epoch AND a.person = receipt.person
                AND receipt.up_to = (SELECT max(r.up_to) FROM receipt r WHERE r.conversation = a.conversation
                    AND r.epoch = a.epoch AND r.person = a.person));",
        )?;
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
