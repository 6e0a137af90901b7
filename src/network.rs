//! One session in one network: the library's front door, and what every front end of the program stands on.
//!
//! [`Network`] is the handle: it can be cloned, and each of its methods is answered. [`Events`] tells what happens. It must
//! never decide what the node decides.
//!
//! ```no_run
#![doc = include_str!("../examples/peer.rs")]
//! ```

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::{mpsc, oneshot};

use crate::{
    api::{HistoryCommand, HistoryEvent, NodeCommand, PeerName, StoreCommand, StoreEvent, Target},
    model::{
        Alias, CloseReason, Closed, CommandError, DeputyStatement, Deputyship, HostState, Invite, KnownHost,
        MessageId, Network as Identified, NetworkId, Password, Peer, PeerId, Recalled, SendError, Wire,
        limits,
    },
    net::{self, NodeHandle, Opened, Platform, Request, SystemPlatform},
    proto::{EarlierRun, HostConfig, KeptState, MemberConfig, NodeConfig, RoleConfig, admission::tell_apart},
    security::{HostRecord, PasswordCost},
    store::Profile,
};

mod options;

pub use self::options::{HostOptions, JoinOptions};
pub use crate::{
    net::Events,
    proto::{Limits, MemoryLimits, StrangerLimits},
};

/// Adds the join port to a host that is named without one. An IPv6 address with a port needs brackets; a link-local one may
/// have a zone, as in `fe80::1%eth0`.
#[must_use]
pub fn with_port(target: &str) -> String {
    let target = target.trim();
    if let Ok(ip) = target.parse::<std::net::IpAddr>() {
        return SocketAddr::new(ip, limits::JOIN_PORT).to_string();
    }
    let bare = target.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if net::is_zoned(bare.unwrap_or(target)) {
        return format!("[{}]:{}", bare.unwrap_or(target), limits::JOIN_PORT);
    }
    if let Some(Ok(ip)) = bare.map(str::parse::<std::net::IpAddr>) {
        return SocketAddr::new(ip, limits::JOIN_PORT).to_string();
    }
    match target.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => target.to_owned(),
        _ => format!("{target}:{}", limits::JOIN_PORT),
    }
}

/// A session in a network. Clones are the same session; it ends when it is left, or when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Network {
    handle: NodeHandle,
    join_addr: Option<SocketAddr>,
}

impl Network {
    /// Opens a network as its host. Fails when a port is taken, when there is no password and none is kept, when an option
    /// is out of its bounds, when classic peers are let in although each joiner waits to be asked about, or when another
    /// process hosts with this profile.
    ///
    /// On Unix it raises the process's limit of open descriptors as far as the system allows, since every member is a
    /// connection or two.
    pub async fn host(options: HostOptions, profile: Profile) -> Result<(Self, Events), Closed> {
        Self::host_on(options, profile, Arc::new(SystemPlatform)).await
    }

