-- Nodes that a person wanted to be emptied. Written by other processes too.
CREATE TABLE drains (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    node       INTEGER NOT NULL, -- session id of the node
    address    TEXT    NOT NULL, -- its host:port; empty when it was not known
    started_at TEXT    NOT NULL, -- RFC 3339, UTC
    reason     TEXT    NOT NULL, -- in that person's words
    started_by TEXT    NOT NULL, -- who ordered it
    ended_at   TEXT,             -- RFC 3339, UTC: when it was taken back, or replaced by another
    ended_by   TEXT              -- who did that
) STRICT;
CREATE INDEX drains_open ON drains (node) WHERE ended_at IS NULL;

-- Everything that was asked of the admin API and changes something: written before it is done.
CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    at     TEXT NOT NULL, -- RFC 3339, UTC
    who    TEXT NOT NULL, -- the name that was given, and the role under which it was let in
    origin TEXT NOT NULL, -- from where: address and port, or user and process of a Unix socket
    action TEXT NOT NULL, -- what, as one word
    detail TEXT NOT NULL  -- the rest of it, as JSON
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
