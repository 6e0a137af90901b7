//! Whole networks on simulated machines: the real node actors and the real store, over turmoil's network and in its
//! time. Everything follows from a seed, which a failure names.
//!
//! ```text
//! PYILE_SEED=17 cargo test --test simulation one_seed -- --ignored --nocapture    one seed again
//! cargo test --release --test simulation thousand -- --ignored --nocapture        a thousand seeds
//! ```
//! `PYILE_TRACE=FILE` beside the seed writes down everything that everybody was shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests"
)]

mod book;
mod disk;
mod person;
mod platform;
mod world;

use std::{
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use self::world::{Size, World};

const FIFTY: Size = Size {
    people: 52,
    machines: 8,
    trouble: Duration::from_secs(60),
    acts: 120,
    calm: Duration::from_secs(120),
    copies: false,
    deputy: false,
};

/// The host is gone, and its deputy opens the network again.
const DEPUTY: Size = Size {
    people: 24,
    machines: 8,
    trouble: Duration::from_secs(90),
    acts: 120,
    calm: Duration::from_secs(150),
    copies: false,
    deputy: true,
};

/// Members that stream, and whose profiles are put back from copies.
const COPIES: Size = Size {
    people: 12,
    machines: 8,
    trouble: Duration::from_secs(60),
    acts: 160,
    calm: Duration::from_secs(120),
    copies: true,
    deputy: false,
};

const FIVE_HUNDRED: Size = Size {
    people: 501,
    machines: 12,
    trouble: Duration::from_secs(15),
    acts: 30,
    calm: Duration::from_secs(120),
    copies: false,
    deputy: false,
};

/// One seed, in this process.
fn run(seed: u64, size: Size) {
    let began = std::time::Instant::now();
    match World::new(seed, size).run() {
        Ok(report) => println!("seed {seed}: {report} ({:.1} s here)", began.elapsed().as_secs_f64()),
        Err(broken) => panic!("{broken}"),
    }
}

/// Many seeds, each in a process of its own, since the runtime numbers its tasks by process; as many at once as there
/// are cores.
fn run_all(test: &str, seeds: &[u64]) {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) else { return failed };
            let mut one = Command::new(std::env::current_exe().unwrap());
            let output = one
                .args(["--exact", test, "--ignored", "--nocapture"])
                .env("PYILE_SEED", seed.to_string())
                .output()
                .unwrap();
            print!("{}", String::from_utf8_lossy(&output.stdout));
            if !output.status.success() {
                print!("{}", String::from_utf8_lossy(&output.stderr));
                failed.push(*seed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let again = format!("PYILE_SEED=n cargo test --test simulation {test} -- --ignored --nocapture");
    assert!(failed.is_empty(), "laws are broken with seeds {failed:?}; to see one again: {again}");
}

#[test]
fn fifty_members_through_twenty_seeds_of_trouble() {
    run_all("one_seed", &(0..20).collect::<Vec<_>>());
}

/// Seeds beyond the twenty. 216 found that a ban, just when its peer came back, was called a breach of the protocol; the
/// others were run again and again while ways and links were mended. What each of those found was not written down.
const OF_USE: [u64; 8] = [27, 43, 44, 72, 73, 76, 216, 232];

#[test]
fn seeds_that_were_of_use() {
    run_all("one_seed", &OF_USE);
}

#[test]
fn members_that_come_back_from_copies_of_their_profiles() {
    run_all("one_seed_of_copies", &(0..20).collect::<Vec<_>>());
}

#[test]
fn a_deputy_in_place_of_a_host_that_is_gone() {
    run_all("one_seed_of_deputies", &(0..20).collect::<Vec<_>>());
}

#[test]
#[ignore = "an hour; for a machine that has nothing else to do"]
fn fifty_members_through_a_thousand_seeds_of_trouble() {
    run_all("one_seed", &(0..1000).collect::<Vec<_>>());
}

#[test]
fn five_hundred_members() {
    run_all("one_seed_of_five_hundred", &[0]);
}

/// The seed that is to be seen.
fn seed() -> u64 {
    std::env::var("PYILE_SEED").map_or(0, |seed| seed.parse().unwrap())
}

#[test]
#[ignore = "for one seed that is to be seen again"]
fn one_seed() {
    run(seed(), FIFTY);
}

#[test]
#[ignore = "for one seed that is to be seen again"]
fn one_seed_of_copies() {
    run(seed(), COPIES);
}

#[test]
#[ignore = "for one seed that is to be seen again"]
fn one_seed_of_deputies() {
    run(seed(), DEPUTY);
}

#[test]
#[ignore = "for one seed that is to be seen again"]
fn one_seed_of_five_hundred() {
    run(seed(), FIVE_HUNDRED);
}
