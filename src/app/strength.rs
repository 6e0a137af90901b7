//! How hard a password is to guess.

use zxcvbn::zxcvbn;

/// Characters that are looked at: more make no password weaker.
const LOOKED_AT: usize = 64;

/// How hard a password is to guess for somebody who tries what people choose first. The host counts wrong passwords by address, so
/// that a guess costs an attacker far more than one at a stolen file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Less than a million guesses: below what is taken without a second yes.
    Weak,
    /// Less than ten thousand million.
    Fair,
    /// More.
    Strong,
}

impl Strength {
    /// The strength of a password in a network of this name, of a host with that one.
    #[must_use]
    pub fn of(password: &str, known: &[&str]) -> Self {
        let end = password.char_indices().nth(LOOKED_AT).map_or(password.len(), |(at, _)| at);
        let guesses = zxcvbn(password.get(..end).unwrap_or_default(), known).guesses_log10();
        match guesses {
            ..6.0 => Self::Weak,
            ..10.0 => Self::Fair,
            _ => Self::Strong,
        }
    }

    /// In words, beside the password.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Weak => "weak: easy to guess",
            Self::Fair => "fair",
            Self::Strong => "strong",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_choose_first_is_weak_and_words_by_lot_are_strong() {
        for (password, strength) in [
            ("", Strength::Weak),
            ("password1", Strength::Weak),
            ("qwertz", Strength::Weak),
            ("20051997", Strength::Weak),
            ("labs", Strength::Weak),
            ("open sesame", Strength::Fair),
            ("maple orbit canyon lunar", Strength::Strong),
            ("fX9$kk2!qpoZ", Strength::Strong),
        ] {
            assert_eq!(Strength::of(password, &["lab", "ann"]), strength, "{password}");
        }
        assert_eq!(Strength::of(&"ж".repeat(500), &[]), Strength::of(&"ж".repeat(64), &[]));
    }
}
