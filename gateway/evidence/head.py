"""What the signer remembers: the last head of the journal that it signed or saw, in a file beside its keys.

Whoever can rewrite the database cannot rewrite this file. It holds the checkpoint itself, which a key of ours signed,
and whether its commit is known: it is written and synced *before* the commit, so that a kill in between leaves an
intent, which the database may have or may not. Several processes may share one directory of keys: the file is replaced
whole under the directory's lock, and whoever seals reads it first.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.errors import EvidenceError, HeadNotKeptError
from gateway.evidence.files import alone, replace
from gateway.evidence.journal import open_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.evidence.journal import Checkpoint

FILE = "journal.head"
_VERSION = "1"
_MOST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A head that was kept. `checkpoint` None: a person accepted a journal in which nothing was sealed yet.

    `committed` False: it was signed, and whether its commit came about is not known.
    """

    jws: str
    checkpoint: Checkpoint | None
    committed: bool


class Memory:
    """The file, and what this process knows of it: a file that is deleted under a running gateway comes back."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self._directory = directory
        self._last: dict[str, Any] | None = None

    def read(self, keys: Mapping[str, bytes]) -> KeptHead | None:
        """Return the head that was kept, None where none ever was. Raises HeadNotKeptError.

        `keys` are our public keys: a checkpoint in it that none of them signed was not written by us.
        """
        try:
            with self.path.open("rb") as file:
                said = json.loads(file.read(_MOST_BYTES))
        except FileNotFoundError:
            said = self._last
        except (OSError, ValueError) as error:
            raise self._unusable("cannot be read", error) from error
        if said is None:
            return None
        found = self._understood(said, keys)
        self._last = said
        return found

    def write(self, jws: str, *, committed: bool) -> None:
        """Keep a head, synced; "" stands for an empty journal. Raises HeadNotKeptError."""
        said = {"version": _VERSION, "checkpoint": jws, "committed": committed}
        try:
            with alone(self._directory):
                replace(self.path, json.dumps(said).encode())
        except OSError as error:
            raise self._unusable("cannot be written", error) from error
        self._last = said

    def confirm(self, jws: str) -> None:
        """Note that a head's commit came about, unless another process went on since. Raises HeadNotKeptError."""
        try:
            with alone(self._directory):
                if _jws_in(self.path) == jws:
                    said = {"version": _VERSION, "checkpoint": jws, "committed": True}
                    replace(self.path, json.dumps(said).encode())
                    self._last = said
        except OSError as error:
            raise self._unusable("cannot be written", error) from error

    def put_aside(self) -> Path | None:
        """Keep the present file under a name that says when a person took another head; None where there is none."""
        aside = self.path.with_name(f"{FILE}.until-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        try:
            with alone(self._directory):
                content = self.path.read_bytes()
                replace(aside, content)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable("cannot be put aside", error) from error
        return aside

    def _understood(self, said: Any, keys: Mapping[str, bytes]) -> KeptHead:  # noqa: ANN401 - whatever the file holds
        match said:
            case {"version": "1", "checkpoint": str(jws), "committed": bool(committed)}:
                try:
                    return KeptHead(jws, open_checkpoint(jws, keys) if jws else None, committed)
                except EvidenceError as error:
                    raise self._unusable(f"is not what we wrote ({error})", error) from error
        raise self._unusable("is not what we wrote")

    def _unusable(self, why: str, error: Exception | None = None) -> HeadNotKeptError:
        reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        return HeadNotKeptError(
            f"{self.path}: the head of the evidence journal {why}{reason}; nothing is signed meanwhile. Give the "
            "directory of the keys room and its owner back, or run `procot evidence accept`"
        )


def unsigned_head(jws: str) -> tuple[int, str]:
    """Return size and root that a checkpoint tells, without a look at its signature: for words only; 0 where none."""
    try:
        body = jws.split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return int(said["size"]), str(said["root"])
    except (ValueError, KeyError, IndexError, TypeError):
        return 0, ""


def _jws_in(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes()).get("checkpoint"))
    except (FileNotFoundError, ValueError, AttributeError):
        return ""