    /// As [`Self::host`], on another machine than this one.
    pub async fn host_on(
        options: HostOptions,
        profile: Profile,
        platform: Arc<dyn Platform>,
    ) -> Result<(Self, Events), Closed> {
        check(&options, &profile)?;
        let kept = profile.host();
        let join =
            net::bind_join(&*platform, options.listen).map_err(|closed| or_deputy(closed, kept.as_ref()))?;
        let join_addr = local_addr(&*join)?;
        let peer = net::bind_peer(&*platform, options.peer_listen, join_addr)?;
        let distribution = if options.policy.classic {
            let distribution = net::bind_distribution(&*platform, join_addr.ip())?;
            tracing::warn!("classic peers are let in: their password and their messages go in clear");
            Some(distribution)
        } else {
            None
        };
        let distribution_port = distribution.as_deref().map(local_addr).transpose()?.map(|addr| addr.port());
        let kept_record = kept.as_ref().map(|kept| kept.record.as_slice());
        let (record, password) = record(options.password, kept_record, options.cost, &*platform).await?;
        let name = options.network.or(kept.as_ref().map(|kept| kept.network.name.clone()));
        let network = Identified {
            id: kept.as_ref().map_or_else(|| new_network_id(&*platform), |kept| kept.network.id),
            name: name.unwrap_or_else(|| format!("{}'s network", options.alias)),
        };
        let recalled = recall(&profile, &network).await;
        let (kept, earlier) = match kept {
            Some(kept) => taken_up(kept, recalled),
            None => (KeptState::default(), EarlierRun { recalled, ..EarlierRun::none() }),
        };
        let role = RoleConfig::Host(Box::new(HostConfig {
            network,
            policy: options.policy,
            record,
            password,
            attempts: options.attempts,
            members: options.members,
            key_age: options.key_age,
            announce: options.announce,
            map_port: options.map_port,
            approve: options.approve,
            notes: options.notes,
            kept,
            earlier,
            join_addr,
            distribution: distribution_port,
            peer_addrs: net::announced(local_addr(&*peer)?),
        }));
        let opened = Opened { join: Some(join), peer: Some(peer), distribution, peer_listen: None };
        let config = NodeConfig {
            cost: options.cost,
            limits: options.limits,
            cleartext: options.cleartext,
            ..node_config(options.alias, role, &profile, &*platform)
        };
        let (network, events) = Self::start(config, opened, profile, platform)?;
        Ok((Self { join_addr: Some(join_addr), ..network }, events))
    }

    /// Joins a network. Comes back at once: the events tell whether it worked. Fails only when no listener can be opened, or
    /// when the wire or the invite does not fit what is known of the host.
    ///
    /// On Unix it raises the process's limit of open descriptors, as [`Self::host`] does.
    pub fn join(options: JoinOptions, profile: Profile) -> Result<(Self, Events), Closed> {
        Self::join_on(options, profile, Arc::new(SystemPlatform))
    }

    /// As [`Self::join`], on another machine than this one.
    pub fn join_on(
        options: JoinOptions,
        profile: Profile,
        platform: Arc<dyn Platform>,
    ) -> Result<(Self, Events), Closed> {
        let recents = profile.recents();
        let (pin, pass, addrs) = match options.invite {
            // Who gave the invite knows the host's key, and where it is now.
            Some(Invite { addrs, key, pass }) => (Some(key), pass, free_addrs(&recents, key, addrs)?),
            None => (options.pin, None, Vec::new()),
        };
        let known = recents.iter().find(|known| match pin {
            Some(key) => known.peer_id == key,
            None => known.target == options.target,
        });
        let known = known.cloned();
        let moved = known.as_ref().and_then(|known| moved_to(known, &recents));
        let deputy = known.as_ref().and_then(|known| known.deputy.clone());
        let deputyship =
            profile.deputyship().filter(|given| is_given_by(given, deputy.as_ref())).map(Box::new);
        let remembered = known.as_ref().map(|known| known.peer_id);
        let pin = pin.or(remembered).filter(|host| host.wire() == Wire::Native);
        if let (Wire::Classic, Some(pin)) = (options.wire, pin) {
            let message = format!(
                "{} was joined before over encrypted links, with the key {}; joining it as a classic host would say \
                 the password in clear. Join it without --classic; if it has become a Python program, forget the old \
                 one first (Delete on the recent network in the launch screen)",
                options.target,
                pin.short()
            );
            return Err(Closed::new(CloseReason::KeyChanged, message));
        }
        let role = RoleConfig::Member(Box::new(MemberConfig {
            known: pin.and(known.as_ref()).and_then(|known| Some((known.network_id?, known.version))),
            was_classic: pin.and(known).map(|known| known.classic),
            pin,
            pass,
            addrs,
            announce: options.announce,
            map_port: options.map_port,
            wire: options.wire,
            target: options.target,
            password: options.password,
            rejoin_for: options.rejoin_for,
            moved: pin.and(moved),
            deputy: pin.and(deputy),
            deputyship,
        }));
        let opened = Opened { join: None, peer: None, distribution: None, peer_listen: options.peer_listen };
        let config = NodeConfig {
            cost: options.cost,
            limits: options.limits,
            cleartext: options.cleartext,
            ..node_config(options.alias, role, &profile, &*platform)
        };
        Self::start(config, opened, profile, platform)
    }

