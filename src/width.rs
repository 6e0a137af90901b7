//! How wide text is on a terminal: the one place that knows.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many cells a cluster takes: 0 for one that shows nothing.
///
/// An emoji takes two, of however many characters it is made. In every other script each character takes its own,
/// also in a conjunct that is written as one sign: most terminals count so, and one that draws less leaves a blank.
/// Where a terminal counts otherwise, the writer of the screen puts the cursor right again behind the cluster.
#[must_use]
pub fn cells(cluster: &str) -> usize {
    if cluster.is_ascii() {
        return usize::from(!cluster.starts_with(|c: char| c.is_ascii_control()));
    }
    let of_each = || cluster.chars().filter_map(char::width).sum();
    if is_emoji(cluster) { cluster.width().min(2) } else { of_each() }
}

fn is_emoji(cluster: &str) -> bool {
    cluster.contains(['\u{FE0F}', '\u{20E3}'])
        || cluster.starts_with(|c| matches!(c, '\u{1F000}'..='\u{1FAFF}'))
}

/// True for a cluster of which terminals do not agree how many cells it takes: one of several characters that each
/// take some, an emoji of several characters, and each of a young emoji.
#[must_use]
pub fn is_disputed(cluster: &str) -> bool {
    if cluster.is_ascii() {
        return false;
    }
    let with_a_width = cluster.chars().filter(|c| c.width().is_some_and(|cells| cells > 0)).count();
    with_a_width > 1
        || cluster.chars().count() > 1 && cluster.contains(['\u{200D}', '\u{FE0E}', '\u{FE0F}'])
        || is_emoji(cluster)
}

/// True for a cluster that every terminal takes for as many cells as it is taken for here: a letter, a digit, a line,
/// and whatever is ASCII.
#[must_use]
pub fn is_certain(cluster: &str) -> bool {
    let mut chars = cluster.chars();
    let is_letter = |c: char| {
        c.is_alphanumeric() || matches!(c, ' '..='~' | '\u{2500}'..='\u{257F}' | '\u{3000}'..='\u{303F}')
    };
    chars.next().is_some_and(is_letter) && chars.next().is_none()
}

/// The width of a text in cells.
#[must_use]
pub fn width(text: &str) -> usize {
    text.graphemes(true).map(cells).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        assert_eq!(width("abc"), 3);
        assert_eq!(width("日本"), 4);
        for emoji in
            ["👩\u{200D}👩\u{200D}👧", "👍🏽", "❤\u{FE0F}", "1\u{FE0F}\u{20E3}", "🇩🇪", "🏳\u{FE0F}\u{200D}🌈"]
        {
            assert_eq!(width(emoji), 2, "{emoji}");
            assert!(is_disputed(emoji), "{emoji}");
        }
        assert_eq!((width("स्वागत"), width("स्त्री"), width("ខ្ញុំ")), (5, 4, 2));
        assert_eq!((width("Donau\u{AD}dampf"), width("\u{200E}a")), (10, 1));
        assert!(is_disputed("स्त्री") && !is_disputed("e\u{301}") && !is_disputed("日") && !is_disputed("я"));
        assert_eq!(width("e\u{301}"), 1);
    }
}
