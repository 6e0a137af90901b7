//! The one text sanitiser: everything that a peer, a file or a person wrote passes here before it is shown,
//! logged, titled or copied.
//!
//! What can command a terminal, reorder other people's words, hide something or pass for something else stays
//! visible as a mark, so that nobody is fooled by what is missing; everything else is how the world writes, and stays:
//!
//! | Class | Here | Why |
//! |---|---|---|
//! | controls (C0, DEL, C1) | their pictures, or the mark | they command the terminal |
//! | bidirectional overrides, embeddings, isolates | the mark | they reorder what stands around them |
//! | directional marks (LRM, RLM, ALM), one at a time | stay | they only place the signs beside them; the terminal never gets them |
//! | joiners (ZWJ, ZWNJ) after what they shape | stay | spelling of many scripts, and of emoji |
//! | joiners elsewhere, invisible operators, fillers, byte order mark | the mark | they hide, and make two texts of one look |
//! | one variation selector after what it varies | stays | a form of a letter or an emoji |
//! | further selectors, tags outside the three flags | the mark | they carry a hidden text |
//! | Mongolian selectors after a Mongolian letter | stay | spelling |
//! | zero-width space after a letter of a script without spaces | stays | it says where a word ends, as a soft hyphen does |
//! | soft hyphen after a letter | stays | it says where a word may be broken; nothing is drawn for it |
//! | signs that stand under or over what follows (Arabic, Syriac, Kaithi numbers) | stay | they are seen |
//! | more marks on one letter than any script has | the mark | they paint over other rows |
//!
//! Cleaning is idempotent, so that a signature over cleaned text still holds after it has been cleaned again.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use unicode_segmentation::UnicodeSegmentation as _;

use super::limits::CLUSTER_SCALARS;

/// What stands for a character that was taken out and has no picture of its own.
pub const MARK: char = '\u{FFFD}';

const TAB: &str = "    ";

/// Text that is safe to show on any terminal: made only by the sanitiser, cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SafeText(Arc<str>);

impl SafeText {
    /// Cleans `raw`, keeping its lines.
    #[must_use]
    pub fn clean(raw: &str) -> Self {
        if raw.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            return Self(raw.into());
        }
        Self(cap_clusters(&replace_characters(raw)).into())
    }

    /// Cleans `raw` into one line: line breaks become spaces.
    #[must_use]
    pub fn line(raw: &str) -> Self {
        let clean = Self::clean(raw);
        if clean.0.contains('\n') { Self(clean.0.replace('\n', " ").into()) } else { clean }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for SafeText {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for SafeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SafeText {
    /// Whatever is read is cleaned.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = SafeText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, raw: &str) -> Result<SafeText, E> {
                Ok(SafeText::clean(raw))
            }
        }
        deserializer.deserialize_str(Raw)
    }
}

/// The flags of England, Scotland and Wales are a black flag and letters that show nothing. No other such letters are text.
const BLACK_FLAG: char = '\u{1F3F4}';
const FLAGS: [&str; 3] = [
    "\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
    "\u{E0067}\u{E0062}\u{E0077}\u{E006C}\u{E0073}\u{E007F}",
];

/// True for a character that shows nothing by itself or changes how others are shown.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{0600}'..='\u{0605}' | '\u{06DD}' | '\u{070F}'
        | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}' | '\u{FFFE}'..='\u{FFFF}' | '\u{110BD}' | '\u{110CD}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

fn replace_characters(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut last = None;
    let mut rest = raw.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\u{0085}' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push_str(TAB),
            '\0'..='\u{1F}' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or(MARK)),
            '\u{7F}' => out.push('\u{2421}'),
            '\u{80}'..='\u{9F}' => out.push(MARK),
            BLACK_FLAG => {
                out.push(c);
                let tags = FLAGS.iter().find(|tags| rest.clone().take(tags.chars().count()).eq(tags.chars()));
                for tag in tags.into_iter().flat_map(|tags| tags.chars()) {
                    out.push(tag);
                    rest.next();
                }
            }
            c if !is_invisible(c) || is_seen(c) || shapes_its_neighbour(last, c) => out.push(c),
            _ => out.push(MARK),
        }
        last = out.chars().next_back();
    }
    out
}

/// Format characters that have a picture: they span or stand under what follows.
fn is_seen(c: char) -> bool {
    matches!(c,
        '\u{0600}'..='\u{0605}' | '\u{06DD}' | '\u{070F}' | '\u{0890}'..='\u{0891}' | '\u{08E2}' | '\u{110BD}'
        | '\u{110CD}')
}

/// What shows nothing by itself and yet is part of how people write, after what it belongs to; alone it only hides.
fn shapes_its_neighbour(last: Option<char>, c: char) -> bool {
    let is_plain = |last: char| last != MARK && !last.is_control() && !is_invisible(last);
    let Some(last) = last else { return is_directional(c) };
    match c {
        '\u{200C}' | '\u{200D}' => {
            last >= '\u{0590}' && is_plain(last) || is_selector(last) || is_of_mongolian(last)
        }
        '\u{180B}'..='\u{180F}' => matches!(last, '\u{1820}'..='\u{18AA}'),
        // Words of these scripts stand without spaces.
        '\u{200B}' => is_plain(last) && has_no_spaces(last),
        // It keeps marks in the order in which they are written.
        '\u{034F}' => last >= '\u{0300}' && is_plain(last),
        '\u{00AD}' => last.is_alphanumeric(),
        c if is_directional(c) => !is_directional(last),
        '\u{E0100}'..='\u{E01EF}' => {
            matches!(last, '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
        }
        c if is_selector(c) => !last.is_whitespace() && is_plain(last),
        _ => false,
    }
}

/// Marks that tell on which side the signs beside them stand.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}')
}

fn is_selector(c: char) -> bool {
    matches!(c, '\u{FE00}'..='\u{FE0F}')
}

fn is_of_mongolian(c: char) -> bool {
    matches!(c, '\u{180B}'..='\u{180F}')
}

fn has_no_spaces(c: char) -> bool {
    // Thai and Lao, Tibetan, Myanmar, Khmer, New Tai Lue and Tai Tham, Javanese and Cham.
    matches!(c,
        '\u{0E00}'..='\u{0FFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{1950}'..='\u{1AAF}'
        | '\u{A980}'..='\u{AAFF}')
}

/// True for a cluster that the next character may complete: its first one shows, and what follows shapes it. As a whole it
/// is text or not only when it goes no further.
#[must_use]
pub fn may_go_on(cluster: &str) -> bool {
    let is_shaping = |c: char| {
        matches!(c,
            '\u{034F}' | '\u{180B}'..='\u{180F}' | '\u{200C}' | '\u{200D}' | '\u{FE00}'..='\u{FE0F}'
            | '\u{E0020}'..='\u{E007F}' | '\u{E0100}'..='\u{E01EF}')
    };
    let is_plain = |c: char| !c.is_control() && !is_invisible(c);
    cluster.chars().next().is_some_and(is_plain)
        && cluster.chars().next_back().is_some_and(is_shaping)
        && cluster.chars().all(|c| is_plain(c) || is_shaping(c))
        && cluster.chars().count() <= CLUSTER_SCALARS
}

/// A stack of accents would otherwise land, however tall, in one cell.
fn cap_clusters(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for cluster in text.graphemes(true) {
        match cluster.char_indices().nth(CLUSTER_SCALARS) {
            None => out.push_str(cluster),
            Some((end, _)) => {
                out.push_str(cluster.get(..end).unwrap_or_default());
                out.push(MARK);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
