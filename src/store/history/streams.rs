//! Reading streams out of the history: what somebody lacks of own ones, what others may be given, and whether something
//! is kept word for word.
//!
//! It must never give a signed batch that is not whole, or more than a frame's worth at once.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{Connection, Result, Row, params};

use super::read::{COLUMNS, TABLES, alias, audience_of, conversation, key, message, resolution, rows};
use crate::{
    api::Compared,
    model::{
        Addressee, Batch, Held, Interval, NetworkId, OwnStream, PeerId, Recipient, SafeText, Signature,
        StoredBatch, StoredMessage, StreamId, Timestamp, history::conversation_of, limits,
    },
};

/// Batches, and the first number that was not looked for, for want of room.
pub(in crate::store) type Batches = (Vec<Arc<StoredBatch>>, Option<u64>);

/// The messages of one stream: of this conversation, author and epoch.
const OF_STREAM: &str =
    "m.conversation = ?1 AND m.author = (SELECT id FROM person WHERE key = ?2) AND m.epoch = ?3";

/// Own streams of which somebody has not got everything.
pub(super) fn own_streams(db: &Connection, me: &PeerId, network: &NetworkId) -> Result<Vec<OwnStream>> {
    let mut open = Vec::new();
    for (conversation, mut stream) in addressed(db, me, network)? {
        let values = params![conversation, me.0, stream.id.epoch.cast_signed()];
        let last = format!("SELECT coalesce(max(m.sequence), 0) FROM message m WHERE {OF_STREAM}");
        stream.last =
            db.prepare_cached(&last)?.query_row(values, |row| row.get::<_, i64>(0))?.cast_unsigned();
        if !stream.addressees.iter().any(|addressee| is_open(&stream, addressee)) {
            continue;
        }
        let step = i64::try_from(limits::AGE_STEP.as_micros()).unwrap_or(i64::MAX);
        let ages = format!(
            "SELECT max(m.sequence), max(m.sent_at) FROM message m WHERE {OF_STREAM}
             GROUP BY m.sent_at / {step} ORDER BY max(m.sequence)"
        );
        let age = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Timestamp(row.get(1)?)));
        stream.ages = db.prepare_cached(&ages)?.query_map(values, age)?.collect::<Result<_>>()?;
        let named = format!(
            "SELECT m.sequence, m.reference FROM message m WHERE {OF_STREAM} AND m.reference IS NOT NULL
             ORDER BY m.sequence"
        );
        let name =
            |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), Arc::from(row.get_ref(1)?.as_str()?)));
        stream.references = db.prepare_cached(&named)?.query_map(values, name)?.collect::<Result<_>>()?;
        open.push(stream);
    }
    Ok(open)
}

/// An addressee lacks something of a stream that it may still get.
fn is_open(stream: &OwnStream, addressee: &Addressee) -> bool {
    addressee.intervals.iter().any(|interval| {
        let last = interval.last.unwrap_or(stream.last).min(stream.last);
        interval.resolution.is_none() && interval.first.max(addressee.kept + 1) <= last
    })
}

/// All own streams and to whom they are addressed, each with the number of its conversation.
fn addressed(db: &Connection, me: &PeerId, network: &NetworkId) -> Result<Vec<(i64, OwnStream)>> {
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
    Ok(streams)
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
    signature: Signature,
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
            signature: Signature(row.get(2)?),
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
