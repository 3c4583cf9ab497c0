-- What the station page has recorded, by the key that the page made for each entry, so that none counts twice.
-- It commits with the rows. `after_seq` is the last changeset that was cut when it was written: the next one has
-- it. `made_seq` is that of when it was made. `plan` names its rows and what it added to purchase order lines. Entries go after 60 days.
CREATE TABLE IF NOT EXISTS _sync_station_entry(
  key TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  day TEXT NOT NULL,
  made_seq INTEGER NOT NULL,
  after_seq INTEGER NOT NULL,
  body TEXT NOT NULL,
  plan TEXT NOT NULL,
  void INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
