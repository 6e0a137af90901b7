//! Events about many messages at once, and how one line is made of each: a node tells of a batch, and of an
//! acknowledgement, once; `--json` has a line for every message and every delivery.

use std::sync::Arc;

use super::NodeEvent;
use crate::model::{DeliveryStatus, FailReason, Peer, StoredBatch, StreamId, Summary};

/// Messages of one batch that were received, or taken for sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who wrote them.
    pub from: Arc<Peer>,
    /// What they say, and where they stand.
    pub batch: Arc<StoredBatch>,
    /// Which of them are new here; all of them, nearly always.
    pub first: u64,
    /// The last that is new.
    pub last: u64,
    /// Written here.
    pub own: bool,
    /// They were missed, and handed on later.
    pub late: bool,
    /// Messages of this stream that were not received just before the first.
    pub missed: u64,
}

/// What became of messages `first..=last` of an own stream, for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The stream.
    pub stream: StreamId,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
    /// The recipient.
    pub peer: Arc<Peer>,
    /// How far they came.
    pub status: DeliveryStatus,
    /// Why they failed.
    pub reason: Option<FailReason>,
    /// How many recipients have them: up to each of these numbers.
    pub summaries: Vec<(u64, Summary)>,
    /// The sender's own names, of those that have one.
    pub references: Vec<(u64, Arc<str>)>,
}

impl Progress {
    /// Each message with how many recipients have it.
    pub fn summaries(&self) -> impl Iterator<Item = (u64, Summary)> {
        (self.first..=self.last).map(|sequence| {
            let at = self.summaries.partition_point(|(up_to, _)| *up_to < sequence);
            (sequence, self.summaries.get(at).map(|(_, summary)| *summary).unwrap_or_default())
        })
    }
}

impl NodeEvent {
    /// The event as lines: a batch as a message each, an acknowledgement as a delivery each, any other as it is.
    pub fn expand(self) -> impl Iterator<Item = Self> {
        let (mut said, mut progress, mut other) = (None, None, None);
        match self {
            Self::Batch(batch) => said = Some(messages(*batch)),
            Self::Progress(one) => progress = Some(deliveries(*one)),
            event => other = Some(event),
        }
        said.into_iter().flatten().chain(progress.into_iter().flatten()).chain(other)
    }
}

fn messages(said: Said) -> impl Iterator<Item = NodeEvent> {
    let Said { from, batch, first, last, own, late, missed } = said;
    (first..=last).filter_map(move |sequence| {
        let StreamId { to, .. } = batch.batch.stream;
        Some(NodeEvent::Message {
            id: batch.batch.stream.message(sequence),
            from: from.clone(),
            to,
            text: batch.batch.text(sequence)?.clone(),
            sent_at: batch.batch.sent_at,
            own,
            missed: if sequence == first { missed } else { 0 },
            reference: batch.reference_of(sequence).cloned(),
            late,
            claims: batch.claims.clone(),
            came_at: batch.at,
            place: batch.place_of(sequence),
        })
    })
}

fn deliveries(progress: Progress) -> impl Iterator<Item = NodeEvent> {
    let summaries: Vec<(u64, Summary)> = progress.summaries().collect();
    summaries.into_iter().map(move |(sequence, summary)| {
        let named = progress.references.binary_search_by_key(&sequence, |(named, _)| *named);
        let reference = named.ok().and_then(|at| progress.references.get(at));
        NodeEvent::Delivery {
            id: progress.stream.message(sequence),
            reference: reference.map(|(_, reference)| reference.clone()),
            peer: progress.peer.clone(),
            status: progress.status,
            reason: progress.reason,
            summary,
        }
    })
}
