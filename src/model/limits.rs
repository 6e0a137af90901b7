//! Every number that bounds what a peer, a person or a program may cause, with its reason.
//!
//! A bound that is not here does not exist: no other module may hold one. Of those that are given to a node (`Limits` in
//! `proto`) the defaults are here.

use std::time::Duration;

/// The port that a host listens on for joiners (seed, "Sockets").
pub const JOIN_PORT: u16 = 4702;
/// Peer listeners take a free port of the dynamic and private range (seed, "Sockets"; RFC 6335).
pub const PEER_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Random ports tried before the machine is said to have none free.
pub const PEER_PORT_TRIES: u32 = 64;

/// Bytes of a frame before its sender is authenticated: the codec reserves what four bytes claim.
pub const FRAME_BEFORE: usize = 1024;
/// Bytes of a frame afterwards.
pub const FRAME_AFTER: usize = 64 * 1024;
/// Bytes of text in a message, as UTF-8.
pub const TEXT_BYTES: usize = 16 * 1024;
/// Visible characters of an alias.
pub const ALIAS_CHARACTERS: usize = 32;
/// Letters of a key that stand for it beside a label: enough to tell friends apart, not proof.
pub const SHORT_KEY: usize = 8;
/// Bytes of the pass in an invite: nobody finds one by trying.
pub const PASS_BYTES: usize = 16;
/// Letters by which a pass is called.
pub const PASS_ID: usize = 6;
/// Addresses in an invite: those that lead to the host from most places.
pub const INVITE_ADDRS: usize = 4;
/// Bytes of an invite: four long addresses, a key and a pass.
pub const INVITE_BYTES: usize = 320;
/// Modules of a side of a QR code: with what is light around it, it fits a screen of 80 by 24.
pub const QR_SIDE: usize = 33;
/// How long somebody waits at the door for the host's yes; then it is a no.
pub const APPROVAL_WAIT: Duration = Duration::from_secs(300);
/// Joiners that wait at the door at once.
pub const APPLICANTS: usize = 32;
/// Of them from one address.
pub const APPLICANTS_PER_ADDRESS: usize = 4;
/// The person at the host is called once in so long for those who wait.
pub const APPLICANTS_CALL_EVERY: Duration = Duration::from_secs(10);
/// Characters of a network's topic.
pub const TOPIC_CHARACTERS: usize = 200;
/// Lines of a network's rules that are shown.
pub const RULES_LINES: usize = 20;
/// Bytes of a network's rules: a screen of them.
pub const RULES_BYTES: usize = 2048;
/// Words that two people compare: 66 bits.
pub const VERIFY_WORDS: usize = 6;
/// How long the other end may take for its part of the words.
pub const VERIFY_ANSWER: Duration = Duration::from_secs(30);
/// How long two people may take to compare them.
pub const VERIFY_FOR: Duration = Duration::from_secs(600);
/// A peer that begins again sooner is not listened to.
pub const VERIFY_EVERY: Duration = Duration::from_secs(10);
/// Frames about words that wait for a link to a peer.
pub const VERIFY_WAITING: usize = 4;
/// Verified keys that are kept; the oldest makes room.
pub const VERIFIED: usize = 4096;
/// Networks around that are listed; more are not looked at.
pub const NEARBY: usize = 32;
/// Bytes of a network's name as it is announced: a text of mDNS has at most 255, what it is called included.
pub const NEARBY_NAME_BYTES: usize = 240;
/// How long a network around may take to answer before it is listed without a round trip.
pub const NEARBY_ANSWER: Duration = Duration::from_secs(1);
/// How long `pyile networks` listens.
pub const NEARBY_LISTEN: Duration = Duration::from_secs(3);
/// Passes that a host keeps, those that let nobody in any more included: of these the oldest makes room.
pub const PASSES: usize = 64;
/// Passes of one member that let somebody in at the same time.
pub const PASSES_OF_MEMBER: usize = 4;
/// Passes of all members together that let somebody in at the same time: the host has room for its own.
pub const PASSES_OF_MEMBERS: usize = PASSES / 2;
/// Times that one pass may be used.
pub const PASS_USES: u32 = 1000;
/// How long a pass is good, unless somebody says otherwise.
pub const PASS_HOURS: u32 = 24;
/// How long a pass may be good: a month.
pub const PASS_HOURS_MAX: u32 = 31 * 24;
/// Characters of a network's name.
pub const NETWORK_NAME_CHARACTERS: usize = 64;
/// Bytes of a reason that a person gives for a ban or a kick.
pub const REASON_BYTES: usize = 256;
/// Scalars that may share one cell of the screen: legitimate scripts and emoji stay below.
pub const CLUSTER_SCALARS: usize = 16;
/// Dials of one peer at once, and then one in so many seconds: whoever announces ever other addresses has nobody dial more.
pub const DIALS: u32 = 6;
/// See [`DIALS`].
pub const DIAL_SECONDS: u32 = 5;
/// Dials of one address at once, for all peers that say that they are there, and then so many a second.
pub const DIALS_OF_ADDRESS: u32 = 1024;
/// See [`DIALS_OF_ADDRESS`].
pub const DIALS_OF_ADDRESS_RATE: u32 = 16;
/// Addresses that a peer may announce for itself.
pub const CANDIDATES: usize = 8;

