//! How text is cut into words for the search, and how what was typed becomes a query.
//!
//! Scripts without spaces are indexed character by character, so that a part of a sentence is found there too.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

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

/// A query for messages that have all the words, the last as the beginning of one; nothing when there is no word.
pub(super) fn to_query(typed: &str) -> Option<String> {
    let terms: Vec<String> = typed
        .split_whitespace()
        .filter(|term| term.chars().any(char::is_alphanumeric))
        .map(|term| format!("\"{}\"", to_index(term).replace('"', " ")))
        .collect();
    if terms.is_empty() { None } else { Some(format!("{} *", terms.join(" "))) }
}

/// The words of a query, in small letters, for [`has_all`].
pub(super) fn words(typed: &str) -> Vec<String> {
    let is_word = |term: &&str| term.chars().any(char::is_alphanumeric);
    typed.split_whitespace().filter(is_word).map(plain).collect()
}

/// True when every word begins one of a text's, as the index on disk finds it; in scripts without spaces anywhere.
pub(super) fn has_all(text: &str, words: &[String]) -> bool {
    let text = plain(text);
    let begins_word = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !c.is_alphanumeric() || is_without_spaces(c))
    };
    words.iter().all(|word| text.match_indices(word.as_str()).any(|(at, _)| begins_word(at)))
}

/// Small letters without their accents.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    if lower.is_ascii() { lower } else { lower.nfd().filter(|c| !is_combining_mark(*c)).collect() }
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
        assert_eq!(to_query("  "), None);
        assert_eq!(to_query("\" * -"), None);
        assert_eq!(to_query("the quick").unwrap(), "\"the\" \"quick\" *");
        assert_eq!(to_query("a\"b OR NOT").unwrap(), "\"a b\" \"OR\" \"NOT\" *");
        assert_eq!(to_query("日本").unwrap(), "\" 日  本 \" *");
    }
}
