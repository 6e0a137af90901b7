//! What belongs to a host alone: what was typed for it, and what goes with what.

use super::{ConfigError, ON_OR_OFF, Sources, on_or_off};
use crate::{
    cli::Command,
    model::{Notes, limits},
};

/// What was typed for a host, as the file would have it.
#[derive(Default)]
pub(super) struct HostFlags<'a> {
    pub(super) listen: Option<&'a str>,
    pub(super) classic: Option<&'a str>,
    pub(super) members_invite: Option<&'a str>,
    pub(super) announce: Option<&'a str>,
    pub(super) map_port: Option<&'a str>,
    pub(super) approve: Option<&'a str>,
    pub(super) topic: Option<&'a str>,
    pub(super) rules: Option<&'a str>,
}

impl<'a> HostFlags<'a> {
    pub(super) fn of(command: Option<&'a Command>) -> Self {
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

/// Whoever comes for the first time waits. The Python program does not.
pub(super) fn approve(sources: &Sources<'_>, host: &HostFlags<'_>) -> Result<bool, ConfigError> {
    let classic = sources.get("classic", host.classic, ON_OR_OFF, on_or_off)?.unwrap_or(false);
    let approve = sources.get("approve", host.approve, ON_OR_OFF, on_or_off)?.unwrap_or(false);
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

pub(super) fn notes(sources: &Sources<'_>, host: &HostFlags<'_>) -> Result<Notes, ConfigError> {
    let topic_allowed = format!("at most {} characters are allowed", limits::TOPIC_CHARACTERS);
    let rules_allowed = format!("at most {} bytes are allowed", limits::RULES_BYTES);
    let topic = sources.get("topic", host.topic, &topic_allowed, |text| {
        (text.trim().chars().count() <= limits::TOPIC_CHARACTERS).then(|| text.to_owned())
    })?;
    let rules = sources.get("rules", host.rules, &rules_allowed, |text| {
        (text.trim().len() <= limits::RULES_BYTES).then(|| text.to_owned())
    })?;
    Ok(Notes::new(&topic.unwrap_or_default(), &rules.unwrap_or_default()))
}
