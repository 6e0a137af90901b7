//! The session without a screen, for programs: the node's events and commands as JSON, one a line.
//!
//! It must never write anything but events to standard output, change anything for a line it does not understand, or let
//! one who does not read, or a message that waits, hold back anything else.

mod admission;

use std::{
    collections::VecDeque,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::AsyncBufReadExt as _,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    api::{NodeCommand, NodeEvent},
    model::{CloseReason, Closed, ErrorKind, Role, SafeText, Timestamp, limits},
    net::Request,
    network::{Events, Network},
};

/// An event with its time.
#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(flatten)]
    event: &'a NodeEvent,
}

/// What standard input had.
enum Typed {
    Command(NodeCommand),
    Bad(String),
}

/// Commands that wait, and their bytes.
#[derive(Default)]
struct Waiting {
    commands: VecDeque<NodeCommand>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, command: NodeCommand) {
        self.bytes += size(&command);
        self.commands.push_back(command);
    }

    fn pop(&mut self) -> Option<NodeCommand> {
        let command = self.commands.pop_front()?;
        self.bytes -= size(&command);
        Some(command)
    }

    /// Gives the first one as soon as it is taken; without one never.
    async fn give(&mut self, sends: &mpsc::Sender<Request>) {
        if self.commands.is_empty() {
            return std::future::pending().await;
        }
        let most = self.commands.len().min(limits::COMMANDS_WAITING);
        // The session is over when nobody takes them any more.
        let Ok(place) = sends.reserve().await else { return *self = Self::default() };
        let mut place = Some(place);
        for _ in 0..most {
            let Some(room) = place.take().or_else(|| sends.try_reserve().ok()) else { return };
            let Some(send) = self.pop() else { return };
            room.send(send.into());
        }
    }
}

fn size(command: &NodeCommand) -> usize {
    match command {
        NodeCommand::Send { text, .. } => text.len() + limits::EVENT_BYTES,
        _ => limits::EVENT_BYTES,
    }
}

