//! What reads bytes and text from outside.

use bytes::BytesMut;
use clap::Parser as _;
use pyile::{
    cli::Cli,
    config,
    model::{SafeText, limits},
    wire::{
        Frame, FrameCodec, FrameLimit,
        classic::{Object, ObjectCodec},
    },
};
use tokio_util::codec::{Decoder, Encoder as _};

use super::Reader;

/// Feeds a codec in pieces, as a network does. Gives what it read until it had enough.
fn read<D: Decoder>(mut codec: D, data: &[u8], most: usize) -> Vec<D::Item> {
    let mut reader = Reader(data);
    let (mut buffer, mut items) = (BytesMut::new(), Vec::new());
    while !reader.is_empty() {
        let size = 1 + usize::from(reader.byte());
        buffer.extend_from_slice(reader.bytes(size));
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return items,
            }
        }
        assert!(buffer.capacity() <= 4 * (most + 512), "{} bytes are held", buffer.capacity());
    }
    items
}

/// A stream of frames before and after admission.
pub fn frames(data: &[u8]) {
    for (limit, most) in
        [(FrameLimit::before(), limits::FRAME_BEFORE), (FrameLimit::after(), limits::FRAME_AFTER)]
    {
        for frame in read(FrameCodec::new(limit.clone()), data, most) {
            // What was understood says the same again.
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
            let mut stream = BytesMut::new();
            let mut codec = FrameCodec::new(limit.clone());
            codec.encode(bytes, &mut stream).unwrap();
            assert_eq!(codec.decode(&mut stream).unwrap(), Some(frame));
        }
    }
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
}

/// A stream of the Python program.
pub fn classic(data: &[u8]) {
    for object in read(ObjectCodec::new(limits::CLASSIC_BEFORE), data, limits::CLASSIC_BEFORE) {
        assert_eq!(Object::decode(&object.encode()).as_ref(), Ok(&object));
    }
    let _ = Object::decode(data);
}

/// Text that reaches the terminal.
pub fn text(data: &[u8]) {
    let raw = String::from_utf8_lossy(data);
    let clean = SafeText::clean(&raw);
    for c in clean.as_str().chars() {
        assert!(c == '\n' || !c.is_control(), "{c:?} in {clean:?}");
        // What reorders, or hides wherever it stands.
        let is_hostile = matches!(c,
            '\u{115F}'..='\u{1160}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E001F}');
        assert!(!is_hostile, "{c:?} in {clean:?}");
    }
    assert_eq!(SafeText::clean(clean.as_str()), clean, "cleaning twice changes nothing");
    assert!(!SafeText::line(&raw).as_str().contains('\n'));
}

/// A configuration file, and words on the command line.
pub fn config(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (words, file) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (words, file) = (String::from_utf8_lossy(words), String::from_utf8_lossy(file));
    let words = std::iter::once("pyile").chain(words.split_whitespace());
    let Ok(cli) = Cli::try_parse_from(words) else { return };
    // Files that are named are another matter.
    if cli.options.password_file.is_some() || file.contains("password_file") {
        return;
    }
    let file = config::File { name: "config.toml", text: &file };
    match config::resolve(&cli, &|_| None, Some(file), Some("/data".into())) {
        Ok(config) => {
            assert!((1..=limits::MEMBERS_MAX).contains(&config.host.members));
            assert!(config.host.attempts > 0 && !config.alias.as_str().is_empty());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(
                !message.is_empty() && message.chars().all(|c| c == '\n' || !c.is_control()),
                "{message:?}"
            );
        }
    }
}
