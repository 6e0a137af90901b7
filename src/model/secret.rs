//! The network's password while it is in memory: never shown, never compared by accident, wiped after use.

use std::fmt;

use serde::{Deserialize, Deserializer};
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// A password. `Debug` shows nothing of it, there is no `Display`, and its memory is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password as it was typed, whatever the keyboard makes of it: every space is the plain one, and a letter with
    /// its mark is one character (RFC 8265, `OpaqueString`).
    #[must_use]
    pub fn new(text: String) -> Self {
        let text = Zeroizing::new(text);
        // So much that the letters are never moved, which would leave a copy behind.
        let mut normal = Zeroizing::new(String::with_capacity(text.len() * 3));
        let is_space = |c: char| c.is_whitespace() && !c.is_ascii() && !c.is_control();
        normal.extend(text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc());
        Self(normal)
    }

    /// The bytes, for the proof only.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, to be shown where somebody is to pass it on.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True when nothing was typed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_password_typed_in_several_ways_is_one() {
        let typed = |text: &str| Password::new(text.to_owned());
        assert_eq!(typed("caf\u{e9} ouvert"), typed("cafe\u{301} ouvert"), "a letter with its mark");
        for space in ['\u{a0}', '\u{2003}', '\u{3000}', '\u{202f}'] {
            assert_eq!(typed(&format!("open{space}sesame")), typed("open sesame"));
        }
        assert_eq!(typed("\u{1100}\u{1161}\u{11a8}"), typed("\u{ac01}"), "a syllable of its letters");
        for (one, other) in [("Sesame", "sesame"), ("ﬁ", "fi"), ("①", "1"), ("a ", "a"), ("ß", "ss")] {
            assert_ne!(typed(one), typed(other), "what looks alike is not the same");
        }
    }
}
