-- Which domains there are: every look at a zone, and the delegations of the last good one.

CREATE TABLE zone_snapshot (
    snapshot_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    zone text COLLATE "C" NOT NULL,
    source text NOT NULL CHECK (source IN ('file', 'czds', 'axfr', 'list')),
    origin text NOT NULL,           -- file name, URL or server: where it came from
    taken timestamptz NOT NULL,
    accepted boolean NOT NULL,
    reason text,                    -- why it was refused
    serial bigint,                  -- of the SOA; null: a list has none
    sha256 text,                    -- of the file as it was received
    received bigint,                -- bytes of the file as it was received
    size bigint,                    -- bytes, unpacked
    records bigint,
    delegations bigint,
    signed bigint,                  -- null: a list does not say
    added bigint,                   -- names that the last accepted snapshot did not have
    removed bigint,
    seconds double precision NOT NULL,
    CHECK (accepted = (reason IS NULL))
);

CREATE INDEX zone_snapshot_accepted ON zone_snapshot (zone, snapshot_id) WHERE accepted;

-- One row a name that is surveyed. A name that the latest accepted snapshot of its zone
-- does not have is kept until three accepted snapshots were without it.
CREATE TABLE delegation (
    bucket smallint NOT NULL,
    domain text COLLATE "C" NOT NULL,
    zone text COLLATE "C" NOT NULL,
    ds text[] COLLATE "C",          -- null: named by a list, whether it is signed is not known
    ns text[] COLLATE "C" NOT NULL, -- empty: not known
    sampled_one_of integer,         -- not signed, and one of so many that are not; else null
    missing_since integer REFERENCES zone_snapshot, -- null: in the latest accepted snapshot
    PRIMARY KEY (bucket, domain)
);

CREATE INDEX delegation_missing ON delegation (zone, missing_since)
    WHERE missing_since IS NOT NULL;
