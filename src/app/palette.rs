//! Commands as typed: their names, what they take, and what they mean.

use std::net::{IpAddr, SocketAddr};

use super::keymap::Action;

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command {
    /// Its name, without the slash.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Only the host may.
    pub host_only: bool,
    /// What a key does as well.
    pub action: Option<Action>,
}

const fn command(name: &'static str, takes: &'static str, help: &'static str) -> Command {
    Command { name, takes, help, host_only: false, action: None }
}

const fn host(name: &'static str, takes: &'static str, help: &'static str) -> Command {
    Command { name, takes, help, host_only: true, action: None }
}

const fn does(name: &'static str, help: &'static str, action: Action) -> Command {
    Command { name, takes: "", help, host_only: false, action: Some(action) }
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    does("help", "keys and commands", Action::Help),
    command("msg", "NAME TEXT", "say something to one peer only"),
    Command { takes: "[NAME]", ..does("chat", "write to a peer, or choose to whom", Action::GoTo) },
    command("me", "TEXT", "say what you do: * ann waves"),
    does("reply", "answer a message, with a quote of it", Action::Reply),
    does("copy", "copy a message", Action::Copy),
    does("info", "who has a message, and since when", Action::Info),
    does("unfold", "all lines of a long message, or fold it", Action::Unfold),
    does("menu", "what can be done with a message, and its links", Action::Menu),
    Command { takes: "[TEXT]", ..does("search", "search everything that was said", Action::Search) },
    does("recall", "look for what was sent before", Action::Recall),
    does("edit", "write in $EDITOR", Action::Editor),
    does("next", "the next conversation with something unread", Action::NextUnread),
    command("nick", "NAME", "be called otherwise; the host has to agree"),
    command("away", "[TEXT]", "tell the others; alone: away, or here again"),
    command("mute", "NAME", "fold what a peer says, only here; again: end it"),
    command("theme", "[NAME]", "choose other colours"),
    command("peers", "", "who is here, with keys and addresses"),
    command("verify", "NAME", "compare words with a peer: is this key theirs?"),
    command("forget", "", "delete the conversation shown, only here"),
    does("admin", "members, attempts, bans", Action::ViewAdmin),
    does("heartbeat", "the heartbeat in full, and who reaches whom", Action::ViewHeartbeat),
    does("log", "what happened", Action::ViewLog),
    host("ban", "NAME|ADDRESS [REASON]", "refuse a peer from now on"),
    host("kick", "NAME [REASON]", "remove a member, who may join again"),
    host("unban", "NAME|ADDRESS", "lift a ban"),
    host("handover", "NAME", "make a member the host"),
    host("deputy", "[NAME]", "who may open the network again when you are gone; alone: nobody"),
    command("takeover", "", "open the network again, as the deputy of a host that is gone"),
    command("invite", "[USES] [HOURS]", "a link that lets somebody in; --no-pass: only the key"),
    host("approve", "NAME", "let in who waits at the door"),
    host("refuse", "NAME [REASON]", "turn away who waits at the door"),
    host("revoke", "ID|all", "take an invite back"),
    host("password", "", "another password; members stay in"),
    command("cleartext", "on|off", "whether classic peers get what you say"),
    command("rejoin", "", "ask a lost host for admission now"),
    does("redraw", "draw the screen anew", Action::Redraw),
    does("suspend", "give the terminal back to the shell", Action::Suspend),
    Command { action: Some(Action::Interrupt), ..command("quit", "", "leave the network") },
];

/// Whom a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// An alias or a `peer_id`.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A command with what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A text to one peer.
    Message(String, String),
    /// A conversation.
    Chat(String),
    /// The end of what is kept of a conversation.
    Forget,
    /// Who is here.
    Peers,
    /// Something that a key does as well.
    Action(Action),
    /// A ban with its reason.
    Ban(Whom, String),
    /// A removal with its reason.
    Kick(String, String),
    /// The end of a ban.
    Unban(Whom),
    /// Another host.
    Handover(String),
    /// Another deputy; empty = nobody.
    Deputy(String),
    /// The deputy opens the network again.
    TakeOver,
    /// An invite: how many may use it, for how many hours; without a pass when it only says the key.
    Invite {
        /// How many.
        uses: Option<u32>,
        /// How long.
        hours: Option<u32>,
        /// It has a pass.
        pass: bool,
    },
    /// The end of an invite, by its id or of all.
    Revoke(String),
    /// Somebody at the door comes in.
    Approve(String),
    /// Somebody at the door does not.
    Refuse(String, String),
    /// Words to compare with a peer.
    Verify(String),
    /// Another password.
    Password,
    /// Something to look for.
    Search(String),
    /// What one does, as text.
    Does(String),
    /// Another name.
    Nick(String),
    /// What one says of oneself; empty = nothing any more.
    Away(String),
    /// A peer that is to be muted, or not any more.
    Mute(String),
    /// A theme; empty = to be chosen.
    Theme(String),
    /// Whether messages go in clear.
    Cleartext(bool),
    /// Back into the network.
    Rejoin,
    /// The end.
    Quit,
}

