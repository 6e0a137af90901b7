//! The vocabulary of pyile: who peers are, what they say, why links end, and every number in one place.
//!
//! Plain values without I/O, clock or randomness. This layer uses no other; it must never learn how a value
//! travels, is stored or is drawn.

pub mod applicant;
pub mod ban;
pub mod batch;
pub mod bounded;
pub mod error;
pub mod history;
pub mod invite;
pub mod limits;
pub mod liveness;
pub mod message;
pub mod nearby;
pub mod network;
pub mod peer;
pub mod port_mapping;
pub mod reachability;
pub mod realm;
pub mod reason;
pub mod role;
pub mod secret;
pub mod status;
pub mod text;
pub mod time;
pub mod verified;

pub use applicant::{Applicant, Notes};
pub use ban::{Attempt, Ban, Penalty};
pub use batch::{Batch, StoredBatch};
pub use bounded::{AtMost, at_most};
pub use error::{AuthenticationError, CommandError, ErrorKind, RecvError, SendError, StatusError};
pub use history::{
    Addressee, Delivery, Held, HistoryState, Interval, OwnStream, Page, Place, Recalled, Span, StoredMessage,
    Stream,
};
pub use invite::{Invite, InviteError, JoinTarget, KeptPass, Pass, PassError};
pub use liveness::Liveness;
pub use message::{DeliveryStatus, MessageId, Recipient, Resolution, StreamId, Summary};
pub use nearby::{Answer, NearbyNetwork, Sighting};
pub use network::{
    Admitted, DeputyStatement, Deputyship, HostPackage, HostState, KeptAttempts, KnownHost, Network,
    NetworkId, OpenedBy, Policy,
};
pub use peer::{Alias, AliasError, Departed, Looks, Peer, PeerId, RosterEntry, Signature};
pub use port_mapping::{HostPorts, MappingProtocol, PortMapping};
pub use reachability::{Reached, Unreachable};
pub use realm::Realm;
pub use reason::{CloseReason, Closed, FailReason};
pub use role::{Role, Wire};
pub use secret::Password;
pub use status::Status;
pub use text::SafeText;
pub use time::{Moment, Timestamp};
pub use verified::Verified;
