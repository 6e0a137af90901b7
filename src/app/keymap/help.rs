//! What help and the hint line tell of the table of keys.

use super::{Action, Binding, Context, Edit, Key, Keymap};

/// What keys are for: the order in which help tells of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What the place is for, where it is neither writing nor reading.
    Here,
    /// Writing.
    Write,
    /// Reading.
    Read,
    /// Getting about.
    Move,
    /// Screens, and the program.
    Screens,
    /// Changing what is written.
    Edit,
}

impl Group {
    /// Its heading.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Here => "Here",
            Self::Write => "Write",
            Self::Read => "Read",
            Self::Move => "Move",
            Self::Screens => "Screens",
            Self::Edit => "Edit",
        }
    }

    fn of(binding: &Binding) -> Self {
        use Action as A;
        match binding.action {
            _ if !binding.contexts.iter().any(|context| {
                matches!(context, Context::Compose | Context::Browse | Context::Room | Context::Everywhere)
            }) =>
            {
                Self::Here
            }
            A::Edit(Edit::Newline)
            | A::Submit
            | A::Recall
            | A::Reply
            | A::Compose
            | A::Editor
            | A::Palette => Self::Write,
            A::Search | A::FindOlder | A::FindNewer | A::Copy | A::Info | A::Menu | A::Unfold => Self::Read,
            A::Help
            | A::ViewChat
            | A::ViewAdmin
            | A::ViewHeartbeat
            | A::ViewLog
            | A::Interrupt
            | A::Redraw
            | A::Suspend => Self::Screens,
            A::Edit(_) => Self::Edit,
            _ => Self::Move,
        }
    }
}

impl Keymap {
    /// Every row that holds in these contexts, as keys and words.
    #[must_use]
    pub fn help(&self, contexts: &[Context]) -> Vec<(String, &'static str)> {
        self.grouped_help(contexts).into_iter().map(|(_, keys, words)| (keys, words)).collect()
    }

    /// The same with their groups, those of the first group first.
    #[must_use]
    pub fn grouped_help(&self, contexts: &[Context]) -> Vec<(Group, String, &'static str)> {
        let (mut rows, mut taken) = (Vec::new(), Vec::new());
        for context in contexts {
            for binding in self.rows.iter().filter(|binding| binding.contexts.contains(context)) {
                // A key does what the first context says.
                let free: Vec<&Key> = binding.keys.iter().filter(|key| !taken.contains(key)).collect();
                let keys = match binding.action {
                    Action::Jump if binding.keys.len() == 9 => "Alt-1..9".to_owned(),
                    _ => free.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                };
                if !free.is_empty() {
                    rows.push((Group::of(binding), keys, binding.help));
                }
            }
            let own = self.rows.iter().filter(|binding| binding.contexts.contains(context));
            taken.extend(own.flat_map(|binding| binding.keys.iter()));
        }
        rows.sort_by_key(|(group, ..)| *group);
        rows
    }

    /// The rows for the hint line: first key and word. Those that act on a message only where one is chosen.
    #[must_use]
    pub fn hints(&self, contexts: &[Context], on_messages: bool) -> Vec<(String, &'static str)> {
        let mut hints: Vec<(String, &'static str)> = Vec::new();
        let acts_on_message = |binding: &Binding| {
            Group::of(binding) == Group::Read && binding.action != Action::Search
                || binding.action == Action::Reply
        };
        let is_useful =
            |binding: &&Binding| !binding.hint.is_empty() && (on_messages || !acts_on_message(binding));
        for context in contexts {
            for binding in self.rows.iter().filter(|b| b.contexts.contains(context)).filter(is_useful) {
                let key = binding.keys.first().map(Key::to_string).unwrap_or_default();
                if !hints.iter().any(|(_, hint)| *hint == binding.hint) {
                    hints.push((key, binding.hint));
                }
            }
        }
        hints
    }
}
