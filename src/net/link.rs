//! What native and classic sessions share: what they need of their actor, and how a connection is closed.

use std::io;

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time,
};

use crate::{
    model::{PeerId, limits},
    proto::{ConnId, Input, LinkKind},
    wire::FrameLimit,
};

/// What a session is to do.
#[derive(Debug)]
pub(super) enum Outbound {
    Frame(Bytes),
    /// Send what came before, then close.
    Close,
}

/// What a session needs of its actor.
pub(super) struct Context {
    pub(super) conn: ConnId,
    pub(super) link: LinkKind,
    pub(super) to_node: mpsc::Sender<Input>,
    pub(super) outbound: mpsc::Receiver<Outbound>,
    pub(super) limit: FrameLimit,
    /// The peer that relays the link, if one does.
    pub(super) via: Option<PeerId>,
    /// Who does not speak TLS may be a classic peer.
    pub(super) takes_classic: bool,
}

/// Closes so that the last frames arrive: a socket that is dropped with unread bytes takes them back.
pub(super) async fn linger(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) {
    let closing = async {
        writer.shutdown().await?;
        let mut rest = [0; 1024];
        while reader.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = time::timeout(limits::LINGER, closing).await;
}
