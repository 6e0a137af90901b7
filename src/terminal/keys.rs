//! What comes from the terminal and is no key: its own late answers, and a paste that it does not mark as one.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};

use crate::model::limits;

/// Arrows at once that are a notch of the wheel, at least.
const WHEEL_ARROWS: usize = 3;

/// Tells keys from answers and pastes. It decides by what comes, never by when.
#[derive(Debug, Default)]
pub(super) struct Keys {
    answer: Answer,
    /// The events that may be the beginning of an answer.
    held: Vec<Event>,
    /// Keys of the answer that was begun, so far.
    length: usize,
    /// What came last was a part of a paste.
    is_pasting: bool,
}

/// How far an answer of the terminal has come: OSC, DCS and APC begin with ESC and a letter, which looks like a key with Alt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Answer {
    #[default]
    None,
    /// `ESC ]`: numbers follow, and a semicolon.
    Command,
    /// `ESC P`: what it answers follows, in two signs.
    Device,
    /// `ESC _`: a `G` follows.
    Application,
    /// It is one, and goes on to its end.
    Certain,
}

impl Keys {
    /// What came from the terminal at once, in order: what of it is keys, pastes and the rest.
    pub(super) fn take(&mut self, events: Vec<Event>) -> Vec<Event> {
        let mut keys = Vec::new();
        for event in wheel(events) {
            self.answer(event, &mut keys);
        }
        self.paste(keys)
    }

    fn answer(&mut self, event: Event, keys: &mut Vec<Event>) {
        let Event::Key(key) = &event else { return keys.push(event) };
        let sign = match key.code {
            KeyCode::Char(c) if plain(key) => Some(c),
            _ => None,
        };
        let next = match (self.answer, sign) {
            (Answer::None, _) => begun(key),
            (Answer::Command, Some('0'..='9')) => Answer::Command,
            (Answer::Command, Some(';')) if self.held.len() > 1 => Answer::Certain,
            (Answer::Device, Some('0' | '1' | '>' | '!')) if self.held.len() == 1 => Answer::Device,
            (Answer::Device, Some('+' | '$' | '|')) if self.held.len() == 2 => Answer::Certain,
            (Answer::Application, Some('G')) => Answer::Certain,
            (Answer::Certain, _) if self.length >= limits::ANSWER_KEYS || is_end(key) => {
                (self.answer, self.length) = (Answer::None, 0);
                return;
            }
            (Answer::Certain, _) => {
                self.length += 1;
                return;
            }
            (Answer::Command | Answer::Device | Answer::Application, _) => {
                // They were keys.
                keys.append(&mut self.held);
                begun(key)
            }
        };
        match next {
            Answer::None => keys.push(event),
            Answer::Certain => self.held.clear(),
            _ => self.held.push(event),
        }
        self.answer = next;
    }

    /// Lines that come at once are a paste of a terminal that does not say so: they are text, and send nothing. One line
    /// with Enter at its end may as well be typed by a program.
    fn paste(&mut self, mut events: Vec<Event>) -> Vec<Event> {
        // A paste begins with text. Enter before it is a key, and what came with it was typed meanwhile.
        let is_enter = |event: &Event| event.as_key_event().is_some_and(|key| key.code == KeyCode::Enter);
        let typed =
            if self.is_pasting { 0 } else { events.iter().take_while(|event| is_enter(event)).count() };
        let mut typed: Vec<Event> = events.drain(..typed).collect();
        typed.extend(self.paste_or_keys(events));
        typed
    }

    fn paste_or_keys(&mut self, events: Vec<Event>) -> Vec<Event> {
        let keys: Vec<KeyEvent> = events.iter().filter_map(Event::as_key_event).collect();
        let is_text = |key: &KeyEvent| {
            plain(key) && matches!(key.code, KeyCode::Char(_) | KeyCode::Enter | KeyCode::Tab)
        };
        let lines = keys.iter().rev().skip(1).any(|key| key.code == KeyCode::Enter);
        let is_paste = keys.len() > 1
            && keys.iter().all(is_text)
            && (self.is_pasting || (lines && keys.len() >= limits::PASTE_KEYS));
        if !keys.is_empty() {
            self.is_pasting = is_paste;
        }
        if !is_paste {
            return events;
        }
        let text = keys.iter().filter_map(|key| match key.code {
            KeyCode::Char(c) => Some(c),
            KeyCode::Enter => Some('\n'),
            KeyCode::Tab => Some('\t'),
            _ => None,
        });
        let text = Event::Paste(text.collect());
        events.into_iter().filter(|event| event.as_key_event().is_none()).chain([text]).collect()
    }
}

/// A terminal on its other screen tells of a notch of the wheel as three arrows at once, or some more.
fn wheel(events: Vec<Event>) -> Vec<Event> {
    let arrow = |event: &Event| {
        let key = event.as_key_press_event().filter(|key| key.modifiers.is_empty())?;
        match key.code {
            KeyCode::Up => Some(MouseEventKind::ScrollUp),
            KeyCode::Down => Some(MouseEventKind::ScrollDown),
            _ => None,
        }
    };
    let mut left = events.into_iter().peekable();
    let mut all: Vec<Event> = Vec::new();
    while let Some(event) = left.next() {
        let Some(kind) = arrow(&event) else {
            all.push(event);
            continue;
        };
        let mut same = vec![event];
        while let Some(next) = left.next_if(|next| arrow(next) == Some(kind)) {
            same.push(next);
        }
        if same.len() >= WHEEL_ARROWS {
            let (column, row, modifiers) = (0, 0, KeyModifiers::NONE);
            all.push(Event::Mouse(MouseEvent { kind, column, row, modifiers }));
        } else {
            all.append(&mut same);
        }
    }
    all
}

