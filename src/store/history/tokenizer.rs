//! How text is cut into words for the search, and how what was typed becomes a query.
//! What the index does not know, parts of words and emoji, is looked for in the texts themselves.
//!
//! Scripts without spaces are indexed character by character, so that a part of a sentence is found there too.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use crate::model::limits;

/// Text with every character of a script without spaces as a word of its own.
pub(super) fn to_index(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        if is_without_spaces(c) {
            words.extend([' ', c, ' ']);
        } else {
            words.push(c);
        }
    }
    Cow::Owned(words)
}

/// What was typed into a search, for the database.
pub(super) struct Query {
    /// For the index: all the words, the last as the beginning of one; nothing when the index does not know what was
    /// typed, since it is more than words: an emoji, say.
    pub(super) words: Option<String>,
    /// Patterns for the texts themselves: a part of a word, an emoji.
    pub(super) parts: Vec<String>,
}

impl Query {
    /// Nothing when there is nothing to search for.
    pub(super) fn new(typed: &str) -> Option<Self> {
        let terms: Vec<&str> = terms(typed).collect();
        let is_in_index = |c: char| c.is_ascii() || c.is_alphanumeric() || is_combining_mark(c);
        let quoted = |term: &&str| format!("\"{}\"", to_index(term).replace('"', " "));
        let words = terms.iter().all(|term| term.chars().all(is_in_index));
        let words = words.then(|| format!("{} *", terms.iter().map(quoted).collect::<Vec<_>>().join(" ")));
        let parts = terms.iter().take(limits::SEARCH_PARTS).map(|term| pattern(term)).collect();
        (!terms.is_empty()).then_some(Self { words, parts })
    }

    /// The SQL that holds when a text has all the parts, which are parameters from `first` on.
    pub(super) fn has_parts(&self, first: usize) -> String {
        let each = (first..).take(self.parts.len());
        each.map(|at| format!("m.text LIKE ?{at} ESCAPE '\\'")).collect::<Vec<_>>().join(" AND ")
    }
}

/// A pattern of LIKE for what stands anywhere.
fn pattern(term: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in term.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// What can be searched for in what was typed: whatever is not punctuation alone.
fn terms(typed: &str) -> impl Iterator<Item = &str> {
    typed.split_whitespace().filter(|term| term.chars().any(|c| c.is_alphanumeric() || !c.is_ascii()))
}

/// The terms of a query, in small letters, for [`has_all`].
pub(super) fn words(typed: &str) -> Vec<String> {
    terms(typed).map(plain).collect()
}

/// True when a text has every term.
pub(super) fn has_all(text: &str, words: &[String]) -> bool {
    let text = plain(text);
    words.iter().all(|word| text.contains(word.as_str()))
}

/// Small letters without their accents.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    // Of Latin, Greek and Cyrillic letters: those of other scripts are what tells words apart.
    let is_accent = |c: char| matches!(c, '\u{0300}'..='\u{036F}');
    if lower.is_ascii() { lower } else { lower.nfd().filter(|c| !is_accent(*c)).collect() }
}

/// Thai, Lao, Khmer, Burmese, Chinese and Japanese.
fn is_without_spaces(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_never_is_syntax() {
        let words = |typed: &str| Query::new(typed).unwrap().words;
        assert!(Query::new("  ").is_none() && Query::new("\" * -").is_none());
        assert_eq!(words("the quick").unwrap(), "\"the\" \"quick\" *");
        assert_eq!(words("a\"b OR NOT").unwrap(), "\"a b\" \"OR\" \"NOT\" *");
        assert_eq!(words("日本").unwrap(), "\" 日  本 \" *");
        assert_eq!(words("well 👍"), None);
        assert_eq!(Query::new("50% a_b").unwrap().parts, ["%50\\%%", "%a\\_b%"]);
    }
}
