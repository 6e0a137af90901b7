//! The end of a relayed link: a stream for a session, whose bytes go to the node and come from it.
//!
//! It must never hold more than the windows allow: the session writes no faster than the far end reads.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf},
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use crate::{
    model::limits,
    proto::{Input, RelayedId},
};

/// The actor's end of it: only ever tried, never waited for. Dropping it ends the session.
pub(super) struct RelayedEnd {
    feed: mpsc::Sender<Bytes>,
    credit: Arc<Semaphore>,
    task: AbortHandle,
}

impl RelayedEnd {
    /// Begins to move bytes. Gives the stream for the session.
    pub(super) fn open(relayed: RelayedId, to_node: &mpsc::Sender<Input>) -> (Self, DuplexStream) {
        let (near, far) = tokio::io::duplex(limits::RELAYED_BYTES);
        let window = limits::RELAYED_WINDOW as usize;
        let (feed, pieces) = mpsc::channel(window);
        let credit = Arc::new(Semaphore::new(window));
        let (reader, writer) = tokio::io::split(far);
        let moving = {
            let (credit, to_node) = (credit.clone(), to_node.clone());
            async move {
                tokio::select! {
                    biased;
                    () = read(relayed, reader, credit, to_node.clone()) => {}
                    () = write(relayed, writer, pieces, to_node.clone()) => {}
                }
                let _ = to_node.send(Input::RelayedEnded(relayed)).await;
            }
        };
        let task = tokio::spawn(moving).abort_handle();
        (Self { feed, credit, task }, near)
    }

    /// Something came for the session. False when it is more than the window allows.
    pub(super) fn feed(&self, bytes: Bytes) -> bool {
        !matches!(self.feed.try_send(bytes), Err(mpsc::error::TrySendError::Full(_)))
    }

    /// The far end has taken so many pieces.
    pub(super) fn credit(&self, pieces: u32) {
        // A far end that says so too often gains nothing: the node holds it to the window.
        let window = limits::RELAYED_WINDOW as usize;
        let room = window.saturating_sub(self.credit.available_permits());
        self.credit.add_permits(room.min(pieces as usize));
    }
}

impl Drop for RelayedEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    relayed: RelayedId,
    mut reader: ReadHalf<DuplexStream>,
    credit: Arc<Semaphore>,
    to_node: mpsc::Sender<Input>,
) {
    loop {
        let Ok(permit) = credit.acquire().await else { return };
        let mut piece = BytesMut::with_capacity(limits::RELAYED_BYTES);
        match reader.read_buf(&mut piece).await {
            Ok(count) if count > 0 => permit.forget(),
            _ => return,
        }
        if to_node.send(Input::RelayedBytes(relayed, piece.freeze())).await.is_err() {
            return;
        }
    }
}

async fn write(
    relayed: RelayedId,
    mut writer: WriteHalf<DuplexStream>,
    mut pieces: mpsc::Receiver<Bytes>,
    to_node: mpsc::Sender<Input>,
) {
    while let Some(piece) = pieces.recv().await {
        if writer.write_all(&piece).await.is_err() {
            return;
        }
        if to_node.send(Input::RelayedTaken(relayed, 1)).await.is_err() {
            return;
        }
    }
}
