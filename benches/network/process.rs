//! Other processes of this benchmark: started, told, measured, ended.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    ops::{Add, Sub},
    process::{ChildStdout, Command, Stdio},
};

/// Processor seconds and resident memory.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) seconds: f64,
    pub(super) kib: i64,
}

impl Add for Used {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, kib: self.kib + other.kib }
    }
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { seconds: self.seconds - other.seconds, kib: self.kib - other.kib }
    }
}

/// What a process has used until now.
pub(super) fn used(id: u32) -> Used {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    // A tick is 10 ms wherever Linux runs.
    let seconds = ticks / 100.0;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    Used { seconds, kib: line.split_whitespace().nth(1).unwrap().parse().unwrap() }
}

pub(super) struct Child {
    child: std::process::Child,
    lines: BufReader<ChildStdout>,
}

impl Child {
    pub(super) fn start(args: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("child")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it says a word. Gives what follows it.
    pub(super) fn wait(&mut self, word: &str) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "a process ended before it said {word}");
        line.trim()
            .strip_prefix(word)
            .unwrap_or_else(|| panic!("{line} in place of {word}"))
            .trim()
            .to_owned()
    }

    pub(super) fn say(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    pub(super) fn used(&self) -> Used {
        used(self.child.id())
    }

    pub(super) fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