/// Standard output, written by a thread of its own: whoever does not read it holds back nothing else.
struct Output {
    pieces: mpsc::Sender<Vec<u8>>,
    /// Ends when everything is written, when nobody reads any more, or when it cannot be written.
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    fn start() -> io::Result<Self> {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(limits::OUTPUT_PIECES);
        let (end, ended) = oneshot::channel();
        let write = move || {
            let mut output = io::stdout().lock();
            let mut result = Ok(());
            while result.is_ok()
                && let Some(piece) = waiting.blocking_recv()
            {
                result = output.write_all(&piece).and_then(|()| output.flush());
            }
            drop(waiting);
            let _ = end.send(result);
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(write)?;
        Ok(Self { pieces, ended })
    }

    /// Waits until everything is written, but not for a reader that takes nothing. Whoever has stopped reading knows why.
    async fn finish(self) -> io::Result<()> {
        drop(self.pieces);
        match tokio::time::timeout(limits::LEAVE_TIMEOUT, self.ended).await {
            Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

/// How a session ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub closed: Closed,
    /// Own messages of this session that somebody does not have for whom they are.
    pub undelivered: u64,
}

/// What a program has asked for and what is not done yet.
#[derive(Default)]
struct Asked {
    /// Commands that came before this peer was in the network, which wait for it.
    early: Waiting,
    is_in: bool,
    /// Messages to send.
    waiting: Waiting,
    /// Messages that were never given to the network: there was no more time.
    dropped: u64,
    /// When the session is left, whatever still waits. What was said before the goodbye comes before it.
    leaves_by: Option<Instant>,
}

impl Asked {
    /// Takes a command. Gives it back when it is to be carried out now.
    fn take(&mut self, command: NodeCommand) -> Option<NodeCommand> {
        match command {
            // Nothing was said that it would wait for.
            NodeCommand::Leave if !self.is_in && self.early.commands.is_empty() => {
                self.leave_within(Duration::ZERO);
            }
            // There is no network before it.
            command @ NodeCommand::TakeOver => return Some(command),
            command if !self.is_in => self.early.push(command),
            send @ NodeCommand::Send { .. } => self.waiting.push(send),
            NodeCommand::Leave => self.leave_within(limits::SEND_BEFORE_LEAVE),
            command => return Some(command),
        }
        None
    }

    /// There is no more time for what waits.
    fn give_up(&mut self) {
        let waiting = std::mem::take(&mut self.waiting).commands.into_iter();
        let all = waiting.chain(std::mem::take(&mut self.early).commands);
        self.dropped += all.filter(|command| matches!(command, NodeCommand::Send { .. })).count() as u64;
    }

    fn leave_within(&mut self, time: Duration) {
        let by = Instant::now() + time;
        self.leaves_by = Some(self.leaves_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// Messages go once the session is in a network.
    fn follow(&mut self, event: &NodeEvent) {
        let is_host = matches!(event, NodeEvent::Listening { role: Role::Host, .. });
        self.is_in |= is_host || matches!(event, NodeEvent::Authenticated { .. });
    }

    /// True when it is time to leave: everything is said.
    fn is_leaving(&self) -> bool {
        self.leaves_by.is_some() && self.waiting.commands.is_empty() && self.early.commands.is_empty()
    }

    fn has_room(&self) -> bool {
        self.waiting.bytes + self.early.bytes < limits::COMMANDS_BYTES
    }
}

/// What a program is told of the session.
#[derive(Default)]
struct Lines {
    /// What is to be written, when there is room.
    piece: Vec<u8>,
    told: admission::Told,
    /// The session is over.
    ended: Option<Ended>,
}

impl Lines {
    /// Adds the line of an event. `dropped` messages of the program were never taken.
    fn write(&mut self, now: Timestamp, mut event: NodeEvent, dropped: u64) {
        if let NodeEvent::Left { reason, message, undelivered } = &mut event {
            *undelivered += dropped;
            let closed = Closed::new(*reason, message.to_string());
            self.ended = Some(Ended { closed, undelivered: *undelivered });
        }
        // Memory takes everything.
        let _ = match &event {
            NodeEvent::Admission { bans, attempts, penalties } => self
                .told
                .changes(now, (bans, attempts, penalties))
                .map_or(Ok(()), |changes| write_line(&mut self.piece, &changes)),
            event => write_event(&mut self.piece, now, event),
        };
    }
}

/// Runs the session until it ends. `stop` resolves when the system asks the process to end. Fails when the events cannot be
/// written.
pub async fn run(
    network: &Network,
    mut events: Events,
    now: fn() -> Timestamp,
    mut stop: mpsc::Receiver<impl Send>,
) -> io::Result<Ended> {
    let output = Output::start()?;
    let (typed_tx, mut typed) = mpsc::channel(1);
    let reader = tokio::spawn(read_commands(typed_tx));
    let mut asked = Asked::default();
    let mut lines = Lines::default();
    // End of input does not end the session: a service manager gives none.
    let (mut has_input, mut is_read) = (true, true);
    loop {
        while asked.is_in
            && let Some(command) = asked.early.pop()
        {
            if let Some(command) = asked.take(command) {
                network.command(command).await;
            }
        }
        if asked.is_leaving() {
            asked.leaves_by = None;
            network.command(NodeCommand::Leave).await;
        }
        let has_room = output.pieces.capacity() > 0 || !is_read;
        if has_room && !lines.piece.is_empty() {
            let _ = output.pieces.try_send(std::mem::take(&mut lines.piece));
            continue;
        }
        let takes_more = asked.has_room() && lines.piece.len() < limits::COMMANDS_BYTES;
        let leaves_by = asked.leaves_by;
        tokio::select! {
            event = events.next(), if has_room => {
                let mut next = event;
                if next.is_none() {
                    break;
                }
                while let Some(event) = next {
                    asked.follow(&event);
                    lines.write(now(), event, asked.dropped);
                    next = if lines.piece.len() < limits::OUTPUT_BYTES { events.try_next() } else { None };
                }
            }
            _ = output.pieces.reserve(), if !has_room => {}
            // Whoever listened is gone; nobody can tell us to leave.
            () = output.pieces.closed(), if is_read => {
                is_read = false;
                asked.leave_within(Duration::ZERO);
            }
            line = typed.recv(), if has_input && takes_more => match line {
                Some(Typed::Command(command)) => if let Some(command) = asked.take(command) {
                    network.command(command).await;
                },
                Some(Typed::Bad(message)) => {
                    lines.write(now(), NodeEvent::error(ErrorKind::Command, &message), 0);
                }
                None => has_input = false,
            },
            () = asked.waiting.give(network.sends()) => {}
            Some(_) = stop.recv() => asked.leave_within(limits::LEAVE_TIMEOUT),
            () = sleep_until(leaves_by.unwrap_or_else(Instant::now)), if leaves_by.is_some() => {
                asked.give_up();
            }
        }
    }
    reader.abort();
    output.finish().await?;
    Ok(lines.ended.unwrap_or(Ended { closed: CloseReason::Internal.into(), undelivered: 0 }))
}

/// Tells a program why there is no session: an error, and `left` as the last line.
pub fn refuse(now: Timestamp, closed: &Closed) {
    let kind = match closed.reason {
        CloseReason::CannotListen => ErrorKind::Connection,
        _ => ErrorKind::Command,
    };
    let mut output = io::stdout().lock();
    let message = SafeText::line(&closed.to_string());
    let _ = write_event(&mut output, now, &NodeEvent::error(kind, closed));
    let _ =
        write_event(&mut output, now, &NodeEvent::Left { reason: closed.reason, message, undelivered: 0 });
    let _ = output.flush();
}

fn write_event(output: &mut impl Write, at: Timestamp, event: &NodeEvent) -> io::Result<()> {
    write_line(output, &Line { at, event })
}

fn write_line(output: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *output, line)?;
    output.write_all(b"\n")
}

async fn read_commands(typed: mpsc::Sender<Typed>) {
    let mut input = tokio::io::BufReader::new(tokio::io::stdin());
    let mut line = Vec::new();
    loop {
        let item = match next_line(&mut input, &mut line).await {
            Ok(Some(true)) => match parse(&line) {
                Some(item) => item,
                None => continue,
            },
            Ok(Some(false)) => {
                Typed::Bad(format!("a line of more than {} bytes is no command", limits::JSON_LINE_BYTES))
            }
            Ok(None) | Err(_) => return,
        };
        if typed.send(item).await.is_err() {
            return;
        }
    }
}

/// Reads one line into `line`. False for a line that is too long, of which nothing is kept. By hand, since a `FramedRead`
/// with a `LinesCodec` ends the stream at the first line that is too long or not UTF-8.
async fn next_line(
    input: &mut (impl tokio::io::AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Option<bool>> {
    line.clear();
    let mut fits = true;
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((!line.is_empty() || !fits).then_some(fits));
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(chunk.len(), |end| end + 1);
        if line.len() + taken > limits::JSON_LINE_BYTES {
            fits = false;
            line.clear();
        }
        if fits {
            line.extend_from_slice(chunk.get(..taken).unwrap_or_default());
        }
        input.consume(taken);
        if end.is_some() {
            return Ok(Some(fits));
        }
    }
}

fn parse(line: &[u8]) -> Option<Typed> {
    // Some programs begin with a byte order mark.
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return None;
    }
    Some(match serde_json::from_slice(line) {
        Ok(command) => Typed::Command(command),
        Err(error) => Typed::Bad(format!(
            "not a command: {error}; a command is one JSON object a line, such as \
             {{\"cmd\":\"send\",\"to\":\"everyone\",\"text\":\"hello\"}}"
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_and_too_long_ones_are_refused() {
        let long = "x".repeat(limits::JSON_LINE_BYTES + 1);
        let text = format!("one\n{long}\ntwo\nlast");
        let mut input = tokio::io::BufReader::new(text.as_bytes());
        let mut line = Vec::new();
        let mut lines = Vec::new();
        while let Some(fits) = next_line(&mut input, &mut line).await.unwrap() {
            lines.push(fits.then(|| String::from_utf8(line.clone()).unwrap()));
        }
        assert_eq!(lines, [Some("one\n".into()), None, Some("two\n".into()), Some("last".into())]);
    }

    #[test]
    fn what_is_no_command_says_what_one_looks_like() {
        for line in ["garbage", "{}", "{\"cmd\":\"fly\"}", "[1,2]", "\u{0}"] {
            let Some(Typed::Bad(message)) = parse(line.as_bytes()) else { panic!("{line}") };
            assert!(message.contains("{\"cmd\":\"send\""), "{message}");
        }
        assert!(parse(b"  \r").is_none());
        assert!(matches!(parse(b" {\"cmd\":\"leave\"} \r"), Some(Typed::Command(NodeCommand::Leave))));
    }
}
