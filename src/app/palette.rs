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
}

const fn command(name: &'static str, takes: &'static str, help: &'static str, host_only: bool) -> Command {
    Command { name, takes, help, host_only }
}

/// All commands.
pub const COMMANDS: &[Command] = &[
    command("help", "", "keys and commands: F1", false),
    command("msg", "NAME TEXT", "say something to one peer only", false),
    command("chat", "NAME", "show the conversation with a peer: Ctrl-O", false),
    command("me", "TEXT", "say what you do: * ann waves", false),
    command("mute", "NAME", "fold what a peer says, here only; again: no more", false),
    command("theme", "", "choose other colours", false),
    command("peers", "", "who is here, with keys and addresses", false),
    command("forget", "", "delete the conversation that is shown, here only", false),
    command("search", "", "search everything that was said: Ctrl-F", false),
    command("next", "", "the next conversation with something unread: Alt-A", false),
    command("admin", "", "members, attempts, bans: F3", false),
    command("heartbeat", "", "the heartbeat in full, and who reaches whom: F4", false),
    command("log", "", "what happened: F5", false),
    command("ban", "NAME|ADDRESS [REASON]", "refuse a peer from now on", true),
    command("kick", "NAME [REASON]", "remove a member; it may join again", true),
    command("unban", "NAME|ADDRESS", "lift a ban", true),
    command("handover", "NAME", "make a member the host; you stay as a member", true),
    command("password", "", "set another password; members stay in", true),
    command("cleartext", "on|off", "whether classic peers get what you say, in clear", false),
    command("rejoin", "", "ask a lost host for admission now", false),
    command("quit", "", "leave the network: Ctrl-C", false),
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
    /// Keys and commands.
    Help,
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
    /// Another password.
    Password,
    /// What one does, as text.
    Does(String),
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
        let names: Vec<String> = COMMANDS.iter().map(|command| format!("/{}", command.name)).collect();
        return Err(format!("there is no command /{name}; there are {}", names.join(" ")));
    };
    let missing = || format!("/{name} takes {}", command.takes);
    if command.takes.is_empty() && name != "theme" && !rest.trim().is_empty() {
        return Err(format!("/{name} takes nothing more: {}", command.help));
    }
    if name == "theme" {
        return Ok(Typed::Theme(rest.trim().to_owned()));
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
        "chat" => Typed::Chat(first?.to_owned()),
        "ban" => Typed::Ban(whom(first?), more.to_owned()),
        "kick" => Typed::Kick(first?.to_owned(), more.to_owned()),
        "unban" => Typed::Unban(whom(first?)),
        "forget" => Typed::Forget,
        "peers" => Typed::Peers,
        "search" => Typed::Action(Action::Search),
        "next" => Typed::Action(Action::NextUnread),
        "admin" => Typed::Action(Action::ViewAdmin),
        "heartbeat" => Typed::Action(Action::ViewHeartbeat),
        "log" => Typed::Action(Action::ViewLog),
        "handover" => Typed::Handover(first?.to_owned()),
        "password" => Typed::Password,
        "cleartext" => match first? {
            "on" => Typed::Cleartext(true),
            "off" => Typed::Cleartext(false),
            _ => return Err(missing()),
        },
        "rejoin" => Typed::Rejoin,
        "quit" => Typed::Quit,
        _ => Typed::Help,
    })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn whom(word: &str) -> Whom {
    let ip = word.parse::<IpAddr>().or_else(|_| word.parse::<SocketAddr>().map(|addr| addr.ip()));
    ip.map_or_else(|_| Whom::Name(word.to_owned()), Whom::Address)
}

/// Commands whose name is typed in part: first those that begin so.
#[must_use]
pub fn suggestions(line: &str) -> Vec<&'static Command> {
    let (name, _) = split(line.trim_start_matches('/'));
    let has_more = line.trim_start_matches('/').contains(char::is_whitespace);
    let is_meant =
        |command: &&Command| if has_more { command.name == name } else { fuzzy(command.name, name) };
    let mut found: Vec<&Command> = COMMANDS.iter().filter(is_meant).collect();
    found.sort_by_key(|command| !command.name.starts_with(name));
    found
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
            ("/help", Typed::Help),
        ] {
            assert_eq!(parse(line), Ok(typed), "{line}");
        }
        for (line, message) in [
            ("/fly", "there is no command /fly"),
            ("/msg bob", "/msg takes NAME TEXT"),
            ("/ban", "/ban takes"),
            ("/forget bob", "/forget takes nothing more: delete the conversation that is shown"),
        ] {
            assert!(parse(line).unwrap_err().starts_with(message), "{line}");
        }
        let names = |line| suggestions(line).iter().map(|command| command.name).collect::<Vec<_>>();
        assert_eq!(names("/pe"), ["peers"]);
        assert_eq!(names("/hov"), ["handover"]);
        assert_eq!(names("/ban bob"), ["ban"]);
        assert!(fuzzy("Marie", "mre") && !fuzzy("Marie", "em"));
    }
}
