//! What can go wrong between peers, under the four names that the seed gives them.
//!
//! Each message is written for people: cause and remedy.

use serde::Serialize;

use super::{FailReason, invite::PassError, limits, peer::AliasError, reason::CloseReason};

/// The seed's `AuthenticationException`: a joiner that is not admitted. Nothing changed but the count of attempts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The joiner's fault, or somebody between the two: both look the same, on purpose.
    #[error(
        "wrong password, or somebody is between you and the host; {}",
        left_words(*left)
    )]
    WrongPassword {
        /// Attempts left for this address.
        left: u32,
    },
    /// A classic host said no, and says no more than that.
    #[error(
        "the host did not take the password; a classic host does not say how many attempts are left, nor whether it \
         has another reason"
    )]
    NotTaken,
    /// The alias belongs to another key.
    #[error(
        "the alias \"{0}\" belongs to another member of this network; choose another. Was it yours, on another \
         machine or in another profile? The host can free it: /kick {0}"
    )]
    AliasTaken(String),
    /// The alias could be mistaken for another.
    #[error("the alias \"{alias}\" looks like \"{other}\", who is a member already; choose another")]
    AliasLooksLike {
        /// What was asked for.
        alias: String,
        /// Whom it could be mistaken for.
        other: String,
    },
    /// The alias breaks the rules.
    #[error("{0}")]
    AliasNotAllowed(#[from] AliasError),
    /// The pass of its invite lets nobody in.
    #[error("{0}")]
    Pass(#[from] PassError),
    /// The host said no.
    #[error("the host did not let you in{}", reason_words(.0))]
    NotApproved(String),
    /// The host said nothing.
    #[error("nobody at the host said yes or no in time; ask there, and try again")]
    NobodyOpened,
    /// Its address has brought too many new keys.
    #[error("too many newcomers came from this address within an hour; try again later, or ask the host")]
    TooManyNewcomers,
    /// No more members.
    #[error("the network is full: it has {0} members; ask the host to make room")]
    NetworkFull(usize),
}

fn left_words(left: u32) -> String {
    match left {
        0 => "no attempts are left: the host refuses this address for a day, or until it lifts the ban"
            .to_owned(),
        1 => "1 attempt is left before this address is banned".to_owned(),
        left => format!("{left} attempts are left before this address is banned"),
    }
}

/// The seed's `StatusException`: what the host says of a peer before anything else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// The key or the address is refused.
    #[error("the host has banned you{}; only the host can lift it", reason_words(.0))]
    Banned(String),
    /// A member that the host removed.
    #[error("the host has removed you{}; you may join again with the password", reason_words(.0))]
    Kicked(String),
}

fn reason_words(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

/// The seed's `SendException`: a message that was not taken for sending. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No text.
    #[error("nothing to send: the text is empty")]
    Empty,
    /// Too much text.
    #[error("the text has {0} bytes, at most {max} are possible; send it in parts", max = limits::TEXT_BYTES)]
    TooLong(usize),
    /// The recipient is unknown.
    #[error("nobody called \"{0}\" is a member; the names of all are in the peer list")]
    NoSuchMember(String),
    /// The sender is not in a network now.
    #[error("not connected to a network; the message was not sent")]
    NotConnected,
    /// The disk takes nothing, and enough waits for it.
    #[error("the disk is full, and too much waits for it already; make room on it")]
    NoRoom,
    /// A classic peer cannot read that much.
    #[error(
        "the text takes {bytes} bytes on the classic wire, of which {name} reads at most {max}; send it in parts",
        max = limits::CLASSIC_OBJECT
    )]
    TooLongForClassic {
        /// The recipient.
        name: String,
        /// What the message takes there.
        bytes: usize,
    },
    /// A classic peer, and nothing is to go in clear.
    #[error("it would go to {0} in clear, which is switched off (/cleartext on, or the command cleartext)")]
    NotInClear(String),
    /// A classic peer that is not here.
    #[error("{0} is a classic peer and not here now: nothing can wait for it")]
    ClassicAway(String),
    /// A message to oneself.
    #[error("that is you; choose another recipient")]
    Yourself,
}

impl SendError {
    /// Why one recipient of several will not have the message.
    #[must_use]
    pub fn reason(&self) -> FailReason {
        match self {
            Self::TooLongForClassic { .. } => FailReason::TooLong,
            Self::NotInClear(_) => FailReason::NotInClear,
            _ => CloseReason::NotAMember.into(),
        }
    }
}

