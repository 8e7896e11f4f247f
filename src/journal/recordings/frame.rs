//! One look in a recording: a zstd frame with a checksum, of one line of JSON.

use std::io::{BufRead, Read, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::difference::Difference;
use crate::observe::observation::Observation;

/// The format of the lines.
pub(super) const FORMAT: u32 = 1;

/// zstd's own default: levels above it save little on this text and take many times as long.
const COMPRESSION: i32 = 3;

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

/// A frame as it goes into the file.
pub(super) fn encode(frame: &Frame<&Observation>) -> Result<Vec<u8>, serde_json::Error> {
    let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION).map_err(serde_json::Error::io)?;
    encoder.include_checksum(true).map_err(serde_json::Error::io)?;
    serde_json::to_writer(&mut encoder, frame)?;
    encoder.write_all(b"\n").and_then(|()| encoder.finish()).map_err(serde_json::Error::io)
}

/// Reads the next frame, of which there must be one; on an error the words say what is wrong with it.
pub(super) fn decode(source: &mut impl BufRead) -> Result<Frame<Observation>, String> {
    let text = decompress(source).map_err(|error| error.to_string())?;
    let Preface { format } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if format > FORMAT {
        // Whatever else it says, this program cannot tell.
        return Ok(Frame { format, at: Timestamp::MIN, content: Content::Difference(Difference::default()) });
    }
    serde_json::from_slice(&text).map_err(|error| error.to_string())
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
