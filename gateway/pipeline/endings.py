"""What runs out says so: tokens that end soon, as a figure a token and a line of the log at 14, 7, 3 and 1 days."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from gateway.store import tokens

if TYPE_CHECKING:
    import uuid

    from gateway.observe.metrics import Metrics
    from gateway.store.database import Database

SHOWN_DAYS = 30  # a token that ends later has no figure
_TOLD_DAYS = (1, 3, 7, 14)
_DAY_S = 86_400.0
_log = structlog.get_logger()


@dataclass(slots=True)
class Endings:
    """Which ends this process told of already, at which of the days."""

    _told: dict[uuid.UUID, int] = field(default_factory=dict)

    async def look(self, database: Database, metrics: Metrics) -> None:
        """Set the figures anew, and tell of each token once a day that is told of."""
        found = await tokens.ending(database, within_days=SHOWN_DAYS)
        metrics.token_expires.clear()
        for row in found:
            metrics.token_expires.labels(str(row["id"]), row["role"]).set(row["left_s"])
            day = next((day for day in _TOLD_DAYS if row["left_s"] <= day * _DAY_S), None)
            if day is not None and self._told.get(row["id"]) != day:
                self._told[row["id"]] = day
                until = row["expires_at"].isoformat(timespec="seconds")
                _log.warning(
                    "token.ends_soon", token_id=str(row["id"]), kind=row["role"], facility=row["facility"], until=until
                )
        self._told = {row["id"]: self._told[row["id"]] for row in found if row["id"] in self._told}
