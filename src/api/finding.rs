//! What an examination of a host finds, step by step.

use serde::Serialize;

use crate::model::SafeText;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Check {
    /// The host's name.
    Name,
    /// The way there.
    Route,
    /// The port.
    Port,
    /// What answers at it.
    Host,
    /// Whether large packets get through.
    Packets,
    /// What it says to this joiner.
    Admission,
    /// Getting in.
    Join,
    /// Whether others reach this peer.
    PeerPort,
    /// The time here and there.
    Clock,
    /// Whether the router of this machine opens ports.
    Router,
}

impl Check {
    /// Its name on the screen.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Route => "route",
            Self::Port => "port",
            Self::Host => "host",
            Self::Packets => "packets",
            Self::Admission => "admission",
            Self::Join => "join",
            Self::PeerPort => "peer port",
            Self::Clock => "clock",
            Self::Router => "router",
        }
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should.
    Good,
    /// Not as it should, and one can get by.
    Poor,
    /// Nothing goes on from here.
    Bad,
    /// It was not looked at.
    Skipped,
}

impl Verdict {
    /// Its sign on the screen, where colour alone must not tell.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Poor => "!",
            Self::Bad => "✗",
            Self::Skipped => "-",
        }
    }
}

/// One step of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub message: SafeText,
    /// What to do about it; empty when there is nothing to be done.
    #[serde(skip_serializing_if = "is_empty")]
    pub next: SafeText,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_empty(text: &SafeText) -> bool {
    text.as_str().is_empty()
}

impl Finding {
    /// A finding with what to do about it.
    #[must_use]
    pub fn new(check: Check, verdict: Verdict, message: &str, next: &str) -> Self {
        Self { check, verdict, message: SafeText::line(message), next: SafeText::clean(next) }
    }

    /// All is well.
    #[must_use]
    pub fn good(check: Check, message: &str) -> Self {
        Self::new(check, Verdict::Good, message, "")
    }
}
