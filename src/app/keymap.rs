//! The one table of keys: the dispatcher, the help overlay and the hint line all read it.
//!
//! Never bound, since terminals or people need them: Ctrl-I, Ctrl-M, Ctrl-[, Ctrl-H, Ctrl-S, Ctrl-Q.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

mod help;
mod names;
mod table;

pub use self::{help::Group, table::TABLE};
use super::composer::Edit;

/// Where a key is pressed. Several hold at a time; the first that binds the key wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// The menu of the launch screen.
    Launch,
    /// A form of the launch screen.
    Form,
    /// Writing a message.
    Compose,
    /// Letters act.
    Browse,
    /// Browsing the Admin view.
    Admin,
    /// Browsing the Log view.
    Log,
    /// Browsing the Heartbeat view.
    Heartbeat,
    /// Anywhere in a room.
    Room,
    /// A question.
    Dialog,
    /// A line to type: palette, go to, search.
    Prompt,
    /// An invite that was made just now.
    Invite,
    /// The help overlay.
    Help,
    /// Everywhere.
    Everywhere,
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Help for where you are.
    Help,
    /// The conversations.
    ViewChat,
    /// Members, attempts, bans.
    ViewAdmin,
    /// The heartbeat in full.
    ViewHeartbeat,
    /// What happened.
    ViewLog,
    /// Send the draft, or take what is chosen.
    Submit,
    /// One up.
    Up,
    /// One down.
    Down,
    /// One to the left.
    Left,
    /// One to the right.
    Right,
    /// Complete a word; on an empty line, the next pane; the next field.
    Next,
    /// The pane or field before.
    Previous,
    /// Change the text.
    Edit(Edit),
    /// Open the command palette.
    Palette,
    /// The next conversation.
    NextConversation,
    /// The conversation before.
    PreviousConversation,
    /// Choose a conversation by name.
    GoTo,
    /// The conversation with this number.
    Jump,
    /// The next conversation with something unread.
    NextUnread,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Half a page up.
    HalfUp,
    /// Half a page down.
    HalfDown,
    /// To the first message.
    Top,
    /// To the last message.
    Bottom,
    /// Search the messages.
    Search,
    /// The next older match.
    FindOlder,
    /// The next newer match.
    FindNewer,
    /// Copy the message.
    Copy,
    /// Who has the message, and since when.
    Info,
    /// Show all of a long message, or fold it again.
    Unfold,
    /// Look for what was sent before.
    Recall,
    /// Write an answer below what was said.
    Reply,
    /// What can be done with the message.
    Menu,
    /// Write the draft in an editor of one's own.
    Editor,
    /// Back to writing.
    Compose,
    /// Let in who waits at the door.
    Approve,
    /// Ban the selected member.
    Ban,
    /// Kick the selected member.
    Kick,
    /// Lift the selected ban.
    Unban,
    /// Make the selected member the host.
    Handover,
    /// Show more or less of the log.
    Filter,
    /// Show who reaches whom, or the heartbeat again.
    Ways,
    /// Turn an option on or off.
    Toggle,
    /// Show or hide the password.
    Reveal,
    /// Forget the selected recent network.
    Forget,
    /// Open a network.
    Host,
    /// Join one.
    Join,
    /// Try it out.
    Demo,
    /// Close what is on top.
    Close,
    /// Stash the draft, or ask whether to quit.
    Interrupt,
    /// Draw everything anew.
    Redraw,
    /// Give the terminal back for a while.
    Suspend,
}

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Which.
    pub code: KeyCode,
    /// With what held down.
    pub modifiers: KeyModifiers,
}

