//! The session without a screen, for programs: the node's events and commands as JSON, one a line.
//!
//! It must never write anything but events to standard output, change anything for a line it does not understand, or let
//! one who does not read, or a message that waits, hold back anything else.

use std::{
    collections::VecDeque,
    io::{self, Write},
};

use serde::Serialize;
use tokio::{
    io::AsyncBufReadExt as _,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    api::{NodeCommand, NodeEvent},
    model::{CloseReason, Closed, ErrorKind, SafeText, Timestamp, limits},
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

/// Messages to send that the network does not take yet: what else a program asks for is not behind them.
#[derive(Default)]
struct Waiting {
    sends: VecDeque<NodeCommand>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, send: NodeCommand) {
        self.bytes += size(&send);
        self.sends.push_back(send);
    }

    /// Gives the first one as soon as it is taken; without one never.
    async fn give(&mut self, sends: &mpsc::Sender<Request>) {
        if self.sends.is_empty() {
            return std::future::pending().await;
        }
        let most = self.sends.len().min(limits::COMMANDS_WAITING);
        // The session is over when nobody takes them any more.
        let Ok(place) = sends.reserve().await else { return self.sends.clear() };
        let mut place = Some(place);
        for _ in 0..most {
            let Some(room) = place.take().or_else(|| sends.try_reserve().ok()) else { return };
            let Some(send) = self.sends.pop_front() else { return };
            self.bytes -= size(&send);
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
    /// Ends when everything is written, or when nobody reads any more.
    ended: oneshot::Receiver<()>,
}

impl Output {
    fn start() -> io::Result<Self> {
        let (pieces, mut waiting) = mpsc::channel::<Vec<u8>>(limits::OUTPUT_PIECES);
        let (end, ended) = oneshot::channel();
        let write = move || {
            let mut output = io::stdout().lock();
            while let Some(piece) = waiting.blocking_recv() {
                if output.write_all(&piece).and_then(|()| output.flush()).is_err() {
                    break;
                }
            }
            let _ = end.send(());
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(write)?;
        Ok(Self { pieces, ended })
    }

    /// Waits until everything is written, but not for a reader that takes nothing.
    async fn finish(self) {
        drop(self.pieces);
        let _ = tokio::time::timeout(limits::LEAVE_TIMEOUT, self.ended).await;
    }
}

/// Runs the session until it ends. `stop` resolves when the system asks the process to end.
pub async fn run(
    network: &Network,
    mut events: Events,
    now: fn() -> Timestamp,
    mut stop: mpsc::Receiver<()>,
) -> Closed {
    let Ok(output) = Output::start() else { return CloseReason::Internal.into() };
    let (typed_tx, mut typed) = mpsc::channel(1);
    let reader = tokio::spawn(read_commands(typed_tx));
    let mut waiting = Waiting::default();
    let mut left = Closed::from(CloseReason::Internal);
    // What is to be written, when there is room.
    let mut piece = Vec::new();
    // End of input does not end the session: a service manager gives none.
    let (mut has_input, mut is_read) = (true, true);
    // What was said before the goodbye comes before it, unless that takes too long.
    let mut leaves_by: Option<Instant> = None;
    loop {
        if waiting.sends.is_empty() && leaves_by.take().is_some() {
            network.command(NodeCommand::Leave).await;
        }
        let has_room = output.pieces.capacity() > 0 || !is_read;
        if has_room && !piece.is_empty() {
            let _ = output.pieces.try_send(std::mem::take(&mut piece));
            continue;
        }
        let takes_more = waiting.bytes < limits::COMMANDS_BYTES && piece.len() < limits::COMMANDS_BYTES;
        tokio::select! {
            event = events.next_whole(), if has_room => {
                let mut next = event;
                if next.is_none() {
                    break;
                }
                while let Some(event) = next {
                    if let NodeEvent::Left { reason, message } = &event {
                        left = Closed::new(*reason, message.to_string());
                    }
                    for line in event.expand() {
                        let _ = write_event(&mut piece, now(), &line);
                    }
                    next = if piece.len() < limits::OUTPUT_BYTES { events.try_next_whole() } else { None };
                }
            }
            _ = output.pieces.reserve(), if !has_room => {}
            // Whoever listened is gone; nobody can tell us to leave.
            () = output.pieces.closed(), if is_read => {
                is_read = false;
                leaves_by = Some(Instant::now());
            }
            line = typed.recv(), if has_input && takes_more => match line {
                Some(Typed::Command(send @ NodeCommand::Send { .. })) => waiting.push(send),
                Some(Typed::Command(NodeCommand::Leave)) => leaves_by = Some(Instant::now() + limits::LEAVE_TIMEOUT),
                Some(Typed::Command(command)) => network.command(command).await,
                Some(Typed::Bad(message)) => {
                    let _ = write_event(&mut piece, now(), &NodeEvent::error(ErrorKind::Command, &message));
                }
                None => has_input = false,
            },
            () = waiting.give(network.sends()) => {}
            Some(()) = stop.recv() => leaves_by = Some(Instant::now() + limits::LEAVE_TIMEOUT),
            () = sleep_until(leaves_by.unwrap_or_else(Instant::now)), if leaves_by.is_some() => {
                waiting = Waiting::default();
            }
        }
    }
    reader.abort();
    output.finish().await;
    left
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
    let _ = write_event(&mut output, now, &NodeEvent::Left { reason: closed.reason, message });
    let _ = output.flush();
}

fn write_event(output: &mut impl Write, at: Timestamp, event: &NodeEvent) -> io::Result<()> {
    serde_json::to_writer(&mut *output, &Line { at, event })?;
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
    let line = line.trim_ascii();
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
