//! What actions and keys are called in the configuration.

use crossterm::event::{KeyCode, KeyModifiers};

use super::{Action, Edit, Key, TABLE, Unbindable};

/// The name of an action.
pub(super) fn name(action: Action) -> &'static str {
    match action {
        Action::Help => "help",
        Action::ViewChat => "chat",
        Action::ViewAdmin => "admin",
        Action::ViewHeartbeat => "heartbeat",
        Action::ViewLog => "log",
        Action::Submit => "submit",
        Action::Up => "up",
        Action::Down => "down",
        Action::Left => "left",
        Action::Right => "right",
        Action::Next => "next",
        Action::Previous => "previous",
        Action::Edit(edit) => edit_name(edit),
        Action::Palette => "commands",
        Action::NextConversation => "next-conversation",
        Action::PreviousConversation => "previous-conversation",
        Action::GoTo => "go-to",
        Action::Jump => "jump",
        Action::NextUnread => "next-unread",
        Action::PageUp => "page-up",
        Action::PageDown => "page-down",
        Action::HalfUp => "half-up",
        Action::HalfDown => "half-down",
        Action::Top => "top",
        Action::Bottom => "bottom",
        Action::Search => "search",
        Action::FindOlder => "find-older",
        Action::FindNewer => "find-newer",
        Action::Copy => "copy",
        Action::Info => "info",
        Action::Menu => "menu",
        Action::Unfold => "unfold",
        Action::Recall => "recall",
        Action::Reply => "reply",
        Action::Editor => "editor",
        Action::Compose => "write",
        Action::Approve => "approve",
        Action::Ban => "ban",
        Action::Kick => "kick",
        Action::Unban => "unban",
        Action::Handover => "handover",
        Action::Filter => "filter",
        Action::Ways => "who-reaches-whom",
        Action::Toggle => "toggle",
        Action::Reveal => "reveal",
        Action::Forget => "forget",
        Action::Host => "host",
        Action::Join => "join",
        Action::Demo => "demo",
        Action::Close => "close",
        Action::Interrupt => "quit",
        Action::Redraw => "redraw",
        Action::Suspend => "suspend",
    }
}

fn edit_name(edit: Edit) -> &'static str {
    match edit {
        Edit::Left => "cursor-left",
        Edit::Right => "cursor-right",
        Edit::WordLeft => "word-left",
        Edit::WordRight => "word-right",
        Edit::LineStart => "line-start",
        Edit::LineEnd => "line-end",
        Edit::Backspace => "backspace",
        Edit::Delete => "delete",
        Edit::CutToEnd => "cut-to-end",
        Edit::CutToStart => "cut-to-start",
        Edit::CutWord => "cut-word",
        Edit::CutWordRight => "cut-next-word",
        Edit::PutBack => "put-back",
        Edit::Newline => "new-line",
    }
}

/// The names of all actions that keys do.
pub(super) fn all() -> Vec<&'static str> {
    let mut names: Vec<&str> = TABLE.iter().map(|row| name(row.action)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What to say of a name that no action has: the ones that look like it, or all.
pub(super) fn like(wanted: &str) -> String {
    let mut near: Vec<(f64, &str)> =
        all().into_iter().map(|name| (strsim::jaro_winkler(wanted, name), name)).collect();
    near.retain(|(likeness, _)| *likeness > 0.85);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    let names: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
    match names.as_slice() {
        [] => format!("the actions are {}", all().join(", ")),
        names => format!("there is {}", names.join(", or ")),
    }
}

/// The action with this name.
pub(super) fn action(wanted: &str) -> Option<Action> {
    TABLE.iter().map(|row| row.action).find(|action| name(*action) == wanted)
}

/// Terminals or people need these: the terminal sends them for other keys, or does something itself.
const NEEDED: [char; 6] = ['i', 'm', '[', 'h', 's', 'q'];

/// A key as help writes it: `Ctrl-G`, `Alt-Enter`, `F6`, `Up`, `x`.
pub(super) fn key(action: &str, written: &str) -> Result<Key, Unbindable> {
    let wrong = |allowed: &str| Unbindable {
        name: action.to_owned(),
        found: format!("{written:?}"),
        allowed: allowed.to_owned(),
    };
    let mut modifiers = KeyModifiers::NONE;
    let mut rest = written;
    for (prefix, modifier) in
        [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
    {
        if let Some(after) = rest.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix)) {
            modifiers |= modifier;
            rest = rest.get(after.len()..).unwrap_or_default();
        }
    }
    let mut letters = rest.chars();
    let code = match (letters.next(), letters.next()) {
        (Some(_), None) if named(rest).is_some() => named(rest),
        (Some(c), None) if modifiers.contains(KeyModifiers::SHIFT) => {
            modifiers.remove(KeyModifiers::SHIFT);
            Some(KeyCode::Char(c.to_uppercase().next().unwrap_or(c)))
        }
        // With Ctrl or Alt a capital letter is the same key.
        (Some(c), None) if !modifiers.is_empty() => Some(KeyCode::Char(c.to_ascii_lowercase())),
        (Some(c), None) => Some(KeyCode::Char(c)),
        _ => named(rest),
    };
    let Some(code) = code else {
        return Err(wrong("a key such as Ctrl-G, Alt-Enter, F6, PgUp, Up, Space or x is allowed"));
    };
    let (code, modifiers) = match (code, modifiers) {
        (KeyCode::Tab, KeyModifiers::SHIFT) => (KeyCode::BackTab, KeyModifiers::NONE),
        other => other,
    };
    if matches!(code, KeyCode::Char(c) if modifiers == KeyModifiers::CONTROL && NEEDED.contains(&c)) {
        return Err(wrong("terminals need Ctrl-I, M, [, H, S and Q for themselves; another key is allowed"));
    }
    Ok(Key { code, modifiers })
}

