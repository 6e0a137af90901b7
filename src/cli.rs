//! What was typed. Words only: what they mean, and whether they make sense, is `config`'s.

#![allow(clippy::doc_markdown, reason = "these comments are the help texts")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A full-screen terminal messenger for a group that trusts one of its own to hold the door.
#[derive(Debug, Parser)]
#[command(
    name = "pyile",
    version,
    about,
    long_about = "A full-screen terminal messenger for a group that trusts one of its own to hold the door.\n\n\
        One peer hosts a network and admits others by password; from then on every member talks to every other \
        directly. Without a command the launch screen asks what to do.",
    after_long_help = EXAMPLES,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do at once.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How.
    #[command(flatten)]
    pub options: Options,
}

const EXAMPLES: &str = "\
Examples:
  pyile                                   choose on the screen
  pyile demo                              see it alive, with three bots on this machine
  pyile host --alias ann                  open a network on port 4702
  pyile join 192.168.1.66 --alias bob     join it
  pyile join 'pyile://192.168.1.66/…#…'   join by an invite, without the password
  pyile host --classic                    let Python peers (pyile_protocol 0.1.1) in as well
  pyile history --since 2h --search build  what was said
  pyile networks                          what can be joined around here
  pyile doctor 192.168.1.66               why it cannot be joined
  PYILE_PASSWORD=… pyile join 192.168.1.66 --alias robot --json
                                          the same session for a program

The password is asked for on the screen, read from --password-file, or taken from PYILE_PASSWORD; never from the
command line, where others could see it.

Exit codes:
  0 left normally            5 banned
  1 internal error           6 incompatible version
  2 usage or configuration   7 cannot listen
  3 cannot reach the host    8 the host was lost
  4 wrong password           9 refused for another reason";

/// What to do at once.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Open a network: you hold the door.
    Host {
        /// The same as --listen.
        #[arg(value_name = "ADDR", conflicts_with = "listen")]
        address: Option<String>,
        /// Address that joiners connect to [default: that of last time, at first 0.0.0.0:4702; env: PYILE_LISTEN].
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
        /// Let classic peers in too, the Python program pyile_protocol 0.1.1: they send the password and every message
        /// in clear [env: PYILE_CLASSIC=on].
        #[arg(long)]
        classic: bool,
        /// Members may invite others too, as you do with /invite [env: PYILE_MEMBERS_INVITE=on].
        #[arg(long)]
        members_invite: bool,
        /// Be asked before anybody comes in for the first time; who is not let in within five minutes is turned away [env:
        /// PYILE_APPROVE=on].
        #[arg(long, conflicts_with = "classic")]
        approve: bool,
        /// What the network is for: shown to whoever comes in [env: PYILE_TOPIC].
        #[arg(long, value_name = "TEXT")]
        topic: Option<String>,
        /// What is asked of members: shown to whoever comes in [env: PYILE_RULES].
        #[arg(long, value_name = "TEXT")]
        rules: Option<String>,
        /// Ask the router to let others in from the internet (PCP, NAT-PMP, UPnP) [env: PYILE_MAP_PORT=on].
        #[arg(long)]
        map_port: bool,
        /// Do not tell others around of the network: they do not see it on their first screen [env: PYILE_ANNOUNCE=off].
        #[arg(long)]
        no_announce: bool,
    },
    /// Join a network.
    Join {
        /// The host's name or address; the port is 4702 unless you say otherwise. Or an invite, pyile://…, by which no
        /// password is needed: others here can see it while you join, and may take it from you; PYILE_INVITE holds it unseen.
        #[arg(value_name = "HOST[:PORT]|INVITE")]
        host: Option<String>,
        /// The host is a classic one, the Python program pyile_protocol 0.1.1: the password and every message go in
        /// clear. Never assumed.
        #[arg(long)]
        classic: bool,
    },
    /// Print the networks around: what their hosts tell of them in three seconds.
    Networks,
    /// Print what was said.
    History {
        /// Only what this peer wrote, or what was for it alone: its name, its key, or how the key begins.
        #[arg(long, value_name = "PEER")]
        peer: Option<String>,
        /// Only what came since then: a time, a date, or how long ago, such as 2026-11-20, 90min or "3 days".
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// Only what has these words, the last as the beginning of one.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Say why a host cannot be joined, or why others do not reach you, step by step, and what to do about it.
    Doctor {
        /// The host's name or address; the port is 4702 unless you say otherwise.
        #[arg(value_name = "HOST[:PORT]", required_unless_present = "map_port")]
        host: Option<String>,
        /// Ask the router of this machine whether it opens ports, and give the port back.
        #[arg(long)]
        map_port: bool,
    },
    /// A network on this machine: you host, three small bots join over real sockets and chat.
    Demo,
}

