//! What the network costs, end to end between processes, each figure beside the raw limit of the same run.
//!
//! `cargo bench --bench network` measures all; `cargo bench --bench network -- broadcast` what is named so. Only the
//! ratios can be compared between machines.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "this is a benchmark"
)]

mod peers;
mod process;
mod raw;

use std::time::{Duration, Instant};

use process::{Child, Used, used};
use pyile::Events;
use tokio::runtime::Runtime;

/// Bytes of a text.
const TEXT: usize = 200;

/// For one peer, as the program has it.
fn runtime() -> Runtime {
    runtime_with(1)
}

fn runtime_with(threads: usize) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

fn row(work: &str, ours: &str, raw: &str, ratio: f64, aim: &str) {
    println!("| {work} | {raw} | {ours} | {ratio:.2} | {aim} |");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Half of the way there and back, the median.
fn latency() {
    const TIMES: usize = 5_000;
    let runtime = runtime();
    let raw = runtime.block_on(raw::ping_pong(TIMES));
    let mut ours = Vec::new();
    for disk in [false, true] {
        let (host, mut events) = peers::host(&runtime, disk);
        let mut echo = Child::start(&["echo", &peers::target(&host), if disk { "disk" } else { "memory" }]);
        echo.wait("joined");
        ours.push(runtime.block_on(peers::ping_pong(&host, &mut events, TIMES)));
        echo.end();
        runtime.block_on(host.leave());
    }
    let us = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    let ratio = |time: Duration| time.as_secs_f64() / raw.as_secs_f64();
    row(
        "one message to one peer, one way, p50, history in memory",
        &us(ours[0]),
        &us(raw),
        ratio(ours[0]),
        "≤ 1.6",
    );
    row("the same, history on disk", &us(ours[1]), &us(raw), ratio(ours[1]), "");
}

/// Deliveries a second of a broadcast, each acknowledged, and processor seconds for a million of them.
fn broadcast(members: usize, messages: usize, disk: bool, aim: &str) {
    let runtime = runtime();
    let deliveries = (members * messages) as f64;
    let [count, expect] = [members, messages].map(|number| number.to_string());
    let raw = runtime.block_on(async {
        let listener = raw::Listener::open().await;
        let mut crowd = Child::start(&["raw-members", &count, &listener.addr(), &expect]);
        let links = listener.accept(members).await;
        let (begun, before) = (Instant::now(), used(std::process::id()) + crowd.used());
        raw::broadcast(links, messages).await;
        let (took, cpu) = (begun.elapsed(), used(std::process::id()) + crowd.used() - before);
        crowd.end();
        (deliveries / took.as_secs_f64(), cpu.seconds / deliveries * 1e6)
    });
    let (host, mut events) = peers::host(&runtime, disk);
    let keeping = if disk { "disk" } else { "memory" };
    let mut crowd = Child::start(&["members", &count, &peers::target(&host), keeping, &expect]);
    crowd.wait("joined");
    runtime.block_on(peers::warm(&host, &mut events, members));
    let (begun, before) = (Instant::now(), used(std::process::id()) + crowd.used());
    runtime.block_on(peers::broadcast(&host, &mut events, members, messages));
    let (took, cpu) = (begun.elapsed(), used(std::process::id()) + crowd.used() - before);
    crowd.wait("received");
    crowd.end();
    runtime.block_on(host.leave());
    let ours = (deliveries / took.as_secs_f64(), cpu.seconds / deliveries * 1e6);
    let words = |(rate, cpu): (f64, f64)| format!("{:.0} k/s, {cpu:.2} s a million", rate / 1e3);
    row(
        &format!("broadcast to {members}, history {}", if disk { "on disk" } else { "in memory" }),
        &words(ours),
        &words(raw),
        raw.0 / ours.0,
        aim,
    );
}

/// Processor time of the host for one join, beside a TLS handshake with raw keys.
fn join() {
    const JOINS: usize = 200;
    let runtime = runtime();
    let each = |used: Used| format!("{:.2} ms", used.seconds / JOINS as f64 * 1e3);
    let raw = runtime.block_on(async {
        let listener = raw::Listener::open().await;
        let mut crowd = Child::start(&["raw-members", &JOINS.to_string(), &listener.addr(), "1"]);
        let before = used(std::process::id());
        let links = listener.accept(JOINS).await;
        let cpu = used(std::process::id()) - before;
        drop(links);
        crowd.end();
        cpu
    });
    let mut host = Child::start(&["host"]);
    let target = host.wait("listening");
    let before = host.used();
    let mut crowd = Child::start(&["one-by-one", &JOINS.to_string(), &target]);
    crowd.wait("done");
    let cpu = host.used() - before;
    crowd.end();
    host.end();
    row(
        "one join, processor time of the host",
        &each(cpu),
        &each(raw),
        cpu.seconds / raw.seconds,
        "≤ 0.5 ms",
    );
}

/// 250 at once until all know all; what they take of memory; an idle host.
fn crowd() {
    const MEMBERS: u16 = 249;
    let runtime = runtime();
    let count = MEMBERS.to_string();
    let (raw, raw_memory) = runtime.block_on(async {
        let listener = raw::Listener::open().await;
        let before = used(std::process::id());
        let begun = Instant::now();
        let mut crowd = Child::start(&["raw-members", &count, &listener.addr(), "1"]);
        let links = listener.accept(MEMBERS.into()).await;
        let took = begun.elapsed();
        let grown = (used(std::process::id()) - before).kib;
        drop(links);
        crowd.end();
        (took, grown)
    });
    let mut host = Child::start(&["host"]);
    let target = host.wait("listening");
    let before = host.used();
    let begun = Instant::now();
    let mut crowd = Child::start(&["members", &count, &target, "memory", "1"]);
    crowd.wait("joined");
    let took = begun.elapsed();
    row(
        "250 joins at once until all know all",
        &format!("{} ms", took.as_millis()),
        &format!("{} ms", raw.as_millis()),
        took.as_secs_f64() / raw.as_secs_f64(),
        "≤ 3",
    );
    // A link for every member, and one message over it.
    host.say("say");
    crowd.wait("received");
    let grown = (host.used() - before).kib / (2 * i64::from(MEMBERS));
    let raw_each = raw_memory / i64::from(MEMBERS);
    row(
        "memory per link end, all of it",
        &format!("{grown} KiB"),
        &format!("{raw_each} KiB"),
        grown as f64 / raw_each as f64,
        "≤ 24 KiB",
    );
    // What was opened for the message is closed after a minute; an idle network has join links only.
    std::thread::sleep(Duration::from_secs(5));
    let (before, begun) = (host.used(), Instant::now());
    std::thread::sleep(Duration::from_secs(20));
    let share = (host.used() - before).seconds / begun.elapsed().as_secs_f64() * 100.0;
    println!("| idle host with 250 members, of one core | | {share:.2} % | | < 0.5 % |");
    crowd.end();
    host.end();
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some(("child", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        // In the program each peer of a crowd has threads of its own; all processors are theirs.
        let threads = if matches!(rest, [name, ..] if name.ends_with("members")) { 2 } else { 1 };
        return runtime_with(threads).block_on(peers::child(rest));
    }
    if args.is_empty() {
        println!("| work | raw TLS | pyile | ratio | aim |");
        println!("|---|---|---|---|---|");
    }
    // Each in a process of its own: what one leaves in the memory is not the next one's.
    let all = ["latency", "broadcast", "disk", "join", "crowd"].map(str::to_owned);
    match &args[..] {
        [] => {
            for name in all {
                let own = std::env::current_exe().unwrap();
                assert!(std::process::Command::new(own).arg(name).status().unwrap().success());
            }
        }
        names => names.iter().for_each(|name| measure(name)),
    }
}

fn measure(name: &str) {
    match name {
        "latency" => latency(),
        "broadcast" => {
            broadcast(64, 50_000, false, "≥ 2500 k/s, ≤ 0.6 s");
            broadcast(249, 10_000, false, "≥ 2000 k/s");
        }
        "disk" => broadcast(64, 2_000, true, ""),
        "join" => join(),
        "crowd" => crowd(),
        other => panic!("there is no {other}: latency, broadcast, disk, join, crowd"),
    }
}

/// Waits for the next event that gives something.
async fn next<T>(events: &mut Events, mut found: impl FnMut(pyile::api::NodeEvent) -> Option<T>) -> T {
    loop {
        let event = events.next_whole().await.unwrap();
        if let Some(found) = found(event) {
            return found;
        }
    }
}