fn named(word: &str) -> Option<KeyCode> {
    let word = word.to_ascii_lowercase();
    if let Some(number) = word.strip_prefix('f').and_then(|number| number.parse().ok()) {
        return (1..=24).contains(&number).then_some(KeyCode::F(number));
    }
    Some(match word.as_str() {
        "space" => KeyCode::Char(' '),
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "backspace" => KeyCode::Backspace,
        "del" | "delete" => KeyCode::Delete,
        "ins" | "insert" => KeyCode::Insert,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "up" | "↑" => KeyCode::Up,
        "down" | "↓" => KeyCode::Down,
        "left" | "←" => KeyCode::Left,
        "right" | "→" => KeyCode::Right,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keymap::{Context, Keymap};

    fn changed(changes: &[(&str, &[&str])]) -> Result<Keymap, Unbindable> {
        let list = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        Keymap::with(&changes.iter().map(|(name, keys)| ((*name).to_owned(), list(keys))).collect())
    }

    #[test]
    fn every_key_is_read_as_help_writes_it_and_every_action_has_a_name_of_its_own() {
        for row in TABLE {
            assert_eq!(action(name(row.action)), Some(row.action), "{}", row.help);
            for bound in row.keys.iter() {
                assert_eq!(key("x", &bound.to_string()).as_ref(), Ok(bound), "{bound}");
            }
        }
    }

    #[test]
    fn keys_are_changed_where_they_can_be() {
        let keymap = changed(&[("search", &["Ctrl-G", "s"]), ("go-to", &["Ctrl-F"])]).unwrap();
        let press = |key: &str, contexts: &[Context]| {
            let Key { code, modifiers } = super::key("", key).unwrap();
            keymap.action(contexts, &crossterm::event::KeyEvent::new(code, modifiers))
        };
        let (write, read) = ([Context::Compose, Context::Room], [Context::Browse, Context::Room]);
        assert_eq!(press("Ctrl-G", &write), Some(Action::Search));
        assert_eq!(press("s", &write), None, "a letter is a letter where one writes");
        assert_eq!(press("s", &read), Some(Action::Search));
        assert_eq!(press("/", &read), None, "it has other keys now");
        assert_eq!(press("Ctrl-F", &read), Some(Action::GoTo));
        assert!(changed(&[("search", &["Ctrl-F", "/"])]).is_ok(), "what it had before");
        assert!(changed(&[("reply", &[])]).is_ok(), "no key at all");
    }

    #[test]
    fn what_cannot_be_says_with_what_it_meets() {
        for (name, keys, words) in [
            ("search", &["Ctrl-O"][..], "Ctrl-O does go-to there"),
            ("log", &["Ctrl-R"], "Ctrl-R does recall there"),
            ("copy", &["u"], "u does unban there"),
            ("help", &["Ctrl-C"], "Ctrl-C does quit there"),
            ("go-to", &["g"], "a letter alone is typed"),
            ("go-to", &["Ctrl-Fn"], "a key such as"),
            ("go-to", &["Ctrl-S"], "terminals need"),
            ("quit", &[], "it needs a key everywhere"),
            ("submit", &["x"], "it needs a key everywhere"),
            ("fly", &["f"], "the actions are admin, approve, backspace"),
        ] {
            let wrong = changed(&[(name, keys)]).unwrap_err();
            assert!(wrong.allowed.contains(words), "{name} {keys:?}: {wrong:?}");
        }
    }
}
