//! How text falls into rows.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use unicode_segmentation::UnicodeSegmentation as _;

pub use crate::width::{cells, width};

/// As much of the start of `text` as fits `width` cells, with `…` where something is cut off: whole words, where that is
/// not much less.
#[must_use]
pub fn fit(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for cluster in text.graphemes(true) {
        let cells = cells(cluster);
        if used + cells + 1 > most {
            break;
        }
        used += cells;
        out.push_str(cluster);
    }
    let is_in_word = text.get(out.len()..).is_some_and(|rest| !rest.starts_with(' '));
    if let Some(blank) = out.rfind(' ').filter(|blank| is_in_word && *blank > out.len() / 2) {
        out.truncate(blank);
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// As much of a name as fits `width` cells. Of an address the end is kept: it is what differs.
#[must_use]
pub fn fit_name(name: &str, most: usize) -> String {
    let is_address = name.parse::<SocketAddr>().is_ok() || name.parse::<IpAddr>().is_ok();
    match name.len().checked_sub(most.saturating_sub(1)) {
        Some(from @ 2..) if is_address && most > 0 => format!("…{}", name.get(from..).unwrap_or_default()),
        _ => fit(name, most),
    }
}

/// Breaks `text` into rows of at most `most` cells, between words where it can. Every row is a range of bytes; there
/// is always at least one.
#[must_use]
pub fn rows(text: &str, most: usize) -> Vec<Range<usize>> {
    first_rows(text, most, usize::MAX)
}

/// The first rows of [`rows`]: whole lines until there are `enough`.
#[must_use]
pub fn first_rows(text: &str, most: usize, enough: usize) -> Vec<Range<usize>> {
    let most = most.max(2);
    let mut rows = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        if rows.len() >= enough {
            break;
        }
        break_line(line, start, most, &mut rows);
        start += line.len() + 1;
    }
    rows
}

fn break_line(line: &str, offset: usize, most: usize, rows: &mut Vec<Range<usize>>) {
    let mut start = 0;
    let mut used = 0;
    // After the last blank in this row: where it may be broken, and how wide it is up to there.
    let mut blank: Option<(usize, usize)> = None;
    for (at, cluster) in line.grapheme_indices(true) {
        let cells = cells(cluster);
        let is_blank = cluster == " ";
        while used + cells > most && !is_blank && at > start {
            match blank {
                Some((after, before)) if after > start => {
                    rows.push(offset + start..offset + after);
                    start = after;
                    used -= before;
                }
                _ => {
                    rows.push(offset + start..offset + at);
                    start = at;
                    used = 0;
                }
            }
            blank = None;
        }
        used += cells;
        if is_blank {
            blank = Some((at + 1, used));
        }
    }
    rows.push(offset + start..offset + line.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn broken(text: &str, most: usize) -> Vec<&str> {
        rows(text, most).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn names_and_addresses_are_cut_where_they_tell_least() {
        assert_eq!(fit_name("192.168.1.8", 11), "192.168.1.8");
        assert_eq!(fit_name("192.168.1.8", 10), "…2.168.1.8");
        assert_eq!(fit_name("192.168.1.8:49500", 8), "…8:49500");
        assert_eq!(fit_name("bartholomew", 5), "bart…");
        assert_eq!(fit_name("10.0.0.1", 0), "");
    }

    #[test]
    fn breaks_between_words() {
        assert_eq!(broken("the quick brown fox", 10), ["the quick ", "brown fox"]);
        assert_eq!(broken("", 10), [""]);
        assert_eq!(broken("a\n\nb", 10), ["a", "", "b"]);
        assert_eq!(broken("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(broken("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(broken("a abcdefgh", 4), ["a ", "abcd", "efgh"]);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(fit("hello", 5), "hello");
        assert_eq!(fit("hello", 4), "hel…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("alive, says the host", 19), "alive, says the…");
        assert_eq!(fit("alive, says the host", 16), "alive, says the…");
        assert_eq!(fit("a bartholomew", 8), "a barth…");
        assert_eq!(fit("x", 0), "");
    }

    proptest! {
        #[test]
        fn every_row_fits_and_nothing_is_lost(text in "[a-z 日👩\u{301}\n]{0,80}", most in 2_usize..20) {
            let rows = rows(&text, most);
            let joined: String = rows.iter().map(|range| &text[range.clone()]).collect();
            prop_assert_eq!(joined, text.replace('\n', ""));
            for range in rows {
                prop_assert!(width(text[range].trim_end()) <= most);
            }
        }
    }
}
