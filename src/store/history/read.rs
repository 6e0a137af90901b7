//! Reading the history: pages, what is to be taken up again, what others may be given, and searches.
//!
//! It must never read more than a page or a frame's worth at once, whatever the size of the history.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Params, Result, Row, params};

use super::tokenizer;
use crate::{
    api::{Compared, Hit, Part},
    model::{
        Addressee, Alias, Batch, CloseReason, Delivery, DeliveryStatus, Held, Interval, MessageId, NetworkId,
        OwnStream, Page, PeerId, Place, Recipient, Resolution, SafeText, Span, StoredBatch, StoredMessage,
        Stream, StreamId, Summary, Timestamp, history::conversation_of, limits,
    },
};

/// The columns of a message, joined with its author and its conversation's person.
pub(super) const COLUMNS: &str =
    "m.id, a.key, a.alias, m.epoch, m.sequence, m.place, m.sent_at, m.at, m.text, m.reference,
    w.key, m.conversation, m.author, m.claims";
pub(super) const TABLES: &str = "message m JOIN person a ON a.id = m.author
    JOIN conversation c ON c.id = m.conversation LEFT JOIN person w ON w.id = c.person";

fn key(row: &Row<'_>, column: usize) -> Result<PeerId> {
    row.get(column).map(PeerId)
}

/// A number of rows, as SQLite takes it.
fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A label as it was kept, or the start of the key where none was.
fn alias(text: &str, peer: &PeerId) -> Alias {
    Alias::new(text).unwrap_or_else(|_| Alias::of_key(peer))
}

/// A message, with the numbers of its conversation's and its author's rows.
pub(super) type Found = (StoredMessage, [i64; 2]);

/// Batches, and the first number that was not looked for, for want of room.
pub(in crate::store) type Batches = (Vec<Arc<StoredBatch>>, Option<u64>);

/// Whom an author's messages are for, in a conversation with `with`, or with everyone.
fn audience_of(me: &PeerId, author: &PeerId, with: Option<[u8; 32]>) -> Recipient {
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
            reason: reason.and_then(CloseReason::from_number),
            at: Timestamp(at),
        })
    })?;
    found.collect()
}

