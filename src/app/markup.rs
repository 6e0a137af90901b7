//! What in a text is drawn in another way: `*bold*`, `_italic_`, `` `code` ``, blocks of code, and links. The signs stay where
//! they are, so that a text says what its author wrote and nothing can be mistaken.
//!
//! The rules are those of XEP-0393: a sign opens after a blank and before a letter, closes after a letter and before a blank, in
//! the same line; code is taken as it is.

use std::ops::Range;

use linkify::{LinkFinder, LinkKind};

use crate::model::limits;

/// How a part of a text is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `*so*`.
    Bold,
    /// `_so_`.
    Italic,
    /// `` `so` ``, or a block.
    Code,
    /// A link that can be followed.
    Link,
}

/// A part of a text, in bytes, and how it is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which bytes.
    pub range: Range<usize>,
    /// How.
    pub kind: Kind,
}

/// What of a text is drawn in another way, in order. After [`limits::SPANS`] the rest is plain.
#[must_use]
pub fn spans(text: &str) -> Box<[Span]> {
    let mut spans = Vec::new();
    if !text.contains(['*', '_', '`', ':']) {
        return spans.into();
    }
    let mut at = 0;
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let range = at..at + line.trim_end_matches('\n').len();
        at += line.len();
        let is_fence = line.starts_with("```");
        match (block, is_fence) {
            (None, true) => block = Some(range.start),
            (Some(_), false) => {}
            (Some(start), true) => {
                spans.push(Span { range: start..range.end, kind: Kind::Code });
                block = None;
            }
            (None, false) => line_spans(text, range, &mut spans),
        }
        if spans.len() >= limits::SPANS {
            spans.truncate(limits::SPANS);
            return spans.into();
        }
    }
    if let Some(start) = block {
        spans.push(Span { range: start..text.len(), kind: Kind::Code });
    }
    spans.into()
}

/// The links of a text as they are written, the first first.
pub fn links<'a>(text: &'a str, spans: &'a [Span]) -> impl Iterator<Item = &'a str> {
    let links = spans.iter().filter(|span| span.kind == Kind::Link);
    links.filter_map(|span| text.get(span.range.clone()))
}

fn line_spans(text: &str, line: Range<usize>, spans: &mut Vec<Span>) {
    let Some(written) = text.get(line.clone()) else { return };
    let mut found: Vec<Span> = Vec::new();
    code(written, &mut found);
    for link in LinkFinder::new().links(written).take(limits::SPANS) {
        // An address of a letter is a link where it is written as one.
        let is_letter = *link.kind() == LinkKind::Email;
        let start = if is_letter { link.start().checked_sub(MAILTO.len()) } else { Some(link.start()) };
        let range = start.unwrap_or(0)..link.end();
        if written.get(range.clone()).is_some_and(can_be_followed) && is_free(&found, &range) {
            found.push(Span { range, kind: Kind::Link });
        }
    }
    for (sign, kind) in [('*', Kind::Bold), ('_', Kind::Italic)] {
        signed(written, sign, kind, &mut found);
    }
    found.sort_by_key(|span| (span.range.start, span.range.end));
    let moved = found
        .into_iter()
        .map(|Span { range, kind }| Span { range: line.start + range.start..line.start + range.end, kind });
    spans.extend(moved);
}

const MAILTO: &str = "mailto:";

