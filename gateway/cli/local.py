"""Everything on one machine: registry sandbox, hospital sandbox and gateway wired together, for `up` and `demo`."""

from __future__ import annotations

import json
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway import plugins
from gateway.app import Gateway, write_private
from gateway.cli.addresses import check_free
from gateway.cli.sandbox import HospitalListener, hospital_sandbox
from gateway.config import Config, parse
from gateway.evidence.keys import Keyring
from gateway.store.cluster import DirectoryLock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# The facilities of the samples: what `procot up` without a configuration accepts (contract).
SAMPLE_FACILITIES: tuple[dict[str, Any], ...] = (
    {
        "code": "RSU CEMPAKA CONTOH",
        "name": "RSU Cempaka Contoh",
        "region": "3510",
        "faskes": "3510999",
        "insecure": "msh-4",
    },
    {
        "code": "PUSKESMAS MELATI CONTOH",
        "name": "Puskesmas Melati Contoh",
        "region": "3510",
        "faskes": "3510998",
        "insecure": "msh-4",
    },
)
_TWIN_WAIT_S = 20.0  # who tries one twin alone does not want to wait two hours for its certificate
PORTS = {"mllp": 2575, "http": 8080, "registry": 8090, "hospital": 2577}


@dataclass(frozen=True, slots=True)
class Local:
    """What runs, and where."""

    gateway: Gateway
    mllp: str
    http: str
    registry: str
    hospital: str
    dsn: str
    inbox: Path


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the local system is to be: ports (0: free), the registry's pace, a configuration to start from."""

    data: Path
    free_ports: bool = False
    work_seconds: float = 1.0
    poll_first_s: float = 2.0
    base: Config | None = None


@asynccontextmanager
async def local(wishes: Wishes) -> AsyncIterator[Local]:
    """Start everything in order, lend it, stop it in the opposite order.

    Raises DataDirectoryHeldError, or ConfigError for addresses that are taken, before anything is started.
    """
    wishes.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    ports = {name: 0 if wishes.free_ports else port for name, port in PORTS.items()}
    inbox = wishes.data / "hospital-inbox"
    async with AsyncExitStack() as stack:
        lock = DirectoryLock.take(wishes.data)
        stack.callback(lock.release)
        check_free(_wanted(wishes, ports), instead="take other ports with --free-ports, or in a --config")
        hospital = await HospitalListener.start(hospital_sandbox(inbox), "127.0.0.1", ports["hospital"])
        stack.push_async_callback(hospital.stop)
        registry = await _registry(wishes, ports["registry"])
        stack.push_async_callback(registry.stop)
        registry_url = await registry.start()
        config = _config(wishes, ports, registry_url, hospital.address)
        gateway = Gateway(config)
        gateway.on_keys = lambda: _publish(wishes, gateway.keyring)
        addresses = await stack.enter_async_context(gateway.running())
        registry.send_callbacks_to(f"{addresses.http}/v1/registry/callbacks/{config.registry.adapter}")
        yield Local(gateway, addresses.mllp, addresses.http, registry_url, hospital.address, addresses.dsn, inbox)


def _wanted(wishes: Wishes, ports: dict[str, int]) -> dict[str, str]:
    """Return the addresses that will be listened on, by purpose."""
    wanted = {purpose: f"127.0.0.1:{port}" for purpose, port in ports.items()}
    if wishes.base is not None and not wishes.free_ports:
        mllp, http = wishes.base.mllp, wishes.base.http
        wanted |= {"mllp": mllp.listen} if "listen" in mllp.model_fields_set else {}
        wanted |= {"http": http.listen} if "listen" in http.model_fields_set else {}
    return wanted


async def _registry(wishes: Wishes, port: int) -> Any:
    """Open the registry sandbox; it reads our public keys from a file that is written before both start."""
    own = wishes.base.signing.directory if wishes.base else None
    keyring = Keyring(own or wishes.data / "keys")
    keyring.open()
    public = _publish(wishes, keyring)
    token = wishes.data / "registry-token"
    if not token.exists():
        write_private(token, secrets.token_urlsafe(32))
    module = plugins.load_module(plugins.SANDBOXES, "registry")
    directory = wishes.data / "registry"
    directory.mkdir(mode=0o700, exist_ok=True)
    settings = module.RegistrySandboxSettings(
        directory=directory,
        gateway_jwks=str(public),
        token=token.read_text(encoding="utf-8").strip(),
        port=port,
        work_seconds=wishes.work_seconds,
    )
    return await module.open_sandbox(settings)


def _publish(wishes: Wishes, keyring: Keyring) -> Path:
    """Write our public keys where the sandbox reads them; it does so again when the file changed."""
    public = wishes.data / "gateway-jwks.json"
    write_private(public, json.dumps(keyring.jwks()))
    return public


def _config(wishes: Wishes, ports: dict[str, int], registry_url: str, hospital: str) -> Config:
    values: dict[str, Any] = {}
    if wishes.base is not None:
        values = wishes.base.model_dump(mode="json", exclude_unset=True)
        database = values.setdefault("database", {})
        database["directory"] = str(wishes.data)  # --data says where, whatever the file says
        if wishes.base.database.dsn is not None:
            database["dsn"] = wishes.base.database.dsn.get_secret_value()  # a dump masks it
    listen: dict[str, dict[str, Any]] = {
        "mllp": {"listen": f"127.0.0.1:{ports['mllp']}"},
        "http": {"listen": f"127.0.0.1:{ports['http']}"},
        "database": {"directory": str(wishes.data)},
        "registry": {
            "url": registry_url,
            "token_file": str(wishes.data / "registry-token"),
            "check_user": "procot-up",
            "check_password_file": str(wishes.data / "registry-token"),
            "check_ip": "127.0.0.1",
            "callback_jwks": f"{registry_url}/.well-known/jwks.json",
            "poll_first_s": wishes.poll_first_s,
            "twin_wait_s": _TWIN_WAIT_S,
        },
    }
    merged = {name: {**section, **values.get(name, {})} for name, section in listen.items()}
    if wishes.free_ports:
        merged["mllp"]["listen"] = merged["http"]["listen"] = "127.0.0.1:0"
    facilities = values.get("facility") or [dict(f) for f in SAMPLE_FACILITIES]
    for facility in facilities:
        facility.setdefault("deliver_to", hospital)
        if not facility.get("certificates") and not facility.get("peers"):
            facility.setdefault("insecure", "msh-4")  # whoever tries this out on one machine is known by nothing else
    return parse({**values, **merged, "facility": facilities}, where="procot up")