/// Members of a network by default: a full mesh costs each member about 19 KiB a link.
pub const MEMBERS: usize = 250;
/// Members that cannot be exceeded by configuration.
pub const MEMBERS_MAX: usize = 1000;
/// Bytes of roster entries in one page: leaves room for the rest of a frame.
pub const ROSTER_PAGE_BYTES: usize = 48 * 1024;
/// Entries in one frame of a roster, each with a key of 32 bytes.
pub const ROSTER_PAGE: usize = FRAME_AFTER / 32;
/// A member that asks for the whole roster again must wait this long in between.
pub const ROSTER_REQUEST_EVERY: Duration = Duration::from_millis(500);
/// Roster changes within this time travel together, so that N joins cost a member far less than N rosters.
pub const ROSTER_TICK: Duration = Duration::from_millis(50);

/// Silence of a joiner after which it is taken for a classic one, which waits to be spoken to for 4 s. A native one
/// speaks at once.
pub const CLASSIC_SILENCE: Duration = Duration::from_secs(2);
/// Time between two writes on a classic join link: the Python program takes whatever one read gives for one object.
pub const CLASSIC_PACE: Duration = Duration::from_millis(500);
/// Bytes of an object that the Python program reads, at most.
pub const CLASSIC_OBJECT: usize = 2048;
/// Bytes of text that surely fit such an object, names and addresses beside it; every line break takes two.
pub const CLASSIC_TEXT: usize = CLASSIC_OBJECT - 256;
/// Bytes of an object that it reads on its distribution link, at most.
pub const CLASSIC_ROSTER: usize = 10 * CLASSIC_OBJECT;
/// Bytes of a classic object before its sender is known.
pub const CLASSIC_BEFORE: usize = 4 * 1024;
/// Bytes of a classic object of a peer: a text of [`TEXT_BYTES`] in which every letter is escaped.
pub const CLASSIC_AFTER: usize = 6 * TEXT_BYTES + 1024;
/// Messages of a classic peer that may wait for their turn, each with a connection of its own.
pub const CLASSIC_WAITING: usize = 384;
/// Time for a classic message to be sent, and for its reply to come.
pub const CLASSIC_REPLY: Duration = Duration::from_secs(4);
/// A classic peer sleeps for [`BEAT_EVERY`] after each heartbeat; it is spoken to when it is awake again.
pub const CLASSIC_SLACK: Duration = Duration::from_millis(250);
/// Time between two rosters for classic peers.
pub const CLASSIC_ROSTER_TICK: Duration = Duration::from_secs(1);
/// Time after which they are given the same roster once more.
pub const CLASSIC_ROSTER_AGAIN: Duration = Duration::from_secs(5);
/// Ports on which classic peers are given the roster (seed, "Sockets").
pub const CLASSIC_PORTS: std::ops::RangeInclusive<u16> = 50_000..=51_000;
/// An error about a wrong object quotes so many of its bytes.
pub const CLASSIC_EXCERPT: usize = 40;

