//! The one table of keys: the dispatcher, the help overlay and the hint line all read it.
//!
//! Never bound, since terminals or people need them: Ctrl-I, Ctrl-M, Ctrl-[, Ctrl-H, Ctrl-S, Ctrl-Q.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

mod help;

pub use self::help::{Group, grouped_help, help, hints};
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
    /// Back to writing.
    Compose,
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

const fn plain(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

const fn letter(c: char) -> Key {
    plain(KeyCode::Char(c))
}

const fn ctrl(c: char) -> Key {
    Key { code: KeyCode::Char(c), modifiers: KeyModifiers::CONTROL }
}

const fn alt(c: char) -> Key {
    Key { code: KeyCode::Char(c), modifiers: KeyModifiers::ALT }
}

const fn with(code: KeyCode, modifiers: KeyModifiers) -> Key {
    Key { code, modifiers }
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
#[derive(Debug)]
pub struct Binding {
    /// Where it holds.
    pub contexts: &'static [Context],
    /// Any of these keys.
    pub keys: &'static [Key],
    /// What it does.
    pub action: Action,
    /// In words, for the help.
    pub help: &'static str,
    /// In a word or two for the hint line; empty = not shown there.
    pub hint: &'static str,
}

const fn bind(
    contexts: &'static [Context],
    keys: &'static [Key],
    action: Action,
    help: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { contexts, keys, action, help, hint }
}

use Action as A;
use Context as C;
use KeyCode::{BackTab, Backspace, Delete, End, Enter, Esc, F, Home, PageDown, PageUp, Tab};

const EDITORS: &[Context] = &[C::Compose, C::Form, C::Prompt];

/// All keys. Within a context the first row that binds a key wins.
pub const TABLE: &[Binding] = &[
    // Composing.
    bind(&[C::Compose], &[plain(Enter)], A::Submit, "send", "send"),
    bind(
        &[C::Compose],
        &[with(Enter, KeyModifiers::ALT), ctrl('j'), with(Enter, KeyModifiers::SHIFT)],
        A::Edit(Edit::Newline),
        "new line",
        "new line",
    ),
    bind(
        &[C::Compose],
        &[plain(Tab)],
        A::Next,
        "complete a name or an emoji such as :smile; on an empty line, next pane",
        "complete",
    ),
    bind(&[C::Compose], &[plain(BackTab)], A::Previous, "on an empty line, previous pane", ""),
    bind(
        &[C::Compose],
        &[letter('/')],
        A::Palette,
        "on an empty line: commands (// sends a slash)",
        "commands",
    ),
    bind(
        &[C::Compose],
        &[plain(KeyCode::Up)],
        A::Up,
        "line up; on the first, the stashed draft, or what was sent before",
        "",
    ),
    bind(
        &[C::Compose],
        &[plain(KeyCode::Down)],
        A::Down,
        "line down; on the last, what was sent after it",
        "",
    ),
    bind(&[C::Compose], &[ctrl('r')], A::Recall, "look for what was sent before", ""),
    bind(&[C::Compose], &[plain(Esc)], A::Close, "browse: letters act", "browse"),
    // Browsing.
    bind(&[C::Admin], &[letter('b')], A::Ban, "ban the selected member", "ban"),
    bind(&[C::Admin], &[letter('x')], A::Kick, "kick the selected member", "kick"),
    bind(&[C::Admin], &[letter('u')], A::Unban, "lift the selected ban", "unban"),
    bind(
        &[C::Admin],
        &[letter('h')],
        A::Handover,
        "hand the network over to the selected member",
        "hand over",
    ),
    bind(&[C::Log], &[letter('f')], A::Filter, "filter: all, warnings, errors", "filter"),
    bind(
        &[C::Heartbeat],
        &[letter('w')],
        A::Ways,
        "who reaches whom; again: the heartbeat",
        "who reaches whom",
    ),
    bind(&[C::Browse], &[letter('i'), plain(Enter)], A::Compose, "write", "write"),
    bind(&[C::Browse], &[letter('k'), plain(KeyCode::Up)], A::Up, "up", "move"),
    bind(&[C::Browse], &[letter('j'), plain(KeyCode::Down)], A::Down, "down", ""),
    bind(&[C::Browse], &[ctrl('u')], A::HalfUp, "half a page up", ""),
    bind(&[C::Browse], &[ctrl('d')], A::HalfDown, "half a page down", ""),
    bind(&[C::Browse], &[letter('g'), plain(Home)], A::Top, "to the first", ""),
    bind(&[C::Browse], &[letter('G'), plain(End)], A::Bottom, "to the last", ""),
    bind(&[C::Browse], &[letter('y')], A::Copy, "copy the message at the mark", "copy"),
    bind(
        &[C::Browse],
        &[letter('r')],
        A::Reply,
        "answer the message at the mark, with a quote of it",
        "reply",
    ),
    bind(&[C::Browse], &[letter('I')], A::Info, "who has the message at the mark, and since when", "info"),
    bind(&[C::Browse], &[letter('o')], A::Unfold, "all lines of the message at the mark, or fold it", ""),
    bind(&[C::Browse], &[letter('u')], A::NextUnread, "next unread conversation", ""),
    bind(&[C::Browse], &[letter('/')], A::Search, "search", "search"),
    bind(&[C::Browse], &[letter('n')], A::FindOlder, "next match, older", ""),
    bind(&[C::Browse], &[letter('N')], A::FindNewer, "next match, newer", ""),
    bind(&[C::Browse], &[letter(':')], A::Palette, "commands", "commands"),
    bind(&[C::Browse], &[letter('?')], A::Help, "this help", "help"),
    bind(&[C::Browse], &[plain(Tab)], A::Next, "next pane", "pane"),
    bind(&[C::Browse], &[plain(BackTab)], A::Previous, "previous pane", ""),
    bind(&[C::Browse], &[plain(Esc)], A::Close, "to the newest; there, back to writing", ""),
    // Anywhere in a room.
    bind(&[C::Room], &[plain(F(2))], A::ViewChat, "chat", ""),
    bind(&[C::Room], &[plain(F(3))], A::ViewAdmin, "admin: members, attempts, bans", ""),
    bind(&[C::Room], &[plain(F(4))], A::ViewHeartbeat, "heartbeat", ""),
    bind(&[C::Room], &[plain(F(5))], A::ViewLog, "log", ""),
    bind(&[C::Room], &[ctrl('n')], A::NextConversation, "next conversation", "next chat"),
    bind(&[C::Room], &[ctrl('p')], A::PreviousConversation, "previous conversation", ""),
    bind(&[C::Room], &[ctrl('o')], A::GoTo, "go to a conversation by name", "go to"),
    bind(
        &[C::Room],
        &[alt('1'), alt('2'), alt('3'), alt('4'), alt('5'), alt('6'), alt('7'), alt('8'), alt('9')],
        A::Jump,
        "jump to a conversation",
        "",
    ),
    bind(&[C::Room], &[alt('a')], A::NextUnread, "next unread conversation", ""),
    bind(&[C::Room], &[plain(PageUp)], A::PageUp, "page up", ""),
    bind(&[C::Room], &[plain(PageDown)], A::PageDown, "page down", ""),
    bind(&[C::Room], &[with(End, KeyModifiers::CONTROL)], A::Bottom, "to the newest message", ""),
    bind(&[C::Room], &[ctrl('f')], A::Search, "search everything that was said", ""),
    // The launch screen.
    bind(&[C::Launch], &[plain(Enter)], A::Submit, "choose", "choose"),
    bind(&[C::Launch], &[plain(KeyCode::Up), letter('k'), plain(BackTab)], A::Up, "up", "move"),
    bind(&[C::Launch], &[plain(KeyCode::Down), letter('j'), plain(Tab)], A::Down, "down", ""),
    bind(&[C::Launch], &[plain(Delete)], A::Forget, "forget this recent network and its key", ""),
    bind(&[C::Launch], &[letter('?')], A::Help, "this help", "help"),
    bind(&[C::Form], &[plain(Enter)], A::Submit, "next field; on the last one, go", "go on"),
    bind(&[C::Form], &[plain(Tab), plain(KeyCode::Down)], A::Next, "next field", "next field"),
    bind(&[C::Form], &[plain(BackTab), plain(KeyCode::Up)], A::Previous, "previous field", ""),
    bind(&[C::Form], &[ctrl('r')], A::Reveal, "show or hide the password", "show password"),
    bind(&[C::Form], &[plain(Esc)], A::Close, "back", "back"),
    // Questions, prompts, help.
    bind(&[C::Dialog], &[plain(Enter)], A::Submit, "do what is chosen", "choose"),
    bind(&[C::Dialog], &[letter(' ')], A::Toggle, "turn the option on or off", "on/off"),
    bind(&[C::Dialog], &[plain(KeyCode::Left), plain(BackTab), plain(KeyCode::Up)], A::Left, "before", ""),
    bind(&[C::Dialog], &[plain(KeyCode::Right), plain(Tab), plain(KeyCode::Down)], A::Right, "next", "move"),
    bind(&[C::Dialog], &[plain(Esc)], A::Close, "cancel", "cancel"),
    bind(&[C::Prompt], &[plain(Enter)], A::Submit, "do it", "do it"),
    bind(&[C::Prompt], &[plain(Tab)], A::Next, "complete", "complete"),
    bind(&[C::Prompt], &[plain(KeyCode::Up)], A::Up, "up", ""),
    bind(&[C::Prompt], &[plain(KeyCode::Down)], A::Down, "down", ""),
    bind(&[C::Prompt], &[plain(Esc)], A::Close, "close", "close"),
    bind(&[C::Help], &[plain(Esc), letter('q'), plain(Enter), letter('?')], A::Close, "close", "close"),
    bind(&[C::Help], &[plain(KeyCode::Up), letter('k')], A::Up, "up", "move"),
    bind(&[C::Help], &[plain(KeyCode::Down), letter('j')], A::Down, "down", ""),
    bind(&[C::Help], &[plain(PageUp)], A::PageUp, "page up", ""),
    bind(&[C::Help], &[plain(PageDown)], A::PageDown, "page down", ""),
    // Editing, in every editor.
    bind(EDITORS, &[ctrl('a'), plain(Home)], A::Edit(Edit::LineStart), "to the start of the line", ""),
    bind(EDITORS, &[ctrl('e'), plain(End)], A::Edit(Edit::LineEnd), "to the end of the line", ""),
    bind(EDITORS, &[ctrl('k')], A::Edit(Edit::CutToEnd), "cut to the end of the line", ""),
    bind(EDITORS, &[ctrl('u')], A::Edit(Edit::CutToStart), "cut to the start of the line", ""),
    bind(
        EDITORS,
        &[ctrl('w'), with(Backspace, KeyModifiers::CONTROL), with(Backspace, KeyModifiers::ALT)],
        A::Edit(Edit::CutWord),
        "cut a word",
        "",
    ),
    bind(
        EDITORS,
        &[with(Delete, KeyModifiers::CONTROL), with(Delete, KeyModifiers::ALT), alt('d')],
        A::Edit(Edit::CutWordRight),
        "cut the next word",
        "",
    ),
    bind(EDITORS, &[ctrl('y')], A::Edit(Edit::PutBack), "put back what was cut", ""),
    bind(
        EDITORS,
        &[alt('b'), with(KeyCode::Left, KeyModifiers::CONTROL), with(KeyCode::Left, KeyModifiers::ALT)],
        A::Edit(Edit::WordLeft),
        "a word back",
        "",
    ),
    bind(
        EDITORS,
        &[alt('f'), with(KeyCode::Right, KeyModifiers::CONTROL), with(KeyCode::Right, KeyModifiers::ALT)],
        A::Edit(Edit::WordRight),
        "a word on",
        "",
    ),
    bind(EDITORS, &[plain(KeyCode::Left)], A::Edit(Edit::Left), "left", ""),
    bind(EDITORS, &[plain(KeyCode::Right)], A::Edit(Edit::Right), "right", ""),
    bind(EDITORS, &[plain(Backspace)], A::Edit(Edit::Backspace), "remove the character before", ""),
    bind(EDITORS, &[plain(Delete)], A::Edit(Edit::Delete), "remove the character after", ""),
    // Everywhere.
    bind(&[C::Everywhere], &[plain(F(1))], A::Help, "help for where you are", "help"),
    bind(
        &[C::Everywhere],
        &[ctrl('c')],
        A::Interrupt,
        "stash a draft; with none, quit (it asks first in a room; again: leaves)",
        "quit",
    ),
    bind(&[C::Everywhere], &[ctrl('l')], A::Redraw, "draw the screen anew", ""),
    bind(&[C::Everywhere], &[ctrl('z')], A::Suspend, "suspend", ""),
];

/// What a key does in these contexts, the first context first.
#[must_use]
pub fn action(contexts: &[Context], event: &KeyEvent) -> Option<Action> {
    let key = normal(event);
    contexts.iter().find_map(|context| {
        TABLE
            .iter()
            .find(|binding| binding.contexts.contains(context) && binding.keys.contains(&key))
            .map(|binding| binding.action)
    })
}

/// Terminals differ on whether a capital letter has Shift held down, and on what Backspace sends; keyboards on what stands
/// where the Latin letters are.
fn normal(event: &KeyEvent) -> Key {
    let (mut code, mut modifiers) = (event.code, event.modifiers);
    if matches!(code, KeyCode::Char(_) | KeyCode::BackTab | Backspace | Delete) {
        modifiers.remove(KeyModifiers::SHIFT);
    }
    if let (KeyCode::Char(c), true) = (code, modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT))
    {
        code = KeyCode::Char(latin(c));
    }
    if (code, modifiers) == (KeyCode::Char('h'), KeyModifiers::CONTROL) {
        (code, modifiers) = (Backspace, KeyModifiers::NONE);
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
    use super::*;

    #[test]
    fn no_key_is_bound_twice_in_a_context() {
        for (at, binding) in TABLE.iter().enumerate() {
            for other in &TABLE[at + 1..] {
                let shared = binding.contexts.iter().find(|context| other.contexts.contains(context));
                if let Some(context) = shared {
                    for key in binding.keys {
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
                let found = action(&[*context], &KeyEvent::new(code, modifiers));
                assert_eq!(found, Some(Action::Edit(edit)), "{modifiers:?} {code:?} in {context:?}");
            }
        }
    }

    #[test]
    fn nothing_in_a_question_is_done_by_a_letter() {
        let letters = TABLE.iter().filter(|binding| binding.contexts.contains(&C::Dialog));
        let keys = letters.flat_map(|binding| binding.keys);
        assert!(keys.into_iter().all(|key| !matches!(key.code, KeyCode::Char(c) if c != ' ')));
    }

    #[test]
    fn keys_that_terminals_need_are_not_bound() {
        for forbidden in ['i', 'm', '[', 'h', 's', 'q'] {
            assert!(TABLE.iter().all(|binding| !binding.keys.contains(&ctrl(forbidden))), "Ctrl-{forbidden}");
        }
    }
}
