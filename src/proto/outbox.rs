//! What waits for one recipient: in order, bounded, and kept until it is acknowledged.
//!
//! Only a window of it is on the way at any time, so that a slow recipient holds back nobody else and no queue
//! between here and there grows. After a link is lost everything unacknowledged goes again, in order.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::model::limits;

/// A message on its way to one recipient.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The sender's record of the message.
    pub tally: u64,
    /// For everyone, or only for this recipient: the two are numbered apart.
    pub everyone: bool,
    /// In which numbering.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// The encoded frame, shared by all recipients.
    pub frame: Bytes,
    /// When it has waited too long.
    pub expires: Instant,
}

/// The recipient already has as much waiting as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A message in the queue.
#[derive(Debug)]
struct Queued {
    message: Outgoing,
    /// The recipient has it, but not for good: its disk takes nothing now.
    is_received: bool,
}

/// The queue for one recipient: first what was sent, then what was not.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    bytes: usize,
    /// How many at the front were sent.
    sent: usize,
    /// Of those, how many are on the way.
    on_the_way: usize,
    bytes_on_the_way: usize,
    progressed: Option<Instant>,
}

impl Outbox {
    /// Takes a message.
    pub fn push(&mut self, message: Outgoing) -> Result<(), Full> {
        let size = message.frame.len();
        if self.queue.len() >= limits::UNDELIVERED_MESSAGES || self.bytes + size > limits::UNDELIVERED_BYTES {
            return Err(Full);
        }
        self.bytes += size;
        self.queue.push_back(Queued { message, is_received: false });
        Ok(())
    }