/// Reads a typed command, or says what is wrong with it.
pub fn parse(line: &str) -> Result<Typed, String> {
    let line = line.trim().trim_start_matches('/');
    let (name, rest) = split(line);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let near: Vec<String> =
            suggestions(name).iter().take(3).map(|command| format!("/{}", command.name)).collect();
        let near = if near.is_empty() { String::new() } else { format!("is it {}? ", near.join(" or ")) };
        return Err(format!("there is no command /{name}; {near}/ alone lists all"));
    };
    let missing = || format!("/{name} takes {}", command.takes);
    if command.takes.is_empty() && !rest.trim().is_empty() {
        return Err(format!("/{name} takes nothing more: {}", command.help));
    }
    if name == "quit" {
        return Ok(Typed::Quit);
    }
    if let Some(action) = command.action.filter(|_| rest.trim().is_empty()) {
        return Ok(Typed::Action(action));
    }
    match name {
        "theme" => return Ok(Typed::Theme(rest.trim().to_owned())),
        "away" => return Ok(Typed::Away(rest.trim().to_owned())),
        "deputy" => return Ok(Typed::Deputy(rest.trim().to_owned())),
        "invite" => return invite(rest),
        _ => {}
    }
    let (first, more) = split(rest);
    let first = Some(first).filter(|first| !first.is_empty()).ok_or_else(missing);
    Ok(match name {
        "msg" if more.is_empty() => return Err(missing()),
        "msg" => Typed::Message(first?.to_owned(), more.to_owned()),
        "me" => {
            first?;
            Typed::Does(rest.to_owned())
        }
        "mute" => Typed::Mute(first?.to_owned()),
        "nick" => {
            first?;
            Typed::Nick(rest.trim().to_owned())
        }
        "chat" => Typed::Chat(first?.to_owned()),
        "search" => Typed::Search(rest.trim().to_owned()),
        "ban" => Typed::Ban(whom(first?), more.to_owned()),
        "kick" => Typed::Kick(first?.to_owned(), more.to_owned()),
        "unban" => Typed::Unban(whom(first?)),
        "forget" => Typed::Forget,
        "handover" => Typed::Handover(first?.to_owned()),
        "verify" => Typed::Verify(first?.to_owned()),
        "approve" => Typed::Approve(first?.to_owned()),
        "refuse" => Typed::Refuse(first?.to_owned(), more.to_owned()),
        "revoke" => Typed::Revoke(first?.to_owned()),
        "password" => Typed::Password,
        "cleartext" => match first? {
            "on" => Typed::Cleartext(true),
            "off" => Typed::Cleartext(false),
            _ => return Err(missing()),
        },
        "rejoin" => Typed::Rejoin,
        "takeover" => Typed::TakeOver,
        _ => Typed::Peers,
    })
}

/// What of an invite was typed: numbers with or without a unit, or that it has no pass.
fn invite(rest: &str) -> Result<Typed, String> {
    let (mut uses, mut hours, mut pass) = (None, None, true);
    for word in rest.split_whitespace() {
        let unit = |unit: char| word.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
        match (word, word.parse::<u32>().ok()) {
            ("--no-pass", _) => pass = false,
            (_, Some(number)) if uses.is_none() => uses = Some(number),
            (_, Some(number)) if hours.is_none() => hours = Some(number),
            _ if unit('h').is_some() => hours = unit('h'),
            _ if unit('d').is_some() => hours = unit('d').and_then(|days| days.checked_mul(24)),
            _ => {
                return Err(format!(
                    "{word:?}: /invite takes how many may use it and for how long, such as 5 48h"
                ));
            }
        }
    }
    Ok(Typed::Invite { uses, hours, pass })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn whom(word: &str) -> Whom {
    let ip = word.parse::<IpAddr>().or_else(|_| word.parse::<SocketAddr>().map(|addr| addr.ip()));
    ip.map_or_else(|_| Whom::Name(word.to_owned()), Whom::Address)
}

/// Commands whose name is typed in part: first those that begin so, then those whose name has it, then those that tell of it.
#[must_use]
pub fn suggestions(line: &str) -> Vec<&'static Command> {
    let name = line.trim_start_matches('/');
    let is_meant = |command: &&Command| fuzzy(command.name, name) || fuzzy_word(command.help, name);
    let mut found: Vec<&Command> = COMMANDS.iter().filter(is_meant).collect();
    found.sort_by_key(|command| (!command.name.starts_with(name), !fuzzy(command.name, name)));
    found
}

