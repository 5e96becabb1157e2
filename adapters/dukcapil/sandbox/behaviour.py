"""How the sandbox misbehaves: settable at start and while it runs (`PUT /sandbox/behaviour`), random by a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from gateway.errors import ConfigError

_MAX_NUMBER = 3_600_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Everything off is a registry on its best day. Rates are shares of the calls, 0 to 1."""

    latency_ms: int = 0  # before every answer
    error_rate: float = 0.0  # 500 before anything is done
    outage: bool = False  # 503 to everything
    throttle_s: int = 0  # 429 to everything, with this Retry-After
    lose_answer_rate: float = 0.0  # the work is done, then the connection is cut
    garbage_rate: float = 0.0  # the work is done, then the answer is no JSON
    refuse_next: str = ""  # 422 with this code to the next new submission
    refuse: str = ""  # 422 with this code to all
    reject_next: str = ""  # DITOLAK with this code after verification, the next new case
    reject: str = ""  # DITOLAK with this code after verification, all
    needs_data_next: str = ""  # PERLU_PERBAIKAN with this code, the next new case
    late_amendments: bool = False  # perbaikan always comes too late (409 TERLAMBAT)
    no_acts: bool = False  # perbaikan, pembatalan, pembetulan and berkas are not offered (501)
    refuse_act_next: str = ""  # the next act is taken and then decided DITOLAK with this code
    act_seconds: float = 0.0  # time to decide an act; 0: with the answer
    respell_next: str = ""  # the next case issued has this child's name on its akta
    duplicate_callbacks: bool = False  # each callback twice
    drop_callbacks: bool = False  # callbacks are forgotten; polling shows the truth
    tell_steps: bool = False  # a callback at each step of a case, not only at its end
    late_callback_rate: float = 0.0  # this share of the callbacks waits some seconds: later ones overtake it
    stale_rate: float = 0.0  # this share of the questions is answered from a copy that lags behind the truth
    dead_file_rate: float = 0.0  # this share of the certificates has a file that is not to be had, always the same ones
    dead_file_status: int = 404  # what its address answers: 404, 410, 401, 403; 503 as one that is busy
    files_under: str = "dokumen"  # where the files lie now, and are told to lie; 404 at their old addresses
    check_outage: bool = False  # 503 to the element check only
    quota_exhausted: bool = False  # the element check has no quota left today
    login_refused: bool = False  # the element check refuses user, password and address
    work_seconds: float | None = None  # time to work a case; None: as the sandbox was started
    seed: int = 0

    def changed(self, values: Mapping[str, object]) -> Behaviour:
        """Return it with `values` laid over. Raises ConfigError naming key, value and reason."""
        if not isinstance(values, Mapping):
            raise ConfigError("behaviour: write a JSON object")
        known = {f.name: getattr(Behaviour(), f.name) for f in fields(self)}
        clean: dict[str, object] = {}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(f"behaviour.{key}: unknown key")
            clean[key] = _checked(key, value, 0.0 if key == "work_seconds" else known[key])
        return replace(self, **clean)  # type: ignore[arg-type]  # each value was checked against its field above

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON data."""
        return asdict(self)


def _checked(key: str, value: object, default: object) -> object:
    if value is None and key == "work_seconds":
        return None
    match default, value:
        case (bool(), bool()) | (str(), str()):
            return value
        case (float() | int(), int() | float()) if not isinstance(value, bool) and not isinstance(default, bool):
            top = 1 if key.endswith("_rate") else _MAX_NUMBER
            if 0 <= value <= top and (isinstance(default, float) or isinstance(value, int)):
                return value
    raise ConfigError(f"behaviour.{key} = {value!r}: not of the kind or size of {default!r}")


class Dice:
    """Seeded chance: the same seed and the same calls give the same misfortunes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - misbehaviour, not a secret

    def falls(self, rate: float) -> bool:
        """Tell whether a thing of this rate happens now. A rate of 0 or 1 uses no chance."""
        if rate <= 0:
            return False
        return rate >= 1 or self._random.random() < rate


class Conduct:
    """The behaviour in force, and its dice."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.now = behaviour
        self.dice = Dice(behaviour.seed)

    def change(self, values: Mapping[str, object]) -> None:
        """Lay `values` over the behaviour in force; naming a seed starts its misfortunes anew. Raises ConfigError."""
        self.now = self.now.changed(values)
        if "seed" in values:
            self.dice = Dice(self.now.seed)

    def once(self, key: str) -> str:
        """Return the text of a `..._next` setting and clear it."""
        value = str(getattr(self.now, key))
        if value:
            self.now = self.now.changed({key: ""})
        return value
