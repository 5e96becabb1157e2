-- The inbox at the speed of the disk: a message of usual size lies in its row as it came, and is found by one index.

-- Compressing a 2 KB message costs PostgreSQL more than writing it; larger ones (scans) go to TOAST as before.
ALTER TABLE messages SET (toast_tuple_target = 8160);

-- One index serves "is this control id known" and "find a message by its control id".
ALTER TABLE messages DROP CONSTRAINT messages_facility_application_control_id_key;
ALTER TABLE messages ADD CONSTRAINT messages_said_once UNIQUE (control_id, facility, application);
DROP INDEX messages_control;

-- A draft is read anew from the raw message when the birth is assigned. Of it the store keeps what it looks into itself.
ALTER TABLE messages RENAME COLUMN draft TO told;
COMMENT ON COLUMN messages.told IS
    'what the store must know of a message: sent_at of results, record numbers it concerns, charset told by HTTP';
