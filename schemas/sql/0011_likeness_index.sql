-- expand
-- concurrently
-- Births by the keyed hash of the mother's name (0009): built beside running work, since births is a large table.
CREATE INDEX CONCURRENTLY IF NOT EXISTS births_mother_name
    ON births (mother_name_key, born_at) WHERE mother_name_key IS NOT NULL;
-- Of the births of a common name a mother with NIK need see only those whose mother has none: few at any time.
CREATE INDEX CONCURRENTLY IF NOT EXISTS births_mother_unnumbered
    ON births (mother_name_key, born_at) WHERE mother_key IS NULL AND mother_name_key IS NOT NULL;
