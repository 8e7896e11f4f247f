//! Situations in files: one JSON document, compressed where the name ends with `.zst`. The segments are columns of
//! numbers, as in memory: a million of them are read in one pass, without anything in between.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Situation;
use crate::model::{PlanningInput, SnapshotDigest, SnapshotError};
use crate::policy::{Directive, PolicySettings};

/// The version of the document. It changes when a reader of the old one would misread the new one.
pub const SNAPSHOT_FILE_VERSION: u32 = 1;

/// What every such file says of itself.
const FORMAT: &str = "milvus-rebalancer snapshot";

/// What the names of compressed files end with.
const COMPRESSED: &str = "zst";

/// How compressed files begin, whatever they are called.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// zstd's own default: levels above it save little on this text and take many times as long.
const COMPRESSION: i32 = 3;

/// The most text that is read: ten times that of a thousand nodes with a million segments. A small file can hold any
/// amount of compressed nothing.
const MOST_TEXT: u64 = 512 << 20;

/// Enough that the calls behind it do not show.
const BUFFER: usize = 1 << 16;

/// The document.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "milvus-rebalancer snapshot",
    description = "Everything that a plan follows from: the cluster as it was seen, what is on its way, and the \
                   settings. Written by `snapshot --out`, read by `plan --snapshot`. Ids are strings, because they \
                   exceed 2^53; amounts are bytes and rows; ratios are decimal numbers."
)]
struct Document {
    /// Always "milvus-rebalancer snapshot".
    #[serde(deserialize_with = "this_format")]
    format: String,
    /// The version of this document: 1.
    #[serde(deserialize_with = "this_version")]
    version: u32,
    /// The milvus-rebalancer that wrote it; only for people.
    #[serde(default)]
    program: String,
    /// The name of `input.snapshot`, as plans mention it; a file that was changed by hand may leave it out.
    #[serde(default)]
    digest: Option<SnapshotDigest>,
    /// `[policies]` of the configuration. Without it, the reader's own configuration stands in for all settings here.
    #[serde(default)]
    #[schemars(with = "Option<crate::model::input::Options>")]
    policies: Option<PolicySettings>,
    /// What must be beside what the policies say.
    #[serde(default)]
    #[schemars(with = "Vec<crate::model::input::Options>")]
    directives: Vec<Directive>,
    /// What policies, planner and gates look at.
    input: PlanningInput,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// What policies, planner and gates look at.
    pub input: PlanningInput,
    /// The policies that were configured where it was written, if it says so.
    pub policies: Option<PolicySettings>,
    /// What must be beside what the policies say.
    pub directives: Vec<Directive>,
    /// Whether it was changed since it was written.
    pub is_changed: bool,
}

/// Why a file of a situation could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The file cannot be used.
    #[error("cannot {doing} {}", .path.display())]
    Unusable {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in it is no snapshot of a version that is known here.
    #[error("{} is no snapshot that can be read: at {place}", .path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// Where in the document, for example `input.snapshot.nodes[3].id`.
        place: String,
        /// What is wrong there, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// It can be read and makes no sense.
    #[error("{} makes no sense in input.snapshot", .path.display())]
    Senseless {
        /// The file.
        path: PathBuf,
        /// What does not.
        #[source]
        source: SnapshotError,
    },
}

fn this_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = String::deserialize(deserializer)?;
    if found == FORMAT {
        return Ok(found);
    }
    Err(D::Error::custom(format!("this is {found:?} and not {FORMAT:?}")))
}

fn this_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let found = u64::deserialize(deserializer)?;
    match u32::try_from(found) {
        Ok(SNAPSHOT_FILE_VERSION) => Ok(SNAPSHOT_FILE_VERSION),
        _ => Err(D::Error::custom(format!(
            "this is version {found} of the document, and this milvus-rebalancer reads version \
             {SNAPSHOT_FILE_VERSION}: use the one that wrote it"
        ))),
    }
}