    fn start(
        config: NodeConfig,
        opened: Opened,
        profile: Profile,
        platform: Arc<dyn Platform>,
    ) -> Result<(Self, Events), Closed> {
        let (handle, events) = net::spawn(config, opened, profile, platform)
            .map_err(|error| Closed::new(CloseReason::Internal, error.to_string()))?;
        Ok((Self { handle, join_addr: None }, events))
    }

    /// Host: the join address.
    #[must_use]
    pub fn join_addr(&self) -> Option<SocketAddr> {
        self.join_addr
    }

    /// Sends a text, at most [`limits::TEXT_BYTES`] bytes, to everyone or to one. It is taken once this comes back: the
    /// events tell, under the number given here, when it is kept and who has it.
    ///
    /// Waits while the disk, or the memory where there is no history on disk, has no room for more.
    pub async fn send(&self, to: impl Into<Target>, text: impl Into<String>) -> Result<MessageId, SendError> {
        let (to, text) = (to.into(), text.into());
        let taken = ask(&self.handle.sends, |reply| Request::Send(to, text, reply)).await;
        taken.unwrap_or(Err(SendError::NotConnected))
    }

    /// Sends a text to everyone, as [`Self::send`] does.
    pub async fn broadcast(&self, text: impl Into<String>) -> Result<MessageId, SendError> {
        self.send(Target::Everyone, text).await
    }

    /// Host: refuses a key from now on, and cuts its member off everywhere. It is in force once this comes back; the event
    /// `banned` tells when it is on disk. Of the reason at most [`limits::REASON_BYTES`] bytes are told.
    pub async fn ban(&self, peer: impl Into<PeerName>, reason: &str) -> Result<(), CommandError> {
        let (peer, reason) = (Some(peer.into()), Some(reason.to_owned()));
        self.ask(NodeCommand::Ban { peer, addr: None, reason }).await
    }

    /// Host: lifts every ban on a key.
    pub async fn unban(&self, peer: impl Into<PeerName>) -> Result<(), CommandError> {
        self.ask(NodeCommand::Unban { peer: Some(peer.into()), addr: None, reason: None }).await
    }

    /// Host: removes a member, or one that is away, which may join again with the password; its name is free then. Of the
    /// reason at most [`limits::REASON_BYTES`] bytes are told.
    pub async fn kick(&self, peer: impl Into<PeerName>, reason: &str) -> Result<(), CommandError> {
        let (peer, reason) = (Some(peer.into()), Some(reason.to_owned()));
        self.ask(NodeCommand::Kick { peer, addr: None, reason }).await
    }

    /// The members, this peer included: the host first, then by alias. Nobody before admission.
    pub async fn members(&self) -> Result<Vec<Arc<Peer>>, CommandError> {
        ask(&self.handle.commands, Request::Members).await.ok_or(CommandError::Ended)
    }

    /// Gives any command, and waits until it is carried out or refused. [`Self::send`] is better for messages: here the
    /// events tell when one is refused.
    pub async fn ask(&self, command: NodeCommand) -> Result<(), CommandError> {
        let queue = self.handle.queue(&command).clone();
        ask(&queue, |reply| Request::Ask(command, reply)).await.unwrap_or(Err(CommandError::Ended))
    }

    /// Gives a command, waiting while the network is busy. The events tell what becomes of it. After the session has ended
    /// nothing happens.
    pub async fn command(&self, command: NodeCommand) {
        let _ = self.handle.queue(&command).send(command.into()).await;
    }