/// True for keys that may be the first line of a paste: more of it may be on its way.
pub(super) fn ends_a_line(events: &[Event]) -> bool {
    let last = events.last().and_then(Event::as_key_event);
    events.len() >= limits::PASTE_KEYS && last.is_some_and(|key| key.code == KeyCode::Enter)
}

/// A key that brings its character and nothing else.
fn plain(key: &KeyEvent) -> bool {
    (key.modifiers - KeyModifiers::SHIFT).is_empty()
}

fn begun(key: &KeyEvent) -> Answer {
    match key.code {
        KeyCode::Char(']') if key.modifiers == KeyModifiers::ALT => Answer::Command,
        KeyCode::Char('P') if key.modifiers.contains(KeyModifiers::ALT) => Answer::Device,
        KeyCode::Char('_') if key.modifiers.contains(KeyModifiers::ALT) => Answer::Application,
        _ => Answer::None,
    }
}

/// BEL, or ESC and a backslash.
fn is_end(key: &KeyEvent) -> bool {
    matches!(
        (key.code, key.modifiers),
        (KeyCode::Char('g'), KeyModifiers::CONTROL) | (KeyCode::Char('\\'), KeyModifiers::ALT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What crossterm makes of these bytes, as far as it takes for this.
    fn events(bytes: &str) -> Vec<Event> {
        let mut modifiers = KeyModifiers::NONE;
        let mut events = Vec::new();
        for c in bytes.chars() {
            let (code, with) = match c {
                '\x1b' => {
                    modifiers = KeyModifiers::ALT;
                    continue;
                }
                '\x07' => (KeyCode::Char('g'), KeyModifiers::CONTROL),
                '\r' => (KeyCode::Enter, KeyModifiers::NONE),
                '\t' => (KeyCode::Tab, KeyModifiers::NONE),
                c => (KeyCode::Char(c), KeyModifiers::NONE),
            };
            events.push(Event::Key(KeyEvent::new(code, modifiers | with)));
            modifiers = KeyModifiers::NONE;
        }
        events
    }

    /// As it comes, in parts of this many keys.
    fn taken(keys: &mut Keys, bytes: &str, part: usize) -> Vec<Event> {
        events(bytes).chunks(part).flat_map(|part| keys.take(part.to_vec())).collect()
    }

    #[test]
    fn three_arrows_at_once_are_the_wheel_and_fewer_are_arrows() {
        let up = || Event::Key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE));
        let down = || Event::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE));
        let kinds = |events: Vec<Event>| -> Vec<Option<MouseEventKind>> {
            let taken = Keys::default().take(events);
            taken.iter().map(|event| event.as_mouse_event().map(|mouse| mouse.kind)).collect()
        };
        assert_eq!(kinds(vec![up()]), [None]);
        assert_eq!(kinds(vec![up(), up()]), [None, None]);
        assert_eq!(kinds(vec![up(), up(), up()]), [Some(MouseEventKind::ScrollUp)]);
        assert_eq!(kinds(vec![up(); 5]), [Some(MouseEventKind::ScrollUp)], "none is left for the draft");
        let mixed = vec![down(), down(), down(), up(), down(), down(), down()];
        let wheel = Some(MouseEventKind::ScrollDown);
        assert_eq!(kinds(mixed), [wheel, None, wheel]);
    }

    #[test]
    fn a_late_answer_of_the_terminal_is_never_text_in_whatever_parts_it_comes() {
        for answer in [
            "\x1b]11;rgb:1e1e/1e1e/2e2e\x07",
            "\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
            "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\",
            "\x1bP>|tmux 3.5a\x1b\\",
            "\x1bP1+r544e=787465726d\x1b\\",
            "\x1bP!|00000000\x1b\\",
            "\x1b_Gi=1;OK\x1b\\",
        ] {
            for part in [1, 2, 3, 7, 100] {
                let mut keys = Keys::default();
                let left = taken(&mut keys, &format!("{answer}hi"), part);
                assert_eq!(left, events("hi"), "{answer:?} in parts of {part}");
            }
        }
    }

    #[test]
    fn keys_that_only_begin_like_an_answer_are_keys() {
        for typed in ["\x1b]hello", "\x1b]12 apples", "\x1bPlan", "\x1bP1.", "\x1b_x", "\x1b]\x1b]a"] {
            for part in [1, 100] {
                assert_eq!(taken(&mut Keys::default(), typed, part), events(typed), "{typed:?}");
            }
        }
        // An answer without an end takes no more than any answer has.
        let endless = format!("\x1b]11;{}", "x".repeat(limits::ANSWER_KEYS + 10));
        assert!(!taken(&mut Keys::default(), &endless, 100).is_empty());
    }

    #[test]
    fn lines_that_come_at_once_are_a_paste_and_send_nothing() {
        let mut keys = Keys::default();
        let text = "first line\rsecond\tline\rthird\r";
        assert_eq!(keys.take(events(text)), [Event::Paste(text.replace('\r', "\n"))]);
        // The rest of the same paste, which came a moment later.
        assert_eq!(keys.take(events("and more\r")), [Event::Paste("and more\n".into())]);
        // A person goes on.
        assert_eq!(keys.take(events("\r")), events("\r"));
        // What one types, or a program for it: one line, and Enter.
        assert_eq!(keys.take(events("a whole line\r")), events("a whole line\r"));
        assert_eq!(keys.take(events("y\ry\r")), events("y\ry\r"), "few keys, on a slow machine");
        assert_eq!(
            keys.take(events("\ropen sesame")),
            events("\ropen sesame"),
            "a form is opened, and filled"
        );
        for part in [1, 2] {
            assert_eq!(taken(&mut keys, "ab\rcd\r", part), events("ab\rcd\r"));
        }
    }
}