/// The command that is typed as a whole, and the first of what it takes as far as it is typed: nothing once that is done.
#[must_use]
pub fn begun(line: &str) -> Option<(&'static Command, Option<&str>)> {
    let (name, rest) = line.trim_start_matches('/').split_once(char::is_whitespace)?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    let first = rest.trim_start();
    Some((command, Some(first).filter(|first| !first.contains(char::is_whitespace))))
}

/// True when a word of the text begins so.
fn fuzzy_word(text: &str, query: &str) -> bool {
    let query = query.to_lowercase();
    let mut words = text.split(|c: char| !c.is_alphanumeric());
    query.chars().count() > 1 && words.any(|word| word.to_lowercase().starts_with(&query))
}

/// True when the letters of `query` appear in `text` in this order, case ignored.
#[must_use]
pub fn fuzzy(text: &str, query: &str) -> bool {
    let mut letters = text.chars().flat_map(char::to_lowercase);
    query.chars().flat_map(char::to_lowercase).all(|wanted| letters.any(|letter| letter == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let bob = || "bob".to_owned();
        for (line, typed) in [
            ("/msg bob hello  there", Typed::Message(bob(), "hello  there".into())),
            ("ban bob too loud", Typed::Ban(Whom::Name(bob()), "too loud".into())),
            ("/ban 10.0.0.2", Typed::Ban(Whom::Address("10.0.0.2".parse().unwrap()), String::new())),
            ("/unban [::1]:5", Typed::Unban(Whom::Address("::1".parse().unwrap()))),
            ("/kick bob", Typed::Kick(bob(), String::new())),
            (" /quit ", Typed::Quit),
            ("/help", Typed::Action(Action::Help)),
            ("/chat", Typed::Action(Action::GoTo)),
            ("/chat bob", Typed::Chat(bob())),
        ] {
            assert_eq!(parse(line), Ok(typed), "{line}");
        }
        let invite = |uses, hours, pass| Typed::Invite { uses, hours, pass };
        for (line, typed) in [
            ("/invite", invite(None, None, true)),
            ("/invite 5", invite(Some(5), None, true)),
            ("/invite 5 48", invite(Some(5), Some(48), true)),
            ("/invite 5 2d", invite(Some(5), Some(48), true)),
            ("/invite 12h", invite(None, Some(12), true)),
            ("/invite --no-pass", invite(None, None, false)),
        ] {
            assert_eq!(parse(line), Ok(typed), "{line}");
        }
        assert!(parse("/invite bob").unwrap_err().contains("how many"));
        for (line, message) in [
            ("/fly", "there is no command /fly"),
            ("/msg bob", "/msg takes NAME TEXT"),
            ("/ban", "/ban takes"),
            ("/forget bob", "/forget takes nothing more: delete the conversation shown"),
        ] {
            assert!(parse(line).unwrap_err().starts_with(message), "{line}");
        }
        let names = |line| suggestions(line).iter().map(|command| command.name).collect::<Vec<_>>();
        assert_eq!(
            names("/pe"),
            ["peers", "approve", "suspend", "msg", "chat", "mute", "verify", "ban", "cleartext"]
        );
        assert_eq!(names("/hov"), ["handover"]);
        assert_eq!(names("/remove"), ["kick"], "by what it does");
        let begun = |line| begun(line).map(|(command, first)| (command.name, first));
        assert_eq!(begun("/ban bo"), Some(("ban", Some("bo"))));
        assert_eq!(begun("/ban "), Some(("ban", Some(""))));
        assert_eq!(begun("/ban bob too loud"), Some(("ban", None)));
        assert_eq!(begun("/ban"), None);
        assert!(fuzzy("Marie", "mre") && !fuzzy("Marie", "em"));
    }
}
