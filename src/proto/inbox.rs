//! What one author has sent: duplicates dropped, holes noticed, and no faster than the network's policy allows.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::rate::TokenBucket;
use crate::{
    model::{MessageId, Policy, Recipient, limits},
    wire::Communication,
};

/// What a message is, given those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// New.
    New {
        /// How many of the same numbering are missing just before it.
        missed: u64,
    },
    /// Received before.
    Duplicate,
}

/// The numbering of one author for one recipient.
#[derive(Debug, Default)]
struct Stream {
    epoch: Option<u64>,
    next: u64,
    gaps: VecDeque<(u64, u64)>,
}

impl Stream {
    fn arrive(&mut self, epoch: u64, sequence: u64) -> Arrival {
        if self.epoch != Some(epoch) {
            // The first that is heard of this numbering: what came before was not for this receiver, or is known
            // to nobody any more.
            *self = Self { epoch: Some(epoch), next: sequence.saturating_add(1), gaps: VecDeque::new() };
            return Arrival::New { missed: 0 };
        }
        if sequence >= self.next {
            let missed = sequence - self.next;
            if missed > 0 {
                if self.gaps.len() == limits::GAPS {
                    self.gaps.pop_front();
                }
                self.gaps.push_back((self.next, sequence - 1));
            }
            self.next = sequence.saturating_add(1);
            return Arrival::New { missed };
        }
        let Some(at) = self.gaps.iter().position(|(from, to)| (*from..=*to).contains(&sequence)) else {
            return Arrival::Duplicate;
        };
        if let Some((from, to)) = self.gaps.remove(at) {
            if sequence < to {
                self.gaps.insert(at, (sequence + 1, to));
            }
            if from < sequence {
                self.gaps.insert(at, (from, sequence - 1));
            }
        }
        Arrival::New { missed: 0 }
    }
}

/// The author sent more than it may have on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flooded;

/// One author, as seen by one receiver.
#[derive(Debug)]
pub struct Inbox {
    everyone: Stream,
    direct: Stream,
    messages: TokenBucket,
    bytes: TokenBucket,
    held: VecDeque<Communication>,
    held_bytes: usize,
}

impl Inbox {
    /// Nothing received yet.
    #[must_use]
    pub fn new(policy: &Policy, now: Instant) -> Self {
        Self {
            everyone: Stream::default(),
            direct: Stream::default(),
            messages: TokenBucket::new(policy.rate, policy.burst, now),
            bytes: TokenBucket::new(policy.rate_bytes, policy.rate_bytes, now),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Takes a message in; [`Self::release`] gives it out when its turn has come. A sender that keeps to the window
    /// never floods.
    pub fn take_in(&mut self, message: Communication) -> Result<(), Flooded> {
        let bytes = self.held_bytes + message.text.len();
        let too_many = self.held.len() >= limits::WINDOW_SLACK * limits::WINDOW_MESSAGES;
        if too_many || bytes > limits::WINDOW_SLACK * limits::WINDOW_BYTES {
            return Err(Flooded);
        }
        self.held_bytes = bytes;
        self.held.push_back(message);
        Ok(())
    }

    /// Drops what waits for its turn: it was not acknowledged.
    pub fn forget_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// The next message whose turn has come, or how long the next one has to wait.
    pub fn release(&mut self, now: Instant) -> Result<Option<Communication>, Duration> {
        let Some(next) = self.held.front() else { return Ok(None) };
        let size = u32::try_from(next.text.len()).unwrap_or(u32::MAX);
        self.messages.take(1, now)?;
        if let Err(wait) = self.bytes.take(size, now) {
            self.messages.give_back(1);
            return Err(wait);
        }
        self.held_bytes -= next.text.len();
        Ok(self.held.pop_front())
    }

    /// Places a message in its numbering.
    pub fn arrive(&mut self, id: &MessageId) -> Arrival {
        let stream = match id.to {
            Recipient::Everyone => &mut self.everyone,
            Recipient::Peer(_) => &mut self.direct,
        };
        stream.arrive(id.epoch, id.sequence)
    }

    /// Takes on the network's policy.
    pub fn set_policy(&mut self, policy: &Policy, now: Instant) {
        self.messages = TokenBucket::new(policy.rate, policy.burst, now);
        self.bytes = TokenBucket::new(policy.rate_bytes, policy.rate_bytes, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PeerId, Timestamp};

    fn id(epoch: u64, sequence: u64) -> MessageId {
        MessageId { author: PeerId([1; 32]), epoch, to: Recipient::Everyone, sequence }
    }

    fn message(sequence: u64, size: usize) -> Communication {
        Communication { id: id(1, sequence), sent_at: Timestamp(0), text: "x".repeat(size), signature: None }
    }

    #[test]
    fn duplicates_gaps_and_epochs() {
        let mut inbox = Inbox::new(&Policy::default(), Instant::now());
        for (epoch, sequence, expected) in [
            (1, 50, Arrival::New { missed: 0 }),
            (1, 51, Arrival::New { missed: 0 }),
            (1, 51, Arrival::Duplicate),
            (1, 50, Arrival::Duplicate),
            (1, 55, Arrival::New { missed: 3 }),
            (1, 53, Arrival::New { missed: 0 }),
            (1, 53, Arrival::Duplicate),
            (1, 52, Arrival::New { missed: 0 }),
            (1, 54, Arrival::New { missed: 0 }),
            (1, 54, Arrival::Duplicate),
            (2, 1, Arrival::New { missed: 0 }),
            (2, 1, Arrival::Duplicate),
            (2, u64::MAX, Arrival::New { missed: u64::MAX - 2 }),
        ] {
            assert_eq!(inbox.arrive(&id(epoch, sequence)), expected, "{epoch} {sequence}");
        }
        let direct = MessageId { to: Recipient::Peer(PeerId([2; 32])), ..id(2, 1) };
        assert_eq!(inbox.arrive(&direct), Arrival::New { missed: 0 }, "numbered apart");
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_nothing_is_dropped() {
        let start = Instant::now();
        let policy = Policy { rate: 10, burst: 5, rate_bytes: 0 };
        let mut inbox = Inbox::new(&policy, start);
        for sequence in 0..100 {
            inbox.take_in(message(sequence, 1)).unwrap();
        }
        let mut now = start;
        let mut released = 0;
        loop {
            match inbox.release(now) {
                Ok(Some(message)) => {
                    assert_eq!(message.id.sequence, released);
                    released += 1;
                }
                Ok(None) => break,
                Err(wait) => now += wait,
            }
        }
        assert_eq!(released, 100);
        assert!((now - start).as_secs_f64() > 9.4 && (now - start).as_secs_f64() < 9.6);
    }

    #[test]
    fn bytes_are_limited_too() {
        let start = Instant::now();
        let mut inbox = Inbox::new(&Policy { rate: 0, burst: 0, rate_bytes: 1000 }, start);
        inbox.take_in(message(0, 1000)).unwrap();
        inbox.take_in(message(1, 500)).unwrap();
        assert!(inbox.release(start).unwrap().is_some());
        assert_eq!(inbox.release(start).unwrap_err(), Duration::from_millis(500));
    }

    #[test]
    fn a_sender_that_ignores_the_window_is_noticed() {
        let mut inbox = Inbox::new(&Policy { rate: 1, burst: 1, rate_bytes: 1 }, Instant::now());
        let taken = (0..10_000).take_while(|sequence| inbox.take_in(message(*sequence, 1)).is_ok()).count();
        assert_eq!(taken, limits::WINDOW_SLACK * limits::WINDOW_MESSAGES);
    }
}
