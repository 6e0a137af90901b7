//! The heartbeat of one join link (seed, "Heartbeat"): when to beat, and what the silence of the other end means.
//!
//! It must never take a stall of this process (a laptop that slept, a stopped process) for the peer's silence:
//! what was not awake has not listened.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::model::{Liveness, limits};

/// What is to be done after a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Send a beat with this number.
    pub beat: Option<u32>,
    /// The peer's liveness changed to this.
    pub changed: Option<Liveness>,
}

/// One end's view of the other.
#[derive(Debug, Clone)]
pub struct Detector {
    heard: Instant,
    next_beat: Instant,
    number: u32,
    waiting: VecDeque<(u32, Instant)>,
    state: Liveness,
    rtt: Option<Duration>,
}

impl Detector {
    /// A peer that was just heard from; the first beat is due at once.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            heard: now,
            next_beat: now,
            number: 0,
            waiting: VecDeque::new(),
            state: Liveness::Alive,
            rtt: None,
        }
    }

    /// When to poll at the latest.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let silence = match self.state {
            Liveness::Alive => self.heard + limits::SUSPECT_AFTER,
            Liveness::Suspect | Liveness::Dead => self.heard + limits::DEAD_AFTER,
        };
        self.next_beat.min(silence)
    }

    /// Anything at all came from the peer. True when it had been suspect.
    pub fn heard(&mut self, now: Instant) -> bool {
        self.heard = self.heard.max(now);
        let was_suspect = self.state == Liveness::Suspect;
        if was_suspect {
            self.state = Liveness::Alive;
        }
        was_suspect
    }

    /// The answer to a beat came. Gives the round trip, or nothing for a beat that is not waited for.
    pub fn answered(&mut self, number: u32, now: Instant) -> Option<Duration> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == number)?;
        let (_, sent) = self.waiting.drain(..=at).next_back()?;
        self.rtt = Some(now.saturating_duration_since(sent));
        self.rtt
    }

    /// When the next beat is due.
    #[must_use]
    pub fn next_beat(&self) -> Instant {
        self.next_beat
    }

    /// The other end has measured a round trip.
    pub fn measured(&mut self, rtt: Duration) {
        self.rtt = Some(rtt);
    }

    /// Beats in a row that the other end should have sent and that did not come.
    #[must_use]
    pub fn missed_by(&self, now: Instant) -> u32 {
        let silence = now.saturating_duration_since(self.heard).as_millis();
        u32::try_from(silence / limits::BEAT_EVERY.as_millis()).unwrap_or(u32::MAX)
    }

    /// Sets when the next beat is due.
    pub fn beat_at(&mut self, at: Instant) {
        self.next_beat = at;
    }

    /// Looks at the clock. `jitter` is in percent, from -[`limits::BEAT_JITTER_PERCENT`] to +it.
    pub fn poll(&mut self, now: Instant, jitter: i32) -> Step {
        let late = now.saturating_duration_since(self.deadline());
        if late > limits::STALL {
            self.heard = now.min(self.heard + late);
            self.waiting.clear();
        }
        let mut step = Step::default();
        if now >= self.next_beat {
            self.number = self.number.wrapping_add(1);
            if self.waiting.len() == limits::BEATS_OUTSTANDING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((self.number, now));
            self.next_beat = now + limits::BEAT_EVERY.mul_f64(f64::from(100 + jitter) / 100.0);
            step.beat = Some(self.number);
        }
        let silence = now.saturating_duration_since(self.heard);
        let state = if silence >= limits::DEAD_AFTER {
            Liveness::Dead
        } else if silence >= limits::SUSPECT_AFTER {
            Liveness::Suspect
        } else {
            Liveness::Alive
        };
        if state != self.state {
            self.state = state;
            step.changed = Some(state);
        }
        step
    }

    /// The peer's liveness, as far as is known.
    #[must_use]
    pub fn state(&self) -> Liveness {
        self.state
    }

    /// The last round trip.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Beats in a row that were not answered, the one under way not counted.
    #[must_use]
    pub fn missed(&self) -> u32 {
        u32::try_from(self.waiting.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Polls at every deadline until `until` and collects what happened, with its time.
    fn run(detector: &mut Detector, start: Instant, from: f64, until: f64) -> Vec<(f64, Step)> {
        let mut steps = Vec::new();
        let mut now = start + seconds(from);
        while now <= start + seconds(until) {
            let step = detector.poll(now, 0);
            if step != Step::default() {
                steps.push(((now - start).as_secs_f64(), step));
            }
            if detector.state() == Liveness::Dead {
                break;
            }
            now = detector.deadline().max(now + Duration::from_millis(1));
        }
        steps
    }

    #[test]
    fn beats_every_two_seconds_and_measures() {
        let start = Instant::now();
        let mut detector = Detector::new(start);
        assert_eq!(detector.poll(start, 0).beat, Some(1));
        assert_eq!(detector.answered(1, start + seconds(0.012)), Some(seconds(0.012)));
        assert_eq!(detector.answered(1, start), None, "only once");
        assert_eq!(detector.answered(7, start), None, "never sent");
        assert_eq!(detector.poll(start + seconds(1.0), 0), Step::default(), "a spurious poll is harmless");
        assert_eq!(detector.poll(start + seconds(2.0), 10).beat, Some(2));
        assert_eq!(detector.deadline(), start + seconds(4.2));
    }

    #[test]
    fn silence_makes_suspect_then_dead() {
        let start = Instant::now();
        let mut detector = Detector::new(start);
        let changes: Vec<_> = run(&mut detector, start, 0.0, 20.0)
            .into_iter()
            .filter_map(|(at, step)| step.changed.map(|state| (at, state)))
            .collect();
        assert_eq!(changes, [(5.0, Liveness::Suspect), (12.0, Liveness::Dead)]);
        assert_eq!(detector.missed(), 6);
    }

    #[test]
    fn beats_whose_answer_is_waited_for_are_bounded() {
        let start = Instant::now();
        let mut detector = Detector::new(start);
        // It says much, and answers no beat.
        for beat in 0..1000 {
            let now = start + seconds(f64::from(beat) * 2.2);
            detector.heard(now);
            detector.poll(now, 0);
        }
        assert_eq!(detector.waiting.len(), 8);
        assert_eq!(detector.answered(1, start + seconds(3000.0)), None, "it is not waited for any more");
    }

    #[test]
    fn a_word_makes_a_suspect_alive() {
        let start = Instant::now();
        let mut detector = Detector::new(start);
        run(&mut detector, start, 0.0, 6.0);
        assert_eq!(detector.state(), Liveness::Suspect);
        assert!(detector.heard(start + seconds(6.5)));
        assert!(!detector.heard(start + seconds(6.6)));
        assert_eq!(detector.state(), Liveness::Alive);
    }

    /// What a detector makes of the five minutes that its process slept, and when it gives the peer up afterwards.
    fn after_a_stall(a_frame_was_waiting: bool) -> (Step, Option<f64>) {
        let start = Instant::now();
        let mut detector = Detector::new(start);
        run(&mut detector, start, 0.0, 1.0);
        if a_frame_was_waiting {
            // It is read before the clock is looked at.
            detector.heard(start + seconds(300.0));
        }
        let step = detector.poll(start + seconds(300.0), 0);
        let dead = run(&mut detector, start, 300.0, 400.0)
            .into_iter()
            .find(|(_, step)| step.changed == Some(Liveness::Dead));
        (step, dead.map(|(at, _)| at))
    }

    #[test]
    fn a_stall_here_is_not_the_peers_silence() {
        for a_frame_was_waiting in [false, true] {
            let (step, dead) = after_a_stall(a_frame_was_waiting);
            assert_eq!(step.changed, None, "this process slept");
            assert!(step.beat.is_some());
            let dead = dead.unwrap_or(f64::INFINITY);
            assert!((302.0..=312.5).contains(&dead), "silence still counts: dead at {dead}");
        }
    }
}
