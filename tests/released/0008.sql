CREATE TABLE public.acts (
    id bigint NOT NULL,
    birth_id uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    revision integer NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    payload bytea,
    signature text,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    status text DEFAULT 'open'::text NOT NULL,
    code text DEFAULT ''::text NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT acts_check CHECK (((payload IS NULL) = (signature IS NULL))),
    CONSTRAINT acts_check1 CHECK (((status = ANY (ARRAY['granted'::text, 'refused'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT acts_kind_check CHECK ((kind = ANY (ARRAY['withdraw'::text, 'correct'::text, 'revoke'::text, 'documents'::text]))),
    CONSTRAINT acts_status_check CHECK ((status = ANY (ARRAY['open'::text, 'accepted'::text, 'granted'::text, 'refused'::text])))
);
COMMENT ON TABLE public.acts IS 'what is asked of the registry about a case it has: withdrawal, correction, revocation, documents';
COMMENT ON COLUMN public.acts.key IS 'Idempotency-Key: the same for every try';
COMMENT ON COLUMN public.acts.payload IS 'the exact signed bytes, made once';
COMMENT ON COLUMN public.acts.sent_at IS 'written before the first try leaves: from then on the registry is asked before a resend';
ALTER TABLE public.acts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.acts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.aliases (
    facility text NOT NULL,
    old text NOT NULL,
    new text NOT NULL,
    message_id bigint NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT aliases_check CHECK ((new <> old))
);
COMMENT ON TABLE public.aliases IS 'record numbers that are one of another; never chained: new is nobody''s old';
COMMENT ON COLUMN public.aliases.old IS 'also a number nothing is known of yet: late messages for it go to the new one';
CREATE TABLE public.attachments (
    id bigint NOT NULL,
    birth_id uuid NOT NULL,
    message_id bigint,
    place text NOT NULL,
    kind text NOT NULL,
    mime text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    pointer text DEFAULT ''::text NOT NULL,
    content bytea,
    kept_at timestamp with time zone DEFAULT now() NOT NULL,
    actor text DEFAULT 'hospital'::text NOT NULL
);
COMMENT ON TABLE public.attachments IS 'scanned letters of a birth; the same document again is kept once';
COMMENT ON COLUMN public.attachments.mime IS 'by the first bytes of the content, not by what the sender says';
COMMENT ON COLUMN public.attachments.pointer IS 'where it lies (RP); noted and never followed';
COMMENT ON COLUMN public.attachments.content IS 'null for a pointer, and for more than limits.document_bytes';
COMMENT ON COLUMN public.attachments.actor IS 'who brought it: a message of the hospital, or whose token a form came with';
ALTER TABLE public.attachments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.attachments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.attempts (
    id bigint NOT NULL,
    birth_id uuid NOT NULL,
    revision integer NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    result text
);
COMMENT ON TABLE public.attempts IS 'written before the bytes leave; result null or unknown means: ask before sending again';
ALTER TABLE public.attempts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.attempts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.births (
    id uuid NOT NULL,
    facility text NOT NULL,
    medical_record text NOT NULL,
    state text NOT NULL,
    revision integer NOT NULL,
    record jsonb NOT NULL,
    findings jsonb DEFAULT '[]'::jsonb NOT NULL,
    accepted text[] DEFAULT '{}'::text[] NOT NULL,
    held boolean DEFAULT false NOT NULL,
    mother_key bytea,
    born_at timestamp with time zone,
    twin_group uuid,
    deadline date,
    priority smallint DEFAULT 5 NOT NULL,
    reference text DEFAULT ''::text NOT NULL,
    submitted integer DEFAULT 0 NOT NULL,
    wait_until timestamp with time zone,
    overdue_since timestamp with time zone,
    first_message_id bigint NOT NULL,
    told_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    at_registry integer DEFAULT 0 NOT NULL,
    office text,
    way text,
    missing text[] DEFAULT '{}'::text[] NOT NULL,
    leaves_at timestamp with time zone,
    escalated smallint DEFAULT 0 NOT NULL,
    restricted text,
    culled_at timestamp with time zone,
    ask_first boolean DEFAULT false NOT NULL,
    CONSTRAINT births_restricted_check CHECK ((restricted = ANY (ARRAY['vip'::text, 'adoption'::text, 'violence'::text, 'foundling'::text, 'other'::text]))),
    CONSTRAINT births_way_check CHECK ((way = ANY (ARRAY['lease'::text, 'handover'::text])))
);
COMMENT ON COLUMN public.births.accepted IS 'finding codes a person took responsibility for; they hold no more';
COMMENT ON COLUMN public.births.mother_key IS 'keyed hash of the mother''s NIK';
COMMENT ON COLUMN public.births.submitted IS 'the revision the registry has, 0 for none';
COMMENT ON COLUMN public.births.told_at IS 'MSH-7 of the newest message applied: an older one is kept and not applied';
COMMENT ON COLUMN public.births.at_registry IS 'the revision whose case is open at the registry, 0 for none: whatever our state is';
COMMENT ON COLUMN public.births.office IS 'code of the office that will issue (domain F 60)';
COMMENT ON COLUMN public.births.way IS 'how its record leaves the house where no adapter submits it: never two ways for one birth';
COMMENT ON COLUMN public.births.missing IS 'keys of gateway.verify.missing: what a person has to bring';
COMMENT ON COLUMN public.births.leaves_at IS 'discharge, expected or told: what urgency is ordered by';
COMMENT ON COLUMN public.births.escalated IS 'the last day of the term (7, 30, 50, 58, 61) that was told of';
COMMENT ON COLUMN public.births.restricted IS 'why only tokens with that scope see it (domain F 83 to 85)';
COMMENT ON COLUMN public.births.ask_first IS 'restored from a backup: the registry may know more, it is asked before anything is sent';
CREATE TABLE public.certificates (
    birth_id uuid NOT NULL,
    revision integer NOT NULL,
    number text NOT NULL,
    child_nik text NOT NULL,
    family_card text NOT NULL,
    issued_at timestamp with time zone NOT NULL,
    sha256 text NOT NULL,
    document_url text NOT NULL,
    document bytea,
    settled_at timestamp with time zone DEFAULT now() NOT NULL,
    registered jsonb DEFAULT '{}'::jsonb NOT NULL,
    revoked_at timestamp with time zone
);
COMMENT ON COLUMN public.certificates.registered IS 'what the akta says where the registry told it, by record path: it wins (domain F 97)';
COMMENT ON COLUMN public.certificates.revoked_at IS 'the registry said DICABUT';
CREATE TABLE public.chores (
    name text NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    "position" text DEFAULT ''::text NOT NULL,
    report jsonb DEFAULT '{}'::jsonb NOT NULL
);
COMMENT ON COLUMN public.chores."position" IS 'where the next batch begins';
CREATE TABLE public.earlier_certificates (
    birth_id uuid NOT NULL,
    revision integer NOT NULL,
    number text NOT NULL,
    child_nik text NOT NULL,
    family_card text NOT NULL,
    issued_at timestamp with time zone NOT NULL,
    sha256 text NOT NULL,
    document_url text NOT NULL,
    document bytea,
    registered jsonb NOT NULL,
    settled_at timestamp with time zone NOT NULL,
    replaced_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE public.earlier_certificates IS 'what a correction (pembetulan) replaced';
CREATE TABLE public.events (
    id bigint NOT NULL,
    birth_id uuid NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    step text NOT NULL,
    from_state text,
    to_state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    message_id bigint,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL
);
COMMENT ON TABLE public.events IS 'every change of a birth: when, who, why; never a person''s data';
ALTER TABLE public.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.forms (
    birth_id uuid NOT NULL,
    key text NOT NULL,
    digest bytea NOT NULL,
    actor text NOT NULL,
    answer jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE public.forms IS 'what a form with an Idempotency-Key was answered; the same again gets the same';
CREATE TABLE public.incidents (
    id bigint NOT NULL,
    cause text NOT NULL,
    subject text NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    seen bigint DEFAULT 1 NOT NULL,
    closed_at timestamp with time zone,
    closed_by text,
    CONSTRAINT incidents_check CHECK (((closed_at IS NULL) = (closed_by IS NULL)))
);
COMMENT ON TABLE public.incidents IS 'one row a cause and what it stopped, however many attempts met it';
COMMENT ON COLUMN public.incidents.subject IS 'registry, check, document, a facility code, or a step; never a person';
ALTER TABLE public.incidents ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.incidents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.leases (
    birth_id uuid NOT NULL,
    id uuid NOT NULL,
    revision integer NOT NULL,
    holder text NOT NULL,
    taken integer DEFAULT 1 NOT NULL,
    taken_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    digest bytea,
    note text DEFAULT ''::text NOT NULL
);
COMMENT ON TABLE public.leases IS 'the newest lease of a record; whoever does not name its id writes nothing';
COMMENT ON COLUMN public.leases.expires_at IS 'database time; infinity once the office has accepted the case as its own';
COMMENT ON COLUMN public.leases.digest IS 'SHA-256 of the outcome that ended it: the same outcome again changes nothing';
COMMENT ON COLUMN public.leases.note IS 'the office''s words to hospital and family';
CREATE TABLE public.messages (
    id bigint NOT NULL,
    facility text NOT NULL,
    application text NOT NULL,
    control_id text NOT NULL,
    event text NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    peer text NOT NULL,
    raw bytea NOT NULL,
    digest bytea NOT NULL,
    content_digest bytea NOT NULL,
    answer bytea NOT NULL,
    application_answer bytea,
    answer_code text NOT NULL,
    effect text NOT NULL,
    medical_record text NOT NULL,
    told json,
    findings json NOT NULL,
    birth_id uuid,
    assigned_at timestamp with time zone,
    culled_at timestamp with time zone
)
WITH (toast_tuple_target='8160');
COMMENT ON COLUMN public.messages.digest IS 'SHA-256 of raw';
COMMENT ON COLUMN public.messages.content_digest IS 'SHA-256 of raw without MSH-7: the same message sent again';
COMMENT ON COLUMN public.messages.answer IS 'the exact bytes promised; empty where the sender asked for silence';
COMMENT ON COLUMN public.messages.told IS 'what the store must know of a message: sent_at of results, record numbers it concerns, charset told by HTTP';
COMMENT ON COLUMN public.messages.culled_at IS 'its body was removed: raw is the MSH segment alone, the digests are those of the whole';
ALTER TABLE public.messages ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.messages_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.operator_acts (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    actor text NOT NULL,
    act text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL
);
COMMENT ON TABLE public.operator_acts IS 'what a person did that is not an event of a birth';
ALTER TABLE public.operator_acts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.operator_acts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.outbound (
    id bigint NOT NULL,
    birth_id uuid,
    facility text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    control_id text NOT NULL,
    message bytea NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    accepted_at timestamp with time zone,
    answer_code text,
    discarded_at timestamp with time zone
);
COMMENT ON COLUMN public.outbound.subject IS 'what it is about, once: a certificate number; of an ACK the message id, or a digest of who said what was rejected';
COMMENT ON COLUMN public.outbound.answer_code IS 'what the listener said; with accepted_at null it refused the message';
COMMENT ON COLUMN public.outbound.discarded_at IS 'an operator gave it up: the hospital was told by another way';
ALTER TABLE public.outbound ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbound_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.quarantine (
    id bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    peer text NOT NULL,
    reason text NOT NULL,
    raw bytea NOT NULL,
    answer bytea NOT NULL,
    resolved_at timestamp with time zone,
    resolved_by text,
    resolution text,
    CONSTRAINT quarantine_check CHECK (((resolved_at IS NULL) = (resolved_by IS NULL)))
);
COMMENT ON COLUMN public.quarantine.resolution IS 'replayed, with the answer it got; or discarded, with the reason: raw is empty then';
ALTER TABLE public.quarantine ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.quarantine_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.reconcile_cases (
    id bigint NOT NULL,
    kind text NOT NULL,
    birth_id uuid,
    message_id bigint,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    closed_at timestamp with time zone,
    closed_by text,
    resolution text,
    CONSTRAINT reconcile_cases_check CHECK (((birth_id IS NULL) <> (message_id IS NULL))),
    CONSTRAINT reconcile_cases_check1 CHECK (((closed_at IS NULL) = (closed_by IS NULL)))
);
COMMENT ON TABLE public.reconcile_cases IS 'a difference between gateway, registry and hospital that a person must decide';
ALTER TABLE public.reconcile_cases ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.reconcile_cases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.registry_pauses (
    service text NOT NULL,
    cause text NOT NULL,
    identity bytea NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone,
    lifted_at timestamp with time zone,
    lifted_by text,
    CONSTRAINT registry_pauses_cause_check CHECK ((cause = ANY (ARRAY['REGISTRY_QUOTA'::text, 'REGISTRY_LOGIN'::text])))
);
COMMENT ON TABLE public.registry_pauses IS 'a service that refuses us is left alone by all processes, over restarts (domain F 93, 94)';
COMMENT ON COLUMN public.registry_pauses.identity IS 'keyed hash of whom it refused: other credentials are tried at once';
COMMENT ON COLUMN public.registry_pauses.until IS 'null: until a person lifts it';
CREATE TABLE public.restores (
    id bigint NOT NULL,
    restored_at timestamp with time zone DEFAULT now() NOT NULL,
    backup_at timestamp with time zone NOT NULL
);
ALTER TABLE public.restores ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.restores_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.revisions (
    birth_id uuid NOT NULL,
    revision integer NOT NULL,
    message_id bigint,
    actor text NOT NULL,
    record jsonb NOT NULL,
    changed text[] NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.seals (
    birth_id uuid NOT NULL,
    revision integer NOT NULL,
    payload bytea NOT NULL,
    sha256 text NOT NULL,
    signature text NOT NULL,
    key_id text NOT NULL,
    sealed_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON COLUMN public.seals.payload IS 'the exact bytes that were signed and that are submitted';
CREATE TABLE public.tasks (
    id bigint NOT NULL,
    kind text NOT NULL,
    birth_id uuid,
    message_id bigint,
    outbound_id bigint,
    priority smallint DEFAULT 5 NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    lease uuid,
    last_error text,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    facility text,
    failures integer DEFAULT 0 NOT NULL,
    CONSTRAINT tasks_priority_check CHECK (((priority >= 0) AND (priority <= 9)))
);
COMMENT ON COLUMN public.tasks.due_at IS 'a claim moves it to the end of the lease: a dead worker''s task comes back by itself';
COMMENT ON COLUMN public.tasks.lease IS 'the claim that may finish it; another claim replaces it';
COMMENT ON COLUMN public.tasks.facility IS 'whose waiting application answers it sends: one such task a facility, so they keep their order';
COMMENT ON COLUMN public.tasks.failures IS 'failures in a row, without those of a counterpart that was down for everybody';
ALTER TABLE public.tasks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.tasks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.tokens (
    id uuid NOT NULL,
    label text NOT NULL,
    hash bytea NOT NULL,
    role text NOT NULL,
    facility text,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    office text,
    restricted boolean DEFAULT false NOT NULL,
    CONSTRAINT tokens_check CHECK (((role = 'facility'::text) = (facility IS NOT NULL))),
    CONSTRAINT tokens_check1 CHECK (((office IS NULL) OR (role = 'officer'::text))),
    CONSTRAINT tokens_office_check CHECK ((office ~ '^([0-9]{4}|all)$'::text)),
    CONSTRAINT tokens_role_check CHECK ((role = ANY (ARRAY['facility'::text, 'officer'::text, 'operator'::text])))
);
COMMENT ON COLUMN public.tokens.hash IS 'SHA-256 of a 256-bit random token; the token itself is shown once and not kept';
COMMENT ON COLUMN public.tokens.office IS 'whose records an officer may take and decide; null: reads, and decides nothing';
ALTER TABLE ONLY public.acts
    ADD CONSTRAINT acts_key_key UNIQUE (key);
ALTER TABLE ONLY public.acts
    ADD CONSTRAINT acts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (facility, old);
ALTER TABLE ONLY public.attachments
    ADD CONSTRAINT attachments_birth_id_sha256_pointer_key UNIQUE (birth_id, sha256, pointer);
ALTER TABLE ONLY public.attachments
    ADD CONSTRAINT attachments_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.births
    ADD CONSTRAINT births_facility_medical_record_key UNIQUE (facility, medical_record);
ALTER TABLE ONLY public.births
    ADD CONSTRAINT births_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_number_key UNIQUE (number);
ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_pkey PRIMARY KEY (birth_id);
ALTER TABLE ONLY public.chores
    ADD CONSTRAINT chores_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.forms
    ADD CONSTRAINT forms_pkey PRIMARY KEY (birth_id, key);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT incidents_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (birth_id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_said_once UNIQUE (control_id, facility, application);
ALTER TABLE ONLY public.operator_acts
    ADD CONSTRAINT operator_acts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.outbound
    ADD CONSTRAINT outbound_control_id_key UNIQUE (control_id);
ALTER TABLE ONLY public.outbound
    ADD CONSTRAINT outbound_kind_subject_key UNIQUE (kind, subject);
ALTER TABLE ONLY public.outbound
    ADD CONSTRAINT outbound_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.quarantine
    ADD CONSTRAINT quarantine_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.reconcile_cases
    ADD CONSTRAINT reconcile_cases_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.registry_pauses
    ADD CONSTRAINT registry_pauses_pkey PRIMARY KEY (service);
ALTER TABLE ONLY public.restores
    ADD CONSTRAINT restores_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.revisions
    ADD CONSTRAINT revisions_pkey PRIMARY KEY (birth_id, revision);
ALTER TABLE ONLY public.seals
    ADD CONSTRAINT seals_pkey PRIMARY KEY (birth_id, revision);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_hash_key UNIQUE (hash);
ALTER TABLE ONLY public.tokens
    ADD CONSTRAINT tokens_pkey PRIMARY KEY (id);
CREATE INDEX acts_birth ON public.acts USING btree (birth_id, id);
CREATE UNIQUE INDEX acts_one_open ON public.acts USING btree (birth_id) WHERE (ended_at IS NULL);
CREATE INDEX aliases_new ON public.aliases USING btree (facility, new);
CREATE INDEX attempts_birth ON public.attempts USING btree (birth_id, revision);
CREATE INDEX births_cull ON public.births USING btree (updated_at, id) WHERE ((culled_at IS NULL) AND (state = ANY (ARRAY['DELIVERED'::text, 'CANCELLED'::text, 'MERGED'::text])));
CREATE INDEX births_for_office ON public.births USING btree (priority, leaves_at, deadline, received_at) WHERE ((way = 'lease'::text) AND (state = ANY (ARRAY['AWAIT_OFFICE'::text, 'IN_PROCESS'::text])));
CREATE INDEX births_mother ON public.births USING btree (mother_key, born_at) WHERE (mother_key IS NOT NULL);
CREATE INDEX births_recent ON public.births USING btree (updated_at, id);
CREATE INDEX births_state ON public.births USING btree (state, updated_at, id);
CREATE INDEX births_wait ON public.births USING btree (wait_until) WHERE (wait_until IS NOT NULL);
CREATE INDEX earlier_certificates_birth ON public.earlier_certificates USING btree (birth_id, replaced_at);
CREATE INDEX events_birth ON public.events USING btree (birth_id, id);
CREATE UNIQUE INDEX incidents_open ON public.incidents USING btree (cause, subject) WHERE (closed_at IS NULL);
CREATE INDEX messages_birth ON public.messages USING btree (birth_id) WHERE (birth_id IS NOT NULL);
CREATE INDEX messages_joining ON public.messages USING btree (facility) WHERE ((assigned_at IS NULL) AND (effect = ANY (ARRAY['merge'::text, 'renumber'::text, 'link'::text, 'unlink'::text])));
CREATE INDEX messages_unassigned ON public.messages USING btree (facility, medical_record, id) WHERE ((assigned_at IS NULL) AND (effect <> 'none'::text));
CREATE INDEX outbound_answers ON public.outbound USING btree (facility, id) WHERE ((kind = 'ACK'::text) AND (accepted_at IS NULL) AND (answer_code IS NULL));
CREATE INDEX outbound_birth ON public.outbound USING btree (birth_id);
CREATE INDEX quarantine_open ON public.quarantine USING btree (id) WHERE (resolved_at IS NULL);
CREATE UNIQUE INDEX reconcile_cases_birth ON public.reconcile_cases USING btree (kind, birth_id) WHERE (closed_at IS NULL);
CREATE UNIQUE INDEX reconcile_cases_message ON public.reconcile_cases USING btree (kind, message_id) WHERE (closed_at IS NULL);
CREATE INDEX tasks_birth ON public.tasks USING btree (birth_id) WHERE (birth_id IS NOT NULL);
CREATE UNIQUE INDEX tasks_birth_once ON public.tasks USING btree (kind, birth_id) WHERE ((birth_id IS NOT NULL) AND (outbound_id IS NULL) AND (message_id IS NULL));
CREATE INDEX tasks_claim ON public.tasks USING btree (kind, priority, due_at, id);
CREATE UNIQUE INDEX tasks_facility_once ON public.tasks USING btree (kind, facility) WHERE (facility IS NOT NULL);
CREATE UNIQUE INDEX tasks_message_once ON public.tasks USING btree (kind, message_id) WHERE (message_id IS NOT NULL);
CREATE UNIQUE INDEX tasks_outbound_once ON public.tasks USING btree (kind, outbound_id) WHERE (outbound_id IS NOT NULL);
CREATE INDEX tasks_wait ON public.tasks USING btree (kind, due_at);
ALTER TABLE ONLY public.acts
    ADD CONSTRAINT acts_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.attachments
    ADD CONSTRAINT attachments_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_birth_id_revision_fkey FOREIGN KEY (birth_id, revision) REFERENCES public.seals(birth_id, revision);
ALTER TABLE ONLY public.births
    ADD CONSTRAINT births_first_message_id_fkey FOREIGN KEY (first_message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.certificates
    ADD CONSTRAINT certificates_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.earlier_certificates
    ADD CONSTRAINT earlier_certificates_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.forms
    ADD CONSTRAINT forms_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.outbound
    ADD CONSTRAINT outbound_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.reconcile_cases
    ADD CONSTRAINT reconcile_cases_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.revisions
    ADD CONSTRAINT revisions_birth_id_fkey FOREIGN KEY (birth_id) REFERENCES public.births(id);
ALTER TABLE ONLY public.revisions
    ADD CONSTRAINT revisions_message_id_fkey FOREIGN KEY (message_id) REFERENCES public.messages(id);
ALTER TABLE ONLY public.seals
    ADD CONSTRAINT seals_birth_id_revision_fkey FOREIGN KEY (birth_id, revision) REFERENCES public.revisions(birth_id, revision);
