//! What belongs to a host.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{ConfigError, Options, sources::Sources};
use crate::{
    cli::Command,
    model::{Notes, Policy, limits},
};

/// How to host. Of it a member needs whether to announce and to ask the router, should it become the host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// The join address; nothing = that of last time, or [`default_listen`].
    pub listen: Option<SocketAddr>,
    /// Wrong passwords from one address before it is banned.
    pub attempts: u32,
    /// Members at most.
    pub members: usize,
    /// How long a key that is not here comes back without a password; zero for ever.
    pub key_age: Duration,
    /// What the host sets for all.
    pub policy: Policy,
    /// Whoever comes for the first time waits for a yes.
    pub approve: bool,
    /// What whoever comes in is told.
    pub notes: Notes,
    /// Those around are told of the network.
    pub announce: bool,
    /// The router is asked to let others in from the internet.
    pub map_port: bool,
}

impl HostSettings {
    pub(super) fn of(
        sources: &Sources<'_>,
        options: &Options,
        command: Option<&Command>,
    ) -> Result<Self, ConfigError> {
        let flags = HostFlags::of(command);
        let policy = policy(sources, options, &flags)?;
        Ok(Self {
            listen: sources.listen_addr("listen", flags.listen, limits::JOIN_PORT)?,
            attempts: sources
                .number("attempts", options.attempts.as_deref(), 1, 1000)?
                .unwrap_or(limits::ATTEMPTS),
            members: sources
                .number("members", options.members.as_deref(), 2, limits::MEMBERS_MAX)?
                .unwrap_or(limits::MEMBERS),
            key_age: sources
                .number("key_days", options.key_days.as_deref(), 0, 36_500)?
                .map_or(limits::KEY_AGE, |days: u64| Duration::from_secs(days * 24 * 60 * 60)),
            approve: approve(sources, &flags, policy.classic)?,
            policy,
            notes: notes(sources, &flags)?,
            announce: sources.switch("announce", flags.announce)?.unwrap_or(true),
            map_port: sources.switch("map_port", flags.map_port)?.unwrap_or(false),
        })
    }
}

/// The join address of a new host, unless the user gives another.
#[must_use]
pub fn default_listen() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, limits::JOIN_PORT).into()
}

/// What was typed for a host, as the file would have it.
#[derive(Default)]
struct HostFlags<'a> {
    listen: Option<&'a str>,
    classic: Option<&'a str>,
    members_invite: Option<&'a str>,
    announce: Option<&'a str>,
    map_port: Option<&'a str>,
    approve: Option<&'a str>,
    topic: Option<&'a str>,
    rules: Option<&'a str>,
}

impl<'a> HostFlags<'a> {
    fn of(command: Option<&'a Command>) -> Self {
        let Some(Command::Host {
            address,
            listen,
            classic,
            members_invite,
            approve,
            topic,
            rules,
            map_port,
            no_announce,
        }) = command
        else {
            return Self::default();
        };
        Self {
            listen: listen.as_deref().or(address.as_deref()),
            classic: classic.then_some("on"),
            members_invite: members_invite.then_some("on"),
            announce: no_announce.then_some("off"),
            map_port: map_port.then_some("on"),
            approve: approve.then_some("on"),
            topic: topic.as_deref(),
            rules: rules.as_deref(),
        }
    }
}

fn policy(sources: &Sources<'_>, options: &Options, flags: &HostFlags<'_>) -> Result<Policy, ConfigError> {
    let rate = sources.number("rate", options.rate.as_deref(), 0, 1_000_000)?.unwrap_or(limits::RATE);
    Ok(Policy {
        rate,
        burst: limits::RATE_BURST,
        // Whoever lifts the limit on messages means the one on bytes too.
        rate_bytes: if rate == 0 { 0 } else { limits::RATE_BYTES },
        grace: sources.number("grace", options.grace.as_deref(), 0, 604_800)?.unwrap_or(limits::GRACE),
        read_back: sources.number("read_back", options.read_back.as_deref(), 0, u32::MAX)?.unwrap_or(0),
        classic: sources.switch("classic", flags.classic)?.unwrap_or(false),
        members_invite: sources.switch("members_invite", flags.members_invite)?.unwrap_or(false),
    })
}

/// Whoever comes for the first time waits. The Python program does not.
fn approve(sources: &Sources<'_>, flags: &HostFlags<'_>, classic: bool) -> Result<bool, ConfigError> {
    let approve = sources.switch("approve", flags.approve)?.unwrap_or(false);
    if approve && classic {
        return Err(ConfigError::Value {
            place: "configuration".to_owned(),
            key: "approve".to_owned(),
            found: "on, and so is classic".to_owned(),
            allowed: "a Python peer cannot wait at the door; choose one of the two".to_owned(),
        });
    }
    Ok(approve)
}

fn notes(sources: &Sources<'_>, flags: &HostFlags<'_>) -> Result<Notes, ConfigError> {
    let topic_allowed = format!("at most {} characters are allowed", limits::TOPIC_CHARACTERS);
    let rules_allowed = format!("at most {} bytes are allowed", limits::RULES_BYTES);
    let topic = sources.get("topic", flags.topic, &topic_allowed, |text| {
        (text.trim().chars().count() <= limits::TOPIC_CHARACTERS).then(|| text.to_owned())
    })?;
    let rules = sources.get("rules", flags.rules, &rules_allowed, |text| {
        (text.trim().len() <= limits::RULES_BYTES).then(|| text.to_owned())
    })?;
    Ok(Notes::new(&topic.unwrap_or_default(), &rules.unwrap_or_default()))
}