/// Options of every command. All but `--config` and `--json` can stand in the configuration file, with _ for -; `--no-history` is
/// `history = false` there, `--no-cleartext` `cleartext = false`.
#[derive(Debug, Clone, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Options {
    /// Your name in the network: 1 to 32 visible characters [default: your login name; env: PYILE_ALIAS].
    #[arg(long, global = true, value_name = "NAME")]
    pub alias: Option<String>,
    /// Read the network's password from the first line of FILE [env: PYILE_PASSWORD holds the password itself].
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Where other members reach you [default: the address in use, a free port from 49152 on; env:
    /// PYILE_PEER_LISTEN].
    #[arg(long, global = true, value_name = "ADDR")]
    pub peer_listen: Option<String>,
    /// Host: wrong passwords from one address before it is banned [default: 3; env: PYILE_ATTEMPTS].
    #[arg(long, global = true, value_name = "N")]
    pub attempts: Option<String>,
    /// Host: the network's name; history: only of networks with this name [default: the one it had, or one made from your alias; env: PYILE_NETWORK].
    #[arg(long, global = true, value_name = "NAME")]
    pub network: Option<String>,
    /// Host: members at most, yourself included, up to 1000 [default: 250; env: PYILE_MEMBERS].
    #[arg(long, global = true, value_name = "N")]
    pub members: Option<String>,
    /// Host: days after which a key that was not here must prove the password again, 0 = never [default: 180; env:
    /// PYILE_KEY_DAYS].
    #[arg(long, global = true, value_name = "N")]
    pub key_days: Option<String>,
    /// Host: messages a second that a member takes from another in the long run, 0 = no limit [default: 100; env:
    /// PYILE_RATE].
    #[arg(long, global = true, value_name = "N")]
    pub rate: Option<String>,
    /// Member: seconds of trying to come back to a lost host, 0 = do not try [default: 86400; env:
    /// PYILE_REJOIN_FOR].
    #[arg(long, global = true, value_name = "SECONDS")]
    pub rejoin_for: Option<String>,
    /// Host: seconds for which members go on among themselves while the host is away, 0 = not at all [default: 600;
    /// env: PYILE_GRACE].
    #[arg(long, global = true, value_name = "SECONDS")]
    pub grace: Option<String>,
    /// Host: how many seconds before it was admitted a member may read, 0 = nothing [default: 0; env:
    /// PYILE_READ_BACK].
    #[arg(long, global = true, value_name = "SECONDS")]
    pub read_back: Option<String>,
    /// Send to classic peers, in clear, also in a network that had none when you joined it before [env:
    /// PYILE_CLEARTEXT=on].
    #[arg(long, global = true, conflicts_with = "no_cleartext")]
    pub cleartext: bool,
    /// Send nothing in clear: classic peers do not get your messages, and you are told who did not [env:
    /// PYILE_CLEARTEXT=off].
    #[arg(long, global = true)]
    pub no_cleartext: bool,
    /// Keep what is said in memory only: it is gone when the program ends [env: PYILE_HISTORY=off].
    #[arg(long, global = true)]
    pub no_history: bool,
    /// Delete messages that are older than N days, 0 = keep them [default: 0; env: PYILE_HISTORY_DAYS].
    #[arg(long, global = true, value_name = "N")]
    pub history_days: Option<String>,
    /// Delete the oldest messages when the history takes more than N MiB, those of others first, 0 = keep them [default:
    /// 4096, or a tenth of the disk's free room when that is less; env: PYILE_HISTORY_MIB].
    #[arg(long, global = true, value_name = "N")]
    pub history_mib: Option<String>,
    /// Use another profile: its own key, bans and recent networks [default: default; env: PYILE_PROFILE].
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Where profiles live [default: the system's place for data; env: PYILE_DATA_DIR].
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Read another configuration file [default: config.toml in the system's place for configuration].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// No screen: one JSON event a line on standard output, one JSON command a line on standard input.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write a log to FILE [env: PYILE_LOG_FILE].
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// How much to log: error, warn, info, debug or trace [default: info; env: PYILE_LOG_LEVEL].
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
}
