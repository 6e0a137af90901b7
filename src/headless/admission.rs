//! Whom the host keeps out, for programs: the whole lists once, then what has changed in them.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use serde::Serialize;

use crate::model::{Attempt, Ban, PeerId, Penalty, Timestamp};

/// The lists as they were told last.
#[derive(Default)]
pub(super) struct Told {
    has_begun: bool,
    bans: Vec<Ban>,
    attempts: Vec<Attempt>,
    penalties: Vec<Penalty>,
}

/// What is new or other in them, and what is gone.
#[derive(Serialize)]
pub(super) struct Changes {
    event: &'static str,
    at: Timestamp,
    bans: Vec<Ban>,
    attempts: Vec<Attempt>,
    penalties: Vec<Penalty>,
    gone: Gone,
}

#[derive(Serialize)]
struct Gone {
    bans: Vec<Ban>,
    attempts: Vec<IpAddr>,
    penalties: Vec<IpAddr>,
}

impl Told {
    /// Takes in the lists of now. Gives what is to be told; nothing where they are as they were.
    pub(super) fn changes(
        &mut self,
        at: Timestamp,
        (bans, attempts, penalties): (&[Ban], &[Attempt], &[Penalty]),
    ) -> Option<Changes> {
        let whom = |ban: &Ban| -> (Option<PeerId>, Option<IpAddr>, Option<u8>) {
            (ban.peer_id, ban.addr, ban.prefix)
        };
        let (new_bans, bans_gone) = compared(&self.bans, bans, whom);
        let (new_attempts, attempts_gone) = compared(&self.attempts, attempts, |attempt| attempt.addr);
        let (new_penalties, penalties_gone) = compared(&self.penalties, penalties, |penalty| penalty.addr);
        let changes = Changes {
            event: "admission",
            at,
            bans: new_bans,
            attempts: new_attempts,
            penalties: new_penalties,
            gone: Gone {
                bans: bans_gone,
                attempts: attempts_gone.iter().map(|attempt| attempt.addr).collect(),
                penalties: penalties_gone.iter().map(|penalty| penalty.addr).collect(),
            },
        };
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let is_same = (&*self.bans, &*self.attempts, &*self.penalties) == (bans, attempts, penalties);
        (self.bans, self.attempts, self.penalties) = (bans.to_vec(), attempts.to_vec(), penalties.to_vec());
        (is_first || !is_same).then_some(changes)
    }
}

/// What of a list is new or other, and what is gone, by what names an entry.
fn compared<T: Clone + PartialEq, K: Eq + Hash>(
    before: &[T],
    now: &[T],
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Vec<T>) {
    let known: HashMap<K, &T> = before.iter().map(|entry| (key(entry), entry)).collect();
    let here: HashMap<K, &T> = now.iter().map(|entry| (key(entry), entry)).collect();
    let is_new = |entry: &&T| known.get(&key(entry)) != Some(entry);
    let is_gone = |entry: &&T| !here.contains_key(&key(entry));
    (now.iter().filter(is_new).cloned().collect(), before.iter().filter(is_gone).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_told_once_and_then_what_has_changed_in_them() {
        let at = Timestamp(0);
        let attempt = |last: u8, wrong| Attempt { addr: [10, 0, 0, last].into(), wrong, left: 3 - wrong };
        let told = |told: &mut Told, attempts: &[Attempt]| {
            let changes = told.changes(at, (&[], attempts, &[]))?;
            Some(serde_json::to_value(changes).unwrap())
        };
        let mut lists = Told::default();
        let first = told(&mut lists, &[]).expect("the first time always");
        assert_eq!((&first["event"], &first["attempts"]), (&"admission".into(), &serde_json::json!([])));
        let all: Vec<Attempt> = (0..200).map(|last| attempt(last, 1)).collect();
        assert_eq!(told(&mut lists, &all).unwrap()["attempts"].as_array().unwrap().len(), 200);
        assert!(told(&mut lists, &all).is_none(), "nothing new");
        let mut next = all[1..].to_vec();
        next[4] = attempt(5, 2);
        let changes = told(&mut lists, &next).unwrap();
        assert_eq!(changes["attempts"], serde_json::json!([{ "addr": "10.0.0.5", "wrong": 2, "left": 1 }]));
        assert_eq!(changes["gone"]["attempts"], serde_json::json!(["10.0.0.0"]));
    }
}
