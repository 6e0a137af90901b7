//! The way of events from a node to whoever reads them.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::Stream;

use super::unread::Unread;
use crate::api::NodeEvent;

/// The events of a session. The node never waits for whoever reads them: what is not read is bounded, and thinned out as
/// [`NodeEvent::Skipped`] says. Dropping it loses nothing but the events.
pub struct Events {
    unread: Arc<Mutex<Unread>>,
    /// The rest of an event that is given out line by line. One event may stand for a hundred thousand lines: each is made
    /// when it is asked for.
    lines: Option<Box<dyn Iterator<Item = NodeEvent> + Send + Sync>>,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("unread", &self.unread).finish_non_exhaustive()
    }
}

/// The node's end.
#[derive(Debug)]
pub(super) struct Teller(Arc<Mutex<Unread>>);

/// Both ends.
pub(super) fn channel() -> (Teller, Events) {
    let unread = Arc::<Mutex<Unread>>::default();
    (Teller(unread.clone()), Events { unread, lines: None })
}

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Teller {
    /// Gives events to the reader, who wakes up once.
    pub(super) fn tell(&self, events: &mut Vec<NodeEvent>) {
        let mut unread = lock(&self.0);
        if unread.is_abandoned {
            return events.clear();
        }
        events.drain(..).for_each(|event| unread.push(event));
        wake(unread);
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut unread = lock(&self.0);
        unread.is_over = true;
        wake(unread);
    }
}

fn wake(mut unread: MutexGuard<'_, Unread>) {
    let waker = unread.waker.take();
    drop(unread);
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Events {
    /// The next event, one for each message and each delivery; nothing after the session has ended.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// As [`Self::next`], if one is waiting already.
    pub fn try_next(&mut self) -> Option<NodeEvent> {
        loop {
            if let Some(line) = self.next_line() {
                return Some(line);
            }
            self.lines = Some(Box::new(self.try_next_whole()?.expand()));
        }
    }

    fn next_line(&mut self) -> Option<NodeEvent> {
        let line = self.lines.as_mut().and_then(Iterator::next);
        if line.is_none() {
            self.lines = None;
        }
        line
    }

    /// The next event as the node tells it: one for a batch of messages, one for an acknowledgement of many. Nothing after
    /// the session has ended. Use this or [`Self::next`], not both: what is left of a batch there comes later here.
    pub async fn next_whole(&mut self) -> Option<NodeEvent> {
        std::future::poll_fn(|context| self.poll_whole(context)).await
    }

    /// As [`Self::next_whole`], if one is waiting already.
    pub fn try_next_whole(&mut self) -> Option<NodeEvent> {
        lock(&self.unread).pop()
    }

    fn poll_whole(&self, context: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        let mut unread = lock(&self.unread);
        if let Some(event) = unread.pop() {
            return Poll::Ready(Some(event));
        }
        if unread.is_over {
            return Poll::Ready(None);
        }
        unread.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Stream for Events {
    type Item = NodeEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<NodeEvent>> {
        loop {
            if let Some(line) = self.next_line() {
                return Poll::Ready(Some(line));
            }
            match self.poll_whole(context) {
                Poll::Ready(Some(event)) => self.lines = Some(Box::new(event.expand())),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut unread = lock(&self.unread);
        *unread = Unread::default();
        unread.is_abandoned = true;
    }
}
