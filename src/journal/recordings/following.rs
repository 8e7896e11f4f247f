//! Turns out of frames that build on each other, whatever file the frames are in.

use std::path::Path;

use super::RecordingError;
use super::frame::{FORMAT, Frame};
use super::reader::Recorded;
use crate::observe::observation::Observation;

/// Where frames come from, one after the other.
pub(super) trait Frames {
    /// The next one; nothing at the end. On an error the words say what is wrong.
    fn next_frame(&mut self) -> Result<Option<Frame<Observation>>, String>;

    /// How errors call the file.
    fn path(&self) -> &Path;

    /// That the last frame is of no use, after so many whole turns.
    fn lost(&self, detail: String, whole: usize) -> RecordingError;
}

/// The turns. After an error they are at their end.
pub(super) struct Following<F> {
    frames: F,
    last: Option<Recorded>,
    whole: usize,
    has_ended: bool,
}

impl<F: Frames> Following<F> {
    pub(super) fn new(frames: F) -> Following<F> {
        Following { frames, last: None, whole: 0, has_ended: false }
    }

    /// Where they come from.
    pub(super) fn frames(&self) -> &F {
        &self.frames
    }

    fn read(&mut self) -> Result<Option<Recorded>, RecordingError> {
        let frame = match self.frames.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(detail) => return Err(self.frames.lost(detail, self.whole)),
        };
        if frame.format > FORMAT {
            let path = self.frames.path().to_owned();
            return Err(RecordingError::TooNew { path, found: frame.format, known: FORMAT });
        }
        let recorded =
            frame.after(self.last.take()).map_err(|detail| self.frames.lost(detail, self.whole))?;
        self.whole += 1;
        self.last = Some(recorded.clone());
        Ok(Some(recorded))
    }
}

impl<F: Frames> Iterator for Following<F> {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let read = self.read().transpose();
        self.has_ended = !matches!(read, Some(Ok(_)));
        read
    }
}
