//! pyile: a full-screen terminal messenger for a group that trusts one of its own to hold the door.
//!
//! One peer, the **host**, opens a network; others **join** with the network's password; from then on every member
//! talks to every other directly, to everyone or to one. The host's word is final: it admits, it bans, and it keeps
//! the list of members true by heartbeat.
//!
//! # Host in twenty lines
//! ```no_run
#![doc = include_str!("../examples/host.rs")]
//! ```
//! The other side is in [`network`]. Whoever brings a front end of its own leaves the feature `program` out: the screen and
//! the command line stand behind it, and all that they need.
//!
//! # The map
//! What stands higher knows nothing of what stands lower; `tests/layering.rs` holds the table.
//!
//! | layer | what it is |
//! |---|---|
//! | [`model`] | the vocabulary: keys, aliases, messages, reasons, the one text sanitiser, every limit |
//! | [`api`] | commands and events: all that front ends and core share; serialised, the `--json` contract |
//! | [`wire`] | frames and their bytes; the specifications of the native wire and of the classic one |
//! | [`security`] | keys, TLS with raw keys, the password proof |
//! | [`proto`] | the protocol without I/O: the node of host and member |
//! | [`app`] | the screen's state and its reducer |
//! | [`ui`] | the state made visible |
//! | [`width`](mod@width) | how wide text is on a terminal |
//! | [`cli`], [`config`] | what was typed; what it means |
//! | [`store`] | the only files: key, host record, bans, known hosts, verified keys |
//! | [`net`] | the only sockets: the node actor and its sessions |
//! | [`network`] | one session in one network: the library's front door |
//! | [`doctor`] | why a host cannot be joined, or this peer not be reached |
//! | [`headless`], [`terminal`], [`telemetry`] | `--json`; the terminal's guard and keys; the log |
//! | [`run`] | the composition root |
//!
//! # What always holds
//! - The pure layers ([`model`] to [`ui`]) do no I/O, read no clock and draw no randomness of their own.
//! - A link belongs to a key. Whom a key may talk to is the roster's word, and the roster is the host's, signed.
//! - The password never crosses the native wire, is not kept, and is proven over one link only.
//! - Text from outside is cleaned once, in [`model::text`], before anything shows, logs or stores it.
//! - Awaiting goes up (session, node, front end), trying goes down: no slow peer delays another.
//! - Everything that a stranger, a peer or a person can cause has a bound in [`model::limits`]; how much room a node gives
//!   is part of its options ([`network::Limits`]).
//!
//! # Flows
//! **Send.** A key makes `app::update` return an effect, `run` hands the command to the node. All texts of a turn for one
//! audience become a batch (`proto::messaging`'s `sending`): numbered, signed and encoded once. It goes to the history, and
//! leaves when that has it. [`proto::log`] knows to whom each own stream is addressed and how far each recipient's cursor
//! has come; `feeding` sends what a recipient's window has room for, from the log's memory, or from the history where the
//! log has let go of it. There is no queue for a recipient: one that is away or slow costs a cursor.
//!
//! **Acknowledge.** One `Ack` for a link and turn says how far the receiver has come in a stream: what it has, and what it
//! has for good. It moves the cursor, is kept as a receipt, and is told as one [`api::Progress`].
//!
//! **Receive.** A session cuts bytes into frames; the node checks that the link's key is the author, lets the batch wait if
//! its author is over its rate, refuses the words of the removed, notices holes, shows it, has it kept, and acknowledges it
//! then (`receiving`). Under numbers that are known already it is compared word for word with what is kept (`conflict`).
//!
//! **Come in.** A joiner proves the password over OPAQUE, or shows the pass of an invite, which is said only to the host whose
//! key the invite has (`proto::host`'s `admitting` and `inviting`). Where the host wants to be asked, it waits (`door`). Its
//! admission, and the use of the pass, are written at once before it is told. Hosts around are heard by `net::discovery`.
//!
//! **Verify.** Two members work out the same words from both keys over their link (`proto::verifying`, `security::sas`), two
//! people compare them, and the store keeps whom they have verified.
//!
//! **Keep.** Nothing leaves, and nothing is acknowledged for good, before the history has it: `messaging`'s `journal` says what
//! is due when. A history that cannot be written now is tried again; meanwhile nothing is called kept.
//!
//! **Catch up.** Who was away, or finds a hole, asks for what it lacks (`catch_up`). What arrives at the host when others
//! have asked already, or was never sent to them because its author is gone, the host names to them, and they ask again.
//!
//! **Ban.** The host adds the ban, tells and cuts off the peer, and distributes a roster without it, all at once; the
//! ban is acknowledged when it is on disk. Every member cuts its links and says so; the host counts.
//!
//! **No path.** A peer that cannot be dialled is asked, through the host, to dial. Where that fails too, a third member relays
//! the link. `proto::links`' `paths` and `relay` decide; `net`'s `relay` moves the bytes, which only the two ends can read.
//! Members report to the host whom they reach, and the host tells all.
//!
//! **Heartbeat loss.** Both ends of a join link beat and measure. Silence makes a peer suspect, then removed; a stall
//! of this process is not the peer's silence. A member that lost its host asks for admission again by its key, with
//! growing waits, until the host is back or the time is up.
//!
//! **Another host.** A host hands its network over, or names a deputy that opens it again when the host is gone (`handover` and
//! `deputy`, in `proto::host` and `proto::member`). Members follow by what the host before has signed.

pub mod api;
#[cfg(feature = "program")]
pub mod app;
#[cfg(feature = "program")]
pub mod cli;
#[cfg(feature = "program")]
pub mod config;
pub mod doctor;
#[cfg(feature = "program")]
pub mod headless;
pub mod model;
pub mod net;
pub mod network;
pub mod proto;
#[cfg(feature = "program")]
pub mod run;
pub mod security;
pub mod store;
#[cfg(feature = "program")]
pub mod telemetry;
#[cfg(feature = "program")]
pub mod terminal;
#[cfg(feature = "program")]
pub mod theme;
#[cfg(feature = "program")]
pub mod ui;
#[cfg(feature = "program")]
pub mod width;
pub mod wire;

pub use self::{
    network::{Events, HostOptions, JoinOptions, Network},
    store::Profile,
};
