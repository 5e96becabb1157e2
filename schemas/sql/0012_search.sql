-- expand
-- concurrently
-- Births found by what people ask for (docs/search.md): by the mother's name with her day of birth, by the child's NIK,
-- by the number of an akta that was replaced: on tables whose rows are written once. Births are updated with every step
-- and get indexes of those alone that wait for people, so that one which goes straight through pays nothing. Without
-- all of them nothing is missing but the search by name.

CREATE INDEX CONCURRENTLY IF NOT EXISTS revisions_mother_born ON revisions ((record #>> '{mother,born_on}'))
    WHERE record #>> '{mother,born_on}' IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS certificates_child ON certificates (child_nik);
CREATE INDEX CONCURRENTLY IF NOT EXISTS earlier_certificates_number ON earlier_certificates (number);
CREATE INDEX CONCURRENTLY IF NOT EXISTS births_waiting_office ON births (office, state, updated_at, id)
    WHERE state IN ('AWAIT_FORM', 'HOLD_DATA', 'HOLD_NAME', 'LAHIR_MATI', 'REVIEW');
CREATE INDEX CONCURRENTLY IF NOT EXISTS births_waiting_facility ON births (facility, state, updated_at, id)
    WHERE state IN ('AWAIT_FORM', 'HOLD_DATA', 'HOLD_NAME', 'LAHIR_MATI', 'REVIEW');