    /// Gives a command, or gives it back when the network is busy.
    pub fn try_command(&self, command: NodeCommand) -> Result<(), NodeCommand> {
        use tokio::sync::mpsc::error::TrySendError;
        match self.handle.queue(&command).try_reserve() {
            Ok(place) => place.send(command.into()),
            Err(TrySendError::Closed(())) => {}
            Err(TrySendError::Full(())) => return Err(command),
        }
        Ok(())
    }

    /// The queue of messages to send, for whoever must not wait for it here.
    #[cfg(feature = "program")]
    pub(crate) fn sends(&self) -> &mpsc::Sender<Request> {
        &self.handle.sends
    }

    /// Leaves in order: says goodbye, and waits until every socket is closed and everything is kept. Comes back within
    /// three times [`limits::LEAVE_TIMEOUT`], with the reason for which the session ended.
    pub async fn leave(&self) -> Closed {
        self.command(NodeCommand::Leave).await;
        self.handle.ended().await
    }
}

/// Asks the node something. Nothing when the session is over.
async fn ask<T>(
    queue: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    queue.send(request(reply)).await.ok()?;
    answer.await.ok()
}

/// What is asked for can be done.
fn check(options: &HostOptions, profile: &Profile) -> Result<(), Closed> {
    check_bounds(options)?;
    if options.approve && options.policy.classic {
        let message =
            "a Python peer cannot wait at the door: let classic peers in, or be asked (--approve), not both";
        return Err(Closed::new(CloseReason::Usage, message));
    }
    refuse_second(options, profile)?;
    refuse_alias_of_a_member(&options.alias, profile)
}

fn check_bounds(options: &HostOptions) -> Result<(), Closed> {
    let refuse = |what: &str, least: usize, most: usize, found: usize| {
        let message = format!("{what}: {least} to {most} are possible, and {found} were asked for");
        Err(Closed::new(CloseReason::Usage, message))
    };
    if !(1..=limits::MEMBERS_MAX).contains(&options.members) {
        return refuse("members", 1, limits::MEMBERS_MAX, options.members);
    }
    if options.attempts == 0 {
        return refuse("attempts", 1, u32::MAX as usize, 0);
    }
    let name = options.network.as_ref().map(|name| name.trim().chars().count());
    match name.filter(|count| !(1..=limits::NETWORK_NAME_CHARACTERS).contains(count)) {
        Some(count) => refuse("characters of the network's name", 1, limits::NETWORK_NAME_CHARACTERS, count),
        None => Ok(()),
    }
}

/// A node of this profile, as usual in all else.
fn node_config(alias: Alias, role: RoleConfig, profile: &Profile, platform: &dyn Platform) -> NodeConfig {
    NodeConfig {
        alias,
        identity: profile.identity(),
        seed: platform.random(),
        cost: PasswordCost::WIRE_1,
        descriptors: descriptors(),
        limits: Limits::default(),
        cleartext: None,
        role,
    }
}

/// True when what a deputy was given belongs to this word of the host.
fn is_given_by(given: &Deputyship, word: Option<&DeputyStatement>) -> bool {
    word.is_some_and(|word| (word.to, word.network) == (given.statement.to, given.statement.network))
}

