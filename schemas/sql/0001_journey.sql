-- The journey of a birth: what was received and promised, what is known, what is still to be done, what was said.
-- Between two steps lies a row here: kill any process between them and the birth goes on.

CREATE TABLE messages (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    facility            text NOT NULL,
    application         text NOT NULL,
    control_id          text NOT NULL,
    event               text NOT NULL,
    received_at         timestamptz NOT NULL DEFAULT now(),
    peer                text NOT NULL,
    raw                 bytea NOT NULL,
    digest              bytea NOT NULL,
    content_digest      bytea NOT NULL,
    answer              bytea NOT NULL,
    application_answer  bytea,
    answer_code         text NOT NULL,
    effect              text NOT NULL,
    medical_record      text NOT NULL,
    draft               json,
    findings            json NOT NULL,
    birth_id            uuid,
    assigned_at         timestamptz,
    UNIQUE (facility, application, control_id)
);
COMMENT ON COLUMN messages.digest IS 'SHA-256 of raw';
COMMENT ON COLUMN messages.content_digest IS 'SHA-256 of raw without MSH-7: the same message sent again';
COMMENT ON COLUMN messages.answer IS 'the exact bytes promised; empty where the sender asked for silence';
CREATE INDEX messages_unassigned ON messages (facility, medical_record, id)
    WHERE assigned_at IS NULL AND effect <> 'none';
CREATE INDEX messages_birth ON messages (birth_id) WHERE birth_id IS NOT NULL;
CREATE INDEX messages_control ON messages (control_id);

CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    peer        text NOT NULL,
    reason      text NOT NULL,
    raw         bytea NOT NULL,
    answer      bytea NOT NULL
);

CREATE TABLE births (
    id               uuid PRIMARY KEY,
    facility         text NOT NULL,
    medical_record   text NOT NULL,
    state            text NOT NULL,
    revision         int NOT NULL,
    record           jsonb NOT NULL,
    findings         jsonb NOT NULL DEFAULT '[]',
    accepted         text[] NOT NULL DEFAULT '{}',
    held             boolean NOT NULL DEFAULT false,
    mother_key       bytea,
    born_at          timestamptz,
    twin_group       uuid,
    deadline         date,
    priority         smallint NOT NULL DEFAULT 5,
    reference        text NOT NULL DEFAULT '',
    submitted        int NOT NULL DEFAULT 0,
    wait_until       timestamptz,
    overdue_since    timestamptz,
    first_message_id bigint NOT NULL REFERENCES messages,
    told_at          timestamptz,
    received_at      timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (facility, medical_record)
);
COMMENT ON COLUMN births.accepted IS 'finding codes a person took responsibility for; they hold no more';
COMMENT ON COLUMN births.told_at IS 'MSH-7 of the newest message applied: an older one is kept and not applied';
COMMENT ON COLUMN births.mother_key IS 'keyed hash of the mother''s NIK';
COMMENT ON COLUMN births.submitted IS 'the revision the registry has, 0 for none';
CREATE INDEX births_mother ON births (mother_key, born_at) WHERE mother_key IS NOT NULL;
CREATE INDEX births_state ON births (state, updated_at, id);
CREATE INDEX births_recent ON births (updated_at, id);
CREATE INDEX births_wait ON births (wait_until) WHERE wait_until IS NOT NULL;
ALTER TABLE messages ADD FOREIGN KEY (birth_id) REFERENCES births;

CREATE TABLE revisions (
    birth_id   uuid NOT NULL REFERENCES births,
    revision   int NOT NULL,
    message_id bigint REFERENCES messages,
    actor      text NOT NULL,
    record     jsonb NOT NULL,
    changed    text[] NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (birth_id, revision)
);

CREATE TABLE seals (
    birth_id  uuid NOT NULL,
    revision  int NOT NULL,
    payload   bytea NOT NULL,
    sha256    text NOT NULL,
    signature text NOT NULL,
    key_id    text NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (birth_id, revision),
    FOREIGN KEY (birth_id, revision) REFERENCES revisions
);
COMMENT ON COLUMN seals.payload IS 'the exact bytes that were signed and that are submitted';

CREATE TABLE attempts (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    birth_id    uuid NOT NULL,
    revision    int NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    result      text,
    FOREIGN KEY (birth_id, revision) REFERENCES seals
);
COMMENT ON TABLE attempts IS 'written before the bytes leave; result null or unknown means: ask before sending again';
CREATE INDEX attempts_birth ON attempts (birth_id, revision);

CREATE TABLE certificates (
    birth_id     uuid PRIMARY KEY REFERENCES births,
    revision     int NOT NULL,
    number       text NOT NULL UNIQUE,
    child_nik    text NOT NULL,
    family_card  text NOT NULL,
    issued_at    timestamptz NOT NULL,
    sha256       text NOT NULL,
    document_url text NOT NULL,
    document     bytea,
    settled_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE outbound (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    birth_id    uuid REFERENCES births,
    facility    text NOT NULL,
    kind        text NOT NULL,
    subject     text NOT NULL,
    control_id  text NOT NULL UNIQUE,
    message     bytea NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    accepted_at timestamptz,
    answer_code text,
    UNIQUE (kind, subject)
);
COMMENT ON COLUMN outbound.subject IS 'what it is about, once: a certificate number or a message id';
CREATE INDEX outbound_birth ON outbound (birth_id);

CREATE TABLE tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    birth_id    uuid,
    message_id  bigint,
    outbound_id bigint,
    priority    smallint NOT NULL DEFAULT 5,
    due_at      timestamptz NOT NULL DEFAULT now(),
    attempts    int NOT NULL DEFAULT 0,
    lease       uuid,
    last_error  text,
    made_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN tasks.due_at IS 'a claim moves it to the end of the lease: a dead worker''s task comes back by itself';
COMMENT ON COLUMN tasks.lease IS 'the claim that may finish it; another claim replaces it';
CREATE INDEX tasks_due ON tasks (priority, due_at, id);
CREATE INDEX tasks_next ON tasks (due_at);
CREATE UNIQUE INDEX tasks_birth_once ON tasks (kind, birth_id)
    WHERE birth_id IS NOT NULL AND outbound_id IS NULL AND message_id IS NULL;
CREATE UNIQUE INDEX tasks_message_once ON tasks (kind, message_id) WHERE message_id IS NOT NULL;
CREATE UNIQUE INDEX tasks_outbound_once ON tasks (kind, outbound_id) WHERE outbound_id IS NOT NULL;
CREATE INDEX tasks_birth ON tasks (birth_id) WHERE birth_id IS NOT NULL;

CREATE TABLE events (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    birth_id   uuid NOT NULL REFERENCES births,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text NOT NULL,
    step       text NOT NULL,
    from_state text,
    to_state   text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    message_id bigint,
    detail     jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE events IS 'every change of a birth: when, who, why; never a person''s data';
CREATE INDEX events_birth ON events (birth_id, id);

CREATE TABLE tokens (
    id         uuid PRIMARY KEY,
    label      text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    role       text NOT NULL CHECK (role IN ('facility', 'officer', 'operator')),
    facility   text CHECK ((role = 'facility') = (facility IS NOT NULL)),
    made_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON COLUMN tokens.hash IS 'SHA-256 of a 256-bit random token; the token itself is shown once and not kept';
