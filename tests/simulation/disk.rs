//! A simulated disk: the real store, which takes its time. What has not been written when a machine goes down is lost.

use std::{path::Path, sync::Arc, time::Duration};

use pyile::{
    Profile,
    store::{Bundle, Keeping, Retention, Store, StoreError, Worker},
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Bundles that may wait.
const WAITING: usize = 64;

#[derive(Debug)]
struct Disk(mpsc::Sender<Bundle>);

impl Store for Disk {
    fn take(&self, bundle: Bundle) -> Result<(), Bundle> {
        self.0.try_send(bundle).map_err(|error| match error {
            TrySendError::Full(bundle) | TrySendError::Closed(bundle) => bundle,
        })
    }
}

/// Opens a profile on a machine of the simulation.
pub(crate) fn open(dir: &Path, seed: [u8; 32]) -> Result<Profile, StoreError> {
    Profile::open_on(dir, Keeping::OnDisk(Retention::default()), |worker| {
        let (bundles, waiting) = mpsc::channel(WAITING);
        tokio::spawn(work(worker, waiting, ChaCha20Rng::from_seed(seed)));
        Ok(Arc::new(Disk(bundles)))
    })
}

async fn work(mut worker: Worker, mut waiting: mpsc::Receiver<Bundle>, mut rng: ChaCha20Rng) {
    while let Some(first) = waiting.recv().await {
        tokio::time::sleep(Duration::from_micros(u64::from(rng.next_u32() % 6000))).await;
        let mut bundles = vec![first];
        while let Ok(next) = waiting.try_recv() {
            bundles.push(next);
        }
        // It blocks, as disks do; for the simulation no time passes.
        std::thread::scope(|scope| scope.spawn(|| worker.take(bundles)).join().unwrap());
    }
    worker.close();
}
