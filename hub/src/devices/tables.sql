-- The devices of this hub. A row is never deleted: its number must never be given out again.
CREATE TABLE IF NOT EXISTS _sync_edge (
    device          INTEGER PRIMARY KEY CHECK (device BETWEEN 1 AND 4095),
    name            TEXT    NOT NULL,
    role            TEXT    NOT NULL,
    enrolled_at     INTEGER NOT NULL,           -- all times: milliseconds since 1970 by the hub's clock
    cert_sha256     BLOB    UNIQUE,             -- SHA-256 of the certificate in DER
    revoked_at      INTEGER,
    last_seen       INTEGER,
    address         TEXT,                       -- where it last connected from
    cursor          INTEGER,                    -- version that it has applied
    unsent          INTEGER,                    -- rows
    oldest_unsent_s INTEGER,
    clock_offset_ms INTEGER,                    -- its clock minus ours
    schema          TEXT,
    blocked         TEXT                        -- why it cannot go on, in a sentence
);

-- At most one device goes by a name; revoked ones keep theirs as a memory.
CREATE UNIQUE INDEX IF NOT EXISTS _sync_edge_name ON _sync_edge (name) WHERE revoked_at IS NULL;

-- Invitations. The secret itself is nowhere.
CREATE TABLE IF NOT EXISTS _sync_token (
    secret_sha256   BLOB    PRIMARY KEY,
    name            TEXT    NOT NULL,
    role            TEXT    NOT NULL,
    expires_at      INTEGER NOT NULL,
    used_at         INTEGER,
    public_key      BLOB,                       -- of the device that used it
    device          INTEGER                     -- the number that it got
);

-- Orders to take a snapshot in place of feeds, until the device has done so.
CREATE TABLE IF NOT EXISTS _sync_order (
    device          INTEGER PRIMARY KEY,
    number          INTEGER NOT NULL
);
