//! What the journal keeps of waves: what each was expected to bring and what it brought.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Journal, JournalError, amount, as_integer, read_time, time_text};
use crate::units::Bytes;

/// Number of a wave in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaveId(pub i64);

/// Moves that were let out together, and what they brought.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveRecord {
    /// Its number; `None` for one that is new.
    pub id: Option<WaveId>,
    /// When its first move was let out.
    pub started_at: Timestamp,
    /// When its result was known; `None` while it runs.
    pub ended_at: Option<Timestamp>,
    /// Moves that it was allowed.
    pub size: u64,
    /// Moves that were sent.
    pub sent: u64,
    /// Of these, how many landed.
    pub landed: u64,
    /// Of these, how many ended in another way.
    pub failed: u64,
    /// Bytes that landed.
    pub bytes: Bytes,
    /// The drop of squared pressure above the band that was predicted; `None` where nothing was.
    pub predicted_relief: Option<f64>,
    /// The drop that was seen, negative when things became worse; `None` while unknown.
    pub realised_relief: Option<f64>,
    /// How it ended, as one word.
    pub outcome: String,
    /// The same as a sentence; empty when the word says it all.
    pub detail: String,
}

/// The columns of a wave, in the order in which [`read_wave`] takes them.
pub(super) const WAVE_COLUMNS: &str =
    "id, started_at, ended_at, size, sent, landed, failed, bytes, predicted_relief,
    realised_relief, outcome, detail";

impl Journal {
    /// Records a wave: a new one without a number, or where a known one stands now.
    pub async fn record_wave(&self, wave: WaveRecord) -> Result<WaveId, JournalError> {
        self.run("record the wave", move |connection| match wave.id {
            None => insert(connection, &wave),
            Some(id) => update(connection, id, &wave).map(|()| id),
        })
        .await
    }

    /// The newest waves, at most so many, newest first.
    pub async fn last_waves(&self, limit: usize) -> Result<Vec<WaveRecord>, JournalError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run("read the last waves", move |connection| {
            let mut statement = connection
                .prepare_cached(&format!("SELECT {WAVE_COLUMNS} FROM waves ORDER BY id DESC LIMIT ?1"))?;
            statement.query_map([limit], read_wave)?.collect()
        })
        .await
    }
}

impl Journal {
    /// The newest waves under the configuration in force, at most so many, oldest first. What earlier ones taught
    /// does not hold any more.
    pub async fn waves_of_this_configuration(&self, limit: usize) -> Result<Vec<WaveRecord>, JournalError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run("read the waves of this configuration", move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {WAVE_COLUMNS} FROM waves
                     WHERE configuration IS (SELECT max(id) FROM configurations) ORDER BY id DESC LIMIT ?1"
            ))?;
            let newest_first: Vec<WaveRecord> =
                statement.query_map([limit], read_wave)?.collect::<rusqlite::Result<_>>()?;
            Ok(newest_first.into_iter().rev().collect())
        })
        .await
    }
}

fn insert(connection: &Connection, wave: &WaveRecord) -> rusqlite::Result<WaveId> {
    connection.execute(
        "INSERT INTO waves (started_at, ended_at, size, sent, landed, failed, bytes, predicted_relief,
                            realised_relief, outcome, detail, configuration)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, (SELECT max(id) FROM configurations))",
        params![
            time_text(wave.started_at),
            wave.ended_at.map(time_text),
            as_integer(wave.size),
            as_integer(wave.sent),
            as_integer(wave.landed),
            as_integer(wave.failed),
            as_integer(wave.bytes.0),
            wave.predicted_relief,
            wave.realised_relief,
            wave.outcome,
            wave.detail
        ],
    )?;
    Ok(WaveId(connection.last_insert_rowid()))
}

fn update(connection: &Connection, id: WaveId, wave: &WaveRecord) -> rusqlite::Result<()> {
    let changed = connection.execute(
        "UPDATE waves
         SET ended_at = ?2, size = ?3, sent = ?4, landed = ?5, failed = ?6, bytes = ?7, predicted_relief = ?8,
             realised_relief = ?9, outcome = ?10, detail = ?11
         WHERE id = ?1",
        params![
            id.0,
            wave.ended_at.map(time_text),
            as_integer(wave.size),
            as_integer(wave.sent),
            as_integer(wave.landed),
            as_integer(wave.failed),
            as_integer(wave.bytes.0),
            wave.predicted_relief,
            wave.realised_relief,
            wave.outcome,
            wave.detail
        ],
    )?;
    if changed == 0 { Err(rusqlite::Error::QueryReturnedNoRows) } else { Ok(()) }
}

pub(super) fn read_wave(row: &Row<'_>) -> rusqlite::Result<WaveRecord> {
    let ended_at: Option<String> = row.get(2)?;
    Ok(WaveRecord {
        id: Some(WaveId(row.get(0)?)),
        started_at: read_time(1, row.get_ref(1)?.as_str()?)?,
        ended_at: ended_at.map(|text| read_time(2, &text)).transpose()?,
        size: amount(row, 3)?,
        sent: amount(row, 4)?,
        landed: amount(row, 5)?,
        failed: amount(row, 6)?,
        bytes: Bytes(amount(row, 7)?),
        predicted_relief: row.get(8)?,
        realised_relief: row.get(9)?,
        outcome: row.get(10)?,
        detail: row.get(11)?,
    })
}
