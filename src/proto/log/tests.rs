use super::*;
use crate::model::{Batch, CloseReason, FailReason, Recipient, SafeText};

const ME: PeerId = PeerId([1; 32]);
const BOB: PeerId = PeerId([2; 32]);
const CAROL: PeerId = PeerId([3; 32]);
const AT: Timestamp = Timestamp(1_000_000);
/// What may stay in memory.
const LOG_BYTES: usize = 64 * 1024;

fn stream() -> StreamId {
    StreamId { author: ME, epoch: 5, to: Recipient::Everyone }
}

fn entry(first: u64, count: usize, size: usize) -> Entry {
    let texts = vec![SafeText::clean(&"x".repeat(size)); count];
    let batch = Batch { stream: stream(), first, sent_at: AT, texts, signature: None };
    let frame = Bytes::from(vec![0; count * size]);
    let (alias, references) = (Alias::new("ann").unwrap(), vec![Some(Arc::from("r")); count]);
    let stored = StoredBatch { batch, alias, at: AT, place: 10, references, claims: None };
    Entry { batch: Arc::new(stored), frame }
}

/// A stream for bob and carol.
fn log() -> Log {
    let mut log = Log::new(stream(), LOG_BYTES);
    log.address(BOB, AT);
    log.address(CAROL, AT);
    log
}

/// Says so many messages in a batch, which is kept.
fn say(log: &mut Log, count: usize) {
    log.push(entry(log.last() + 1, count, 10), AT);
    log.release(log.last(), true);
}

/// Sends all that may be sent. Gives the last numbers of what went, and what has to be read.
fn send(log: &mut Log, peer: PeerId) -> (Vec<u64>, Option<Range>) {
    let mut sent = Vec::new();
    loop {
        match log.next_for(&peer) {
            Next::Nothing => return (sent, None),
            Next::History(first, last) => return (sent, Some((first, last))),
            Next::Batch(entry) => {
                let last = entry.batch.batch.last();
                log.sent(&peer, last);
                sent.push(last);
            }
        }
    }
}

#[test]
fn nothing_leaves_before_the_history_has_it() {
    let mut log = log();
    log.push(entry(1, 3, 10), AT);
    assert_eq!(send(&mut log, BOB), (vec![], None));
    assert_eq!(log.release(3, false).len(), 1);
    assert_eq!(log.release(3, true).len(), 0, "only once");
    assert_eq!(send(&mut log, BOB), (vec![3], None));
}

#[test]
fn what_is_acknowledged_is_told_once_and_only_what_was_sent() {
    let mut log = log();
    (0..3).for_each(|_| say(&mut log, 2));
    assert_eq!(log.acknowledged(&BOB, 6, 6), (vec![], vec![]), "nothing was sent");
    assert_eq!(send(&mut log, BOB), (vec![2, 4, 6], None));
    assert_eq!(log.acknowledged(&BOB, 4, 2), (vec![(1, 2)], vec![(3, 4)]));
    assert_eq!(log.acknowledged(&BOB, 4, 2), (vec![], vec![]));
    assert_eq!(log.acknowledged(&BOB, 0, 100), (vec![(3, 6)], vec![]));
    assert_eq!(log.acknowledged(&PeerId([9; 32]), 6, 6), (vec![], vec![]), "a stranger");
    assert!(!log.is_settled());
    send(&mut log, CAROL);
    log.acknowledged(&CAROL, 6, 6);
    assert!(log.is_settled());
}

#[test]
fn after_a_lost_link_it_goes_on_from_what_is_kept() {
    let mut log = log();
    (0..3).for_each(|_| say(&mut log, 1));
    send(&mut log, BOB);
    log.acknowledged(&BOB, 3, 1);
    log.link_lost(&BOB);
    assert_eq!(send(&mut log, BOB), (vec![2, 3], None));
    assert_eq!(log.acknowledged(&BOB, 2, 2).0, [(2, 2)]);
}

#[test]
fn each_is_addressed_while_it_is_here() {
    let mut log = log();
    say(&mut log, 1);
    log.dismiss(&BOB);
    say(&mut log, 2);
    log.address(BOB, AT);
    say(&mut log, 1);
    assert_eq!(send(&mut log, BOB), (vec![1, 4], None));
    assert_eq!(send(&mut log, CAROL), (vec![1, 3, 4], None));
    assert_eq!(log.acknowledged(&BOB, 4, 4).0, [(1, 1), (4, 4)]);
    let summaries = log.summaries((1, 4));
    let of = |delivered, total| Summary { delivered, total };
    assert_eq!(summaries, [(1, of(1, 2)), (3, of(0, 1)), (4, of(1, 2))]);
}

