-- Steps and proof of a plan apart, and the digest by which a plan is approved.
CREATE TABLE plans_of_format_2 (
    turn            INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    digest          TEXT,             -- digest of the plan, which an approval names
    snapshot_digest TEXT,             -- digest of the snapshot that was planned on
    moves           INTEGER NOT NULL, -- moves in the plan
    bytes           INTEGER NOT NULL, -- bytes that it moves
    steps           TEXT    NOT NULL, -- the steps in order, as JSON
    proof           TEXT    NOT NULL  -- how good the plan is and why it is not better, as JSON
) STRICT;
INSERT INTO plans_of_format_2 (turn, snapshot_digest, moves, bytes, steps, proof)
SELECT turn, digest, moves, bytes,
       CASE WHEN json_valid(proof) THEN coalesce(json_extract(proof, '$.steps'), '[]') ELSE '[]' END,
       CASE WHEN json_valid(proof) THEN coalesce(json_extract(proof, '$.proof'), proof) ELSE proof END
FROM plans;
DROP TABLE plans;
ALTER TABLE plans_of_format_2 RENAME TO plans;

-- The turn whose verdicts hold in this turn: they are written down when they change.
ALTER TABLE turns ADD COLUMN verdicts_of INTEGER;

-- What the gates and the planner refused, of each turn in which that changed.
CREATE TABLE verdicts (
    turn     INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- from 0, in the order in which they were found
    subject  TEXT    NOT NULL, -- what is refused: the cluster, a node, a segment ...
    reason   TEXT    NOT NULL, -- code of the reason, as in metrics and the log
    sentence TEXT    NOT NULL, -- the same in words, with its numbers at that time
    PRIMARY KEY (turn, position)
) STRICT, WITHOUT ROWID;

-- One row for each configuration under which the daemon was started; a start like the one before adds none.
CREATE TABLE configurations (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at TEXT    NOT NULL, -- RFC 3339, UTC: the first start with it
    version    TEXT    NOT NULL, -- of milvus-rebalancer
    digest     TEXT    NOT NULL, -- digest of the text
    text       TEXT    NOT NULL  -- the options in force as TOML, without secrets
) STRICT;

-- One row for each wave: moves that were let out together, and what they brought.
CREATE TABLE waves (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    configuration    INTEGER,          -- under which of the configurations it began
    started_at       TEXT    NOT NULL, -- RFC 3339, UTC
    ended_at         TEXT,             -- RFC 3339, UTC; NULL while it runs
    size             INTEGER NOT NULL, -- moves that it was allowed
    sent             INTEGER NOT NULL, -- moves that were sent
    landed           INTEGER NOT NULL, -- of these, how many landed
    failed           INTEGER NOT NULL, -- of these, how many ended in another way
    bytes            INTEGER NOT NULL, -- bytes that landed
    predicted_relief REAL,             -- pressure that the plan promised to take away
    realised_relief  REAL,             -- pressure that was seen to go; NULL while unknown
    outcome          TEXT    NOT NULL, -- how it ended, as one word
    detail           TEXT    NOT NULL  -- the same as a sentence; empty when the word says it all
) STRICT;
CREATE INDEX waves_by_time ON waves (started_at);

-- Segments that somebody else moved: Milvus' own balancer, or a person.
CREATE TABLE foreign_moves (
    id            INTEGER PRIMARY KEY,
    noticed_at    TEXT    NOT NULL, -- RFC 3339, UTC
    segment_id    INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    replica_id    INTEGER NOT NULL,
    from_node     INTEGER NOT NULL, -- session id of the node that it left
    to_node       INTEGER NOT NULL, -- session id of the node where it is now
    bytes         INTEGER NOT NULL
) STRICT;
CREATE INDEX foreign_moves_by_time ON foreign_moves (noticed_at);

-- Times in which a person wanted nothing to be moved. Written by other processes too.
CREATE TABLE pauses (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at TEXT    NOT NULL, -- RFC 3339, UTC
    until      TEXT,             -- RFC 3339, UTC: when it ends by itself; NULL for never
    reason     TEXT    NOT NULL, -- in that person's words
    started_by TEXT    NOT NULL, -- who paused
    ended_at   TEXT,             -- RFC 3339, UTC: when it was taken back, or replaced by another
    ended_by   TEXT              -- who did that
) STRICT;
CREATE INDEX pauses_open ON pauses (id) WHERE ended_at IS NULL;

-- Plans that a person approved. Written by other processes too.
CREATE TABLE approvals (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_digest TEXT    NOT NULL, -- digest of the plan
    approved_at TEXT    NOT NULL, -- RFC 3339, UTC
    approved_by TEXT    NOT NULL  -- who approved it
) STRICT;

-- What must outlive the process and is not history: one row a name.
CREATE TABLE state (
    name TEXT PRIMARY KEY, -- whose state it is
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
