-- What operators need: incidents, their own acts, reconciliation, retention, restores, and a queue that stays fast when
-- much of it waits.

-- Claims look at one kind and one urgency at a time, so that a hundred thousand tasks of another kind cost them nothing.
ALTER TABLE tasks ADD CHECK (priority BETWEEN 0 AND 9);
CREATE INDEX tasks_claim ON tasks (kind, priority, due_at, id);
CREATE INDEX tasks_wait ON tasks (kind, due_at);
DROP INDEX tasks_due;
DROP INDEX tasks_next;
ALTER TABLE tasks ADD COLUMN failures int NOT NULL DEFAULT 0;
COMMENT ON COLUMN tasks.failures IS 'failures in a row, without those of a counterpart that was down for everybody';

CREATE TABLE incidents (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause     text NOT NULL,
    subject   text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    seen_at   timestamptz NOT NULL DEFAULT now(),
    seen      bigint NOT NULL DEFAULT 1,
    closed_at timestamptz,
    closed_by text,
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
COMMENT ON TABLE incidents IS 'one row a cause and what it stopped, however many attempts met it';
COMMENT ON COLUMN incidents.subject IS 'registry, check, document, a facility code, or a step; never a person';
CREATE UNIQUE INDEX incidents_open ON incidents (cause, subject) WHERE closed_at IS NULL;

CREATE TABLE operator_acts (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    act     text NOT NULL,
    subject text NOT NULL,
    reason  text NOT NULL
);
COMMENT ON TABLE operator_acts IS 'what a person did that is not an event of a birth';

ALTER TABLE outbound ADD COLUMN discarded_at timestamptz;
COMMENT ON COLUMN outbound.discarded_at IS 'an operator gave it up: the hospital was told by another way';

CREATE TABLE reconcile_cases (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    birth_id   uuid REFERENCES births,
    message_id bigint,
    detail     jsonb NOT NULL DEFAULT '{}',
    opened_at  timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz,
    closed_by  text,
    resolution text,
    CHECK ((birth_id IS NULL) <> (message_id IS NULL)),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
COMMENT ON TABLE reconcile_cases IS 'a difference between gateway, registry and hospital that a person must decide';
CREATE UNIQUE INDEX reconcile_cases_birth ON reconcile_cases (kind, birth_id) WHERE closed_at IS NULL;
CREATE UNIQUE INDEX reconcile_cases_message ON reconcile_cases (kind, message_id) WHERE closed_at IS NULL;

-- Work that one of all processes does now and then.
CREATE TABLE chores (
    name        text PRIMARY KEY,
    started_at  timestamptz,
    finished_at timestamptz,
    position    text NOT NULL DEFAULT '',
    report      jsonb NOT NULL DEFAULT '{}'
);
INSERT INTO chores (name) VALUES ('retention'), ('reconcile');
COMMENT ON COLUMN chores.position IS 'where the next batch begins';

ALTER TABLE messages ADD COLUMN culled_at timestamptz;
COMMENT ON COLUMN messages.culled_at IS 'its body was removed: raw is the MSH segment alone, the digests are those of the whole';
ALTER TABLE births ADD COLUMN culled_at timestamptz;
ALTER TABLE births ADD COLUMN ask_first boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN births.ask_first IS 'restored from a backup: the registry may know more, it is asked before anything is sent';
CREATE INDEX births_cull ON births (updated_at, id)
    WHERE culled_at IS NULL AND state IN ('DELIVERED', 'CANCELLED', 'MERGED');

CREATE TABLE restores (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    restored_at timestamptz NOT NULL DEFAULT now(),
    backup_at   timestamptz NOT NULL
);
