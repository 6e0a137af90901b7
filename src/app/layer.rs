//! What lies on top of a screen: help, a question, or a line to type. The topmost takes the keys.

use std::net::IpAddr;

use super::{Open, composer::Composer, invite::InviteCard, strength::Strength};
use crate::model::{Ban, MessageId, Password, PeerId, Recipient};

/// Something on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// The keys that hold underneath.
    Help {
        /// Lines scrolled.
        scroll: usize,
    },
    /// A line to type.
    Prompt(Prompt),
    /// A question.
    Dialog(Dialog),
    /// An invite that was made just now.
    Invite(Box<InviteCard>),
    /// Something to read.
    Note {
        /// What about.
        title: String,
        /// What.
        lines: Vec<String>,
        /// Lines scrolled.
        scroll: usize,
    },
}

/// What a typed line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptKind {
    /// A command.
    Palette,
    /// A conversation, by name.
    GoTo,
    /// A text to look for.
    Search,
    /// The network's next password.
    Password,
    /// A theme, which is shown while it is chosen.
    Theme,
    /// Something that was sent before, to be written again.
    Recall,
    /// What can be done with this message.
    Menu(MessageId),
    /// The name of the member that is to be the host, to be sure that it is meant.
    Handover(PeerId),
}

/// A line to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What for.
    pub kind: PromptKind,
    /// What is typed.
    pub editor: Composer,
    /// The selected suggestion.
    pub at: usize,
    /// What is wrong with it.
    pub error: Option<String>,
    /// A password is shown as it is typed.
    pub revealed: bool,
    /// How hard a password is to guess; nothing where none is typed.
    pub strength: Option<Strength>,
}

impl Prompt {
    /// An empty line.
    #[must_use]
    pub fn new(kind: PromptKind) -> Self {
        let editor = match kind {
            PromptKind::Password => Composer::for_password(),
            PromptKind::Palette => Composer::with("/"),
            _ => Composer::default(),
        };
        Self { kind, editor, at: 0, error: None, revealed: false, strength: None }
    }

    /// Finds out how hard a password is to guess.
    pub fn rate(&mut self) {
        let typed = self.editor.text();
        self.strength =
            (self.kind == PromptKind::Password && !typed.is_empty()).then(|| Strength::of(typed, &[]));
    }
}

/// What follows a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// A ban, by key, by address, or both.
    Ban {
        /// Whom.
        peer: Option<PeerId>,
        /// From where.
        addr: Option<IpAddr>,
        /// In the host's words.
        reason: String,
    },
    /// A removal.
    Kick {
        /// Whom.
        peer: PeerId,
        /// In the host's words.
        reason: String,
    },
    /// The end of a ban.
    Unban(Box<Ban>),
    /// Let an address begin anew.
    Forgive(std::net::IpAddr),
    /// Somebody who waits at the door does not come in.
    Refuse {
        /// Who.
        peer: PeerId,
        /// In the host's words.
        reason: String,
    },
    /// These words are the same at both ends.
    Compared(PeerId, Vec<String>),
    /// An invite is taken back.
    Revoke(String),
    /// Another host.
    Handover(PeerId),
    /// A deputy.
    Deputy(PeerId),
    /// The deputy opens the network again.
    TakeOver,
    /// The end of what is kept of a conversation.
    Forget(Recipient),
    /// A network that lets classic peers in.
    Open(Box<Open>),
    /// A network whose password is easy to guess.
    WeakPassword(Box<Open>),
    /// A password that is easy to guess, from now on.
    NewPassword(Password),
    /// A long draft that is to be sent.
    Send(Recipient),
    /// The end of the session.
    Leave,
    /// A pause, which the others will notice.
    Suspend,
}

/// Something that can be chosen in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Nothing happens.
    Cancel,
    /// By key: on or off.
    ByKey(bool),
    /// By address: on or off.
    ByAddress(bool),
    /// Ask for another password afterwards: on or off.
    NewPassword(bool),
    /// What was compared is not the same.
    Differ,
    /// It happens.
    Yes,
}

/// A question. Cancel has the focus at first; the button that does it is the last item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// What is asked.
    pub title: String,
    /// What will happen.
    pub lines: Vec<String>,
    /// What can be chosen.
    pub items: Vec<Item>,
    /// The item with the focus.
    pub at: usize,
    /// The word on the button that does it.
    pub yes: &'static str,
    /// What follows a yes.
    pub pending: Pending,
}

impl Dialog {
    /// A question with a yes and a no.
    #[must_use]
    pub fn new(title: String, lines: Vec<String>, yes: &'static str, pending: Pending) -> Self {
        Self::with_options((title, lines), Vec::new(), yes, pending)
    }

    /// The same with options before the buttons.
    #[must_use]
    pub fn with_options(
        (title, lines): (String, Vec<String>),
        mut items: Vec<Item>,
        yes: &'static str,
        pending: Pending,
    ) -> Self {
        let at = items.len();
        items.extend([Item::Cancel, Item::Yes]);
        Self { title, lines, items, at, yes, pending }
    }

    /// The focus one further or back, around the ends.
    pub fn step(&mut self, forward: bool) {
        let count = self.items.len().max(1);
        self.at = if forward { (self.at + 1) % count } else { (self.at + count - 1) % count };
    }

    /// Whether an option is on.
    #[must_use]
    pub fn is_on(&self, option: fn(bool) -> Item) -> bool {
        self.items.contains(&option(true))
    }

    /// Turns the option with the focus on or off. False when it is no option.
    pub fn toggle(&mut self) -> bool {
        let Some(item) = self.items.get_mut(self.at) else { return false };
        *item = match *item {
            Item::ByKey(on) => Item::ByKey(!on),
            Item::ByAddress(on) => Item::ByAddress(!on),
            Item::NewPassword(on) => Item::NewPassword(!on),
            Item::Cancel | Item::Differ | Item::Yes => return false,
        };
        true
    }
}