/// A link of a kind that opens nothing but a page or a letter, and that can be shown as it is: what is not ASCII may look like
/// something else.
fn can_be_followed(link: &str) -> bool {
    let known =
        |scheme: &&str| link.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    ["http://", "https://", MAILTO].iter().any(known)
        && link.len() <= limits::LINK_BYTES
        && link.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_free(found: &[Span], range: &Range<usize>) -> bool {
    !found.iter().any(|span| span.range.start < range.end && range.start < span.range.end)
}

fn code(line: &str, found: &mut Vec<Span>) {
    let mut from = 0;
    while let Some(start) = line.get(from..).and_then(|rest| rest.find('`')).map(|at| from + at)
        && found.len() < limits::SPANS
    {
        let length = line.get(start + 1..).and_then(|rest| rest.find('`'));
        let Some(length) = length else { return };
        let end = start + 1 + length + 1;
        if length > 0 && begins(line, start) {
            found.push(Span { range: start..end, kind: Kind::Code });
            from = end;
        } else {
            from = start + 1;
        }
    }
}

/// Finds what stands between two of a sign, outside code and links.
fn signed(line: &str, sign: char, kind: Kind, found: &mut Vec<Span>) {
    let taken: Vec<Range<usize>> = found
        .iter()
        .filter(|span| matches!(span.kind, Kind::Code | Kind::Link))
        .map(|span| span.range.clone())
        .collect();
    let is_taken = |at: usize| taken.iter().any(|range| range.contains(&at));
    let mut opened: Option<usize> = None;
    let most = found.len() + limits::SPANS;
    for (at, _) in line.match_indices(sign).filter(|(at, _)| !is_taken(*at)) {
        if found.len() >= most {
            return;
        }
        let after = line.get(at + sign.len_utf8()..).and_then(|rest| rest.chars().next());
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let is_end = before.is_some_and(|c| !c.is_whitespace() && c != sign)
            && after.is_none_or(|c| !c.is_alphanumeric() && c != sign);
        match opened {
            Some(start) if is_end && at > start + 1 => {
                found.push(Span { range: start..at + sign.len_utf8(), kind });
                opened = None;
            }
            _ if begins(line, at) && after.is_some_and(|c| !c.is_whitespace() && c != sign) => {
                opened = Some(at);
            }
            _ => {}
        }
    }
}

/// Something may open here: at the start, or after what is no part of a word.
fn begins(line: &str, at: usize) -> bool {
    let before = line.get(..at).and_then(|before| before.chars().next_back());
    before.is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '*' | '_' | '~'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(&str, Kind)> {
        spans(text).iter().map(|span| (&text[span.range.clone()], span.kind)).collect()
    }

    #[test]
    fn what_people_write_is_drawn_so() {
        use Kind::{Bold, Code, Italic, Link};
        for (text, expected) in [
            ("plain", vec![]),
            ("*so* and _so_ and `so`", vec![("*so*", Bold), ("_so_", Italic), ("`so`", Code)]),
            ("(*two words*), yes", vec![("*two words*", Bold)]),
            ("_*both*_", vec![("_*both*_", Italic), ("*both*", Bold)]),
            ("2*3*4 and snake_case_name and a * b * c", vec![]),
            ("** __ `` *a _b", vec![]),
            ("`*code*` as it is", vec![("`*code*`", Code)]),
            ("see https://example.org/a_b_c, please", vec![("https://example.org/a_b_c", Link)]),
            ("(http://192.168.1.2:8080/x)", vec![("http://192.168.1.2:8080/x", Link)]),
            ("mailto:ann@example.org now", vec![("mailto:ann@example.org", Link)]),
            ("javascript:alert(1) file:///etc/passwd ssh://host", vec![]),
            ("https://пример.org and https://xn--e1afmkfd.org", vec![("https://xn--e1afmkfd.org", Link)]),
            ("*one\ntwo*", vec![]),
            ("a\n```\nlet *x*;\n```\n*b*", vec![("```\nlet *x*;\n```", Code), ("*b*", Bold)]),
            ("```\nopen", vec![("```\nopen", Code)]),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn spans_are_whole_letters_in_order(text in "[a*_`: \né日\u{301}htps/.]{0,80}") {
            let mut last = 0;
            for span in &spans(&text) {
                prop_assert!(text.get(span.range.clone()).is_some_and(|part| !part.is_empty()));
                prop_assert!(span.range.start >= last);
                last = span.range.start;
            }
        }

        #[test]
        fn a_text_full_of_signs_is_read_once(count in 1_usize..5000) {
            // A line may have so many signs that comparing each with all others takes too long.
            let text = "`a`* _b_ ".repeat(count);
            prop_assert!(spans(&text).len() <= limits::SPANS);
        }

        #[test]
        fn there_are_never_too_many(count in 0_usize..500) {
            prop_assert!(spans(&"*a* ".repeat(count)).len() <= limits::SPANS);
            prop_assert!(spans(&"*a*\n".repeat(count)).len() <= limits::SPANS);
        }
    }
}
