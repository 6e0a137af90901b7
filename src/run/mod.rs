//! The composition root: puts the layers together for what was asked, and gives the exit code.

use color_eyre::eyre::WrapErr as _;
use tokio::sync::mpsc;

use crate::{
    cli::Cli,
    config::{self, Config, Mode},
    headless,
    model::{
        Alias, CloseReason, Closed, HostState, Invite, JoinTarget, KnownHost, SafeText, Timestamp, Wire,
    },
    net,
    network::{Events, HostOptions, JoinOptions, Limits, Network, with_port},
    security::PasswordCost,
    store::{Filter, Keeping, Profile, Retention, room_for_history},
    telemetry,
};

pub mod demo;
mod doctor;
mod editor;
mod history;
mod networks;
mod screen;
mod signals;

/// Runs the program. The number is its exit code; an error is one that nobody foresaw.
pub fn run(cli: &Cli) -> color_eyre::Result<u8> {
    signals::survive_full_files().wrap_err("cannot watch for signals")?;
    let config = match config::load(cli) {
        Ok(config) => config,
        Err(error) => return Ok(usage(cli.options.json, &error.to_string())),
    };
    let log = telemetry::start(config.log.file.as_deref(), config.log.level, !config.json);
    let _guard = match log {
        Ok(guard) => guard,
        Err(error) => {
            let path = config.log.file.unwrap_or_default();
            return Ok(usage(config.json, &format!("cannot write the log {}: {error}", path.display())));
        }
    };
    if let Mode::History { peer, since, search } = config.mode {
        if let (false, Some(remark)) = (config.json, &config.unknown_zone) {
            tell(remark);
        }
        let network = config.network;
        let filter = Filter { peer, since, search, network };
        return Ok(history::print(&config.profile_dir, &filter, config.json));
    }
    if let Err(message) = signals::check_limits() {
        return Ok(usage(config.json, &message));
    }
    // The front end has this thread; the node and its links share one other, so that no message waits for a third to
    // wake up, and a terminal that takes nothing stops nobody's talk.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(1)
        .build()
        .wrap_err("cannot start the threads")?;
    let outcome = runtime.block_on(async {
        match &config.mode {
            Mode::Networks => Ok(networks::run(&config).await),
            Mode::Doctor { host, map_port } => Ok(doctor::run(&config, host.as_ref(), *map_port).await),
            _ if config.json => Ok(session(config).await),
            _ => screen::run(config).await,
        }
    });
    // A read of standard input that never ends must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// Tells the person at the terminal something, on standard error. Names of files, and what stands in them, are not trusted.
pub fn tell(message: &str) {
    eprintln!("pyile: {}", SafeText::clean(message));
}

/// Keeps the memory of this process, which has keys and passwords in it, out of core dumps and from other programs of this
/// user.
pub fn keep_out_of_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Standard output takes nothing more. Whoever has stopped reading has seen enough. Gives the exit code.
fn cannot_write(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return 0;
    }
    tell(&format!("standard output cannot be written: {error}"));
    exit_code(CloseReason::Internal)
}

/// What was typed makes no sense, or asks for help. Gives the exit code.
#[must_use]
pub fn not_understood(error: &clap::Error) -> u8 {
    let is_json = std::env::args().any(|word| word == "--json");
    if error.use_stderr() && std::env::args().skip(1).any(|word| Invite::is_meant(&word)) {
        // What was typed is not said again: a pass stands in it.
        return usage(is_json, "to join by an invite: pyile join INVITE, and nothing more but options");
    }
    if error.use_stderr() && is_json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        return usage(true, first.trim_start_matches("error: "));
    }
    if error.use_stderr() {
        // It says again what was typed.
        eprint!("{}", SafeText::clean(&error.to_string()));
        return 2;
    }
    let _ = error.print();
    0
}

/// Says what is wrong with how the program was called.
fn usage(json: bool, message: &str) -> u8 {
    if json {
        headless::refuse(wall_clock(), &Closed::new(CloseReason::Usage, message));
    } else {
        tell(message);
    }
    2
}

/// A session for a program.
async fn session(config: Config) -> u8 {
    if config.mode == Mode::Launch {
        return usage(true, "--json needs a command: pyile host, pyile join HOST, or pyile demo");
    }
    let stop = match signals::stop() {
        Ok(stop) => stop,
        Err(error) => return usage(true, &format!("cannot watch for signals: {error}")),
    };
    let opened = match open_profile(&config) {
        Ok(profile) => match open(&config, remarked(profile)).await {
            Ok(opened) => opened,
            Err(closed) => {
                headless::refuse(wall_clock(), &closed);
                return exit_code(closed.reason);
            }
        },
        Err(message) => return usage(true, &message),
    };
    // The password is held by whoever needs it still.
    drop(config);
    match headless::run(&opened.network, opened.events, wall_clock, stop).await {
        Ok(ended) if ended.closed.reason == CloseReason::Left && ended.undelivered > 0 => NOT_DELIVERED,
        Ok(ended) => exit_code(ended.closed.reason),
        Err(error) => cannot_write(&error),
    }
}

/// The exit code of a session that ended in order before everybody had what was said to them.
pub const NOT_DELIVERED: u8 = 10;

/// A network that was opened as configured, with its bots where it is a demonstration.
pub(crate) struct OpenedNetwork {
    network: Network,
    events: Events,
    _bots: Option<demo::Bots>,
}

