//! One turn in a recording: a line of JSON, in a zstd frame with a checksum of its own where it is not exported.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RecordingError;
use super::difference::Difference;
use super::reader::Recorded;
use super::turns::TurnDifference;
use crate::observe::observation::Observation;

/// The format of the lines. The first one held observations only.
pub(super) const FORMAT: u32 = 2;

/// zstd's own default: levels above it save little on this text and take many times as long.
pub(super) const COMPRESSION: i32 = 3;

/// The longest line that is believed: several times that of a thousand nodes with a million segments.
const LONGEST_LINE: u64 = 1 << 30;

/// What a line holds. The observation is borrowed for writing and owned after reading.
#[derive(Serialize, Deserialize)]
pub(super) struct Frame<Whole> {
    /// Of the line, so that a later version knows how to read it.
    pub(super) format: u32,
    /// What the calendar said when the turn began.
    pub(super) at: Timestamp,
    pub(super) content: Content<Whole>,
    /// The rest of the turn; not in the first format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) turn: Option<TurnDifference>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // there is one at a time
pub(super) enum Content<Whole> {
    /// The first of a file.
    Whole(Whole),
    /// Every other one.
    Difference(Difference),
}

impl<'a> Frame<&'a Observation> {
    /// What is to be written of a turn after the one before it in the same file; after none, everything.
    pub(super) fn between(before: Option<&Recorded>, now: &'a Recorded) -> Frame<&'a Observation> {
        let content = match before {
            Some(before) => Content::Difference(Difference::between(&before.observation, &now.observation)),
            None => Content::Whole(&*now.observation),
        };
        let turn_before = before.and_then(|before| before.turn.as_ref());
        let turn = now.turn.as_ref().map(|turn| TurnDifference::between(turn_before, turn));
        Frame { format: FORMAT, at: now.at, content, turn }
    }

    /// As a line of text.
    pub(super) fn write_line(&self, mut to: impl Write) -> Result<(), RecordingError> {
        let unwritable = |source| RecordingError::Unwritable { source };
        serde_json::to_writer(&mut to, self).map_err(unwritable)?;
        to.write_all(b"\n").map_err(|error| unwritable(serde_json::Error::io(error)))
    }
}

impl Frame<Observation> {
    /// The turn, given the one before it in the same file; on an error the words say what is wrong with it.
    pub(super) fn after(self, before: Option<Recorded>) -> Result<Recorded, String> {
        let Frame { format: _, at, content, turn } = self;
        let (observation_before, turn_before) = match before {
            Some(Recorded { at: _, observation, turn }) => (Some(observation), turn),
            None => (None, None),
        };
        let observation = match (content, observation_before) {
            (Content::Whole(whole), _) => Arc::new(whole),
            (Content::Difference(difference), Some(mut last)) => {
                difference.apply(Arc::make_mut(&mut last)).map_err(|error| error.to_string())?;
                last
            }
            (Content::Difference(_), None) => return Err("it begins with a difference".to_owned()),
        };
        let turn = turn.map(|turn| turn.after(turn_before)).transpose().map_err(|error| error.to_string())?;
        if let Some(memory) = turn.as_ref().and_then(|turn| turn.memory.as_ref()) {
            memory.check().map_err(|error| format!("what was remembered makes no sense: {error}"))?;
        }
        Ok(Recorded { at, observation, turn })
    }
}

/// A frame as it goes into the file.
pub(super) fn encode(frame: &Frame<&Observation>) -> Result<Vec<u8>, RecordingError> {
    let unwritable = |error| RecordingError::Unwritable { source: serde_json::Error::io(error) };
    let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION).map_err(unwritable)?;
    encoder.include_checksum(true).map_err(unwritable)?;
    frame.write_line(&mut encoder)?;
    encoder.finish().map_err(unwritable)
}

/// Reads the next frame, of which there must be one; on an error the words say what is wrong with it.
pub(super) fn decode(source: &mut impl BufRead) -> Result<Frame<Observation>, String> {
    let text = decompress(source).map_err(|error| error.to_string())?;
    parse(&text)
}

/// A frame out of its line of text.
pub(super) fn parse(text: &[u8]) -> Result<Frame<Observation>, String> {
    let Preface { format } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if format > FORMAT {
        // Whatever else it says, this program cannot tell.
        let content = Content::Difference(Difference::default());
        return Ok(Frame { format, at: Timestamp::MIN, content, turn: None });
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Preface {
    format: u32,
}

fn decompress(source: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_buffer(source)?.single_frame();
    let mut text = Vec::new();
    decoder.by_ref().take(LONGEST_LINE).read_to_end(&mut text)?;
    Ok(text)
}
