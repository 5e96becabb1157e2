-- What a person did about a message in quarantine. Open rows only count against limits.quarantine_rows.

ALTER TABLE quarantine
    ADD COLUMN resolved_at timestamptz,
    ADD COLUMN resolved_by text,
    ADD COLUMN resolution text,
    ADD CHECK ((resolved_at IS NULL) = (resolved_by IS NULL));
COMMENT ON COLUMN quarantine.resolution IS 'replayed, with the answer it got; or discarded, with the reason: raw is empty then';
CREATE INDEX quarantine_open ON quarantine (id) WHERE resolved_at IS NULL;