async fn open(config: &Config, profile: Profile) -> Result<OpenedNetwork, Closed> {
    let (network, events) = match &config.mode {
        Mode::Demo => {
            let (network, events, bots) = demo::open(config.alias.clone()).await?;
            return Ok(OpenedNetwork { network, events, _bots: Some(bots) });
        }
        Mode::Join(target, wire) => {
            let options = join_options(config, target.clone(), *wire);
            let alias = join_alias(config, target, &profile);
            Network::join(JoinOptions { alias, ..options }, profile)?
        }
        Mode::Host | Mode::Launch | Mode::History { .. } | Mode::Doctor { .. } | Mode::Networks => {
            let kept = profile.host();
            Network::host(host_options(config, kept.as_ref()), profile).await?
        }
    };
    Ok(OpenedNetwork { network, events, _bots: None })
}

fn open_profile(config: &Config) -> Result<Profile, String> {
    let profile = match config.mode {
        Mode::Demo => Profile::ephemeral(),
        _ => Profile::open(&config.profile_dir, keeping(config)),
    };
    profile.map_err(|error| error.to_string())
}

/// Says what the profile's file system does not guarantee, where no screen says it.
fn remarked(profile: Profile) -> Profile {
    if let Some(remark) = profile.remark() {
        tell(remark);
    }
    profile
}

fn keeping(config: &Config) -> Keeping {
    let history = &config.history;
    if history.is_on_disk {
        let bytes = history.bytes.unwrap_or_else(|| room_for_history(&config.profile_dir));
        Keeping::OnDisk(Retention { time: history.time, bytes })
    } else {
        Keeping::InMemory
    }
}

/// What a host is called: as somebody has chosen, or as the last time.
fn host_alias(config: &Config, kept: Option<&HostState>) -> Alias {
    let kept = kept.filter(|_| !config.alias_is_chosen).and_then(|kept| kept.alias.as_ref());
    kept.unwrap_or(&config.alias).clone()
}

/// What a member is called: as somebody has chosen, or as the last time in this network.
fn join_alias(config: &Config, target: &JoinTarget, profile: &Profile) -> Alias {
    let known = known(target, profile);
    known.filter(|_| !config.alias_is_chosen).map_or_else(|| config.alias.clone(), |known| known.alias)
}

fn host_options(config: &Config, kept: Option<&HostState>) -> HostOptions {
    let host = &config.host;
    HostOptions {
        // Members come back to where the network was.
        listen: host
            .listen
            .or_else(|| kept.and_then(|kept| kept.listen))
            .unwrap_or_else(config::default_listen),
        peer_listen: config.peer_listen,
        alias: host_alias(config, kept),
        network: config.network.clone(),
        password: config.password.clone(),
        attempts: host.attempts,
        members: host.members,
        key_age: host.key_age,
        policy: host.policy,
        approve: host.approve,
        notes: host.notes.clone(),
        announce: host.announce,
        map_port: host.map_port,
        cleartext: config.cleartext,
        cost: PasswordCost::WIRE_1,
        limits: Limits::default(),
    }
}

/// The host of this target, where it was joined before.
fn known(target: &JoinTarget, profile: &Profile) -> Option<KnownHost> {
    let mut recents = profile.recents().into_iter();
    match target {
        JoinTarget::Host(host) => {
            let target = with_port(host);
            recents.find(|known| known.target == target)
        }
        JoinTarget::Invite(invite) => recents.find(|known| known.peer_id == invite.key),
    }
}

fn join_options(config: &Config, target: JoinTarget, wire: Wire) -> JoinOptions {
    JoinOptions {
        target: with_port(&target.host()),
        pin: None,
        invite: match target {
            JoinTarget::Host(_) => None,
            JoinTarget::Invite(invite) => Some(*invite),
        },
        announce: config.host.announce,
        map_port: config.host.map_port,
        peer_listen: config.peer_listen,
        alias: config.alias.clone(),
        password: config.password.clone(),
        rejoin_for: config.rejoin_for,
        wire,
        cleartext: config.cleartext,
        cost: PasswordCost::WIRE_1,
        limits: Limits::default(),
    }
}

/// The exit code of a session that ended for this reason.
#[must_use]
pub fn exit_code(reason: CloseReason) -> u8 {
    match reason {
        CloseReason::Left => 0,
        CloseReason::Usage => 2,
        CloseReason::Unreachable
        | CloseReason::NotPyile
        | CloseReason::KeyChanged
        | CloseReason::NothingListens
        | CloseReason::NoAnswer
        | CloseReason::NoRoute
        | CloseReason::TimedOut => 3,
        CloseReason::WrongPassword => 4,
        CloseReason::Banned => 5,
        CloseReason::IncompatibleVersion => 6,
        CloseReason::CannotListen => 7,
        CloseReason::HostLost | CloseReason::HostLeft => 8,
        CloseReason::Kicked
        | CloseReason::Superseded
        | CloseReason::NetworkFull
        | CloseReason::AliasTaken
        | CloseReason::AliasNotAllowed
        | CloseReason::InviteRefused
        | CloseReason::NotApproved
        | CloseReason::Busy => 9,
        _ => 1,
    }
}

fn wall_clock() -> Timestamp {
    net::now().wall
}

/// Where signals that end the process arrive.
type Stop = mpsc::Receiver<Asked>;

/// Who asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The person at the terminal, with a key that it turns into a signal.
    AtTheKeyboard,
    /// The system, or somebody else.
    BySystem,
}
