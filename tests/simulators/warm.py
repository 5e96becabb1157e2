"""What a gateway imports and compiles before its first message, once for all that are forked."""

from __future__ import annotations

import gc
import importlib

from gateway.verify.policy import load_policy
from gateway.verify.structure import prepare

for name in ("adapters.dukcapil.adapter", "adapters.hospital.baseline", "tests.simulators.doomed"):
    importlib.import_module(name)
prepare(load_policy(), ("2.3", "2.4", "2.5"))
gc.freeze()