fn resolution(number: Option<u8>, reason: Option<u8>) -> Option<Resolution> {
    match number? {
        2 => Some(Resolution::Sent),
        _ => Some(Resolution::Failed(
            reason.and_then(CloseReason::from_number).unwrap_or(CloseReason::Internal),
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

/// Own streams of which somebody has not got everything.
pub(super) fn own_streams(db: &Connection, me: &PeerId, network: &NetworkId) -> Result<Vec<OwnStream>> {
    let mut query = db.prepare_cached(
        "SELECT a.conversation, a.epoch, w.key, p.key, p.alias, a.first, a.last, a.resolution, a.reason, a.at,
            coalesce((SELECT max(r.up_to) FROM receipt r WHERE r.conversation = a.conversation
                AND r.epoch = a.epoch AND r.person = a.person), 0)
         FROM audience a JOIN conversation c ON c.id = a.conversation JOIN network n ON n.id = c.network
         JOIN person p ON p.id = a.person LEFT JOIN person w ON w.id = c.person
         WHERE n.key = ? ORDER BY a.conversation, a.epoch, a.person, a.first",
    )?;
    let mut rows = query.query([network.0])?;
    let mut streams: Vec<(i64, OwnStream)> = Vec::new();
    while let Some(row) = rows.next()? {
        let (conversation, epoch): (i64, i64) = (row.get(0)?, row.get(1)?);
        let to = audience_of(me, me, row.get(2)?);
        let id = StreamId { author: *me, epoch: epoch.cast_unsigned(), to };
        if streams.last().is_none_or(|(_, stream)| stream.id != id) {
            let own =
                OwnStream { id, last: 0, addressees: Vec::new(), ages: Vec::new(), references: Vec::new() };
            streams.push((conversation, own));
        }
        let Some((_, stream)) = streams.last_mut() else { continue };
        let peer = key(row, 3)?;
        if stream.addressees.last().is_none_or(|addressee| addressee.peer != peer) {
            let label: String = row.get(4)?;
            stream.addressees.push(Addressee {
                peer,
                alias: alias(&label, &peer),
                intervals: Vec::new(),
                kept: row.get::<_, i64>(10)?.cast_unsigned(),
            });
        }
        if let Some(addressee) = stream.addressees.last_mut() {
            addressee.intervals.push(Interval {
                first: row.get::<_, i64>(5)?.cast_unsigned(),
                last: row.get::<_, Option<i64>>(6)?.map(i64::cast_unsigned),
                resolution: resolution(row.get(7)?, row.get(8)?),
                at: Timestamp(row.get(9)?),
            });
        }
    }
    let mut open = Vec::new();
    for (conversation, mut stream) in streams {
        let values = params![conversation, me.0, stream.id.epoch.cast_signed()];
        let author =
            "m.conversation = ?1 AND m.author = (SELECT id FROM person WHERE key = ?2) AND m.epoch = ?3";
        let last = format!("SELECT coalesce(max(m.sequence), 0) FROM message m WHERE {author}");
        stream.last =
            db.prepare_cached(&last)?.query_row(values, |row| row.get::<_, i64>(0))?.cast_unsigned();
        let is_open = |interval: &Interval, kept: u64| {
            let last = interval.last.unwrap_or(stream.last).min(stream.last);
            interval.resolution.is_none() && interval.first.max(kept + 1) <= last
        };
        let is_open = |addressee: &Addressee| {
            addressee.intervals.iter().any(|interval| is_open(interval, addressee.kept))
        };
        if !stream.addressees.iter().any(is_open) {
            continue;
        }
        let step = i64::try_from(limits::AGE_STEP.as_micros()).unwrap_or(i64::MAX);
        let ages = format!(
            "SELECT max(m.sequence), max(m.sent_at) FROM message m WHERE {author}
             GROUP BY m.sent_at / {step} ORDER BY max(m.sequence)"
        );
        let age = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Timestamp(row.get(1)?)));
        stream.ages = db.prepare_cached(&ages)?.query_map(values, age)?.collect::<Result<_>>()?;
        let named = format!(
            "SELECT m.sequence, m.reference FROM message m WHERE {author} AND m.reference IS NOT NULL
             ORDER BY m.sequence"
        );
        let name =
            |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Arc::from(row.get_ref(1)?.as_str()?)));
        stream.references = db.prepare_cached(&named)?.query_map(values, name)?.collect::<Result<_>>()?;
        open.push(stream);
    }
    Ok(open)
}

/// Which signed batches are here and may be given to somebody who may read from `since` on.
pub(super) fn held(db: &Connection, network: &NetworkId, since: Timestamp) -> Result<Vec<Held>> {
    let Some(conversation) = conversation(db, network, &Recipient::Everyone)? else { return Ok(Vec::new()) };
    let mut query = db.prepare_cached(
        "SELECT a.key, b.epoch, min(b.first), max(b.last)
         FROM batch b JOIN person a ON a.id = b.author JOIN message m ON m.conversation = b.conversation
            AND m.author = b.author AND m.epoch = b.epoch AND m.sequence = b.first
         WHERE b.conversation = ?1 AND m.place >= ?2 AND min(m.at, m.sent_at) >= ?2
         GROUP BY b.author, b.epoch ORDER BY max(m.place) DESC LIMIT ?3",
    )?;
    let found = query.query_map(params![conversation, since.0, rows(limits::HELD)], |row| {
        Ok(Held {
            author: key(row, 0)?,
            epoch: row.get::<_, i64>(1)?.cast_unsigned(),
            from: row.get::<_, i64>(2)?.cast_unsigned(),
            to: row.get::<_, i64>(3)?.cast_unsigned(),
        })
    })?;
    found.collect()
}

