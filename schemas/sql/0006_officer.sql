-- For people: whose office a birth belongs to, what is missing, how urgent it is, forms, leases, narrower scopes.

ALTER TABLE births
    ADD COLUMN office     text,
    ADD COLUMN way        text CHECK (way IN ('lease', 'handover')),
    ADD COLUMN missing    text[] NOT NULL DEFAULT '{}',
    ADD COLUMN leaves_at  timestamptz,
    ADD COLUMN escalated  smallint NOT NULL DEFAULT 0,
    ADD COLUMN restricted text CHECK (restricted IN ('vip', 'adoption', 'violence', 'foundling', 'other'));
COMMENT ON COLUMN births.office IS 'code of the office that will issue (domain F 60)';
COMMENT ON COLUMN births.way IS 'how its record leaves the house where no adapter submits it: never two ways for one birth';
COMMENT ON COLUMN births.missing IS 'keys of gateway.verify.missing: what a person has to bring';
COMMENT ON COLUMN births.leaves_at IS 'discharge, expected or told: what urgency is ordered by';
COMMENT ON COLUMN births.escalated IS 'the last day of the term (7, 30, 50, 58, 61) that was told of';
COMMENT ON COLUMN births.restricted IS 'why only tokens with that scope see it (domain F 83 to 85)';
-- Until now there was one office, that of the facilities.
UPDATE births SET office = record #>> '{facility,region}';
CREATE INDEX births_for_office ON births (priority, leaves_at, deadline, received_at)
    WHERE way = 'lease' AND state IN ('AWAIT_OFFICE', 'IN_PROCESS');

ALTER TABLE tokens
    ADD COLUMN office     text CHECK (office ~ '^([0-9]{4}|all)$'),
    ADD COLUMN restricted boolean NOT NULL DEFAULT false,
    ADD CHECK (office IS NULL OR role = 'officer');
COMMENT ON COLUMN tokens.office IS 'whose records an officer may take and decide; null: reads, and decides nothing';

ALTER TABLE attachments
    ALTER COLUMN message_id DROP NOT NULL,
    ADD COLUMN actor text NOT NULL DEFAULT 'hospital';
COMMENT ON COLUMN attachments.actor IS 'who brought it: a message of the hospital, or whose token a form came with';

CREATE TABLE forms (
    birth_id uuid NOT NULL REFERENCES births,
    key      text NOT NULL,
    digest   bytea NOT NULL,
    actor    text NOT NULL,
    answer   jsonb NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (birth_id, key)
);
COMMENT ON TABLE forms IS 'what a form with an Idempotency-Key was answered; the same again gets the same';

CREATE TABLE leases (
    birth_id   uuid PRIMARY KEY REFERENCES births,
    id         uuid NOT NULL,
    revision   int NOT NULL,
    holder     text NOT NULL,
    taken      int NOT NULL DEFAULT 1,
    taken_at   timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    digest     bytea,
    note       text NOT NULL DEFAULT ''
);
COMMENT ON TABLE leases IS 'the newest lease of a record; whoever does not name its id writes nothing';
COMMENT ON COLUMN leases.expires_at IS 'database time; infinity once the office has accepted the case as its own';
COMMENT ON COLUMN leases.digest IS 'SHA-256 of the outcome that ended it: the same outcome again changes nothing';
COMMENT ON COLUMN leases.note IS 'the office''s words to hospital and family';
