//! The editor for what a person writes: clusters, readline keys, several lines, soft wrap. Used for messages, form
//! fields and prompts alike.

use std::{fmt, ops::Range};

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};
use zeroize::Zeroizing;

use super::wrap;
use crate::model::{SafeText, limits, text};

/// Text with a cursor, which always stands between two clusters. It may be a password: its memory is wiped on drop, and
/// `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Composer {
    text: Zeroizing<String>,
    cursor: usize,
    /// What was cut last, to be put back.
    cut: Zeroizing<String>,
}

impl fmt::Debug for Composer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Composer(…)")
    }
}

/// What to do to the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Cursor one cluster to the left.
    Left,
    /// Cursor one cluster to the right.
    Right,
    /// Cursor one word to the left.
    WordLeft,
    /// Cursor one word to the right.
    WordRight,
    /// Cursor to the start of the line.
    LineStart,
    /// Cursor to the end of the line.
    LineEnd,
    /// Removes the cluster before the cursor.
    Backspace,
    /// Removes the cluster after the cursor.
    Delete,
    /// Cuts to the end of the line.
    CutToEnd,
    /// Cuts to the start of the line.
    CutToStart,
    /// Cuts the word before the cursor.
    CutWord,
    /// Cuts the word after the cursor.
    CutWordRight,
    /// Puts back what was cut.
    PutBack,
    /// A line break.
    Newline,
}

impl Composer {
    /// Holds `text`, with the cursor at its end.
    #[must_use]
    pub fn with(text: &str) -> Self {
        Self { text: text.to_owned().into(), cursor: text.len(), cut: Zeroizing::default() }
    }