#[test]
fn what_is_given_up_counts_as_failed_and_is_never_sent() {
    let mut log = log();
    say(&mut log, 2);
    send(&mut log, BOB);
    log.acknowledged(&BOB, 2, 2);
    say(&mut log, 3);
    let failed = Resolution::Failed(CloseReason::Kicked.into());
    assert_eq!(log.resolve(&BOB, u64::MAX, failed, AT), [(3, 5)]);
    assert_eq!(log.resolve(&BOB, u64::MAX, failed, AT), []);
    log.link_lost(&BOB);
    assert_eq!(send(&mut log, BOB), (vec![], None));
    assert_eq!(log.acknowledged(&BOB, 5, 5), (vec![], vec![]));
    assert_eq!(log.status(&BOB, 2), Some((DeliveryStatus::Delivered, None)));
    assert_eq!(log.status(&BOB, 3), Some((DeliveryStatus::Failed, Some(CloseReason::Kicked.into()))));
    assert_eq!(log.status(&CAROL, 3), Some((DeliveryStatus::Queued, None)));
    assert_eq!(log.status(&PeerId([9; 32]), 3), None);
}

#[test]
fn a_recipient_that_is_far_behind_is_fed_from_the_history() {
    let mut log = log();
    let size = LOG_BYTES / 64;
    for number in 1..=200 {
        log.push(entry(number, 1, size), AT);
        log.release(number, true);
        let (sent, lacking) = send(&mut log, BOB);
        assert_eq!((sent, lacking), (vec![number], None), "who keeps up is served from memory");
        log.acknowledged(&BOB, number, number);
        log.settle();
    }
    assert!(log.bytes <= LOG_BYTES);
    assert_eq!(send(&mut log, CAROL), (vec![], Some((1, 200))));
    log.sent(&CAROL, 199);
    assert_eq!(send(&mut log, CAROL), (vec![200], None));
    log.acknowledged(&CAROL, 200, 200);
    log.settle();
    assert!(log.entries.is_empty() && log.references.is_empty());
}

#[test]
fn what_only_the_memory_has_stays_there() {
    let mut log = log();
    let size = LOG_BYTES / 8;
    for number in 1..=20 {
        log.push(entry(number, 1, size), AT);
        log.release(number, false);
    }
    assert_eq!(send(&mut log, BOB).0.len(), 20, "the disk is full: all of it is here");
    log.release(20, true);
    assert_eq!(send(&mut log, CAROL), (vec![], Some((1, 20))));
}

#[test]
fn it_is_old_by_steps() {
    let mut log = log();
    let minute = |number: i64| Timestamp(number * 60_000_000);
    for number in 1..=3_i64 {
        log.push(entry(number.cast_unsigned(), 1, 1), minute(number));
    }
    log.push(entry(4, 1, 1), Timestamp(minute(3).0 + 1));
    assert_eq!(log.take_older(minute(2)), 2);
    assert_eq!(log.oldest(), Some(Timestamp(minute(3).0 + 1)));
    assert_eq!(log.take_older(minute(3)), 0);
    assert_eq!(log.take_older(minute(4)), 4);
    assert_eq!(log.oldest(), None);
}

#[test]
fn a_stream_of_an_earlier_session_goes_on_where_it_was() {
    let at = |first, last, resolution| Interval { first, last, resolution, at: AT };
    let failed = Some(Resolution::Failed(FailReason::Expired));
    let alias = Alias::new("bob").unwrap();
    let intervals = vec![at(1, Some(4), failed), at(5, None, None)];
    let addressees = vec![Addressee { peer: BOB, alias, intervals, kept: 6 }];
    let (ages, references) = (vec![(9, AT)], vec![(8, Arc::from("r"))]);
    let mut log = Log::recalled(&OwnStream { id: stream(), last: 9, addressees, ages, references });
    assert_eq!(log.pending(&BOB), [(7, 9)]);
    assert_eq!(send(&mut log, BOB), (vec![], Some((7, 9))));
    assert_eq!(log.references((7, 9)), [(8, Arc::from("r"))]);
    assert_eq!(log.status(&BOB, 6), Some((DeliveryStatus::Delivered, None)));
    assert_eq!(log.status(&BOB, 4), Some((DeliveryStatus::Failed, Some(FailReason::Expired))));
}

#[test]
fn nothing_is_called_failed_that_may_have_arrived() {
    let mut log = log();
    (0..3).for_each(|_| say(&mut log, 1));
    log.sent(&BOB, 2);
    log.link_lost(&BOB);
    assert_eq!(log.give_up(&BOB, 3, CloseReason::Kicked.into(), AT), (vec![(1, 2)], vec![(3, 3)]));
    assert_eq!(log.status(&BOB, 2), Some((DeliveryStatus::Sent, None)));
    assert_eq!(log.give_up(&CAROL, 3, CloseReason::Kicked.into(), AT), (vec![], vec![(1, 3)]));
}