/// A command that was not carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A member asked for what only the host may do.
    #[error("only the host can do that")]
    NotTheHost,
    /// A handover is near its end: the host's word passes to somebody else.
    #[error("somebody else is becoming the host at this moment; ask again")]
    HandingOver,
    /// The session is over.
    #[error("not in a network any more; join again")]
    Ended,
    /// Neither a peer nor an address was named.
    #[error("{0} needs a \"peer\", an \"addr\", or both")]
    NobodyNamed(&'static str),
    /// No key is known under that name.
    #[error("nobody called \"{0}\" is known here; the names of all are in the peer list")]
    Unknown(String),
    /// No member has that name.
    #[error("nobody called \"{0}\" is a member")]
    NoSuchMember(String),
    /// The host would do it to itself.
    #[error("that is you; {0}")]
    Yourself(&'static str),
    /// There is no ban to lift.
    #[error("there is no such ban; the banned list shows all")]
    NoSuchBan,
    /// There is nobody to remove.
    #[error("nobody to kick: no member matches")]
    NobodyToKick,
    /// One handover at a time.
    #[error("a handover is under way already")]
    HandoverUnderWay,
    /// Only the deputy takes over.
    #[error("you are not the deputy of this network: only whom the host has named opens it again")]
    NotTheDeputy,
    /// The host is there.
    #[error("the host is here: you may take over only once it is gone")]
    HostIsHere,
    /// The host has not been gone for long enough.
    #[error(
        "the host may come back: you may take over once it has been gone for its time of grace, in {0} s"
    )]
    TooEarly(u64),
    /// The deputy was not told what a host needs.
    #[error("the host was gone before it told you what a host needs: you cannot take over")]
    NothingGiven,
    /// A classic peer cannot be the host.
    #[error("{0} is a classic peer, and those cannot take over from this program")]
    ClassicSuccessor(String),
    /// The member is not here now.
    #[error("{0} has no link to you now")]
    NotLinked(String),
    /// An invite that is not possible: what of it, and its bound.
    #[error("an invite has 1 to {1} {0}")]
    InviteBounds(&'static str, u32),
    /// All invites that are kept are still good.
    #[error("there are {max} invites that let somebody in; take some back first", max = limits::PASSES)]
    TooManyInvites,
    /// The host alone invites here.
    #[error("the host lets no member invite; ask the host for an invite")]
    MembersDoNotInvite,
    /// A member has as many invites as it may.
    #[error("{max} invites of yours still let somebody in; no more are possible at once", max = limits::PASSES_OF_MEMBER)]
    EnoughInvites,
    /// No words are there to compare.
    #[error("there are no words to compare with {0}: begin with /verify")]
    NothingToCompare(String),
    /// A classic peer has no key.
    #[error("{0} is a classic peer, which has no key to verify")]
    ClassicHasNoKey(String),
    /// Nobody of that name waits.
    #[error("nobody called \"{0}\" waits at the door")]
    NobodyWaits(String),
    /// More than one wants to be called so.
    #[error("several who wait want to be called \"{0}\": name one by its key")]
    SeveralWait(String),
    /// There is no invite to take back.
    #[error("no invite that lets somebody in is called so; the admin pane lists all")]
    NoSuchInvite,
    /// Somebody may not be called so.
    #[error("not possible: {0}")]
    NameRefused(String),
    /// It asks for something else again and again.
    #[error("your name or status was changed just now; try again in two seconds")]
    TooSoon,
    /// The host that would have to agree is not there.
    #[error("the host has to agree, and is not there now; try again when it is back")]
    NoHost,
    /// The Python program knows no such thing.
    #[error("the host is the Python program, which knows neither other names nor a status")]
    ClassicHost,
}

/// The seed's `RecvException`: bytes that are no frame. The peer's fault; its link is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// More bytes than the phase allows.
    #[error("a frame of {found} bytes, at most {limit} are allowed here")]
    TooLong {
        /// What was announced.
        found: usize,
        /// What is allowed now.
        limit: usize,
    },
    /// No bytes at all.
    #[error("an empty frame")]
    Empty,
    /// A kind that this version does not know.
    #[error("a frame of unknown kind {0}")]
    UnknownTag(u8),
    /// The content does not fit the kind.
    #[error("a frame of kind {0} that cannot be read")]
    Malformed(u8),
    /// More content than the kind has.
    #[error("a frame of kind {tag} with {bytes} bytes too many")]
    TrailingBytes {
        /// The kind.
        tag: u8,
        /// How many were left over.
        bytes: usize,
    },
}

/// The `kind` of an `error` event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Not admitted.
    Authentication,
    /// Banned or kicked.
    Status,
    /// A message was not taken for sending.
    Send,
    /// A peer sent what is no frame.
    Recv,
    /// A link could not be made or was lost.
    Connection,
    /// A command that makes no sense or is not allowed here.
    Command,
    /// Something could not be kept on disk.
    Storage,
}
