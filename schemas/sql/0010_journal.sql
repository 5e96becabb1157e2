-- expand
-- The evidence journal: what was received, answered, signed, sent, issued and delivered, as digests in one append-only
-- log that anybody can check (docs/evidence.md). No column here holds personal data.
--
-- Entries are made by triggers, in the transaction of the thing they speak of, so that no code can forget them: a
-- gateway of an older version that runs beside a newer one makes them too. They wait in journal_pending, one row a
-- commit, without a position: positions are given by whoever seals, so aborted and late commits leave no gap.

CREATE TABLE journal_pending (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    kind       text NOT NULL,
    facilities text[] NOT NULL,
    digests    bytea[] NOT NULL,
    codes      text[] NOT NULL DEFAULT '{}',
    answers    bytea[] NOT NULL DEFAULT '{}',
    applied    bytea[] NOT NULL DEFAULT '{}',
    births     uuid[] NOT NULL DEFAULT '{}',
    revisions  int[] NOT NULL DEFAULT '{}',
    numbers    bytea[] NOT NULL DEFAULT '{}'
) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
        vacuum_truncate = off);
COMMENT ON TABLE journal_pending IS 'entries not sealed yet; arrays beside each other, an element an entry';
COMMENT ON COLUMN journal_pending.at IS 'when the transaction began that made the entries: messages.received_at';
COMMENT ON COLUMN journal_pending.applied IS 'SHA-256 of the application answer, where one went out beside the answer';
COMMENT ON COLUMN journal_pending.numbers IS 'SHA-256 of a certificate''s number';
-- Digests do not compress, and a row of 64 entries fits a page.
ALTER TABLE journal_pending ALTER COLUMN digests SET STORAGE EXTERNAL, ALTER COLUMN answers SET STORAGE EXTERNAL;

CREATE TABLE journal (
    position bigint PRIMARY KEY CHECK (position >= 0),
    facility text,
    digest   bytea,
    entry    text NOT NULL
);
COMMENT ON TABLE journal IS 'sealed entries; never changed and never removed';
COMMENT ON COLUMN journal.facility IS 'whose entry it is, for scopes; null: the gateway''s own';
COMMENT ON COLUMN journal.digest IS 'what the entry speaks of: SHA-256 of a message''s raw bytes, of sealed bytes, of a document';
COMMENT ON COLUMN journal.entry IS 'the exact text (RFC 8785 JSON in UTF-8) whose RFC 6962 leaf hash is in the tree';
CREATE INDEX journal_digest ON journal USING hash (digest);

CREATE TABLE journal_tiles (
    level  smallint NOT NULL,
    number bigint NOT NULL,
    hashes bytea NOT NULL,
    PRIMARY KEY (level, number)
) WITH (toast_tuple_target = 8160, fillfactor = 50);
ALTER TABLE journal_tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
COMMENT ON TABLE journal_tiles IS
    'the Merkle tree: at level n the hashes of its perfect subtrees of 128^n leaves, up to 128 a row; the last row grows';

CREATE TABLE journal_checkpoints (
    size   bigint PRIMARY KEY CHECK (size > 0),
    root   bytea NOT NULL,
    at     timestamptz NOT NULL,
    key_id text NOT NULL,
    jws    text NOT NULL
);
COMMENT ON TABLE journal_checkpoints IS 'the signed head of the tree after each sealing: compact JWS, with size and root of the one before';

-- Triggers lock their tables in the order in which workers write them, the inbox's table last and shortest.

CREATE FUNCTION journal_seal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_pending (kind, facilities, digests, births, revisions)
    SELECT 'sealed', ARRAY[facility], ARRAY[sha256(NEW.payload)], ARRAY[id], ARRAY[NEW.revision]
    FROM births WHERE id = NEW.birth_id;
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON seals FOR EACH ROW EXECUTE FUNCTION journal_seal();

CREATE FUNCTION journal_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_pending (kind, facilities, digests, births, revisions)
    SELECT 'submitted', ARRAY[b.facility], ARRAY[sha256(s.payload)], ARRAY[b.id], ARRAY[NEW.revision]
    FROM births b JOIN seals s ON s.birth_id = b.id AND s.revision = NEW.revision WHERE b.id = NEW.birth_id;
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION journal_attempt();

-- An office may keep the document: then its digest is unknown, and the number's stands alone.
CREATE FUNCTION journal_certificate(what text, birth uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_pending (kind, facilities, digests, births, revisions, numbers)
    SELECT what, ARRAY[b.facility],
           ARRAY[CASE WHEN c.sha256 ~ '^[0-9a-f]{64}$' THEN decode(c.sha256, 'hex') END],
           ARRAY[b.id], ARRAY[c.revision], ARRAY[sha256(convert_to(c.number, 'UTF8'))]
    FROM births b JOIN certificates c ON c.birth_id = b.id WHERE b.id = birth;
END $$;
CREATE FUNCTION journal_issue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM journal_certificate('issued', NEW.birth_id);
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON certificates FOR EACH ROW EXECUTE FUNCTION journal_issue();

CREATE FUNCTION journal_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM journal_certificate('delivered', NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER UPDATE OF state ON births FOR EACH ROW
    WHEN (NEW.state = 'DELIVERED' AND OLD.state <> 'DELIVERED') EXECUTE FUNCTION journal_delivery();

-- After a restore the log goes on from the backup's end: what was sealed since then is another branch.
CREATE FUNCTION journal_restore() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_pending (kind, facilities, digests) VALUES ('restored', ARRAY[NULL::text], ARRAY[NULL::bytea]);
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON restores FOR EACH ROW EXECUTE FUNCTION journal_restore();

CREATE FUNCTION journal_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_pending (kind, facilities, digests, codes, answers, applied)
    SELECT 'message', array_agg(facility), array_agg(digest), array_agg(answer_code), array_agg(sha256(answer)),
           CASE WHEN count(application_answer) > 0 THEN array_agg(sha256(application_answer)) ELSE '{}' END
    FROM kept GROUP BY id / 64;
    RETURN NULL;
END $$;
CREATE TRIGGER journal AFTER INSERT ON messages
    REFERENCING NEW TABLE AS kept FOR EACH STATEMENT EXECUTE FUNCTION journal_messages();

CREATE TABLE journal_log (
    id            uuid NOT NULL DEFAULT gen_random_uuid(),
    begun_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    after_message bigint NOT NULL
);
COMMENT ON TABLE journal_log IS 'one row: which log this is, and where it begins';
COMMENT ON COLUMN journal_log.after_message IS 'messages up to this id were kept before there was a journal';
CREATE UNIQUE INDEX journal_log_one ON journal_log ((true));
-- Exact: the trigger above has locked out every writer until this transaction ends.
INSERT INTO journal_log (after_message) SELECT coalesce(max(id), 0) FROM messages;
