-- What lies at the registry beside the birth's state: the open case, acts after submission, certificates that were
-- replaced or revoked, and why the element check is left alone.

ALTER TABLE births ADD COLUMN at_registry int NOT NULL DEFAULT 0;
COMMENT ON COLUMN births.at_registry IS 'the revision whose case is open at the registry, 0 for none: whatever our state is';
UPDATE births SET at_registry = submitted
WHERE submitted > 0 AND (state = 'IN_PROCESS' OR (state = 'HOLD_DATA' AND findings @> '[{"code": "REGISTRY_REFUSED"}]'));

ALTER TABLE certificates
    ADD COLUMN registered jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN revoked_at timestamptz;
COMMENT ON COLUMN certificates.registered IS 'what the akta says where the registry told it, by record path: it wins (domain F 97)';
COMMENT ON COLUMN certificates.revoked_at IS 'the registry said DICABUT';

CREATE TABLE earlier_certificates (
    birth_id     uuid NOT NULL REFERENCES births,
    revision     int NOT NULL,
    number       text NOT NULL,
    child_nik    text NOT NULL,
    family_card  text NOT NULL,
    issued_at    timestamptz NOT NULL,
    sha256       text NOT NULL,
    document_url text NOT NULL,
    document     bytea,
    registered   jsonb NOT NULL,
    settled_at   timestamptz NOT NULL,
    replaced_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE earlier_certificates IS 'what a correction (pembetulan) replaced';
CREATE INDEX earlier_certificates_birth ON earlier_certificates (birth_id, replaced_at);

CREATE TABLE acts (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    birth_id  uuid NOT NULL REFERENCES births,
    kind      text NOT NULL CHECK (kind IN ('withdraw', 'correct', 'revoke', 'documents')),
    key       text NOT NULL UNIQUE,
    revision  int NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    detail    jsonb NOT NULL DEFAULT '{}',
    payload   bytea,
    signature text,
    asked_at  timestamptz NOT NULL DEFAULT now(),
    sent_at   timestamptz,
    status    text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'accepted', 'granted', 'refused')),
    code      text NOT NULL DEFAULT '',
    ended_at  timestamptz,
    CHECK ((payload IS NULL) = (signature IS NULL)),
    CHECK ((status IN ('granted', 'refused')) = (ended_at IS NOT NULL))
);
COMMENT ON TABLE acts IS 'what is asked of the registry about a case it has: withdrawal, correction, revocation, documents';
COMMENT ON COLUMN acts.key IS 'Idempotency-Key: the same for every try';
COMMENT ON COLUMN acts.payload IS 'the exact signed bytes, made once';
COMMENT ON COLUMN acts.sent_at IS 'written before the first try leaves: from then on the registry is asked before a resend';
CREATE UNIQUE INDEX acts_one_open ON acts (birth_id) WHERE ended_at IS NULL;
CREATE INDEX acts_birth ON acts (birth_id, id);

CREATE TABLE registry_pauses (
    service  text PRIMARY KEY,
    cause    text NOT NULL CHECK (cause IN ('REGISTRY_QUOTA', 'REGISTRY_LOGIN')),
    identity bytea NOT NULL,
    since    timestamptz NOT NULL,
    until    timestamptz,
    lifted_at timestamptz,
    lifted_by text
);
COMMENT ON TABLE registry_pauses IS 'a service that refuses us is left alone by all processes, over restarts (domain F 93, 94)';
COMMENT ON COLUMN registry_pauses.identity IS 'keyed hash of whom it refused: other credentials are tried at once';
COMMENT ON COLUMN registry_pauses.until IS 'null: until a person lifts it';
