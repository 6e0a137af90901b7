//! Reading the history: pages, what is to be taken up again, what others may be given, and searches.
//!
//! It must never read more than a page or a frame's worth at once, whatever the size of the history.

use rusqlite::{Connection, OptionalExtension as _, Params, Result, Row, ToSql, params};

use super::tokenizer;
use crate::{
    api::{Hit, Part},
    model::{
        Alias, CloseReason, Delivery, DeliveryStatus, FailReason, MessageId, NetworkId, Page, PeerId, Place,
        Recipient, Resolution, SafeText, Span, StoredMessage, Stream, StreamId, Summary, Timestamp, limits,
    },
};

/// The columns of a message, joined with its author and its conversation's person.
pub(super) const COLUMNS: &str =
    "m.id, a.key, a.alias, m.epoch, m.sequence, m.place, m.sent_at, m.at, m.text, m.reference,
    w.key, m.conversation, m.author, m.claims";
pub(super) const TABLES: &str = "message m JOIN person a ON a.id = m.author
    JOIN conversation c ON c.id = m.conversation LEFT JOIN person w ON w.id = c.person";

pub(super) fn key(row: &Row<'_>, column: usize) -> Result<PeerId> {
    row.get(column).map(PeerId)
}

/// A number of rows, as SQLite takes it.
pub(super) fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A label as it was kept, or the start of the key where none was.
pub(super) fn alias(text: &str, peer: &PeerId) -> Alias {
    Alias::new(text).unwrap_or_else(|_| Alias::of_key(peer))
}

/// A message, with the numbers of its conversation's and its author's rows.
pub(super) type Found = (StoredMessage, [i64; 2]);

/// Whom an author's messages are for, in a conversation with `with`, or with everyone.
pub(super) fn audience_of(me: &PeerId, author: &PeerId, with: Option<[u8; 32]>) -> Recipient {
    match with.map(PeerId) {
        None => Recipient::Everyone,
        Some(with) if author == me => Recipient::Peer(with),
        Some(_) => Recipient::Peer(*me),
    }
}

pub(super) fn message(me: &PeerId) -> impl Fn(&Row<'_>) -> Result<Found> {
    move |row| {
        let author = key(row, 1)?;
        let to = audience_of(me, &author, row.get(10)?);
        let id = MessageId {
            author,
            epoch: row.get::<_, i64>(3)?.cast_unsigned(),
            to,
            sequence: row.get::<_, i64>(4)?.cast_unsigned(),
        };
        let label: String = row.get(2)?;
        let text: String = row.get(8)?;
        let reference: Option<String> = row.get(9)?;
        let claims: Option<String> = row.get(13)?;
        let message = StoredMessage {
            id,
            alias: alias(&label, &author),
            text: SafeText::clean(&text),
            sent_at: Timestamp(row.get(6)?),
            at: Timestamp(row.get(7)?),
            place: row.get(5)?,
            reference: reference.map(Into::into),
            claims: claims.map(|claims| SafeText::line(&claims)),
            missed: 0,
            summary: Summary::default(),
            deliveries: Vec::new(),
        };
        Ok((message, [row.get(11)?, row.get(12)?]))
    }
}

fn messages(db: &Connection, me: &PeerId, tail: &str, values: impl Params) -> Result<Vec<Found>> {
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} {tail}"))?;
    query.query_map(values, message(me))?.collect()
}

/// Adds what a reader sees beside the text: what is missing before it, and what became of own ones.
fn complete(db: &Connection, me: &PeerId, found: Vec<Found>) -> Result<Vec<StoredMessage>> {
    let mut before = db.prepare_cached(
        "SELECT max(sequence) FROM message
         WHERE conversation = ? AND author = ? AND epoch = ? AND sequence < ?",
    )?;
    let mut complete = Vec::with_capacity(found.len());
    for (mut message, [conversation, author]) in found {
        let (epoch, sequence) = (message.id.epoch.cast_signed(), message.id.sequence.cast_signed());
        let last: Option<i64> =
            before.query_row(params![conversation, author, epoch, sequence], |row| row.get(0))?;
        message.missed = last.map_or(0, |last| (sequence - last - 1).cast_unsigned());
        if message.id.author == *me {
            let deliveries = deliveries(db, conversation, &message)?;
            message.summary = summary_of(&deliveries);
            message.deliveries = deliveries;
            message.deliveries.retain(|delivery| delivery.status != DeliveryStatus::Delivered);
        }
        complete.push(message);
    }
    Ok(complete)
}

