//! Recordings that leave the machine: one file of JSON lines, a header and then the turns of all files in a row, as a
//! whole or as what is new, just as the daemon writes them. The daemon's own files can be read the same way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RecordingError;
use super::following::{Following, Frames};
use super::frame::{self, COMPRESSION, Frame};
use super::reader::Recorded;
use crate::observe::observation::Observation;

/// What every such file says of itself.
const NAME: &str = "milvus-rebalancer recording";

/// The version of the file around the lines. It changes when a reader of the old one would misread the new one.
const VERSION: u32 = 1;

/// What the names of compressed files end with.
const COMPRESSED: &str = "zst";

/// How compressed files begin, whatever they are called.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The longest line that is read: several times that of a thousand nodes with a million segments. A small file can hold
/// any amount of compressed nothing.
const LONGEST_LINE: u64 = 512 << 20;

/// So much of what is no recording is looked at: its first line says so.
const LONGEST_HEADER: usize = 4096;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportHeader {
    /// Always "milvus-rebalancer recording".
    format: String,
    /// The version of the file: 1.
    version: u32,
    /// The milvus-rebalancer that wrote it.
    pub program: String,
    /// Whether names of databases, collections and hosts stand for others.
    pub scrubbed: bool,
}

/// Writes turns to a file. It is there as a whole after [`ExportWriter::finish`], and not at all before.
pub struct ExportWriter {
    path: PathBuf,
    file: tempfile::NamedTempFile,
    /// `None` where the file is not compressed.
    encoder: Option<zstd::Encoder<'static, File>>,
    last: Option<Recorded>,
}