/// Unauthenticated connections below which all are taken (as OpenSSH's `MaxStartups`).
pub const STARTUPS_FREE: usize = 512;
/// Percent of connections dropped at [`STARTUPS_FREE`], rising to all at [`STARTUPS_FULL`].
pub const STARTUPS_DROP_PERCENT: usize = 30;
/// Unauthenticated connections at which every further one is dropped.
pub const STARTUPS_FULL: usize = 2048;
/// Handshakes at once from one address (/32 or /64). Silent connections do not count: they cost no work.
pub const HANDSHAKES_PER_ADDRESS: u32 = 8;
/// Handshakes that one address may waste at once before it must wait; a successful admission gives its own back.
pub const HANDSHAKE_BURST: u32 = 20;
/// Wasted handshakes that an address regains each second.
pub const HANDSHAKE_RATE: u32 = 1;
/// Handshakes of one address that may wait for their turn.
pub const HANDSHAKES_WAITING: usize = 1024;
/// How often the limiter checks whether a waiting handshake may begin.
pub const LIMITER_POLL: Duration = Duration::from_millis(100);
/// One summarised line in the log for a flood of strangers in this time.
pub const FLOOD_REPORT: Duration = Duration::from_secs(60);
/// Addresses that are shown as held back, those with the most waiting first.
pub const PENALTIES: usize = 32;
/// Time between two lists of bans, wrong passwords and addresses that are held back, where strangers bring them about.
pub const ADMISSION_EVERY: Duration = Duration::from_secs(1);
/// Addresses whose handshakes are remembered; the least used are forgotten first.
pub const ADDRESSES: usize = 4096;
/// Time for the TLS handshake.
pub const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the whole admission, password work included.
pub const ADMISSION_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for one TCP connection attempt.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much later the next address of a peer is tried while the one before has not answered (RFC 8305).
pub const NEXT_CANDIDATE: Duration = Duration::from_millis(250);
/// Pending connections that the system keeps for a listener.
pub const LISTEN_BACKLOG: u32 = 4096;
/// Wait after `accept` failed for want of descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Wrong passwords from one address before it is banned, by default (seed, `password_attempts`).
pub const ATTEMPTS: u32 = 3;
/// How long an address is banned for wrong passwords.
pub const AUTOMATIC_BAN: Duration = Duration::from_secs(24 * 60 * 60);
/// Bans for wrong passwords at once; with more of them neighbours become one.
pub const AUTOMATIC_BANS: usize = 256;
/// Bans for wrong passwords in one neighbourhood that become one.
pub const CROWDED: usize = 32;
/// Addresses whose wrong passwords are counted at once, and how many of them are shown.
pub const COUNTED: usize = 1024;
/// New keys that one address may bring within [`NEWCOMERS_WITHIN`].
pub const NEWCOMERS: u32 = 1024;
/// See [`NEWCOMERS`].
pub const NEWCOMERS_WITHIN: Duration = Duration::from_secs(60 * 60);
/// Time after which a key that was not here is forgotten, unless the host says otherwise.
pub const KEY_AGE: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// How exactly it is kept when a key was last here.
pub const SEEN_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// Earlier names of a key that nobody else may take.
pub const EARLIER_ALIASES: usize = 8;
/// Quiet time after which an address's wrong passwords are forgotten.
pub const ATTEMPTS_FORGOTTEN: Duration = Duration::from_secs(600);
/// Password hashes at once on a joiner: each takes 64 MiB.
pub const HASHES_AT_ONCE: usize = 2;
/// Bytes of a password.
pub const PASSWORD_BYTES: usize = 1024;

/// Time between two heartbeats (seed, "Heartbeat").
pub const BEAT_EVERY: Duration = Duration::from_secs(2);
/// Each beat comes up to this percentage earlier or later, so that members do not beat in step.
pub const BEAT_JITTER_PERCENT: u32 = 10;
/// Beats that are due within this time leave together.
pub const BEAT_SLOT: Duration = Duration::from_millis(100);
/// Silence after which a peer is suspect.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(5);
/// Silence after which a peer is removed: simulated without false removals on LAN and WAN.
pub const DEAD_AFTER: Duration = Duration::from_secs(12);
/// A timer that fires this late means that this process was stopped, not that peers were silent.
pub const STALL: Duration = Duration::from_secs(1);
/// Heartbeats whose answer is waited for.
pub const BEATS_OUTSTANDING: usize = 8;

