"""Prometheus metrics: every counter of the gateway in one object, so that tests and processes have their own.

Label values are bounded: codes, kinds, states and configured facilities; never ids, never people.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSED_S = 10.0  # then somebody must try again, or nobody would ever find out that it is over
_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_JOURNEY_S = (0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 1800, 3600, 14400, 86400)


class Metrics:
    """All metrics of one gateway. It is also the observer of the MLLP server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._refused_at: float | None = None
        self.readers = 0  # of GET /v1/births/stream, in this process
        self._at_the_door(self.registry)
        self._on_the_way(self.registry)
        self._in_the_house(self.registry)
        self._over_http(self.registry)

    def _at_the_door(self, registry: CollectorRegistry) -> None:
        """Make what counts connections, messages, answers and commits."""
        self.connections = Gauge("procot_mllp_connections", "Open MLLP connections", registry=registry)
        self.closed = Counter("procot_mllp_closed_total", "MLLP connections closed", ["reason"], registry=registry)
        self.http_connections = Gauge("procot_http_connections", "Open HTTP connections", registry=registry)
        self.http_refused = Counter(
            "procot_http_refused_total", "HTTP connections and requests turned away unread", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.auth_refused = Counter(
            "procot_auth_refused_total", "Requests without a good token", ["reason"], registry=registry
        )
        self.frames = Counter("procot_mllp_frames_total", "Frames received", registry=registry)
        self.frame_bytes = Counter("procot_mllp_received_bytes_total", "Bytes in frames received", registry=registry)
        self.refused = Counter("procot_mllp_refused_total", "Frames or peers refused", ["reason"], registry=registry)
        self.answers = Counter("procot_mllp_answers_total", "Answers written", registry=registry)
        self.messages = Counter(
            "procot_messages_total", "Messages answered", ["transport", "code", "effect"], registry=registry
        )
        self._messages: dict[tuple[str, str, str], Counter] = {}  # by labels: a look-up costs more than a count
        self.findings = Counter("procot_findings_total", "Problems told to senders", ["code"], registry=registry)
        self.replays = Counter("procot_replays_total", "Messages answered from the inbox again", registry=registry)
        self.quarantined = Counter("procot_quarantined_total", "Messages quarantined", ["reason"], registry=registry)
        self.answer_seconds = Histogram(
            "procot_answer_seconds", "Frame complete to answer ready", buckets=_LATENCY_S, registry=registry
        )
        self.commits = Counter("procot_inbox_commits_total", "Group commits of the inbox", registry=registry)
        self.batch = Histogram(
            "procot_inbox_batch_messages", "Messages in one commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )  # fmt: skip
        self.store_errors = Counter("procot_store_errors_total", "Commits that failed", registry=registry)

    def _on_the_way(self, registry: CollectorRegistry) -> None:
        """Make what counts births, their steps, and what waits."""
        self.steps = Counter("procot_steps_total", "Tasks worked on", ["step", "outcome"], registry=registry)
        self.step_seconds = Histogram(
            "procot_step_seconds", "Time in a step", ["step"], buckets=_LATENCY_S, registry=registry
        )
        self.moves = Counter("procot_births_moved_total", "Births that reached a state", ["state"], registry=registry)
        self.journey = Histogram(
            "procot_journey_seconds", "First message to certificate at the hospital", buckets=_JOURNEY_S,
            registry=registry,
        )  # fmt: skip
        self.application_answers = Counter(
            "procot_application_answers_total", "Deferred application answers a listener took or refused", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.answers_waiting = Gauge(
            "procot_application_answers_waiting", "Deferred application answers not yet at the sender's listener",
            ["facility"], registry=registry,
        )  # fmt: skip
        self.open_tasks = Gauge("procot_open_tasks", "Tasks not done", ["kind"], registry=registry)
        self.certificates_waiting = Gauge(
            "procot_certificates_waiting", "Births whose certificate waits for its hospital for over a minute",
            registry=registry,
        )  # fmt: skip
        self.certificates_waiting_since = Gauge(
            "procot_certificates_waiting_since_timestamp_seconds", "Since when the first of them waits, 0: none does",
            registry=registry,
        )  # fmt: skip
        self.unassigned = Gauge(
            "procot_messages_unassigned", "Accepted messages no birth was found or made for yet, older than 5 minutes",
            registry=registry,
        )  # fmt: skip
        self.overdue = Gauge("procot_births_overdue", "Births whose wait has timed out", ["owner"], registry=registry)
        self.token_expires = Gauge(
            "procot_token_expires_seconds", "Time left of API tokens that end within 30 days", ["token", "role"],
            registry=registry,
        )  # fmt: skip
        self.acts = Counter(
            "procot_registry_acts_total", "Withdrawals, corrections, revocations, documents", ["kind", "outcome"],
            registry=registry,
        )  # fmt: skip
        self.escalations = Counter(
            "procot_births_escalated_total", "Births whose day of the legal term was told", ["day"], registry=registry
        )
        self.likenesses = Counter(
            "procot_births_compared_total", "Births found to be twins, duplicates, contradictions", ["verdict"],
            registry=registry,
        )  # fmt: skip
        self.numbers_reused = Counter(
            "procot_record_numbers_reused_total", "Messages about another baby than the one with their record number",
            ["rule"], registry=registry,
        )  # fmt: skip
        self.identity_decisions = Counter(
            "procot_identity_decisions_total", "Suspected duplicates that a person decided", ["decision"],
            registry=registry,
        )  # fmt: skip

    def _in_the_house(self, registry: CollectorRegistry) -> None:
        """Make what tells of incidents, chores and the journal."""
        self.incidents = Gauge("procot_incidents_open", "Causes that stop work now", ["cause"], registry=registry)
        self.paused = Gauge(
            "procot_registry_paused", "Services of the registry that refuse us, by cause", ["cause"], registry=registry
        )
        self.culled = Counter("procot_culled_total", "Bodies removed after their time", ["what"], registry=registry)
        self.cases = Gauge("procot_reconcile_cases_open", "Differences a person decides", ["kind"], registry=registry)
        self.chores = Gauge(
            "procot_chore_finished_timestamp_seconds", "When a chore last ended", ["chore"], registry=registry
        )
        self.journal_unsealed = Gauge(
            "procot_journal_unsealed_entries", "Entries of the evidence journal under no checkpoint yet",
            registry=registry,
        )  # fmt: skip
        self.journal_unsealed_seconds = Gauge(
            "procot_journal_unsealed_seconds", "Age of the oldest of them; more than a few: sealing stands still",
            registry=registry,
        )  # fmt: skip
        self.journal_entries = Gauge("procot_journal_entries", "Sealed entries", registry=registry)
        self.journal_checkpoint_seconds = Gauge(
            "procot_journal_checkpoint_age_seconds", "Age of the last checkpoint; grows while nothing happens",
            registry=registry,
        )  # fmt: skip
        self.journal_rewritten = Gauge(
            "procot_journal_rewritten", "1: the journal in the database is not the one that was signed",
            registry=registry,
        )  # fmt: skip

    def _over_http(self, registry: CollectorRegistry) -> None:
        """Make what counts the calls of offices, pages and the registry."""
        self.forms = Counter("procot_forms_total", "Forms received", ["outcome"], registry=registry)
        self.leases = Counter("procot_leases_total", "Records taken under a lease", ["again"], registry=registry)
        self.outcomes = Counter("procot_office_outcomes_total", "Outcomes of offices", ["outcome"], registry=registry)
        self.streams = Gauge("procot_streams", "Readers of the stream of state changes", registry=registry)
        self.http = Counter("procot_http_requests_total", "HTTP requests", ["route", "status"], registry=registry)
        self.callbacks = Counter("procot_callbacks_total", "Registry callbacks", ["outcome"], registry=registry)

    @contextmanager
    def reader(self) -> Iterator[None]:
        """Count one reader of the stream while it reads."""
        self.readers += 1
        self.streams.set(self.readers)
        try:
            yield
        finally:
            self.readers -= 1
            self.streams.set(self.readers)

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus text format."""
        return generate_latest(self.registry)

    def committed(self, messages: int) -> None:
        """Count one commit of the inbox."""
        self._refused_at = None
        self.commits.inc()
        self.batch.observe(messages)

    def commit_failed(self) -> None:
        """Count one failed commit of the inbox."""
        self.store_errors.inc()
        self._refused_at = time.monotonic()

    def refused_lately(self) -> bool:
        """Tell whether the last commit failed a moment ago: a full disk looks healthy until somebody writes."""
        return self._refused_at is not None and time.monotonic() - self._refused_at < _REFUSED_S

    def message_answered(self, seconds: float, transport: str, code: str, effect: str) -> None:
        """Count an answered message, `seconds` after its frame was complete."""
        self.answer_seconds.observe(seconds)
        labels = (transport, code, effect)
        counter = self._messages.get(labels)
        if counter is None:
            counter = self._messages[labels] = self.messages.labels(*labels)
        counter.inc()

    def connection_opened(self) -> None:
        """Count an accepted connection."""
        self.connections.inc()

    def connection_closed(self, reason: str) -> None:
        """Count a closed connection."""
        self.connections.dec()
        self.closed.labels(reason).inc()

    def frame_received(self, size: int) -> None:
        """Count a complete frame."""
        self.frames.inc()
        self.frame_bytes.inc(size)

    def frame_refused(self, reason: str) -> None:
        """Count a frame or peer turned away."""
        self.refused.labels(reason).inc()

    def answer_sent(self, _size: int) -> None:
        """Count an answer written."""
        self.answers.inc()