impl ExportWriter {
    /// Begins a file, compressed if its name ends with `.zst`.
    pub fn create(path: &Path, scrubbed: bool) -> Result<ExportWriter, RecordingError> {
        let unusable = unusable("write", path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(&unusable)?;
        let is_compressed = path.extension().is_some_and(|extension| extension == COMPRESSED);
        let encoder = if is_compressed {
            let mut encoder =
                zstd::Encoder::new(file.reopen().map_err(&unusable)?, COMPRESSION).map_err(&unusable)?;
            encoder.include_checksum(true).map_err(&unusable)?;
            Some(encoder)
        } else {
            None
        };
        let header = ExportHeader {
            format: NAME.to_owned(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            scrubbed,
        };
        let mut writer = ExportWriter { path: path.to_owned(), file, encoder, last: None };
        let mut line = serde_json::to_vec(&header).map_err(|source| RecordingError::Unwritable { source })?;
        line.push(b'\n');
        writer.write(&line)?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), RecordingError> {
        let written = match &mut self.encoder {
            Some(encoder) => encoder.write_all(bytes),
            None => self.file.write_all(bytes),
        };
        written.map_err(unusable("write", &self.path))
    }

    /// Adds a turn. After one that is missing, it must come with what was remembered.
    pub fn push(&mut self, recorded: Recorded) -> Result<(), RecordingError> {
        let mut line = Vec::new();
        Frame::between(self.last.as_ref(), &recorded).write_line(&mut line)?;
        self.write(&line)?;
        self.last = Some(recorded);
        Ok(())
    }

    /// Puts the file in its place.
    pub fn finish(self) -> Result<(), RecordingError> {
        let ExportWriter { path, mut file, encoder, last: _ } = self;
        let unusable = unusable("write", &path);
        if let Some(encoder) = encoder {
            encoder.finish().map_err(&unusable)?;
        }
        file.flush().map_err(&unusable)?;
        file.persist(&path).map_err(|error| unusable(error.error))?;
        Ok(())
    }
}

/// Reads turns from a file that was exported, or from one of the daemon's own. After an error it is at its end.
pub struct ExportReader {
    turns: Following<Lines>,
}

/// A file as its lines.
struct Lines {
    path: PathBuf,
    lines: Box<dyn BufRead + Send>,
    /// The header; a file of the daemon has none.
    header: Option<ExportHeader>,
    /// The first line, where it is no header.
    first: Option<Vec<u8>>,
    longest_line: u64,
    line: usize,
}

impl ExportReader {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<ExportReader, RecordingError> {
        let file = File::open(path).map_err(unusable("read", path))?;
        ExportReader::new(BufReader::new(file), path, LONGEST_LINE)
    }

    /// Reads from anywhere; `path` is how errors call it, and lines may be so long.
    pub fn new(
        mut from: impl BufRead + Send + 'static,
        path: &Path,
        longest_line: u64,
    ) -> Result<ExportReader, RecordingError> {
        let unusable = unusable("read", path);
        let lines: Box<dyn BufRead + Send> = if from.fill_buf().map_err(&unusable)?.starts_with(&MAGIC) {
            Box::new(BufReader::new(zstd::Decoder::with_buffer(from).map_err(&unusable)?))
        } else {
            Box::new(from)
        };
        let mut lines =
            Lines { path: path.to_owned(), lines, header: None, first: None, longest_line, line: 0 };
        lines.begin()?;
        Ok(ExportReader { turns: Following::new(lines) })
    }

    /// The header; a file of the daemon has none.
    pub fn header(&self) -> Option<&ExportHeader> {
        self.turns.frames().header.as_ref()
    }
}

impl Lines {
    fn begin(&mut self) -> Result<(), RecordingError> {
        let no_recording = |detail: String| RecordingError::NoRecording { path: self.path.clone(), detail };
        let line = match next_line(&mut *self.lines, self.longest_line) {
            Ok(Some(line)) => line,
            Ok(None) => return Err(no_recording("it is empty".to_owned())),
            Err(error) => return Err(no_recording(format!("its first line cannot be read ({error})"))),
        };
        self.line = 1;
        let format = serde_json::from_slice::<Preface>(&line).map(|preface| preface.format);
        match format {
            Ok(Format::Frame(_)) => self.first = Some(line),
            Ok(Format::Export(name)) if name == NAME => self.header = Some(self.read_header(&line)?),
            Ok(Format::Export(name)) => {
                return Err(no_recording(format!("it calls itself {:?}", shortened(&name))));
            }
            Err(_) => {
                let text = String::from_utf8_lossy(&line[..line.len().min(LONGEST_HEADER)]);
                return Err(no_recording(format!("it begins with {:?}", shortened(&text))));
            }
        }
        Ok(())
    }

    fn read_header(&self, line: &[u8]) -> Result<ExportHeader, RecordingError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let wrong = |error: serde_json::Error| RecordingError::NoRecording {
            path: self.path.clone(),
            detail: format!("its header cannot be understood ({error})"),
        };
        // A newer header may have more fields; its version comes first.
        let Version { version } = serde_json::from_slice(line).map_err(wrong)?;
        if version > VERSION {
            return Err(RecordingError::TooNew { path: self.path.clone(), found: version, known: VERSION });
        }
        serde_json::from_slice(line).map_err(wrong)
    }
}

impl Frames for Lines {
    fn next_frame(&mut self) -> Result<Option<Frame<Observation>>, String> {
        let line = match self.first.take() {
            Some(first) => first,
            None => {
                self.line += 1;
                match next_line(&mut *self.lines, self.longest_line).map_err(|error| error.to_string())? {
                    Some(line) => line,
                    None => return Ok(None),
                }
            }
        };
        if line.last() != Some(&b'\n') {
            return Err("the line breaks off".to_owned());
        }
        frame::parse(&line).map(Some)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn lost(&self, detail: String, whole: usize) -> RecordingError {
        RecordingError::LineLost { path: self.path.clone(), line: self.line, detail, whole }
    }
}

impl Iterator for ExportReader {
    type Item = Result<Recorded, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.turns.next()
    }
}

#[derive(Deserialize)]
struct Preface {
    format: Format,
}

/// The header's is a name, a turn's is a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Format {
    Frame(#[allow(dead_code)] u32), // read again with its line
    Export(String),
}

/// The next line with its end; `None` at the end of the file.
fn next_line(lines: &mut dyn BufRead, longest: u64) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    lines.take(longest).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == longest && line.last() != Some(&b'\n') {
        let sentence = format!("a line of more than {longest} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
    }
    Ok(Some(line))
}

/// The beginning of a text that may be anything.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    text.trim_end().chars().take(SHOWN).collect()
}

fn unusable(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> RecordingError {
    let path = path.to_owned();
    move |source| RecordingError::Unusable { doing, path: path.clone(), source }
}
