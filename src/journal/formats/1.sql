-- Whose journal this is: one row. Node and segment ids mean nothing in another cluster.
CREATE TABLE cluster (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    endpoint TEXT    NOT NULL -- address of the Milvus that this journal is about
) STRICT;

-- One row for each start of the daemon.
CREATE TABLE daemon_starts (
    id         INTEGER PRIMARY KEY,
    started_at TEXT    NOT NULL, -- RFC 3339, UTC
    version    TEXT    NOT NULL, -- of milvus-rebalancer
    mode       TEXT    NOT NULL, -- advise or act
    pid        INTEGER NOT NULL  -- process id
) STRICT;

-- One row for each turn of the control loop.
CREATE TABLE turns (
    id             INTEGER PRIMARY KEY,
    started_at     TEXT    NOT NULL, -- RFC 3339, UTC
    took_ms        INTEGER NOT NULL, -- milliseconds from the first read to the last decision
    result         TEXT    NOT NULL, -- how it went, as one word
    detail         TEXT    NOT NULL, -- the error or the reason, as a sentence; empty when there is none
    limited_by     TEXT,             -- code of the reason that held us back
    nodes          INTEGER NOT NULL, -- query nodes seen
    collections    INTEGER NOT NULL, -- loaded collections seen
    copies         INTEGER NOT NULL, -- segment copies seen
    overloaded     INTEGER NOT NULL, -- overloaded nodes found
    moves_planned  INTEGER NOT NULL, -- moves in the plan
    moves_admitted INTEGER NOT NULL  -- moves that the gates let through
) STRICT;
CREATE INDEX turns_by_time ON turns (started_at);

-- The plan of a turn that wanted to move something.
CREATE TABLE plans (
    turn   INTEGER PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE,
    digest TEXT,             -- digest of the snapshot that was planned on
    moves  INTEGER NOT NULL, -- moves in the plan
    bytes  INTEGER NOT NULL, -- bytes that it moves
    proof  TEXT    NOT NULL  -- how good the plan is and why it is not better, as JSON
) STRICT;

-- One row for each LoadBalance call that was about to be made: written before the call goes out.
CREATE TABLE batches (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    origin        TEXT    NOT NULL, -- daemon, or manual for the command line
    created_at    TEXT    NOT NULL, -- RFC 3339, UTC: when the intent was recorded
    database      TEXT    NOT NULL, -- empty before Milvus 2.3
    collection    TEXT    NOT NULL, -- name
    collection_id INTEGER NOT NULL,
    replica_id    INTEGER NOT NULL,
    from_node     INTEGER NOT NULL, -- session id of the node that gives
    from_address  TEXT    NOT NULL, -- its host:port; ids die with their process
    to_node       INTEGER NOT NULL  -- session id of the node that takes
) STRICT;

-- One row for each move; the batch says from where to where.
CREATE TABLE operations (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    batch         INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    segment_id    INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    rows          INTEGER NOT NULL,
    state         TEXT    NOT NULL, -- admitted, sent, verifying | landed, refused, superseded, expired, contradicted
    detail        TEXT    NOT NULL, -- why it ended so; empty when the state says it all
    server_answer TEXT,             -- the error that the server answered with, if it did
    sent_at       TEXT,             -- RFC 3339, UTC: when the call went out
    changed_at    TEXT    NOT NULL  -- RFC 3339, UTC: when the state last changed
) STRICT;
CREATE INDEX operations_by_batch ON operations (batch);
CREATE INDEX operations_by_change ON operations (changed_at);
CREATE INDEX operations_open ON operations (state) WHERE state IN ('admitted', 'sent', 'verifying');