/// The JSON Schema of the document.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Document);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes a situation as one line of JSON.
pub fn write(situation: &Situation, to: impl Write) -> io::Result<()> {
    let Situation { input, policies, directives } = situation;
    let document = Document {
        format: FORMAT.to_owned(),
        version: SNAPSHOT_FILE_VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        digest: Some(input.snapshot.digest()),
        policies: Some(policies.clone()),
        directives: directives.clone(),
        // Its columns are shared, so this is cheap.
        input: input.clone(),
    };
    let mut to = BufWriter::new(to);
    serde_json::to_writer(&mut to, &document)?;
    to.write_all(b"\n")?;
    to.flush()
}

/// Writes a situation to a file, which is there as a whole or, after an error, as it was before.
pub fn save(situation: &Situation, path: &Path) -> Result<(), SnapshotFileError> {
    let unusable = |source| SnapshotFileError::Unusable { doing: "write", path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unusable)?;
    write_as_named(situation, path, &mut file).map_err(unusable)?;
    file.persist(path).map_err(|error| unusable(error.error))?;
    Ok(())
}

fn write_as_named(situation: &Situation, path: &Path, file: impl Write) -> io::Result<()> {
    if path.extension().is_none_or(|extension| extension != COMPRESSED) {
        return write(situation, file);
    }
    let mut encoder = zstd::Encoder::new(file, COMPRESSION)?;
    encoder.include_checksum(true)?;
    write(situation, &mut encoder)?;
    encoder.finish()?.flush()
}

/// Reads a file, compressed or not.
pub fn load(path: &Path) -> Result<SnapshotFile, SnapshotFileError> {
    let unusable = |source| SnapshotFileError::Unusable { doing: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(unusable)?;
    read(BufReader::new(file), path)
}

/// Reads a document, compressed or not; `path` is how errors call it.
pub fn read(from: impl BufRead, path: &Path) -> Result<SnapshotFile, SnapshotFileError> {
    read_at_most(MOST_TEXT, from, path)
}

/// Reads a document of at most so many bytes of text.
pub fn read_at_most(
    most: u64,
    mut from: impl BufRead,
    path: &Path,
) -> Result<SnapshotFile, SnapshotFileError> {
    let unusable = |source| SnapshotFileError::Unusable { doing: "read", path: path.to_owned(), source };
    if !from.fill_buf().map_err(unusable)?.starts_with(&MAGIC) {
        return parse(&mut Limited { inner: from, most, read: 0 }, path);
    }
    let decoder = zstd::Decoder::with_buffer(from).map_err(unusable)?;
    parse(&mut Limited { inner: decoder, most, read: 0 }, path)
}

/// Whatever it comes from: what reads a document is a megabyte of code, which need not be there for each kind of source.
fn parse(from: &mut dyn Read, path: &Path) -> Result<SnapshotFile, SnapshotFileError> {
    let not_understood = |place: String, source| {
        let place = if place == "." { "its beginning".to_owned() } else { place };
        SnapshotFileError::NotUnderstood { path: path.to_owned(), place, source }
    };
    // It takes byte by byte, which is quick only from a buffer.
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, from));
    let read: Result<Document, _> = serde_path_to_error::deserialize(&mut json);
    let document = read.map_err(|error| not_understood(error.path().to_string(), error.into_inner()))?;
    json.end().map_err(|source| not_understood("its end".to_owned(), source))?;

    let Document { format: _, version: _, program: _, digest, policies, directives, input } = document;
    let senseless = |source| SnapshotFileError::Senseless { path: path.to_owned(), source };
    input.snapshot.check().map_err(senseless)?;
    let is_changed = digest.is_some_and(|digest| digest != input.snapshot.digest());
    Ok(SnapshotFile { input, policies, directives, is_changed })
}

/// A reader that ends with an error, where [`Read::take`] would end as if the file did.
struct Limited<R> {
    inner: R,
    most: u64,
    read: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read += read as u64;
        if self.read > self.most {
            let sentence = format!("more than {} bytes of text", self.most);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, sentence));
        }
        Ok(read)
    }
}
