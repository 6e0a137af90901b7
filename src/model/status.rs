//! What a member says of itself.

use serde::{Deserialize, Deserializer, Serialize};

use super::{limits, text::SafeText};

/// What a member says of itself, such as that it is away: one clean line of at most [`limits::STATUS_CHARACTERS`] characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status(SafeText);

impl Status {
    /// The first characters of a text, on one line; nothing when none is left.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let line = SafeText::line(text.trim());
        let short: String = line.as_str().chars().take(limits::STATUS_CHARACTERS).collect();
        // What the cut has left of a letter that shows nothing alone is cleaned again.
        Some(SafeText::line(short.trim())).filter(|text| !text.as_str().is_empty()).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl<'de> Deserialize<'de> for Status {
    /// Only what is a status already: the host signs it as it is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = SafeText::deserialize(deserializer)?;
        let status = Self::new(text.as_str()).filter(|status| status.0 == text);
        status.ok_or_else(|| serde::de::Error::custom("no status: one line of a few words"))
    }
}