/// How many have a message.
pub(super) fn summary_of(deliveries: &[Delivery]) -> Summary {
    let delivered = deliveries.iter().filter(|delivery| delivery.status == DeliveryStatus::Delivered);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Summary { delivered: number(delivered.count()), total: number(deliveries.len()) }
}

/// For each recipient of an own message, what became of it.
pub(super) fn deliveries(
    db: &Connection,
    conversation: i64,
    message: &StoredMessage,
) -> Result<Vec<Delivery>> {
    let mut query = db.prepare_cached(
        "SELECT p.key, p.alias, a.resolution, a.reason, a.at,
            (SELECT r.at FROM receipt r WHERE r.conversation = a.conversation AND r.epoch = a.epoch
                AND r.person = a.person AND r.up_to >= ?3 ORDER BY r.up_to LIMIT 1)
         FROM audience a JOIN person p ON p.id = a.person
         WHERE a.conversation = ?1 AND a.epoch = ?2 AND a.first <= ?3 AND (a.last IS NULL OR a.last >= ?3)
         ORDER BY p.alias",
    )?;
    let (epoch, sequence) = (message.id.epoch.cast_signed(), message.id.sequence.cast_signed());
    let found = query.query_map(params![conversation, epoch, sequence], |row| {
        let peer = key(row, 0)?;
        let label: String = row.get(1)?;
        let reason: Option<u8> = row.get(3)?;
        let had: Option<i64> = row.get(5)?;
        let (status, at) = match (resolution(row.get(2)?, reason), had) {
            (Some(Resolution::Failed(_)), _) => (DeliveryStatus::Failed, row.get(4)?),
            (Some(Resolution::Sent), _) => (DeliveryStatus::Sent, row.get(4)?),
            (None, Some(at)) => (DeliveryStatus::Delivered, at),
            (None, None) => (DeliveryStatus::Queued, message.at.0),
        };
        Ok(Delivery {
            peer,
            alias: alias(&label, &peer),
            status,
            reason: reason.and_then(FailReason::from_number),
            at: Timestamp(at),
        })
    })?;
    found.collect()
}

pub(super) fn resolution(number: Option<u8>, reason: Option<u8>) -> Option<Resolution> {
    match number? {
        2 => Some(Resolution::Sent),
        _ => Some(Resolution::Failed(
            reason.and_then(FailReason::from_number).unwrap_or(CloseReason::Internal.into()),
        )),
    }
}

/// The row of a conversation, if anything was ever said in it.
pub(super) fn conversation(db: &Connection, network: &NetworkId, with: &Recipient) -> Result<Option<i64>> {
    let person = match with {
        Recipient::Everyone => None,
        Recipient::Peer(peer) => Some(peer.0),
    };
    db.prepare_cached(
        "SELECT c.id FROM conversation c JOIN network n ON n.id = c.network
         WHERE n.key = ?1 AND c.person = CASE WHEN ?2 IS NULL THEN 0
            ELSE (SELECT id FROM person WHERE key = ?2) END",
    )?
    .query_row(params![network.0, person], |row| row.get(0))
    .optional()
}

/// A part of a conversation. What stands at a place that was named is part of it.
pub(super) fn page(
    db: &Connection,
    me: &PeerId,
    network: &NetworkId,
    with: &Recipient,
    part: Part,
) -> Result<Page> {
    let mut page = Page { conversation: *with, messages: Vec::new(), is_first: true, is_last: true };
    let Some(conversation) = conversation(db, network, with)? else { return Ok(page) };
    // Some may share a place: they come together.
    let here = |place: Place| -> Result<Vec<Found>> {
        let tail = "WHERE m.conversation = ? AND m.place = ? ORDER BY m.id LIMIT ?";
        messages(db, me, tail, params![conversation, place, rows(limits::LOG_WINDOW)])
    };
    let older = |place: Place, count: usize| -> Result<(Vec<Found>, bool)> {
        let tail = "WHERE m.conversation = ? AND m.place < ? ORDER BY m.place DESC, m.id DESC LIMIT ?";
        let mut found = messages(db, me, tail, params![conversation, place, rows(count)])?;
        found.reverse();
        let is_first = found.len() < count;
        found.extend(here(place)?);
        Ok((found, is_first))
    };
    let newer = |place: Place, count: usize| -> Result<(Vec<Found>, bool)> {
        let tail = "WHERE m.conversation = ? AND m.place > ? ORDER BY m.place, m.id LIMIT ?";
        let found = messages(db, me, tail, params![conversation, place, rows(count)])?;
        let is_last = found.len() < count;
        Ok((found, is_last))
    };
    let found = match part {
        Part::Newest => {
            let (found, is_first) = older(Place::MAX, limits::PAGE)?;
            page.is_first = is_first;
            found
        }
        Part::Before(place) => {
            let (found, is_first) = older(place, limits::PAGE)?;
            (page.is_first, page.is_last) = (is_first, false);
            found
        }
        Part::After(place) => {
            let (after, is_last) = newer(place, limits::PAGE)?;
            (page.is_first, page.is_last) = (false, is_last);
            let mut found = here(place)?;
            found.extend(after);
            found
        }
        Part::Around(place) => {
            let (mut found, is_first) = older(place, limits::PAGE / 2)?;
            let (after, is_last) = newer(place, limits::PAGE / 2)?;
            (page.is_first, page.is_last) = (is_first, is_last);
            found.extend(after);
            found
        }
    };
    page.messages = complete(db, me, found)?;
    Ok(page)
}

