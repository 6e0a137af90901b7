//! The session without a screen, for programs: the node's events and commands as JSON, one a line.
//!
//! It must never write anything but events to standard output, or change anything for a line it does not understand.

use std::io::{self, Write};

use serde::Serialize;
use tokio::{io::AsyncBufReadExt as _, sync::mpsc};

use crate::{
    api::{NodeCommand, NodeEvent},
    model::{CloseReason, Closed, ErrorKind, SafeText, Timestamp, limits},
    network::Network,
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

/// Runs the session until it ends. `stop` resolves when the system asks the process to end.
pub async fn run(mut network: Network, now: fn() -> Timestamp, mut stop: mpsc::Receiver<()>) -> Closed {
    let (typed_tx, mut typed) = mpsc::channel(1);
    let reader = tokio::spawn(read_commands(typed_tx));
    let mut left = Closed::from(CloseReason::Internal);
    let mut output = io::stdout().lock();
    // End of input does not end the session: a service manager gives none.
    let mut has_input = true;
    let mut leaving = false;
    loop {
        tokio::select! {
            event = network.next_whole() => match event {
                Some(event) => {
                    let mut next = Some(event);
                    let mut written = Ok(());
                    while let Some(event) = next {
                        if let NodeEvent::Left { reason, message } = &event {
                            left = Closed::new(*reason, message.to_string());
                        }
                        for line in event.expand() {
                            written = written.and_then(|()| write_event(&mut output, now(), &line));
                        }
                        next = network.try_next_whole();
                    }
                    // Whoever listened is gone; nobody can tell us to leave.
                    if written.and_then(|()| output.flush()).is_err() && !std::mem::replace(&mut leaving, true) {
                        network.command(NodeCommand::Leave).await;
                    }
                }
                None => break,
            },
            line = typed.recv(), if has_input => match line {
                Some(Typed::Command(command)) => network.command(command).await,
                Some(Typed::Bad(message)) => {
                    let _ = write_event(&mut output, now(), &NodeEvent::error(ErrorKind::Command, &message));
                    let _ = output.flush();
                }
                None => has_input = false,
            },
            Some(()) = stop.recv() => network.command(NodeCommand::Leave).await,
        }
    }
    reader.abort();
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

/// Reads one line into `line`. False for a line that is too long, of which nothing is kept.
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
