-- Who is who, and papers: what merges, renumberings and documents leave behind (domain A.1, F 10 to 13).

CREATE TABLE aliases (
    facility   text NOT NULL,
    old        text NOT NULL,
    new        text NOT NULL CHECK (new <> old),
    message_id bigint NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (facility, old)
);
COMMENT ON TABLE aliases IS 'record numbers that are one of another; never chained: new is nobody''s old';
COMMENT ON COLUMN aliases.old IS 'also a number nothing is known of yet: late messages for it go to the new one';
CREATE INDEX aliases_new ON aliases (facility, new);

-- Merges and links that wait: few at any time, and looked for with every assignment.
CREATE INDEX messages_joining ON messages (facility)
    WHERE assigned_at IS NULL AND effect IN ('merge', 'renumber', 'link', 'unlink');

CREATE TABLE attachments (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    birth_id   uuid NOT NULL REFERENCES births,
    message_id bigint NOT NULL,
    place      text NOT NULL,
    kind       text NOT NULL,
    mime       text NOT NULL,
    size       bigint NOT NULL,
    sha256     text NOT NULL,
    pointer    text NOT NULL DEFAULT '',
    content    bytea,
    kept_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (birth_id, sha256, pointer)
);
COMMENT ON TABLE attachments IS 'scanned letters of a birth; the same document again is kept once';
COMMENT ON COLUMN attachments.mime IS 'by the first bytes of the content, not by what the sender says';
COMMENT ON COLUMN attachments.pointer IS 'where it lies (RP); noted and never followed';
COMMENT ON COLUMN attachments.content IS 'null for a pointer, and for more than limits.document_bytes';
