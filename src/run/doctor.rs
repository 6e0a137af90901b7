//! `pyile doctor`: looks at a host, and says what it finds, for people or as JSON lines for programs.

use std::io::{self, Write as _};

use serde::Serialize;

use super::{exit_code, join_options, keeping, wall_clock};
use crate::{
    api::{Check, Finding, Verdict},
    config::Config,
    doctor::{Doctor, router},
    model::{CloseReason, JoinTarget, Timestamp, Wire},
    net::SystemPlatform,
    network::{JoinOptions, with_port},
    security::Identity,
    store::{Profile, StoreError},
    wire::BannedStatus,
};

/// A finding as a program reads it.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    event: &'static str,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// Examines the router of this machine, and the host at `target`, where it is asked to. Gives the exit code that a join would have.
pub(super) async fn run(config: &Config, host: Option<&JoinTarget>, map_port: bool) -> u8 {
    let json = config.json;
    let mut written = Ok(());
    let mut found = |finding: Finding| {
        if written.is_ok() {
            written = print(&finding, json);
        }
    };
    let mut code = 0;
    if map_port && !router(&SystemPlatform, &mut found).await {
        code = exit_code(CloseReason::Unreachable);
    }
    if let Some(host) = host {
        code = diagnose(config, host, &mut found).await;
    }
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => super::cannot_write(&error),
        _ => code,
    }
}

async fn diagnose(config: &Config, host: &JoinTarget, found: &mut (dyn FnMut(Finding) + Send)) -> u8 {
    let (target, json) = (with_port(&host.host()), config.json);
    let profile = match Profile::open(&config.profile_dir, keeping(config)) {
        Ok(profile) => Some(profile),
        Err(StoreError::InUse { .. }) => None,
        Err(error) => return super::usage(json, &error.to_string()),
    };
    let Some(identity) = profile.as_ref().map(Profile::identity).or_else(stranger) else {
        return super::usage(json, "no key can be made");
    };
    let known = profile.as_ref().and_then(|profile| super::known(host, profile)).map(|known| known.peer_id);
    let pin = match host {
        JoinTarget::Invite(invite) => Some(invite.key),
        JoinTarget::Host(_) => known.filter(|host| host.wire() == Wire::Native),
    };
    let platform = SystemPlatform;
    let mut doctor = Doctor { target: &target, platform: &platform, identity, pin, found };
    let reason = match doctor.diagnose().await {
        Ok(greeting) => {
            let is_known = greeting.status == BannedStatus::Known;
            match profile {
                Some(profile) if is_known || config.password.is_some() => {
                    let options = join_options(config, host.clone(), Wire::Native);
                    let alias = super::join_alias(config, host, &profile);
                    doctor.join(JoinOptions { alias, ..options }, profile).await
                }
                profile => {
                    (doctor.found)(not_joined(profile.is_none()));
                    CloseReason::Left
                }
            }
        }
        Err(reason) => reason,
    };
    exit_code(reason)
}

/// Somebody whom no host knows.
fn stranger() -> Option<std::sync::Arc<Identity>> {
    Identity::generate().ok().map(|(identity, _)| std::sync::Arc::new(identity))
}

fn not_joined(is_in_use: bool) -> Finding {
    let (message, next) = if is_in_use {
        (
            "not tried: this profile is in use by a running pyile",
            "who reaches whom is shown there: Heartbeat (F4), w",
        )
    } else {
        (
            "not tried, since that needs the password",
            "give it with --password-file FILE or in PYILE_PASSWORD, and whether others reach you is looked at too",
        )
    };
    Finding::new(Check::Join, Verdict::Skipped, message, next)
}

fn print(finding: &Finding, json: bool) -> io::Result<()> {
    let mut output = io::stdout().lock();
    if json {
        let line = Line { at: wall_clock(), event: "finding", finding };
        serde_json::to_writer(&mut output, &line)
            .map_err(io::Error::from)
            .and_then(|()| output.write_all(b"\n"))?;
    } else {
        write_for_people(&mut output, finding)?;
    }
    output.flush()
}

fn write_for_people(output: &mut impl io::Write, finding: &Finding) -> io::Result<()> {
    let Finding { check, verdict, message, next } = finding;
    writeln!(output, "{} {:<10} {message}", verdict.sign(), check.label())?;
    for line in next.as_str().lines() {
        writeln!(output, "             → {line}")?;
    }
    Ok(())
}
