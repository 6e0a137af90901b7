//! `pyile history`: prints what was said, for people or as JSON lines for programs.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use crate::{
    model::{Alias, DeliveryStatus, PeerId, Recipient, SafeText, Summary, Timestamp, Wire},
    store::{Exported, Filter, export},
};

/// A message as a program reads it.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    network: &'a str,
    network_id: &'a str,
    from: From<'a>,
    to: Recipient,
    text: &'a str,
    sent_at: Timestamp,
    at: Timestamp,
    own: bool,
    #[serde(skip_serializing_if = "Option::is_none", rename = "ref")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deliveries: Vec<DeliveryLine<'a>>,
}

#[derive(Serialize)]
struct From<'a> {
    peer_id: PeerId,
    alias: &'a Alias,
}

#[derive(Serialize)]
struct DeliveryLine<'a> {
    peer: From<'a>,
    status: DeliveryStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    at: Timestamp,
}

/// Prints the messages of the profile in `dir`. Gives the exit code.
pub(super) fn print(dir: &Path, filter: &Filter, json: bool) -> u8 {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let zone = jiff::tz::TimeZone::system();
    let mut count = 0_u64;
    let mut written = Ok(());
    let result = export(dir, filter, |exported| {
        count += 1;
        written =
            if json { write_json(&mut output, &exported) } else { write_text(&mut output, &zone, &exported) };
        written.is_ok()
    });
    if let Err(error) = written.and_then(|()| output.flush()) {
        return super::cannot_write(&error);
    }
    match result {
        Ok(()) => {
            if count == 0 && *filter != Filter::default() {
                super::tell("nothing in the history matches; a name is compared letter by letter");
            }
            0
        }
        Err(error) => {
            super::tell(&error.to_string());
            2
        }
    }
}

fn write_json(output: &mut impl io::Write, exported: &Exported) -> io::Result<()> {
    let message = &exported.message;
    let line = Line {
        id: message.id.to_string(),
        network: exported.network.as_str(),
        network_id: &exported.network_id,
        from: From { peer_id: message.id.author, alias: &message.alias },
        to: message.id.to,
        text: message.text.as_str(),
        sent_at: message.sent_at,
        at: message.at,
        own: exported.own,
        reference: message.reference.as_deref(),
        claims: message.claims.as_ref().map(SafeText::as_str),
        summary: exported.own.then_some(message.summary),
        deliveries: message
            .deliveries
            .iter()
            .map(|delivery| DeliveryLine {
                peer: From { peer_id: delivery.peer, alias: &delivery.alias },
                status: delivery.status,
                reason: delivery.reason.map(crate::model::FailReason::code),
                at: delivery.at,
            })
            .collect(),
    };
    serde_json::to_writer(&mut *output, &line)?;
    output.write_all(b"\n")
}

fn write_text(output: &mut impl io::Write, zone: &jiff::tz::TimeZone, exported: &Exported) -> io::Result<()> {
    let message = &exported.message;
    let at = message.at.in_zone(zone).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut from = if exported.own { "you".to_owned() } else { message.alias.to_string() };
    if message.id.author.wire() == Wire::Classic {
        from.push_str(" ~classic");
    }
    if let Some(claims) = &message.claims {
        let _ = write!(from, " (says it is \"{claims}\")");
    }
    let to = match message.id.to {
        Recipient::Everyone => String::new(),
        Recipient::Peer(_) => format!(" to {}", exported.to),
    };
    let text = message.text.as_str().replace('\n', "\n                     ");
    write!(output, "{at}  {from}{to}: {text}")?;
    let names = |is_meant: fn(DeliveryStatus) -> bool| -> Vec<&str> {
        let meant = message.deliveries.iter().filter(|delivery| is_meant(delivery.status));
        meant.map(|delivery| delivery.alias.as_str()).collect()
    };
    let missing = names(|status| matches!(status, DeliveryStatus::Queued | DeliveryStatus::Failed));
    let sent = names(|status| status == DeliveryStatus::Sent);
    if !missing.is_empty() {
        write!(output, "  [{}, not {}]", message.summary, missing.join(", "))?;
    }
    if !sent.is_empty() {
        write!(output, "  [{}, sent to {}]", message.summary, sent.join(", "))?;
    }
    writeln!(output)
}