/// As many of the wanted batches as fit a frame, and where the next frame would begin.
pub(super) fn range(
    db: &Connection,
    me: &PeerId,
    network: &NetworkId,
    with: &Recipient,
    wanted: &Held,
    since: Timestamp,
) -> Result<Batches> {
    let Some(conversation) = conversation(db, network, with)? else { return Ok((Vec::new(), None)) };
    let borders = if *with == Recipient::Everyone { borders(db, conversation, wanted)? } else { Vec::new() };
    let is_signed = *with == Recipient::Everyone;
    let from = borders.first().map_or(wanted.from, |border| border.first);
    let tail = "WHERE m.conversation = ? AND m.author = (SELECT id FROM person WHERE key = ?) AND m.epoch = ?
        AND m.sequence >= ? AND min(m.at, m.sent_at) >= ? ORDER BY m.sequence";
    let mut query = db.prepare_cached(&format!("SELECT {COLUMNS} FROM {TABLES} {tail}"))?;
    let values =
        params![conversation, wanted.author.0, wanted.epoch.cast_signed(), from.cast_signed(), since.0];
    let mut found = query.query_map(values, message(me))?;
    // There may be more of them than were looked for.
    let is_all = borders.len() < limits::RANGE_MESSAGES;
    let mut borders = borders.into_iter().peekable();
    let mut gathered = Gathered::default();
    while let Some((message, _)) = found.next().transpose()? {
        let sequence = message.id.sequence;
        if !is_signed {
            if sequence > wanted.to {
                break;
            }
            if gathered.is_full() {
                return Ok((gathered.finish(), Some(sequence)));
            }
            gathered.add(message, None);
            continue;
        }
        while borders.next_if(|border| border.last < sequence).is_some() {}
        let Some(border) = borders.peek() else {
            return Ok((gathered.finish(), Some(sequence).filter(|next| !is_all && *next <= wanted.to)));
        };
        if sequence == border.first && gathered.is_full() {
            return Ok((gathered.finish(), Some(sequence)));
        }
        if sequence >= border.first {
            gathered.add(message, Some(border));
        }
    }
    Ok((gathered.finish(), None))
}

/// Where a signed batch begins and ends.
struct Border {
    first: u64,
    last: u64,
    signature: [u8; 64],
}

fn borders(db: &Connection, conversation: i64, wanted: &Held) -> Result<Vec<Border>> {
    let mut query = db.prepare_cached(
        "SELECT first, last, signature FROM batch
         WHERE conversation = ? AND author = (SELECT id FROM person WHERE key = ?) AND epoch = ?
            AND last >= ? AND first <= ? ORDER BY first LIMIT ?",
    )?;
    let values = params![
        conversation,
        wanted.author.0,
        wanted.epoch.cast_signed(),
        wanted.from.cast_signed(),
        wanted.to.cast_signed(),
        rows(limits::RANGE_MESSAGES)
    ];
    let found = query.query_map(values, |row| {
        Ok(Border {
            first: row.get::<_, i64>(0)?.cast_unsigned(),
            last: row.get::<_, i64>(1)?.cast_unsigned(),
            signature: row.get(2)?,
        })
    })?;
    found.collect()
}

/// Messages, put together to batches again.
#[derive(Default)]
struct Gathered {
    batches: Vec<StoredBatch>,
    /// Where the last of them ends, when that is signed.
    end: Option<u64>,
    bytes: usize,
    messages: usize,
}

impl Gathered {
    /// True when no further batch fits a frame.
    fn is_full(&self) -> bool {
        self.bytes > limits::RANGE_BYTES || self.messages >= limits::RANGE_MESSAGES
    }