/// First wait before a member asks for admission again, or a peer is dialled again; doubles each time.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// Longest such wait.
pub const BACKOFF_LAST: Duration = Duration::from_millis(6400);
/// How long a member tries to come back by default: a host may be away overnight.
pub const REJOIN_FOR: Duration = Duration::from_secs(24 * 3600);
/// A wake-up that is this late means that this machine slept.
pub const SUSPENDED: Duration = Duration::from_secs(5);
/// How often the clock is looked at for that.
pub const SLEEP_WATCH: Duration = Duration::from_secs(2);
/// Seconds for which members go on while the host is away, by default.
pub const GRACE: u32 = 600;
/// Time that a host has for its first word to a joiner; others may be before it.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(20);
/// Time after which somebody who joins is told that the host is slow.
pub const HOST_SLOW: Duration = Duration::from_secs(5);
/// Time for which a first join is tried again when the host is slow, or turns joiners away because there are too many.
pub const JOIN_FOR: Duration = Duration::from_secs(90);

/// Bytes of text at which a batch is closed: two fit a frame with all that is beside them.
pub const BATCH_BYTES: usize = 32 * 1024;
/// Bytes that a batch takes beside what it says, about.
pub const BATCH_BESIDE: usize = 256;
/// Bytes that a message takes in memory beside its text, about.
pub const MESSAGE_BESIDE: usize = 64;
/// Messages of a batch.
pub const BATCH_MESSAGES: usize = 512;
/// Bytes of an own stream's newest batches that stay in memory while somebody lacks them; the rest is read from the
/// history. What the history does not have for good stays beyond that, up to [`UNSAVED_BYTES`].
pub const LOG_BYTES: usize = 3 * 1024 * 1024;
/// Messages that were said within this time expire together.
pub const AGE_STEP: Duration = Duration::from_secs(10);
/// Bytes of a program's own names for messages that somebody has not got: of more the oldest are not told any more.
pub const REFERENCES_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that such a name takes beside its letters.
pub const REFERENCE_BYTES: usize = 64;
/// Conflicts that one peer may report in one session about what was said to it alone.
pub const CONFLICTS: u32 = 8;
/// Epochs between an old and a new one, for what is said again.
pub const EPOCH_ROOM: u64 = 1_000_000;
/// Messages on their way to one peer, at most.
pub const WINDOW_MESSAGES: usize = 1024;
/// Bytes on their way to one peer, at most.
pub const WINDOW_BYTES: usize = 192 * 1024;
/// Messages, or bytes, by which a peer may exceed the window before its link is cut: acknowledgements cross.
pub const WINDOW_SLACK: usize = 2;
/// Frames in a link's outbound queue.
pub const OUTBOUND_FRAMES: usize = 1024;
/// Time that a write may stall before the link is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(12);
/// How long messages wait for a recipient.
pub const UNDELIVERED_FOR: Duration = Duration::from_secs(24 * 3600);
/// A recipient that acknowledged within this time is busy, not stalled: where only the memory keeps what waits, its
/// sender had better wait too.
pub const PROGRESS: Duration = Duration::from_secs(1);
/// Messages a second that a member takes from another, by default.
pub const RATE: u32 = 100;
/// Messages that may come at once above [`RATE`].
pub const RATE_BURST: u32 = 1000;
/// Bytes of text a second that a member takes from another, by default.
pub const RATE_BYTES: u32 = 1024 * 1024;
/// Epochs of a departed author whose words still count, the newest of them.
pub const DEPARTED_EPOCHS: usize = 16;
/// Members of the past whose words still count, the newest of them.
pub const DEPARTED: usize = 4096;
/// How long they count.
pub const DEPARTED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Holes in a stream that are remembered, so that a late message still finds its place.
pub const GAPS: usize = 64;
/// Epochs of one author that are remembered: one for each of its sessions.
pub const EPOCHS: usize = 64;
/// A peer whose clock differs by more than this is reported.
pub const CLOCK_OFF: Duration = Duration::from_secs(60);
/// A message that took longer than this has waited, and stands where it was said.
pub const DELAYED: Duration = Duration::from_secs(2);
/// Places that are left free for missing messages; if more are missing, some share a place.
pub const GAP_ROOM: u64 = 10_000;
/// A hole of more messages than this is taken for lost: they are too many to be handed on.
pub const GAP_MOST: u64 = 100_000;
/// Peers that a returning member asks for what it missed.
pub const CATCH_UP_PEERS: usize = 3;
/// How much further back it asks than it remembers: clocks differ.
pub const CATCH_UP_SLACK: Duration = Duration::from_secs(600);
/// Authors and epochs that one answer to it names.
pub const HELD: usize = 1000;
/// Ranges of messages that may wait to be asked of one peer.
pub const WANTED: usize = HELD * 4;
/// Time between two questions for messages; it also bounds how fast messages are handed on.
pub const ASK_EVERY: Duration = Duration::from_millis(50);
/// Questions for messages that one peer may ask a second in the long run: more than [`ASK_EVERY`] lets it.
pub const QUESTIONS_RATE: u32 = 32;
/// Such questions at once.
pub const QUESTIONS_BURST: u32 = 128;
/// How many of them a question for what there is counts for.
pub const CATCH_UP_COST: u32 = 8;
/// Questions of one peer that may wait for their answer.
pub const QUESTIONS: usize = 4;
/// Time that a question waits for its answer before somebody else is asked.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a member to open a join port and for all to try it, before a handover is called off.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(15);
/// Time within which a handover that not all could follow may be asked for again.
pub const INSIST_WITHIN: Duration = Duration::from_secs(300);
/// Bytes that a host may hand over: bans and admitted keys, mostly.
pub const HANDOVER_BYTES: usize = 8 * 1024 * 1024;
/// Time for which a router is asked to keep a port open (RFC 6886, section 3.3).
pub const MAPPING_LIFETIME: Duration = Duration::from_secs(7200);
/// The router is asked again no sooner than after this, however short it keeps a port open.
pub const MAPPING_AGAIN: Duration = Duration::from_secs(30);
/// A router that opened nothing is asked again after this: it may have been started anew.
pub const MAPPING_RETRY: Duration = Duration::from_secs(300);
/// Time that a router has for its first answer by PCP or NAT-PMP; then twice as long, up to [`ROUTER_ANSWER_MOST`].
pub const ROUTER_ANSWER: Duration = Duration::from_millis(250);
/// The longest time that it has for one.
pub const ROUTER_ANSWER_MOST: Duration = Duration::from_secs(1);
/// How often it is asked again.
pub const ROUTER_RETRIES: usize = 2;
/// The port at which devices of UPnP are found (UPnP Device Architecture, section 1).
pub const SSDP_PORT: u16 = 1900;
/// Time that it has to show itself by UPnP.
pub const ROUTER_SEARCH: Duration = Duration::from_secs(4);
/// Time that it has in all to take back a port.
pub const ROUTER_RELEASE: Duration = Duration::from_secs(2);
/// Time between two packages for a deputy, and again as long for each [`DEPUTY_PACE_BYTES`] of the last.
pub const DEPUTY_PACE: Duration = Duration::from_millis(100);
/// Bytes of a package that may go to the deputy within [`DEPUTY_PACE`].
pub const DEPUTY_PACE_BYTES: usize = 64 * 1024;
/// Bans that a host tells its deputy, which it finds as the host when it is back; the newest.
pub const FORMER_BANS: usize = 100;
/// How often a host whose deputy is not here looks whether it has opened the network again.
pub const DEPUTY_LOOK: Duration = Duration::from_secs(30);
/// By how much the version of the roster grows when a deputy opens the network: no version of the host before, of which the
/// deputy may not know, is as high.
pub const DEPUTY_LEAP: u64 = 1 << 32;
/// Bytes of it in one frame.
pub const HANDOVER_PART: usize = 48 * 1024;
/// Time after which a peer link that carries nothing is closed (seed, "Temporary Socket").
pub const PEER_LINK_IDLE: Duration = Duration::from_secs(60);
/// Time after which a peer that does not answer is asked to open the link itself.
pub const CALL_AFTER: Duration = Duration::from_secs(1);
/// Time before the peer is asked again.
pub const CALL_EVERY: Duration = Duration::from_secs(10);
/// Time for the asked peer to come, or to say that it cannot either, before somebody else relays the link.
pub const CALL_PATIENCE: Duration = Duration::from_secs(6);
/// How often the direct way is tried while somebody relays a link.
pub const DIRECT_AGAIN: Duration = Duration::from_secs(30);
/// Results of dialling are gathered for this long before they are sent.
pub const REACHABILITY_TICK: Duration = Duration::from_secs(1);
/// Pairs of members of which one cannot reach the other, as the host tells them; the rest is not told.
pub const UNREACHABLE: usize = 500;
/// Members that try the peer listener of one that asks who reaches whom, beside the host.
pub const TRIED_BY: usize = 2;
/// Members that one is asked to try at a time.
pub const TRIED_AT_ONCE: usize = 16;
/// Peers that are asked to relay a link before the first is asked again.
pub const RELAYS: usize = 3;
/// Time for the handshake over a relayed link: its relay may have to open a link first.
pub const RELAYED_TIMEOUT: Duration = Duration::from_secs(15);
/// Links that one peer may have relayed over one link of its own.
pub const RELAYED_PER_LINK: usize = 64;
/// Links that a peer relays for others altogether: with full windows they take 64 MiB. Two groups of twenty that see
/// only the host stay below.
pub const RELAYED: usize = 512;
/// Relayed links that wait until the relay has a link to the far end: what comes meanwhile takes 16 MiB at most.
pub const RELAYED_WAITING: usize = 256;
/// The same over one link. A group of twenty on the other side is below it.
pub const RELAYED_WAITING_PER_LINK: usize = 32;
/// Frames of a relayed link that may be on their way in one direction: with [`RELAYED_PER_LINK`] of them a link's
/// outbound queue still has room.
pub const RELAYED_WINDOW: u32 = 8;
/// Bytes of a relayed link in one frame.
pub const RELAYED_BYTES: usize = 8 * 1024;
/// Peer links that one peer may have open here: two when both dialled at once, and room for stale ones.
pub const LINKS_PER_PEER: usize = 4;
/// Time that a peer link from an unknown key may wait for the roster to name it.
pub const ROSTER_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of each of a session's buffers at first: most links carry little.
pub const BUFFER_BYTES: usize = 1024;
/// Frames that a session hands to the node together.
pub const FRAMES_TOGETHER: usize = 16;
/// Frames that sessions hand to the node before TCP pushes back.
pub const FRAMES_TO_NODE: usize = 1024;
/// Frames that the node takes before it looks at its timers again.
pub const FRAMES_AT_ONCE: usize = 256;
/// Messages of the front end that the node takes in one turn; they become one batch for each audience.
pub const SENDS_AT_ONCE: usize = BATCH_MESSAGES;
/// Commands of a front end that may wait for the node.
pub const COMMANDS_WAITING: usize = BATCH_MESSAGES;
/// Bytes of addresses that the program needs: stacks, and what the allocator sets aside for each thread.
pub const ADDRESS_SPACE: u64 = 1 << 30;
/// Keys that may wait for the screen.
pub const KEYS_WAITING: usize = 1024;
/// Keys that are looked at together.
pub const KEYS_AT_ONCE: usize = 4096;
/// So many keys at once, with lines among them, are a paste.
pub const PASTE_KEYS: usize = 8;
/// How long what came with a key is looked for. Without any time, crossterm does not even look into what it has read.
pub const KEY_PAUSE: Duration = Duration::from_micros(50);
/// How long the next line of a paste may take.
pub const PASTE_PAUSE: Duration = Duration::from_millis(20);
/// Keys that an answer of the terminal may look like.
pub const ANSWER_KEYS: usize = 4096;
/// Bytes of events that a front end has not read: of more it gets the newest state, and how many messages
/// it has to look up.
pub const UNREAD_BYTES: usize = 5 * 1024 * 1024;
/// Bytes that an event takes beside its text, about.
pub const EVENT_BYTES: usize = 256;
/// Bytes of commands to send that a front end may have waiting before it reads no more of them.
pub const COMMANDS_BYTES: usize = 1024 * 1024;
/// Lines that wait for standard output, in pieces.
pub const OUTPUT_PIECES: usize = 4;
/// Bytes of lines that are written together, about.
pub const OUTPUT_BYTES: usize = 64 * 1024;
/// Connections that listeners may hand over at once.
pub const CONNECTIONS_WAITING: usize = 64;
/// Time that a closed link waits for the other end to close too, so that its last words arrive.
pub const LINGER: Duration = Duration::from_secs(1);
/// Bundles of commands that may wait for the store; further commands join the last bundle.
pub const STORE_COMMANDS: usize = 64;
/// Commands to a store that nobody waits for, which go to it together at the latest.
pub const STORE_TOGETHER: usize = 64;
/// Receipts, and other things that nobody waits for, reach the history within this time.
pub const STORE_WITHIN: Duration = Duration::from_millis(100);
/// Answers of the store that may wait for whoever asked.
pub const STORE_EVENTS: usize = 1024;
/// Bytes of own messages that may wait to be kept before the next is taken.
pub const UNKEPT_BYTES: usize = 1024 * 1024;
/// Batches that may wait to be kept before others are asked for more.
pub const UNKEPT_BATCHES: u64 = 64;
/// How often what could not be written is tried again.
pub const DISK_RETRY: Duration = Duration::from_secs(2);
/// Messages that are held for a disk that takes nothing; beyond them no more are taken.
pub const UNSAVED_MESSAGES: u64 = 20_000;
/// Bytes of text that are held for it.
pub const UNSAVED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of the memory that a history without a disk may take; the oldest messages go first.
pub const MEMORY_HISTORY: u64 = 128 * 1024 * 1024;
/// Rows of a history in memory that are written together, unless somebody asks before.
pub const ROWS_TOGETHER: usize = 2000;
/// How long nothing must have been kept before what was is made known to the search.
pub const INDEX_AFTER: Duration = Duration::from_millis(200);

