//! Why a link, a membership or a session ended, and why a message failed: one vocabulary on the wire, in the log and
//! on screen. The numbers of both are one numbering.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal $words:literal,)*) => {
        /// Why something ended. The number is its form on the wire and never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum CloseReason { $($(#[$doc])* $name = $code,)* }

        impl CloseReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in `--json`.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Its sentence for people, without a full stop.
            #[must_use]
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }

            /// The reason with this number, if there is one.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The peer said goodbye.
    Left = 1 "left" "left",
    /// The host said goodbye and closed the network.
    HostLeft = 2 "host_left" "the host left and closed the network",
    /// The host removed the member; it may ask to be admitted again.
    Kicked = 3 "kicked" "removed by the host",
    /// The host refuses this key or address.
    Banned = 4 "banned" "banned by the host",
    /// Another session with the same key took the place of this one.
    Superseded = 5 "superseded" "replaced by a newer session with the same key",
    /// Nothing was heard for too long.
    HeartbeatTimeout = 6 "heartbeat_timeout" "no heartbeat",
    /// The TCP connection ended without a goodbye.
    ConnectionLost = 7 "connection_lost" "connection lost",
    /// The peer does not take what it is sent.
    SlowConsumer = 8 "slow_consumer" "does not take what it is sent",
    /// The peer broke a rule of the wire.
    ProtocolError = 9 "protocol_error" "broke the protocol",
    /// The password was not proven.
    WrongPassword = 10 "wrong_password" "wrong password",
    /// The other side speaks another version.
    IncompatibleVersion = 11 "incompatible_version" "speaks another version of pyile",
    /// Something else than a pyile peer answered.
    NotPyile = 12 "not_pyile" "not a pyile host",
    /// Nobody answered.
    Unreachable = 13 "unreachable" "cannot be reached",
    /// The other side showed another key than expected.
    KeyChanged = 14 "key_changed" "shows another key than before",
    /// The network has as many members as it may.
    NetworkFull = 15 "network_full" "the network is full",
    /// The alias belongs to another member, or looks like one that does.
    AliasTaken = 16 "alias_taken" "the alias is taken",
    /// The alias breaks the rules.
    AliasNotAllowed = 17 "alias_not_allowed" "the alias is not allowed",
    /// A step took too long.
    TimedOut = 18 "timed_out" "took too long",
    /// Too many at once; trying again later helps.
    Busy = 19 "busy" "the host is busy",
    /// The key is not in the roster.
    NotAMember = 20 "not_a_member" "not a member of this network",
    /// Nothing was said for a while.
    Idle = 21 "idle" "idle",
    /// Something went wrong on this side.
    Internal = 22 "internal" "internal error",
    /// This side could not open its listener.
    CannotListen = 23 "cannot_listen" "cannot listen",
    /// The host was lost and did not come back in time.
    HostLost = 24 "host_lost" "the host was lost",
    /// The pass of an invite lets nobody in any more, or never did.
    InviteRefused = 34 "invite_refused" "the invite is not taken",
    /// The host said no at the door, or nothing in time.
    NotApproved = 35 "not_approved" "the host did not let you in",
    /// The program was called in a way that makes no sense.
    Usage = 27 "usage" "wrong usage",
    /// The machine is there, and no program takes connections at that port.
    NothingListens = 30 "nothing_listens" "nothing listens at its address",
    /// No answer at all: a firewall drops what is sent there, or the address is nobody's.
    NoAnswer = 31 "no_answer" "no answer from its address",
    /// The system knows no way to that address.
    NoRoute = 32 "no_route" "there is no way to its address",
}

impl CloseReason {
    /// Why a peer is gone, in the five words that `peer_down` has for it.
    #[must_use]
    pub fn departure(self) -> Self {
        match self {
            Self::Left | Self::HostLeft => Self::Left,
            Self::HeartbeatTimeout | Self::Kicked | Self::Banned => self,
            _ => Self::ConnectionLost,
        }
    }

    /// True when the host does not want the peer any more: nothing waits for it.
    #[must_use]
    pub fn is_removal(self) -> bool {
        matches!(self, Self::Kicked | Self::Banned)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Serialize for CloseReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.code())
        } else {
            serializer.serialize_u8(*self as u8)
        }
    }
}

impl<'de> Deserialize<'de> for CloseReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| D::Error::custom("unknown close reason"))
    }
}

/// Why a message will never arrive at one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FailReason {
    /// The recipient is gone, or the own session ended, for this reason.
    Closed(CloseReason),
    /// It waited longer than messages are kept.
    Expired,
    /// More waited for this recipient than a history in memory holds.
    QueueFull,
    /// It is longer than a classic peer can read.
    TooLong,
    /// The recipient is a classic peer, and nothing is to go in clear.
    NotInClear,
    /// The recipient has something else under this number; what it lacks is said again under another one.
    Conflict,
}

impl FailReason {
    /// Those that are not the end of something else.
    pub const OWN: [Self; 5] =
        [Self::Expired, Self::QueueFull, Self::TooLong, Self::NotInClear, Self::Conflict];

    /// Its number in the history: one of [`CloseReason`], or one that is none there.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Closed(reason) => reason as u8,
            Self::Expired => 25,
            Self::QueueFull => 26,
            Self::TooLong => 28,
            Self::NotInClear => 29,
            Self::Conflict => 33,
        }
    }

    /// The reason with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        let own = Self::OWN.into_iter().find(|reason| reason.number() == number);
        own.or_else(|| CloseReason::from_number(number).map(Self::Closed))
    }

    /// Its name in `--json`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Closed(reason) => reason.code(),
            Self::Expired => "expired",
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::NotInClear => "not_in_clear",
            Self::Conflict => "conflict",
        }
    }

    /// Its sentence for people, without a full stop.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Closed(reason) => reason.words(),
            Self::Expired => "waited too long",
            Self::QueueFull => "more waited for it than the memory holds",
            Self::TooLong => "too long for a classic peer",
            Self::NotInClear => "classic, and nothing is sent in clear",
            Self::Conflict => "said again: it has something else under this number",
        }
    }
}

impl From<CloseReason> for FailReason {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

impl Serialize for FailReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// Why something ended, with the circumstances in words where they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The reason.
    pub reason: CloseReason,
    /// Cause and remedy for people; empty when the reason says it all.
    pub detail: String,
}

impl Closed {
    /// A reason with its circumstances.
    #[must_use]
    pub fn new(reason: CloseReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<CloseReason> for Closed {
    fn from(reason: CloseReason) -> Self {
        Self { reason, detail: String::new() }
    }
}

impl std::error::Error for Closed {}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() { self.reason.words() } else { &self.detail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_come_back() {
        let mut codes = std::collections::BTreeSet::new();
        for reason in CloseReason::ALL {
            assert!(codes.insert(reason.code()));
            assert_eq!(CloseReason::from_number(*reason as u8), Some(*reason));
        }
        assert_eq!(CloseReason::from_number(0), None);
        for reason in FailReason::OWN {
            assert!(codes.insert(reason.code()));
            assert_eq!(FailReason::from_number(reason.number()), Some(reason));
            assert_eq!(CloseReason::from_number(reason.number()), None);
        }
        assert_eq!(FailReason::from_number(4), Some(CloseReason::Banned.into()));
    }

    #[test]
    fn a_departure_has_one_of_the_five_words_of_the_contract() {
        let words: std::collections::BTreeSet<&str> =
            CloseReason::ALL.iter().map(|reason| reason.departure().code()).collect();
        let contract = ["banned", "connection_lost", "heartbeat_timeout", "kicked", "left"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), contract);
    }
}
