-- Deferred application answers: ACKs that go to a sender's own listener, one facility at a time and in order.

ALTER TABLE tasks ADD COLUMN facility text;
COMMENT ON COLUMN tasks.facility IS 'whose waiting application answers it sends: one such task a facility, so they keep their order';
CREATE UNIQUE INDEX tasks_facility_once ON tasks (kind, facility) WHERE facility IS NOT NULL;

COMMENT ON COLUMN outbound.subject IS
    'what it is about, once: a certificate number; of an ACK the message id, or a digest of who said what was rejected';
COMMENT ON COLUMN outbound.answer_code IS 'what the listener said; with accepted_at null it refused the message';
CREATE INDEX outbound_answers ON outbound (facility, id)
    WHERE kind = 'ACK' AND accepted_at IS NULL AND answer_code IS NULL;