/// The newest messages of every conversation, with the other's label.
pub(super) fn open(db: &Connection, me: &PeerId, network: &NetworkId) -> Result<Vec<(Page, SafeText)>> {
    let mut open = Vec::new();
    for (with, label) in conversations(db, network)? {
        let page = page(db, me, network, &with, Part::Newest)?;
        if !page.messages.is_empty() {
            open.push((page, label));
        }
    }
    Ok(open)
}

/// What was written and not sent in a network.
pub(super) fn drafts(db: &Connection, network: &NetworkId) -> Result<Vec<(Recipient, String)>> {
    let mut query = db.prepare_cached(
        "SELECT p.key, d.text FROM draft d JOIN conversation c ON c.id = d.conversation
         JOIN network n ON n.id = c.network LEFT JOIN person p ON p.id = c.person WHERE n.key = ?",
    )?;
    let drafts = query.query_map([network.0], |row| {
        let with: Option<[u8; 32]> = row.get(0)?;
        Ok((with.map_or(Recipient::Everyone, |key| Recipient::Peer(PeerId(key))), row.get(1)?))
    })?;
    drafts.collect()
}

/// Whose words are folded.
pub(super) fn muted(db: &Connection) -> Result<Vec<PeerId>> {
    let mut query = db.prepare_cached("SELECT p.key FROM muted m JOIN person p ON p.id = m.person")?;
    query.query_map([], |row| row.get(0).map(PeerId))?.collect()
}

fn conversations(db: &Connection, network: &NetworkId) -> Result<Vec<(Recipient, SafeText)>> {
    let mut query = db.prepare_cached(
        "SELECT p.key, p.alias FROM conversation c JOIN network n ON n.id = c.network
         LEFT JOIN person p ON p.id = c.person WHERE n.key = ? ORDER BY c.id",
    )?;
    let found = query.query_map([network.0], |row| {
        let with: Option<[u8; 32]> = row.get(0)?;
        let label: Option<String> = row.get(1)?;
        Ok(match with.map(PeerId) {
            None => (Recipient::Everyone, SafeText::line("everyone")),
            Some(peer) => {
                let label = alias(&label.unwrap_or_default(), &peer);
                (Recipient::Peer(peer), SafeText::line(label.as_str()))
            }
        })
    })?;
    found.collect()
}

/// Everybody who ever said something in a network, or with whom there are conversations.
pub(super) fn people(db: &Connection, network: &NetworkId) -> Result<Vec<(PeerId, Alias)>> {
    let mut query = db.prepare_cached(
        "SELECT key, alias FROM person WHERE id IN
            (SELECT c.person FROM conversation c JOIN network n ON n.id = c.network WHERE n.key = ?1
             UNION SELECT s.author FROM stream s JOIN conversation c ON c.id = s.conversation
                JOIN network n ON n.id = c.network WHERE n.key = ?1)",
    )?;
    let found = query.query_map([network.0], |row| {
        let (peer, label): (PeerId, String) = (key(row, 0)?, row.get(1)?);
        Ok((peer, alias(&label, &peer)))
    })?;
    found.collect()
}

/// What is here of every stream.
pub(super) fn streams(db: &Connection, me: &PeerId, network: &NetworkId) -> Result<Vec<Stream>> {
    let mut query = db.prepare_cached(
        "SELECT a.key, w.key, s.epoch, s.spans FROM stream s
         JOIN conversation c ON c.id = s.conversation JOIN network n ON n.id = c.network
         JOIN person a ON a.id = s.author LEFT JOIN person w ON w.id = c.person WHERE n.key = ?",
    )?;
    let found = query.query_map([network.0], |row| {
        let author = key(row, 0)?;
        let to = audience_of(me, &author, row.get(1)?);
        let spans: Vec<u8> = row.get(3)?;
        let spans: Vec<Span> = postcard::from_bytes(&spans).unwrap_or_default();
        let epoch = row.get::<_, i64>(2)?.cast_unsigned();
        Ok(Stream { id: StreamId { author, epoch, to }, spans })
    })?;
    found.collect()
}