impl Key {
    /// True for a key that types a character where text is written.
    fn is_letter(self) -> bool {
        matches!(self.code, KeyCode::Char(_))
            && !self.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (modifier, name) in
            [(KeyModifiers::CONTROL, "Ctrl-"), (KeyModifiers::ALT, "Alt-"), (KeyModifiers::SHIFT, "Shift-")]
        {
            if self.modifiers.contains(modifier) {
                f.write_str(name)?;
            }
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("Space"),
            KeyCode::Char(c) if self.modifiers.is_empty() => write!(f, "{c}"),
            KeyCode::Char(c) => write!(f, "{}", c.to_uppercase()),
            KeyCode::F(number) => write!(f, "F{number}"),
            KeyCode::BackTab => f.write_str("Shift-Tab"),
            KeyCode::PageUp => f.write_str("PgUp"),
            KeyCode::PageDown => f.write_str("PgDn"),
            KeyCode::Delete => f.write_str("Del"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            code => write!(f, "{code:?}"),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Where it holds.
    pub contexts: &'static [Context],
    /// Any of these keys.
    pub keys: Cow<'static, [Key]>,
    /// What it does.
    pub action: Action,
    /// In words, for the help.
    pub help: &'static str,
    /// In a word or two for the hint line; empty = not shown there.
    pub hint: &'static str,
}

impl Context {
    /// A key without Ctrl or Alt is a letter there.
    fn types(self) -> bool {
        matches!(self, Self::Compose | Self::Form | Self::Prompt | Self::Room | Self::Everywhere)
    }

    /// True when both contexts can hold at the same time.
    fn meets(self, other: Self) -> bool {
        use Context as C;
        let is_view = |context| matches!(context, C::Admin | C::Log | C::Heartbeat);
        let in_room = |context| matches!(context, C::Compose | C::Browse) || is_view(context);
        let meet = |a, b| match (a, b) {
            (C::Everywhere, _) => true,
            (C::Room, b) => in_room(b),
            (C::Browse, b) => is_view(b),
            _ => false,
        };
        self == other || meet(self, other) || meet(other, self)
    }
}

/// What is wrong with a change of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbindable {
    /// The action whose keys were to be changed.
    pub name: String,
    /// What was found.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

/// The keys as they are here: those of the table, with what a person has changed.
#[derive(Debug, Clone)]
pub struct Keymap {
    rows: Vec<Binding>,
}

impl Default for Keymap {
    fn default() -> Self {
        Self { rows: TABLE.to_vec() }
    }
}

impl Keymap {
    /// The table with other keys for some actions, by their names. A letter alone is bound only where letters act: where text
    /// is written it types itself.
    pub fn with(changes: &BTreeMap<String, Vec<String>>) -> Result<Self, Unbindable> {
        let mut keymap = Self::default();
        let mut new = Vec::new();
        for (name, keys) in changes {
            let action = names::action(name).ok_or_else(|| Unbindable {
                name: name.clone(),
                found: "no action".to_owned(),
                allowed: names::like(name),
            })?;
            let keys = keys.iter().map(|key| names::key(name, key)).collect::<Result<Vec<Key>, _>>()?;
            keymap.rebind(name, action, &keys, &mut new)?;
        }
        for (row, key) in new {
            keymap.conflict(row, key)?;
        }
        Ok(keymap)
    }

    fn rebind(
        &mut self,
        name: &str,
        action: Action,
        keys: &[Key],
        new: &mut Vec<(usize, Key)>,
    ) -> Result<(), Unbindable> {
        let (mut is_bound, mut is_lost) = (false, false);
        for (at, row) in self.rows.iter_mut().enumerate().filter(|(_, row)| row.action == action) {
            let types = row.contexts.iter().any(|context| context.types());
            let own: Vec<Key> = keys.iter().filter(|key| !(types && key.is_letter())).copied().collect();
            new.extend(own.iter().filter(|key| !row.keys.contains(key)).map(|key| (at, *key)));
            is_bound |= !own.is_empty();
            is_lost |= own.is_empty();
            row.keys = own.into();
        }
        let wrong = |found: &str, allowed: &str| Unbindable {
            name: name.to_owned(),
            found: found.to_owned(),
            allowed: allowed.to_owned(),
        };
        match (is_bound, keys.first()) {
            (false, Some(key)) => Err(wrong(
                &format!("{key}"),
                "where one writes a letter alone is typed; a key with Ctrl or Alt, or one such as F6, is allowed",
            )),
            _ if is_lost && matches!(action, Action::Interrupt | Action::Submit | Action::Close) => {
                Err(wrong(
                    &keys.first().map_or("no key".to_owned(), Key::to_string),
                    "it needs a key everywhere, also where letters are typed: one with Ctrl or Alt, or one such as F6",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether a new key of a row does something else where it can be pressed.
    fn conflict(&self, row: usize, key: Key) -> Result<(), Unbindable> {
        let Some(changed) = self.rows.get(row) else { return Ok(()) };
        let meets = |other: &&Binding| {
            let met = |context: &Context| other.contexts.iter().any(|there| context.meets(*there));
            other.action != changed.action && other.keys.contains(&key) && changed.contexts.iter().any(met)
        };
        match self.rows.iter().find(meets) {
            None => Ok(()),
            Some(other) => Err(Unbindable {
                name: names::name(changed.action).to_owned(),
                found: key.to_string(),
                allowed: format!(
                    "{key} does {} there; give that another key, or take one that is free",
                    names::name(other.action)
                ),
            }),
        }
    }

    /// What a key does in these contexts, the first context first.
    #[must_use]
    pub fn action(&self, contexts: &[Context], event: &KeyEvent) -> Option<Action> {
        let key = normal(event);
        let bound = |context: &Context| {
            let mut rows = self.rows.iter().filter(|binding| binding.contexts.contains(context));
            rows.find(|binding| binding.keys.contains(&key)).map(|binding| binding.action)
        };
        contexts.iter().find_map(bound)
    }

    /// The key for an action in these contexts, the first context first.
    #[must_use]
    pub fn key(&self, contexts: &[Context], action: Action) -> Option<String> {
        let bound = |context: &Context| {
            let mut rows = self.rows.iter().filter(|row| row.contexts.contains(context));
            rows.find(|row| row.action == action).and_then(|row| row.keys.first())
        };
        contexts.iter().find_map(bound).map(Key::to_string)
    }
}

/// Terminals differ on whether a capital letter has Shift held down, and on what Backspace sends; keyboards on what stands
/// where the Latin letters are.
fn normal(event: &KeyEvent) -> Key {
    let (mut code, mut modifiers) = (event.code, event.modifiers);
    if matches!(code, KeyCode::Char(_) | KeyCode::BackTab | KeyCode::Backspace | KeyCode::Delete) {
        modifiers.remove(KeyModifiers::SHIFT);
    }
    if let (KeyCode::Char(c), true) = (code, modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT))
    {
        code = KeyCode::Char(latin(c));
    }
    if (code, modifiers) == (KeyCode::Char('h'), KeyModifiers::CONTROL) {
        (code, modifiers) = (KeyCode::Backspace, KeyModifiers::NONE);
    }
    Key { code, modifiers }
}

/// The Latin letter on the key that has this one in another layout.
fn latin(c: char) -> char {
    const LATIN: &str = "qwertyuiopasdfghjklzxcvbnm";
    const OTHERS: [&str; 4] = [
        // Russian, Ukrainian, Greek, Hebrew.
        "йцукенгшщзфывапролдячсмить",
        "йцукенгшщзфівапролдячсмить",
        ";ςερτυθιοπασδφγηξκλζχψωβνμ",
        "/'קראטוןםפשדגכעיחלךזסבהנמצ",
    ];
    let small = c.to_lowercase().next().unwrap_or(c);
    let at =
        OTHERS.iter().find_map(|layout| layout.chars().position(|other| other == small && !c.is_ascii()));
    at.and_then(|at| LATIN.chars().nth(at)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::{
        table::{EDITORS, ctrl, letter},
        *,
    };
    use KeyCode::{Backspace, Delete};

    #[test]
    fn no_key_is_bound_twice_in_a_context() {
        for (at, binding) in TABLE.iter().enumerate() {
            for other in &TABLE[at + 1..] {
                let shared = binding.contexts.iter().find(|context| other.contexts.contains(context));
                if let Some(context) = shared {
                    for key in binding.keys.iter() {
                        assert!(!other.keys.contains(key), "{key} in {context:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn keys_with_ctrl_are_where_they_are_on_other_keyboards() {
        for (typed, meant) in
            [('с', 'c'), ('С', 'c'), ('щ', 'o'), ('ψ', 'c'), ('ב', 'c'), ('é', 'é'), ('c', 'c')]
        {
            let event = KeyEvent::new(KeyCode::Char(typed), KeyModifiers::CONTROL);
            assert_eq!(normal(&event), ctrl(meant), "{typed}");
        }
        assert_eq!(normal(&KeyEvent::new(KeyCode::Char('с'), KeyModifiers::NONE)), letter('с'), "a letter");
    }

    #[test]
    fn backspace_is_backspace_whatever_the_terminal_sends_for_it() {
        for (code, modifiers, edit) in [
            (KeyCode::Char('h'), KeyModifiers::CONTROL, Edit::Backspace),
            (Backspace, KeyModifiers::SHIFT, Edit::Backspace),
            (Backspace, KeyModifiers::CONTROL, Edit::CutWord),
            (Backspace, KeyModifiers::ALT, Edit::CutWord),
            (Delete, KeyModifiers::SHIFT, Edit::Delete),
            (Delete, KeyModifiers::CONTROL, Edit::CutWordRight),
            (KeyCode::Left, KeyModifiers::CONTROL, Edit::WordLeft),
            (KeyCode::Right, KeyModifiers::ALT, Edit::WordRight),
        ] {
            for context in EDITORS {
                let found = Keymap::default().action(&[*context], &KeyEvent::new(code, modifiers));
                assert_eq!(found, Some(Action::Edit(edit)), "{modifiers:?} {code:?} in {context:?}");
            }
        }
    }

    #[test]
    fn nothing_in_a_question_is_done_by_a_letter() {
        let letters = TABLE.iter().filter(|binding| binding.contexts.contains(&Context::Dialog));
        let keys = letters.flat_map(|binding| binding.keys.iter());
        assert!(keys.into_iter().all(|key| !matches!(key.code, KeyCode::Char(c) if c != ' ')));
    }

    #[test]
    fn keys_that_terminals_need_are_not_bound() {
        for forbidden in ['i', 'm', '[', 'h', 's', 'q'] {
            assert!(TABLE.iter().all(|binding| !binding.keys.contains(&ctrl(forbidden))), "Ctrl-{forbidden}");
        }
    }
}
