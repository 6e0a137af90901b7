//! The launch screen: host, join or demo, recent networks, and a form for each choice.

pub mod form;

use self::form::Form;
use crate::model::{Answer, KnownHost, NearbyNetwork, PeerId, Sighting, limits};

/// A line of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Open a network.
    Host,
    /// Join one.
    Join,
    /// See it alive.
    Demo,
    /// Join this one again.
    Recent(Box<KnownHost>),
    /// Join this one, which is around.
    Nearby(PeerId),
}

/// The launch screen.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The selected line.
    pub at: usize,
    /// The form that is open.
    pub form: Option<Form>,
    /// The form that was left, with what was typed.
    pub left: Option<Form>,
    /// Networks joined before, latest first.
    pub recents: Vec<KnownHost>,
    /// Networks around, the newest first.
    pub nearby: Vec<NearbyNetwork>,
    /// Why the last session ended, or why a choice failed.
    pub message: Option<String>,
    /// A demo is being opened.
    pub opening: bool,
}

impl Launch {
    /// Every line of the menu: the network that was joined last is the first, then what is around and not known.
    #[must_use]
    pub fn choices(&self) -> Vec<Choice> {
        let known = self.recents.iter().map(|known| Choice::Recent(Box::new(known.clone())));
        let around = self.strangers().map(|network| Choice::Nearby(network.peer_id));
        known.chain(around).chain([Choice::Host, Choice::Join, Choice::Demo]).collect()
    }

    /// Networks around whose hosts are not known: those that are have a line already.
    pub fn strangers(&self) -> impl Iterator<Item = &NearbyNetwork> {
        let is_known =
            |network: &&NearbyNetwork| self.recents.iter().any(|known| known.peer_id == network.peer_id);
        self.nearby.iter().filter(move |network| !is_known(network))
    }

    /// The network around whose host has this key.
    #[must_use]
    pub fn around(&self, key: &PeerId) -> Option<&NearbyNetwork> {
        self.nearby.iter().find(|network| network.peer_id == *key)
    }

    /// A network is around, or is not any more. What is selected stays so.
    pub fn sighted(&mut self, sighting: Sighting) {
        let chosen = self.choice();
        let is_full = self.nearby.len() >= limits::NEARBY;
        match sighting {
            Sighting::Here(network) => {
                match self.nearby.iter_mut().find(|other| other.peer_id == network.peer_id) {
                    Some(known) => {
                        // What is known of it still holds.
                        let is_tried = network.answer == Answer::Awaited && network.addrs == known.addrs;
                        let answer = if is_tried { known.answer } else { network.answer };
                        *known = NearbyNetwork { answer, ..network };
                    }
                    // Those that are listed are not pushed out.
                    None if is_full => {}
                    None => self.nearby.insert(0, network),
                }
            }
            Sighting::Gone(key) => self.nearby.retain(|network| network.peer_id != key),
        }
        let choices = self.choices();
        let find = |wanted: &Choice| choices.iter().position(|choice| choice == wanted);
        // What is gone leaves nothing chosen that somebody else has put there.
        self.at = find(&chosen).or_else(|| find(&Choice::Join)).unwrap_or(0);
    }

    /// The selected line.
    #[must_use]
    pub fn choice(&self) -> Choice {
        self.choices().get(self.at).cloned().unwrap_or(Choice::Host)
    }

    /// One line up or down, around the ends.
    pub fn step(&mut self, down: bool) {
        let count = self.choices().len();
        self.at = if down { (self.at + 1) % count } else { (self.at + count - 1) % count };
    }
}
