-- Runs and what they observed (PostgreSQL 15 or newer).
--
-- The observation tables are those of storage/schemas.py, column for column; a test holds
-- the two together. Each is partitioned by run, so that a run goes as a whole (DROP TABLE),
-- and keyed as declared: the key is what says that a name has been asked in a run.
--
-- Names are COLLATE "C": bytes, the same order on every machine and in every export.

-- Whose survey this is (storage/owner.py); one row.
CREATE TABLE owner (
    owner text NOT NULL
);

CREATE TABLE run (
    run_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('full', 'dane', 'suspects')),
    base integer REFERENCES run,    -- whose verdicts chose the names; null: every delegation
    started timestamptz NOT NULL,
    finished timestamptz,
    published timestamptz,          -- published and verified
    dropped timestamptz,            -- its observations are gone
    record jsonb NOT NULL DEFAULT '{}'
);

-- One run at a time.
CREATE UNIQUE INDEX run_unfinished ON run ((finished IS NULL)) WHERE finished IS NULL;

CREATE TABLE domain_mx (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    domain text COLLATE "C" NOT NULL,
    outcome text NOT NULL,
    secure boolean NOT NULL,
    passes smallint NOT NULL,
    questions integer NOT NULL,
    first_asked timestamptz NOT NULL,
    last_asked timestamptz NOT NULL,
    ede_code integer,
    ede_text text,
    mx_preference integer[] NOT NULL,
    mx_host text[] COLLATE "C" NOT NULL,
    mx_total integer NOT NULL,
    mx_excess_preference integer[] NOT NULL,
    mx_excess_host text[] COLLATE "C" NOT NULL,
    cname_target text COLLATE "C",
    rrsig_signer text COLLATE "C",
    rrsig_algorithm smallint,
    rrsig_key_tag integer,
    rrsig_labels smallint,
    rrsig_original_ttl bigint,
    rrsig_inception timestamptz,
    rrsig_expiration timestamptz,
    nsec3_iterations integer,
    nsec3_salt_length smallint,
    nsec3_opt_out boolean,
    dnskey_outcome text,
    dnskey_algorithm smallint[] NOT NULL,
    dnskey_bits integer[] NOT NULL,
    dnskey_flags integer[] NOT NULL,
    nsec3param_iterations integer,
    nsec3param_salt_length smallint,
    first_look_outcome text,
    second_look_outcome text,
    sha1_only boolean NOT NULL,
    PRIMARY KEY (run_id, bucket, domain)
) PARTITION BY LIST (run_id);