    fn add(&mut self, message: StoredMessage, border: Option<&Border>) {
        let StoredMessage { id, alias, text, sent_at, at, place, reference, claims, .. } = message;
        self.bytes += text.as_str().len();
        self.messages += 1;
        if let Some(last) = self.batches.last_mut() {
            let follows = last.batch.stream == id.stream()
                && last.batch.last() + 1 == id.sequence
                && last.batch.sent_at == sent_at
                && last.batch.texts.len() < limits::BATCH_MESSAGES;
            let is_same = match border {
                Some(border) => border.first == last.batch.first,
                None => last.batch.bytes() + text.as_str().len() <= limits::BATCH_BYTES,
            };
            if follows && is_same {
                last.batch.texts.push(text);
                last.references.push(reference);
                return;
            }
        }
        self.drop_torn();
        self.end = border.map(|border| border.last);
        let signature = border.map(|border| border.signature);
        let batch = Batch { stream: id.stream(), first: id.sequence, sent_at, texts: vec![text], signature };
        self.batches.push(StoredBatch { batch, alias, at, place, references: vec![reference], claims });
    }

    /// Nobody can verify a signed batch of which a part is gone.
    fn drop_torn(&mut self) {
        if let (Some(end), Some(last)) = (self.end, self.batches.last())
            && last.batch.last() != end
        {
            self.batches.pop();
        }
    }

    fn finish(mut self) -> Vec<Arc<StoredBatch>> {
        self.drop_torn();
        self.batches.into_iter().map(Arc::new).collect()
    }
}

/// Whether a batch is what is kept under its numbers.
pub(super) fn compare(db: &Connection, me: &PeerId, network: &NetworkId, batch: &Batch) -> Result<Compared> {
    let with = conversation_of(&batch.stream, me);
    let Some(conversation) = conversation(db, network, &with)? else {
        return Ok(Compared::Lacks((batch.first..=batch.last()).collect()));
    };
    let StreamId { author, epoch, .. } = batch.stream;
    let mut query = db.prepare_cached(
        "SELECT sequence, text FROM message WHERE conversation = ?
            AND author = (SELECT id FROM person WHERE key = ?) AND epoch = ? AND sequence BETWEEN ? AND ?",
    )?;
    let values = params![
        conversation,
        author.0,
        epoch.cast_signed(),
        batch.first.cast_signed(),
        batch.last().cast_signed()
    ];
    let mut found = query.query(values)?;
    let mut lacks: BTreeSet<u64> = (batch.first..=batch.last()).collect();
    while let Some(row) = found.next()? {
        let sequence = row.get::<_, i64>(0)?.cast_unsigned();
        lacks.remove(&sequence);
        if batch.text(sequence).map(SafeText::as_str) != Some(row.get_ref(1)?.as_str()?) {
            let wanted = Held { author, epoch, from: sequence, to: sequence };
            let (batches, _) = range(db, me, network, &with, &wanted, Timestamp(i64::MIN))?;
            let proof = batches.first().map(|stored| Box::new(stored.batch.clone()));
            return Ok(Compared::Differs(proof));
        }
    }
    Ok(if lacks.is_empty() { Compared::Same } else { Compared::Lacks(lacks.into_iter().collect()) })
}

/// Where all the words occur, the newest first.
pub(super) fn search(db: &Connection, me: &PeerId, network: &NetworkId, typed: &str) -> Result<Vec<Hit>> {
    let Some(query) = tokenizer::to_query(typed) else { return Ok(Vec::new()) };
    let mut find = db.prepare_cached(
        "SELECT m.place, m.at, m.text, a.key, a.alias, w.key, w.alias
         FROM message_text t JOIN message m ON m.id = t.rowid JOIN person a ON a.id = m.author
         JOIN conversation c ON c.id = m.conversation JOIN network n ON n.id = c.network
         LEFT JOIN person w ON w.id = c.person
         WHERE t.message_text MATCH ? AND n.key = ? ORDER BY t.rowid DESC LIMIT ?",
    )?;
    let found = find.query_map(params![query, network.0, rows(limits::SEARCH_HITS)], |row| {
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
        Ok(Hit {
            conversation: with.map_or(Recipient::Everyone, Recipient::Peer),
            with: with.map_or_else(
                || "everyone".to_owned(),
                |peer| alias(&with_label.unwrap_or_default(), &peer).to_string(),
            ),
            place: row.get(0)?,
            at: Timestamp(row.get(1)?),
            from,
            excerpt: SafeText::line(&excerpt(&text, typed)),
        })
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