/// The same where one message follows another: so long after the first of them a part is made known nevertheless.
pub const INDEX_AFTER_ALL: Duration = Duration::from_secs(2);

/// Bytes of text that are made known to the search at once.
pub const INDEXED_BYTES: usize = 128 << 10;

/// How long that may take before a search that somebody waits for, and at the end of a session: what is left is found by
/// its words without their accents only later.
pub const INDEX_FOR_SEARCH: Duration = Duration::from_millis(300);

/// How often old messages are looked for, when they are not to be kept for good; sooner when [`RETENTION_PART`] was said.
pub const RETENTION_EVERY: Duration = Duration::from_secs(10);
/// Old messages are also looked for after text of one in so many of the bytes that a history may take, so that it
/// exceeds its limit by no more than that.
pub const RETENTION_PART: u64 = 16;
/// Messages that are deleted at once: other commands wait for the history meanwhile.
pub const DELETED_AT_ONCE: usize = 10_000;
/// Messages of one page of a conversation.
pub const PAGE: usize = 200;
/// Parts of words that one search looks for.
pub const SEARCH_PARTS: usize = 16;
/// How soon a host's state that the disk did not take is tried again.
pub const SAVE_AGAIN: Duration = Duration::from_secs(5);
/// Places that a search shows.
pub const SEARCH_HITS: usize = 200;
/// Characters around a match that a search shows.
pub const EXCERPT: usize = 60;
/// Bytes of text that are handed on at once: leaves room for the rest of a frame.
pub const RANGE_BYTES: usize = 32 * 1024;
/// Messages that are handed on at once.
pub const RANGE_MESSAGES: usize = 200;
/// Letters of a name from which on another one that differs in one letter is close to it.
pub const CLOSE_NAMES_FROM: usize = 3;
/// Lines of a message that are shown before it is opened, or a third of the log where that is less.
pub const FOLDED_LINES: usize = 10;
/// How a text begins that says what its author does.
pub const ACTION: &str = "/me ";
/// Texts that were sent before that are offered to be sent again.
pub const RECALLED: usize = 100;
/// Lines of a message from which on it is asked whether it is to go.
pub const LONG_LINES: usize = 20;
/// Cells of a quote at most.
pub const QUOTED_CELLS: usize = 60;
/// Letters of an emoji's name from which on it is completed.
pub const EMOJI_LETTERS: usize = 2;
/// Rows that one notch of the wheel scrolls by.
pub const WHEEL_ROWS: usize = 3;
/// Colours that names have.
pub const HUES: usize = 8;
/// Cells of a name at most, where it stands in a column.
pub const NAME_CELLS: usize = 12;
/// What one peer says within this time is folded where it would take more than a third of the log.
pub const FOLDED_WITHIN: Duration = Duration::from_secs(60);
/// Comings and goings in a row that are told one by one; of more only the last.
pub const PASSINGS_TOLD: u32 = 3;
/// Comings and goings that follow each other within this time stand in one line.
pub const PASSINGS_WITHIN: Duration = Duration::from_secs(300);
/// Bytes that the history may take, unless the user says otherwise, or a tenth of the disk's free room when that is less:
/// how full a disk gets is not for others to choose.
pub const HISTORY_BYTES: u64 = 4 << 30;
/// Bytes that it may take on the fullest disk.
pub const HISTORY_LEAST: u64 = 16 << 20;
/// Time for goodbyes and what is in flight when a session ends.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time that messages have which a program gave before it left, to be taken for sending.
pub const SEND_BEFORE_LEAVE: Duration = Duration::from_secs(60);