/// Where all that was typed occurs, the newest first.
pub(super) fn search(db: &Connection, me: &PeerId, network: &NetworkId, typed: &str) -> Result<Vec<Hit>> {
    let Some(query) = tokenizer::Query::new(typed) else { return Ok(Vec::new()) };
    let most = rows(limits::SEARCH_HITS);
    let mut found = Vec::new();
    if let Some(words) = &query.words {
        let is_found = "m.id IN (SELECT rowid FROM message_text WHERE message_text MATCH ?3)";
        found = hits(db, (me, typed), is_found, params![network.0, most, words])?;
    }
    if found.len() < limits::SEARCH_HITS {
        // Parts of words are no words of the index: it takes all texts to find them.
        let parts = query.parts.iter().map(|part| part as &dyn ToSql);
        let all: Vec<&dyn ToSql> = [&network.0 as &dyn ToSql, &most].into_iter().chain(parts).collect();
        found.extend(hits(db, (me, typed), &query.has_parts(3), all.as_slice())?);
        found.sort_by_key(|(row, _)| std::cmp::Reverse(*row));
        found.dedup_by_key(|(row, _)| *row);
        found.truncate(limits::SEARCH_HITS);
    }
    Ok(found.into_iter().map(|(_, hit)| hit).collect())
}

/// Messages of a network (parameter 1), at most as many as parameter 2 says, with their numbers in the database.
fn hits(
    db: &Connection,
    (me, typed): (&PeerId, &str),
    condition: &str,
    parameters: &[&dyn ToSql],
) -> Result<Vec<(i64, Hit)>> {
    let mut find = db.prepare_cached(&format!(
        "SELECT m.place, m.at, m.text, a.key, a.alias, w.key, w.alias, m.id
         FROM message m JOIN person a ON a.id = m.author
         JOIN conversation c ON c.id = m.conversation JOIN network n ON n.id = c.network
         LEFT JOIN person w ON w.id = c.person
         WHERE n.key = ?1 AND {condition} ORDER BY m.id DESC LIMIT ?2",
    ))?;
    let found = find.query_map(parameters, |row| {
        let author = key(row, 3)?;
        let label: String = row.get(4)?;
        let with: Option<[u8; 32]> = row.get(5)?;
        let with_label: Option<String> = row.get(6)?;
        let with = with.map(PeerId);
        let text: String = row.get(2)?;
        let from = if author == *me {
            SafeText::line("you")
        } else {
            SafeText::line(alias(&label, &author).as_str())
        };
        let hit = Hit {
            conversation: with.map_or(Recipient::Everyone, Recipient::Peer),
            with: with.map_or_else(
                || "everyone".to_owned(),
                |peer| alias(&with_label.unwrap_or_default(), &peer).to_string(),
            ),
            place: row.get(0)?,
            at: Timestamp(row.get(1)?),
            from,
            excerpt: SafeText::line(&excerpt(&text, typed)),
        };
        Ok((row.get(7)?, hit))
    })?;
    found.collect()
}

/// The part of a text around the first word that was typed.
pub(super) fn excerpt(text: &str, typed: &str) -> String {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let first = typed.split_whitespace().next().unwrap_or_default().to_lowercase();
    let characters: Vec<char> = text.chars().collect();
    let lower = text.to_lowercase();
    let at = lower.find(&first).map_or(0, |at| lower.get(..at).map_or(0, |before| before.chars().count()));
    // Short texts are shown whole.
    let start = if characters.len() > limits::EXCERPT { at.saturating_sub(limits::EXCERPT / 3) } else { 0 };
    let from = start.min(characters.len());
    let to = (from + limits::EXCERPT).min(characters.len());
    let part: String = characters.get(from..to).unwrap_or_default().iter().collect();
    let (before, after) = (if from > 0 { "…" } else { "" }, if to < characters.len() { "…" } else { "" });
    format!("{before}{part}{after}")
}

/// For each recipient of an own message, what became of it.
pub(super) fn info(
    db: &Connection,
    me: &PeerId,
    network: &NetworkId,
    with: &Recipient,
    place: Place,
) -> Result<Vec<Delivery>> {
    let Some(row) = conversation(db, network, with)? else { return Ok(Vec::new()) };
    let tail = "WHERE m.conversation = ? AND m.place = ? AND a.key = ?";
    let found = messages(db, me, tail, params![row, place, me.0])?;
    found.first().map_or_else(|| Ok(Vec::new()), |(message, _)| deliveries(db, row, message))
}