    /// The next frame to send, while the window has room.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        let next = &self.queue.get(self.sent)?.message;
        let size = next.frame.len();
        let room = self.on_the_way < limits::WINDOW_MESSAGES
            && (self.bytes_on_the_way + size <= limits::WINDOW_BYTES || self.on_the_way == 0);
        if !room {
            return None;
        }
        let frame = next.frame.clone();
        self.sent += 1;
        self.on_the_way += 1;
        self.bytes_on_the_way += size;
        Some(frame)
    }

    /// The first message that is on the way: its kind, its numbering and its number.
    #[must_use]
    pub fn first_sent(&self) -> Option<(bool, u64, u64)> {
        let Queued { message, .. } = self.queue.front().filter(|_| self.sent > 0)?;
        Some((message.everyone, message.epoch, message.sequence))
    }

    /// The recipient has messages `first..=last` for good. Gives their records.
    pub fn acknowledged(
        &mut self,
        everyone: bool,
        epoch: u64,
        first: u64,
        last: u64,
        now: Instant,
    ) -> Vec<u64> {
        let mut tallies = Vec::new();
        let mut at = 0;
        while at < self.sent {
            let Some(Queued { message, .. }) = self.queue.get(at) else { break };
            if message.everyone == everyone
                && message.epoch == epoch
                && (first..=last).contains(&message.sequence)
            {
                tallies.push(message.tally);
                self.remove(at);
            } else {
                at += 1;
            }
        }
        if !tallies.is_empty() {
            self.progressed = Some(now);
        }
        tallies
    }

    /// The recipient has messages `first..=last`, but not for good: they no longer hold back others, and stay here
    /// until they are acknowledged. Gives their records.
    pub fn received(&mut self, everyone: bool, epoch: u64, first: u64, last: u64, now: Instant) -> Vec<u64> {
        let mut tallies = Vec::new();
        for Queued { message, is_received } in self.queue.iter_mut().take(self.sent) {
            let is_meant = message.everyone == everyone
                && message.epoch == epoch
                && (first..=last).contains(&message.sequence);
            if is_meant && !std::mem::replace(is_received, true) {
                self.on_the_way -= 1;
                self.bytes_on_the_way -= message.frame.len();
                tallies.push(message.tally);
            }
        }
        if !tallies.is_empty() {
            self.progressed = Some(now);
        }
        tallies
    }

    fn remove(&mut self, at: usize) -> Option<Outgoing> {
        let Queued { message, is_received } = self.queue.remove(at)?;
        self.bytes -= message.frame.len();
        if at < self.sent {
            self.sent -= 1;
            if !is_received {
                self.on_the_way -= 1;
                self.bytes_on_the_way -= message.frame.len();
            }
        }
        Some(message)
    }

    /// The link is gone: what was on the way goes again.
    pub fn link_lost(&mut self) {
        for queued in self.queue.iter_mut().take(self.sent) {
            queued.is_received = false;
        }
        self.sent = 0;
        self.on_the_way = 0;
        self.bytes_on_the_way = 0;
    }

    /// Takes out what has waited for longer than [`limits::UNDELIVERED_FOR`].
    pub fn expire(&mut self, now: Instant) -> Vec<u64> {
        let mut tallies = Vec::new();
        while let Some(Queued { message, .. }) = self.queue.front() {
            if message.expires > now {
                break;
            }
            tallies.push(message.tally);
            self.remove(0);
        }
        tallies
    }

    /// Gives up on everything.
    pub fn drain(&mut self) -> Vec<u64> {
        self.bytes = 0;
        self.link_lost();
        self.queue.drain(..).map(|queued| queued.message.tally).collect()
    }

    /// The records of everything that waits.
    pub fn tallies(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().map(|queued| queued.message.tally)
    }

    /// When the oldest message has waited too long.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        self.queue.front().map(|queued| queued.message.expires)
    }

    /// True when something was sent that the recipient has not said to have.
    #[must_use]
    pub fn is_on_the_way(&self) -> bool {
        self.on_the_way > 0
    }

    /// True when everything that waits was sent.
    #[must_use]
    pub fn is_all_sent(&self) -> bool {
        self.sent == self.queue.len()
    }

    /// True when nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// True when the recipient takes messages, only slower than they come: whoever sends had better wait.
    #[must_use]
    pub fn is_pressed(&self, now: Instant) -> bool {
        let much =
            self.queue.len() > limits::UNDELIVERED_MESSAGES / 2 || self.bytes > limits::UNDELIVERED_BYTES / 2;
        let progressing = |at: Instant| now.saturating_duration_since(at) < limits::PROGRESS;
        much && self.progressed.is_some_and(progressing)
    }

    /// Until when [`Self::is_pressed`] can stay true without progress.
    #[must_use]
    pub fn pressed_until(&self) -> Option<Instant> {
        self.progressed.map(|at| at + limits::PROGRESS + Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, everyone: bool, size: usize, since: Instant) -> Outgoing {
        let (frame, expires) = (Bytes::from(vec![0; size]), since + limits::UNDELIVERED_FOR);
        Outgoing { tally: sequence * 10, everyone, epoch: 1, sequence, frame, expires }
    }

    #[test]
    fn a_window_is_on_the_way_and_moves_with_acknowledgements() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for sequence in 1..=500 {
            outbox.push(message(sequence, true, 10, now)).unwrap();
        }
        let sent = |outbox: &mut Outbox| std::iter::from_fn(|| outbox.next_frame()).count();
        assert_eq!(sent(&mut outbox), limits::WINDOW_MESSAGES);
        assert_eq!(outbox.acknowledged(true, 1, 1, 100, now).len(), 100);
        assert_eq!(sent(&mut outbox), 100);
        assert!(outbox.acknowledged(false, 1, 101, 102, now).is_empty(), "another numbering");
        assert!(outbox.acknowledged(true, 1, 400, 500, now).is_empty(), "not sent yet");
        outbox.link_lost();
        assert_eq!(sent(&mut outbox), limits::WINDOW_MESSAGES, "all again");
        assert_eq!(outbox.acknowledged(true, 1, 101, 101, now), [1010]);
        assert!(outbox.acknowledged(true, 2, 102, 102, now).is_empty(), "another epoch");
    }

    #[test]
    fn what_is_received_but_not_kept_makes_room_and_goes_again_when_the_link_is_lost() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for sequence in 1..=500 {
            outbox.push(message(sequence, true, 10, now)).unwrap();
        }
        let sent = |outbox: &mut Outbox| std::iter::from_fn(|| outbox.next_frame()).count();
        assert_eq!(sent(&mut outbox), limits::WINDOW_MESSAGES);
        assert_eq!(outbox.received(true, 1, 1, 100, now).len(), 100);
        assert!(outbox.received(true, 1, 1, 100, now).is_empty(), "said twice");
        assert_eq!(sent(&mut outbox), 100);
        assert_eq!(outbox.acknowledged(true, 1, 1, 100, now).len(), 100);
        assert_eq!(sent(&mut outbox), 0, "they had made room already");
        outbox.received(true, 1, 101, 150, now);
        outbox.link_lost();
        assert_eq!(sent(&mut outbox), limits::WINDOW_MESSAGES);
        assert_eq!(outbox.acknowledged(true, 1, 101, 101, now), [1010], "from the beginning");
    }

    #[test]
    fn bytes_bound_the_window_but_one_message_always_goes() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        outbox.push(message(1, true, limits::WINDOW_BYTES + 1, now)).unwrap();
        outbox.push(message(2, true, 1, now)).unwrap();
        assert!(outbox.next_frame().is_some());
        assert!(outbox.next_frame().is_none());
    }

    #[test]
    fn what_waits_is_bounded_by_count_bytes_and_time() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for sequence in 0..1000 {
            outbox.push(message(sequence, true, 1, now)).unwrap();
        }
        assert_eq!(outbox.push(message(1000, true, 1, now)), Err(Full));
        assert!(
            outbox.expire(now + limits::UNDELIVERED_FOR.saturating_sub(Duration::from_secs(1))).is_empty()
        );
        assert_eq!(outbox.expire(now + limits::UNDELIVERED_FOR).len(), 1000);
        assert!(outbox.is_empty());
        outbox.push(message(1, true, limits::UNDELIVERED_BYTES, now)).unwrap();
        assert_eq!(outbox.push(message(2, true, 1, now)), Err(Full));
    }

    #[test]
    fn a_slow_recipient_presses_and_a_stalled_one_does_not() {
        let now = Instant::now();
        let mut outbox = Outbox::default();
        for sequence in 0..800 {
            outbox.push(message(sequence, true, 1, now)).unwrap();
        }
        assert!(!outbox.is_pressed(now), "nothing was ever acknowledged");
        outbox.next_frame();
        outbox.acknowledged(true, 1, 0, 0, now);
        assert!(outbox.is_pressed(now));
        assert!(!outbox.is_pressed(outbox.pressed_until().unwrap()));
    }
}