    /// Empty, with room for a password: letters that are moved to where there is more room leave a copy behind.
    #[must_use]
    pub fn for_password() -> Self {
        Self { text: String::with_capacity(2 * limits::PASSWORD_BYTES).into(), ..Self::default() }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the cursor stands, in bytes.
    #[must_use]
    pub fn cursor(&self) -> usize {
        self.cursor
    }

    /// True when there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the text out.
    pub fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut *self.text)
    }

    /// Puts `text` at the cursor.
    pub fn insert(&mut self, text: &str) {
        self.text.insert_str(self.cursor, text);
        self.cursor = self.boundary_from(self.cursor + text.len());
    }

    /// Puts what one key brings at the cursor. A key may bring a part of a cluster, such as a joiner between two emoji, so the
    /// cluster is cleaned as a whole.
    pub fn type_text(&mut self, key: &str) {
        let from = self.left();
        self.insert(key);
        let typed = self.text.get(from..self.cursor).unwrap_or_default();
        let last = typed.grapheme_indices(true).next_back().map_or(0, |(at, _)| at);
        let (before, open) = typed.split_at(last);
        let clean = if text::may_go_on(open) {
            format!("{}{open}", SafeText::clean(before))
        } else {
            SafeText::clean(typed).to_string()
        };
        if clean != typed {
            self.replace(from..self.cursor, &clean);
        }
    }

    /// Replaces `range` with `text` and puts the cursor behind it.
    pub fn replace(&mut self, range: Range<usize>, text: &str) {
        if self.text.get(range.clone()).is_some() {
            let end = range.start + text.len();
            self.text.replace_range(range, text);
            self.cursor = self.boundary_from(end);
        }
    }

    /// Does one edit.
    pub fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Left => self.cursor = self.left(),
            Edit::Right => self.cursor = self.right(),
            Edit::WordLeft => self.cursor = self.word_left(),
            Edit::WordRight => self.cursor = self.word_right(),
            Edit::LineStart => self.cursor = self.line_start(),
            Edit::LineEnd => self.cursor = self.line_end(),
            Edit::Backspace => self.remove(self.left()..self.cursor),
            Edit::Delete => self.remove(self.cursor..self.right()),
            Edit::CutToEnd => self.cut(self.cursor..self.line_end()),
            Edit::CutToStart => self.cut(self.line_start()..self.cursor),
            Edit::CutWord => self.cut(self.word_left()..self.cursor),
            Edit::CutWordRight => self.cut(self.cursor..self.word_right()),
            Edit::PutBack => self.insert(&self.cut.clone()),
            Edit::Newline => self.insert("\n"),
        }
    }

    /// Moves one row up or down at a width in cells. False when there is none.
    pub fn row(&mut self, down: bool, width: usize) -> bool {
        let rows = wrap::rows(&self.text, width);
        let (row, column) = self.position(width);
        let target = if down { row.checked_add(1) } else { row.checked_sub(1) };
        let Some(range) = target.and_then(|row| rows.get(row)) else { return false };
        let mut used = 0;
        let mut cursor = range.start;
        for (at, cluster) in self.text.get(range.clone()).unwrap_or_default().grapheme_indices(true) {
            if used >= column {
                break;
            }
            used += wrap::cells(cluster);
            cursor = range.start + at + cluster.len();
        }
        self.cursor = self.boundary_from(cursor);
        true
    }

    /// The rows that are shown in a room of this width and height, in cells, and the row and column of the cursor in it. It
    /// looks only at the lines around the cursor, so that a key costs the same in a long draft.
    #[must_use]
    pub fn view(&self, width: usize, height: usize) -> (Vec<Range<usize>>, (usize, usize)) {
        let height = height.max(1);
        let (start, end) = (self.line_start(), self.line_end());
        let mut rows = self.rows_of(start..end, width);
        let at = rows.iter().rposition(|range| range.start <= self.cursor).unwrap_or(0);
        let row_start = rows.get(at).map_or(0, |range| range.start);
        let column = wrap::width(self.text.get(row_start..self.cursor).unwrap_or_default());
        let rest = rows.split_off((at + 1).min(rows.len()));
        // The lines above, the nearest first.
        let mut first = start;
        while rows.len() < height && first > 0 {
            let end = first - 1;
            first = self.text.get(..end).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
            rows.splice(0..0, self.rows_of(first..end, width));
        }
        rows.drain(..rows.len().saturating_sub(height));
        let row = rows.len().saturating_sub(1);
        rows.extend(rest);
        let below = end + 1;
        if let (true, Some(after)) = (rows.len() < height, self.text.get(below..)) {
            let lines = wrap::first_rows(after, width, height - rows.len());
            rows.extend(lines.into_iter().map(|range| below + range.start..below + range.end));
        }
        rows.truncate(height);
        (rows, (row, column))
    }

    fn rows_of(&self, line: Range<usize>, width: usize) -> Vec<Range<usize>> {
        let rows = wrap::rows(self.text.get(line.clone()).unwrap_or_default(), width);
        rows.into_iter().map(|range| line.start + range.start..line.start + range.end).collect()
    }

    /// Row and column of the cursor at a width in cells.
    #[must_use]
    pub fn position(&self, width: usize) -> (usize, usize) {
        let rows = wrap::rows(&self.text, width);
        let row = rows.iter().rposition(|range| range.start <= self.cursor).unwrap_or(0);
        let start = rows.get(row).map_or(0, |range| range.start);
        (row, wrap::width(self.text.get(start..self.cursor).unwrap_or_default()))
    }

    /// The word that ends at the cursor.
    #[must_use]
    pub fn word(&self) -> Range<usize> {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let blank = |c: char| c.is_whitespace();
        let start =
            before.rfind(blank).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        start..self.cursor
    }

    fn boundary_from(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at.min(self.text.len()), self.text.len(), true);
        match cursor.is_boundary(&self.text, 0) {
            Ok(true) => at.min(self.text.len()),
            _ => cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len()),
        }
    }

    fn left(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn right(&self) -> usize {
        let mut cursor = GraphemeCursor::new(self.cursor, self.text.len(), true);
        cursor.next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn line_start(&self) -> usize {
        self.text.get(..self.cursor).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        let after = self.text.get(self.cursor..).and_then(|after| after.find('\n'));
        after.map_or(self.text.len(), |at| self.cursor + at)
    }

    fn word_left(&self) -> usize {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let words = before.split_word_bound_indices();
        words.rev().find(|(_, word)| is_word(word)).map_or(0, |(at, _)| at)
    }

    fn word_right(&self) -> usize {
        let after = self.text.get(self.cursor..).unwrap_or_default();
        let mut words = after.split_word_bound_indices().filter(|(_, word)| is_word(word));
        words.next().map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    fn cut(&mut self, range: Range<usize>) {
        if let Some(text) = self.text.get(range.clone()).filter(|text| !text.is_empty()) {
            self.cut = text.to_owned().into();
            self.remove(range);
        }
    }

    fn remove(&mut self, range: Range<usize>) {
        if self.text.get(range.clone()).is_some() {
            self.cursor = range.start;
            self.text.replace_range(range, "");
            self.cursor = self.boundary_from(self.cursor);
        }
    }
}

fn is_word(word: &str) -> bool {
    word.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(marked: &str) -> Composer {
        let cursor = marked.find('|').unwrap();
        Composer { text: marked.replace('|', "").into(), cursor, cut: Zeroizing::default() }
    }

    fn marked(composer: &Composer) -> String {
        let mut text = composer.text().to_owned();
        text.insert(composer.cursor, '|');
        text
    }

    #[test]
    fn readline_edits() {
        for (before, edit, after) in [
            ("hello wor|ld", Edit::WordLeft, "hello |world"),
            ("hello| world", Edit::WordRight, "hello world|"),
            ("one\ntw|o", Edit::LineStart, "one\n|two"),
            ("o|ne\ntwo", Edit::LineEnd, "one|\ntwo"),
            ("one tw|o", Edit::CutToEnd, "one tw|"),
            ("one tw|o", Edit::CutToStart, "|o"),
            ("one two|", Edit::CutWord, "one |"),
            ("one| two three", Edit::CutWordRight, "one| three"),
            ("a👩\u{200D}👧|b", Edit::Backspace, "a|b"),
            ("a|e\u{301}b", Edit::Delete, "a|b"),
            ("日|本", Edit::Right, "日本|"),
            ("|", Edit::Backspace, "|"),
            ("|", Edit::Delete, "|"),
            ("a|b", Edit::Newline, "a\n|b"),
        ] {
            let mut composer = with(before);
            composer.edit(edit);
            assert_eq!(marked(&composer), after, "{before} {edit:?}");
        }
    }

    #[test]
    fn emoji_that_come_key_by_key_arrive_whole_and_what_hides_does_not() {
        let typed = |text: &str| {
            let mut composer = Composer::default();
            for key in text.chars() {
                composer.type_text(&key.to_string());
            }
            composer.take()
        };
        for whole in [
            "👨\u{200D}👩\u{200D}👧\u{200D}👦",
            "❤\u{FE0F}",
            "❤\u{FE0F}\u{200D}🔥",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "1\u{FE0F}\u{20E3}",
            "🇩🇪",
            "👍🏽",
            "क्\u{200D}ष",
            "می\u{200C}خواهم",
            "a👩\u{200D}🚀b",
        ] {
            assert_eq!(typed(whole), whole);
            assert_eq!(SafeText::clean(whole).as_str(), whole, "and goes so");
        }
        for hidden in ["a\u{200D}b", "\u{200D}", "a\u{202E}b", "x\u{E0041}y", "🏴\u{E0067}y", "a\u{2060}b"]
        {
            let text = typed(hidden);
            assert_eq!(SafeText::clean(&text).as_str(), text, "{hidden:?} is {text:?}");
            assert!(text.contains('\u{FFFD}'), "{hidden:?} is {text:?}");
        }
    }

    #[test]
    fn what_is_cut_comes_back() {
        let mut composer = with("one two|");
        composer.edit(Edit::CutWord);
        composer.edit(Edit::LineStart);
        composer.edit(Edit::PutBack);
        assert_eq!(marked(&composer), "two|one ");
    }

    #[test]
    fn rows_and_columns() {
        let mut composer = with("the quick brown| fox");
        assert_eq!(composer.position(10), (1, 5));
        assert!(composer.row(false, 10));
        assert_eq!(marked(&composer), "the q|uick brown fox");
        assert!(!composer.row(false, 10));
        assert!(composer.row(true, 10) && !composer.row(true, 10));
        assert_eq!(with("hi @an|").word(), 3..6);
    }

    proptest! {
        #[test]
        fn random_keys_never_leave_a_cluster(
            keys in proptest::collection::vec((0_u8..16, "[a-z 日\u{301}\u{200D}👩🇩🇪\n]{0,3}"), 0..80),
        ) {
            let edits = [
                Edit::Left, Edit::Right, Edit::WordLeft, Edit::WordRight, Edit::LineStart, Edit::LineEnd,
                Edit::Backspace, Edit::Delete, Edit::CutToEnd, Edit::CutToStart, Edit::CutWord, Edit::PutBack,
                Edit::Newline,
            ];
            let mut composer = Composer::default();
            for (key, text) in keys {
                match edits.get(usize::from(key)) {
                    Some(edit) => composer.edit(*edit),
                    None if key == 15 => _ = composer.row(text.is_empty(), 8),
                    None => composer.insert(&text),
                }
                let cursor = composer.cursor;
                prop_assert!(composer.text.is_char_boundary(cursor));
                let mut boundaries = composer.text.grapheme_indices(true).map(|(at, _)| at);
                prop_assert!(cursor == composer.text.len() || boundaries.any(|at| at == cursor));
                let (row, column) = composer.position(8);
                let all = wrap::rows(composer.text(), 8);
                for height in [1, 2, 5, 100] {
                    let first = (row + 1).saturating_sub(height);
                    let shown: Vec<Range<usize>> = all.iter().skip(first).take(height).cloned().collect();
                    prop_assert_eq!(composer.view(8, height), (shown, (row - first, column)));
                }
            }
        }
    }
}
