-- expand
-- Whose birth is it? Twins, suspected duplicates and contradictions between two record numbers, and what a person
-- decided about them (domain A.6, F 4, 9, 62).

-- A mother whose NIK is not known is looked up by the keyed hash of her name's letters; never by the name.
ALTER TABLE births ADD COLUMN mother_name_key bytea;
COMMENT ON COLUMN births.mother_name_key IS 'keyed hash of the letters of the mother''s name';

ALTER TABLE messages ADD COLUMN verdict text;
COMMENT ON COLUMN messages.verdict IS
    'what the message turned out to be: new, replay, amendment, twin, suspect, conflict; null before it is assigned';

CREATE TABLE likenesses (
    earlier    uuid NOT NULL REFERENCES births,
    later      uuid NOT NULL REFERENCES births,
    verdict    text NOT NULL CHECK (verdict IN ('twin', 'suspect', 'conflict')),
    rule       text NOT NULL,
    score      int NOT NULL,
    reasons    jsonb NOT NULL,
    owner      uuid,
    message_id bigint,
    found_at   timestamptz NOT NULL DEFAULT now(),
    decision   text CHECK (decision IN ('same', 'different')),
    decided_at timestamptz,
    decided_by text,
    reason     text,
    PRIMARY KEY (earlier, later),
    CHECK (earlier <> later),
    CHECK ((decision IS NULL) = (decided_at IS NULL AND decided_by IS NULL))
);
COMMENT ON TABLE likenesses IS 'what two births are to one another, by which rule and why: codes, never a person''s data';
COMMENT ON COLUMN likenesses.earlier IS 'the one that came first, by receipt; the later one waits for a decision';
COMMENT ON COLUMN likenesses.owner IS 'whose hospital seems to be that of birth, where the two differ (F 62)';
COMMENT ON COLUMN likenesses.decision IS 'what a person or a merge by the hospital decided; different is never suspected again';
CREATE INDEX likenesses_later ON likenesses (later);
CREATE INDEX likenesses_open ON likenesses (verdict, found_at) WHERE decision IS NULL;