/// Descriptors that the process asks the system for: a full mesh of [`MEMBERS_MAX`] and the strangers beside it.
pub const DESCRIPTORS: u64 = 8192;
/// Frames that a host sends back to a joiner, which finds out by them whether large packets get through.
pub const ECHOES: u32 = 8;
/// Bytes of each: together they fill packets of any size that is usual.
pub const ECHO_BYTES: usize = 1000;
/// Bytes in a TCP segment that any path carries: the least packet of IPv4 that all must take, without its headers (RFC
/// 9293, section 3.7.1).
pub const SMALL_SEGMENT: u32 = 536;
/// Time for a server that is no pyile host to say what it is.
pub const BANNER_TIMEOUT: Duration = Duration::from_millis(1500);
/// Bytes of it that are looked at.
pub const BANNER_BYTES: usize = 512;
/// Time for the host and [`TRIED_BY`] members to try this peer's port during a diagnosis.
pub const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(15);
/// How often the host is asked for the results meanwhile.
pub const DIAGNOSIS_EVERY: Duration = Duration::from_secs(1);
/// Steps of a diagnosis that the launch screen shows.
pub const FINDINGS: usize = 16;
/// Messages that the log of one conversation holds in memory at the bottom; twice as many while one scrolls. The
/// rest comes from the history, page by page.
pub const LOG_WINDOW: usize = 1000;
/// Lines of the Log pane.
pub const LOG_LINES: usize = 2000;
/// Round-trip times kept for a sparkline.
pub const RTT_SAMPLES: usize = 32;
/// Characters of what a member says of itself.
pub const STATUS_CHARACTERS: usize = 64;
/// Time between two changes of a member's name or status; the host refuses what comes sooner.
pub const PRESENCE_EVERY: Duration = Duration::from_secs(2);
/// Parts of a message that are drawn in another way; the rest is plain.
pub const SPANS: usize = 64;
/// Bytes of a link that can be followed.
pub const LINK_BYTES: usize = 2048;
/// Time between two notices that the terminal is told of.
pub const NOTICE_PAUSE: Duration = Duration::from_secs(3);
/// Characters of what was said in a notice.
pub const NOTICE_CHARACTERS: usize = 120;
/// Time from a key until what is written is kept.
pub const DRAFT_PAUSE: Duration = Duration::from_secs(2);
/// Bytes of a draft that is kept, and of one that comes back from another editor: it may be sent in parts.
pub const DRAFT_BYTES: usize = 16 * TEXT_BYTES;
/// Drafts that are kept of a network.
pub const DRAFTS: usize = 64;
/// How long whoever reads keys may take to leave them to another program.
pub const KEYS_PARKED: Duration = Duration::from_secs(1);
/// How long a short notice stays on the screen.
pub const TOAST_TIME: Duration = Duration::from_secs(6);
/// Time between two drawings while messages pour in; a key draws at once.
pub const FRAME_TIME: Duration = Duration::from_millis(33);
/// The least time between two drawings for the clock's sake alone.
pub const TICK_LEAST: Duration = Duration::from_millis(50);
/// A line of `--json` input: a text of [`TEXT_BYTES`] with every byte escaped, and the rest of the command.
pub const JSON_LINE_BYTES: usize = 8 * TEXT_BYTES;