-- What is looked up again, by when; storage/due/*.sql repeat the condition.
CREATE INDEX domain_mx_failing ON domain_mx (passes, last_asked)
    WHERE outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver');

-- What the second resolver answers instead of the first.
CREATE INDEX domain_mx_disputed ON domain_mx (bucket) WHERE first_look_outcome IS NOT NULL;

CREATE TABLE wanted_host (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    host text COLLATE "C" NOT NULL,
    hosts smallint NOT NULL,
    PRIMARY KEY (run_id, bucket, host)
) PARTITION BY LIST (run_id);

CREATE TABLE mx_host (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    host text COLLATE "C" NOT NULL,
    operator text COLLATE "C" NOT NULL,
    status text,
    passes smallint NOT NULL,
    questions integer NOT NULL,
    first_asked timestamptz NOT NULL,
    last_asked timestamptz NOT NULL,
    ede_code integer,
    ede_text text,
    a_outcome text,
    a_secure boolean NOT NULL,
    aaaa_outcome text,
    aaaa_secure boolean NOT NULL,
    addresses text[] COLLATE "C" NOT NULL,
    address_total integer NOT NULL,
    cname_chain text[] COLLATE "C" NOT NULL,
    cname_secure boolean NOT NULL,
    first_cname_secure boolean,
    tlsa_base text COLLATE "C",
    tlsa_outcome text,
    tlsa text[] COLLATE "C" NOT NULL,
    tlsa_digest text COLLATE "C",
    tlsa_usable integer NOT NULL,
    first_look_outcome text,
    second_look_outcome text,
    failed_names text[] COLLATE "C" NOT NULL,
    failed_types text[] NOT NULL,
    sha1_only boolean NOT NULL,
    defects text[] NOT NULL,
    rrsig_signer text COLLATE "C",
    rrsig_algorithm smallint,
    rrsig_key_tag integer,
    rrsig_labels smallint,
    rrsig_original_ttl bigint,
    rrsig_inception timestamptz,
    rrsig_expiration timestamptz,
    nsec3_iterations integer,
    contact text,
    PRIMARY KEY (run_id, bucket, host)
) PARTITION BY LIST (run_id);

CREATE INDEX mx_host_failing ON mx_host (passes, last_asked)
    WHERE a_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
        OR aaaa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
        OR tlsa_outcome IN ('bogus', 'servfail', 'unanswered', 'local_resolver')
        OR status IN ('local_error', 'address_failed', 'tlsa_failed');

-- What is to be connected to.
CREATE INDEX mx_host_target ON mx_host (bucket) WHERE status IS NULL AND tlsa_digest IS NOT NULL;

-- What the authoritative servers are asked about.
CREATE INDEX mx_host_failed ON mx_host (bucket) WHERE failed_names <> '{}';

CREATE TABLE smtp_probe (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    address text COLLATE "C" NOT NULL,
    tlsa_digest text COLLATE "C" NOT NULL,
    operator text COLLATE "C" NOT NULL,
    sni text COLLATE "C" NOT NULL,
    attempt smallint NOT NULL,
    host text COLLATE "C" NOT NULL,
    status text NOT NULL,
    undecided text,
    tlsa text[] COLLATE "C" NOT NULL,
    record_result text[] NOT NULL,
    matched_record integer,
    matched_depth integer,
    name_decides boolean NOT NULL,
    leaf_names text[] COLLATE "C" NOT NULL,
    leaf_names_excess integer NOT NULL,
    chain text[] COLLATE "C" NOT NULL,
    tls_version text,
    tls_group text,
    cipher text,
    key_type text,
    after_tls text,
    other_chain text[] COLLATE "C" NOT NULL,
    other_key_type text,
    smtp_code integer,
    smtp_text text,
    error text,
    defects text[] NOT NULL,
    dns_asked timestamptz NOT NULL,
    connected timestamptz NOT NULL,
    duration_ms integer NOT NULL,
    PRIMARY KEY (run_id, bucket, address, tlsa_digest, operator, sni, attempt)
) PARTITION BY LIST (run_id);

-- What another attempt may better, by when (storage/due/targets_again.sql).
CREATE INDEX smtp_probe_again ON smtp_probe (attempt, connected)
    WHERE status IN ('mismatch', 'ta_expired', 'name_mismatch', 'no_starttls',
        'starttls_rejected', 'tls_failed', 'tempfail', 'refused', 'unreachable',
        'local_error_smtp');

CREATE TABLE authority (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    rrtype text NOT NULL,
    zone text COLLATE "C",
    failed_name text COLLATE "C" NOT NULL,
    dns_cause text,
    all_good boolean NOT NULL,
    server text[] COLLATE "C" NOT NULL,
    address text[] COLLATE "C" NOT NULL,
    transport text[] NOT NULL,
    question text[] NOT NULL,
    result text[] NOT NULL,
    note text,
    asked timestamptz NOT NULL,
    PRIMARY KEY (run_id, bucket, name, rrtype)
) PARTITION BY LIST (run_id);

CREATE TABLE tlsa_server (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    host text COLLATE "C" NOT NULL,
    round smallint NOT NULL,
    name text COLLATE "C" NOT NULL,
    zone text COLLATE "C",
    settled boolean NOT NULL,
    server text[] COLLATE "C" NOT NULL,
    address text[] COLLATE "C" NOT NULL,
    result text[] NOT NULL,
    answer text[] COLLATE "C" NOT NULL,
    sound boolean[] NOT NULL,
    asked timestamptz NOT NULL,
    PRIMARY KEY (run_id, bucket, host, round)
) PARTITION BY LIST (run_id);

-- What is asked once more.
CREATE INDEX tlsa_server_unsettled ON tlsa_server (bucket) WHERE round = 1 AND NOT settled;

CREATE TABLE host_verdict (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    host text COLLATE "C" NOT NULL,
    status text NOT NULL,
    class text NOT NULL,
    usable boolean NOT NULL,
    operator text COLLATE "C" NOT NULL,
    address text[] COLLATE "C" NOT NULL,
    address_status text[] NOT NULL,
    address_leaf text[] COLLATE "C" NOT NULL,
    inferred boolean NOT NULL,
    accepted_by_lenient boolean NOT NULL,
    defects text[] NOT NULL,
    causes text[] NOT NULL,
    undecided text,
    scheme text,
    dns_cause text,
    failed_zone text COLLATE "C",
    failed_name text COLLATE "C",
    failed_operator text[] COLLATE "C" NOT NULL,
    sha1_only boolean NOT NULL,
    failing_servers text[] NOT NULL,
    disagreeing_servers text[] NOT NULL,
    PRIMARY KEY (run_id, bucket, host)
) PARTITION BY LIST (run_id);

CREATE TABLE domain_verdict (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    domain text COLLATE "C" NOT NULL,
    status text NOT NULL,
    stage text,
    reason text,
    level text,
    mx_secure boolean NOT NULL,
    dane_primary boolean NOT NULL,
    deliverable boolean,
    host text[] COLLATE "C" NOT NULL,
    host_preference integer[] NOT NULL,
    host_status text[] NOT NULL,
    host_class text[] NOT NULL,
    mx_operator text[] COLLATE "C" NOT NULL,
    dns_operator text[] COLLATE "C" NOT NULL,
    zone text COLLATE "C",
    ds text[] NOT NULL,
    sampled_one_of integer,
    if_signed text,
    defects text[] NOT NULL,
    dns_cause text,
    failed_zone text COLLATE "C",
    failed_name text COLLATE "C",
    failed_operator text[] COLLATE "C" NOT NULL,
    sha1_only boolean NOT NULL,
    PRIMARY KEY (run_id, bucket, domain)
) PARTITION BY LIST (run_id);

CREATE TABLE domain_policy (
    run_id integer NOT NULL,
    bucket smallint NOT NULL,
    domain text COLLATE "C" NOT NULL,
    mta_sts_outcome text,
    mta_sts boolean,
    tlsrpt_outcome text,
    tlsrpt boolean,
    last_asked timestamptz NOT NULL,
    PRIMARY KEY (run_id, bucket, domain)
) PARTITION BY LIST (run_id);

-- Every certificate seen, once, whatever the run.
CREATE TABLE certificate (
    sha256 text COLLATE "C" PRIMARY KEY,
    der bytea NOT NULL,
    first_run integer NOT NULL,
    names text COLLATE "C" NOT NULL
);

-- Rows that ended workers, with the reason; each also has an observation that blames us.
CREATE TABLE quarantine (
    run_id integer NOT NULL REFERENCES run,
    "table" text NOT NULL,
    key text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL
);

-- Notices to operators (storage/notices.py). Nothing here sends them.
CREATE TABLE notice (
    notice_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_kind text NOT NULL CHECK (operator_kind IN ('mx', 'dns')),
    operator text COLLATE "C" NOT NULL,
    recipient text NOT NULL,        -- an address, or empty: none is known
    problems text[] NOT NULL,       -- sorted keys: the same problem has the same key each day
    run_id integer NOT NULL,        -- that the draft is of; the run itself may be gone
    drafted timestamptz NOT NULL,
    sent timestamptz,               -- as the survey's operator says
    answered timestamptz
);

-- One draft at a time for a recipient.
CREATE UNIQUE INDEX notice_draft ON notice (operator_kind, operator, recipient)
    WHERE sent IS NULL;

CREATE TABLE muted_operator (
    operator text COLLATE "C" PRIMARY KEY,
    since timestamptz NOT NULL
);