/// The addresses of an invite at which no other host is known. Fails when another one is known at any of them, unless the
/// host of the invite is known too and has an address left.
fn free_addrs(recents: &[KnownHost], key: PeerId, addrs: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Closed> {
    let is_known = recents.iter().any(|known| known.peer_id == key);
    let taken = |addr: &SocketAddr| recents.iter().find(|known| is_of_another(known, key, *addr));
    let other = addrs.iter().find_map(taken);
    let free: Vec<SocketAddr> = addrs.into_iter().filter(|addr| taken(addr).is_none()).collect();
    let Some(other) = other.filter(|_| !is_known || free.is_empty()) else { return Ok(free) };
    let message = format!(
        "the invite is of another host than the one that you know at {} (key {}); if that one is no more, forget it \
         (Delete on the recent network in the launch screen), and join by the invite then",
        other.target,
        other.peer_id.short()
    );
    Err(Closed::new(CloseReason::KeyChanged, message))
}

/// A host that somebody has typed is known at this address, with another key: an invite must not take its place in silence.
fn is_of_another(known: &KnownHost, key: PeerId, addr: SocketAddr) -> bool {
    let is_there = !known.handed_over && addr.to_string() == known.target;
    is_there && known.peer_id.wire() == Wire::Native && key != known.peer_id
}

/// Who is at the port of a host may be its deputy, which has opened the network again on the same machine.
fn or_deputy(closed: Closed, kept: Option<&HostState>) -> Closed {
    let Some(deputy) = kept.and_then(|kept| kept.deputy.as_ref()) else { return closed };
    let places: Vec<String> = deputy.addrs.iter().map(|addr| format!("pyile join {addr}")).collect();
    let detail = format!(
        "{}. Or your deputy has opened the network while you were gone: then you are a member there ({})",
        closed.detail,
        places.join(", or ")
    );
    Closed::new(closed.reason, detail)
}

/// Another host of the same network, which was joined since then: its key came by the word of the one before.
fn moved_to(known: &KnownHost, recents: &[KnownHost]) -> Option<(PeerId, String)> {
    let id = known.network_id?;
    let is_newer = |other: &&KnownHost| {
        other.handed_over
            && other.network_id == Some(id)
            && other.peer_id != known.peer_id
            && other.joined > known.joined
    };
    recents.iter().find(is_newer).map(|other| (other.peer_id, other.target.clone()))
}

/// A network that was handed over has one host, and this is not it.
fn refuse_second(options: &HostOptions, profile: &Profile) -> Result<(), Closed> {
    let (None, Some(retired)) = (profile.host(), profile.retired()) else { return Ok(()) };
    if options.network.as_ref().is_some_and(|name| *name != retired.name) {
        return Ok(());
    }
    let known = profile.recents().into_iter().find(|known| known.network == retired.name);
    let target = known.map_or_else(|| "its new address".to_owned(), |known| known.target);
    let message = format!(
        "{:?} has another host by now, after you: join it at {target}; to open another network, give it another name",
        retired.name
    );
    Err(Closed::new(CloseReason::Usage, message))
}

/// Members keep their aliases: a host that took one would put its owner out.
fn refuse_alias_of_a_member(alias: &Alias, profile: &Profile) -> Result<(), Closed> {
    let (kept, me) = (profile.host(), profile.identity().peer_id());
    let admitted = kept.iter().flat_map(|kept| &kept.admitted).filter(|admitted| admitted.peer_id != me);
    tell_apart(alias, admitted.map(|admitted| &admitted.alias))
        .map_err(|error| Closed::new(CloseReason::AliasTaken, error.to_string()))
}

/// What a host goes on with: its state, and what the history knows of its network.
fn taken_up(state: HostState, recalled: Recalled) -> (KeptState, EarlierRun) {
    let kept = KeptState {
        admitted: state.admitted,
        bans: state.bans,
        passes: state.passes,
        attempts: state.attempts,
        alive: state.alive,
        deputy: state.deputy,
        opened_by: state.opened_by,
    };
    let (version, departed) = (state.version, state.departed);
    (kept, EarlierRun { expected: state.roster, departed, version, recalled })
}

/// What the history knows of a network that is about to be hosted.
async fn recall(profile: &Profile, network: &Identified) -> Recalled {
    let (reply, mut answers) = mpsc::channel(limits::STORE_EVENTS);
    profile.command(StoreCommand::History(HistoryCommand::Recall(network.clone())), &reply);
    drop(reply);
    while let Some(answer) = answers.recv().await {
        if let StoreEvent::History(HistoryEvent::Recalled(recalled)) = answer {
            return *recalled;
        }
    }
    Recalled::nothing()
}

/// The record that is kept, with the password that is to take its place; or else that of the password that was given.
async fn record(
    password: Option<Password>,
    kept: Option<&[u8]>,
    cost: PasswordCost,
    platform: &dyn Platform,
) -> Result<(HostRecord, Option<Password>), Closed> {
    if let Some(password) = password {
        check_password(&password)?;
        // It takes a while, for which nobody has to wait who begins again.
        if let Some(Ok(kept)) = kept.map(HostRecord::from_bytes) {
            return Ok((kept, Some(password)));
        }
        let seed = platform.random();
        let work = move || HostRecord::register(&password, cost, seed);
        return match net::platform::work(platform, work).await {
            Some(Ok(record)) => Ok((record, None)),
            _ => Err(Closed::new(CloseReason::Internal, "the password's record could not be made")),
        };
    }
    let none = || {
        let message = "a network needs a password; give one with --password-file FILE or in PYILE_PASSWORD";
        Closed::new(CloseReason::Usage, message)
    };
    let record = HostRecord::from_bytes(kept.ok_or_else(none)?).map_err(|_| {
        let message = "the password's record of this profile is damaged; give the password again";
        Closed::new(CloseReason::Usage, message)
    })?;
    Ok((record, None))
}

/// A network's password has 1 to [`limits::PASSWORD_BYTES`] bytes.
pub fn check_password(password: &Password) -> Result<(), Closed> {
    let message = match password.as_bytes().len() {
        0 => "the password is empty; choose one of at least one character".to_owned(),
        bytes if bytes > limits::PASSWORD_BYTES => {
            format!("the password has {bytes} bytes, at most {} are possible", limits::PASSWORD_BYTES)
        }
        _ => return Ok(()),
    };
    Err(Closed::new(CloseReason::Usage, message))
}

fn new_network_id(platform: &dyn Platform) -> NetworkId {
    let seed = platform.random();
    let mut id = [0; 16];
    id.copy_from_slice(seed.first_chunk::<16>().unwrap_or(&[0; 16]));
    NetworkId(id)
}

fn local_addr(listener: &dyn net::platform::Listener) -> Result<SocketAddr, Closed> {
    listener.local_addr().map_err(|error| Closed::new(CloseReason::CannotListen, error.to_string()))
}

/// How many descriptors this process may have open: raised as far as the system lets it.
#[cfg(unix)]
fn descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(limits::DESCRIPTORS).min(limits::DESCRIPTORS);
    let now = limit.current.unwrap_or(u64::MAX);
    if now < wanted {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return usize::try_from(wanted).unwrap_or(usize::MAX);
        }
    }
    usize::try_from(now).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn descriptors() -> usize {
    usize::try_from(limits::DESCRIPTORS).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_bounds_are_refused_with_what_is_possible() {
        let with = |change: fn(&mut HostOptions)| {
            let mut options =
                HostOptions::new(Alias::new("host").unwrap(), Password::new("secret".to_owned()));
            change(&mut options);
            check_bounds(&options).map_err(|closed| closed.to_string())
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|options| options.members = limits::MEMBERS_MAX), Ok(()));
        let members = with(|options| options.members = limits::MEMBERS_MAX + 1);
        assert_eq!(members, Err("members: 1 to 1000 are possible, and 1001 were asked for".to_owned()));
        assert!(with(|options| options.members = 0).is_err());
        assert!(with(|options| options.attempts = 0).is_err());
        assert!(with(|options| options.network = Some("x".repeat(65))).is_err());
        assert!(with(|options| options.network = Some(" ".to_owned())).is_err());
    }

    #[test]
    fn a_host_without_a_port_has_the_join_port() {
        for (typed, meant) in [
            ("example.org", "example.org:4702"),
            ("example.org:5000", "example.org:5000"),
            ("10.0.0.1", "10.0.0.1:4702"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("::1", "[::1]:4702"),
            ("[::1]", "[::1]:4702"),
            ("[::1]:5000", "[::1]:5000"),
            (" spaced ", "spaced:4702"),
            ("fe80::1%eth0", "[fe80::1%eth0]:4702"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:4702"),
            ("[fe80::1%2]:5000", "[fe80::1%2]:5000"),
        ] {
            assert_eq!(with_port(typed), meant);
        }
    }
}
