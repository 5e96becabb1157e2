"""Run the Dockerfile's own steps without a container engine, as far as that goes: `make image-steps`.

The build stage's WORKDIR, COPY and RUN are done below a scratch directory, with /opt/procot and /src moved there.
Then the installed copy is used as the image would: by a user without rights (where we are root), with no write access
to what was installed, with the image's environment, entry point and health check. What it can't show:
the base image, the network, the engine's own read-only mount.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
IMAGE_USER = pwd.getpwnam("nobody").pw_uid  # the image makes its own; here an existing one without rights serves


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions as (keyword, rest), continuation lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions by stage."""
    found: list[list[tuple[str, str]]] = []
    for keyword, rest in instructions():
        if keyword == "FROM":
            found.append([])
        found[-1].append((keyword, rest))
    return found


def build(scratch: Path) -> None:
    """Carry out the build stage below `scratch`."""
    source = scratch / "src"
    source.mkdir(parents=True)
    for keyword, rest in stages()[0]:
        if keyword == "COPY":
            *names, target = rest.split()
            for name in names:
                _copy(ROOT / name, source / target, into=target.endswith("/") or len(names) > 1)
        elif keyword == "RUN":
            command = rest.replace("/opt/", f"{scratch}/opt/")
            command = re.sub(r"^python ", f"{shlex.quote(_python())} ", command)
            print(f"RUN {rest[:100]}", flush=True)
            subprocess.run(["/bin/sh", "-ec", command], cwd=source, check=True)


def _python() -> str:
    """Return a Python that the image's user can run too: ours may lie in a home of root's."""
    for name in (sys.executable, *(f"/usr/bin/python3.{minor}" for minor in (13, 12, 11))):
        real = Path(name).resolve()
        if real.exists() and all(p.stat().st_mode & 0o005 == 0o005 for p in (real, *real.parents)):
            return str(real)
    if os.geteuid() == 0:
        raise SystemExit("no Python here can be run by a user without rights; install the distribution's python3")
    return sys.executable


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    destination = target / source.name if into else target
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, destination)


def environment(scratch: Path, data: Path) -> dict[str, str]:
    """Return the image's ENV, with its paths moved and its ports free."""
    values = {"PATH": f"{scratch}/opt/procot/bin:/usr/bin:/bin", "HOME": str(data)}
    for keyword, rest in stages()[1]:
        if keyword == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                if name != "PATH":
                    values[name] = value.replace("/data", str(data)).replace("0.0.0.0:2575", "127.0.0.1:0")
    return {**values, "PROCOT_HTTP__LISTEN": "127.0.0.1:8080"}


def use(scratch: Path) -> None:
    """Run `serve` as the image would, and its health check against it."""
    data = scratch / "data"
    data.mkdir(mode=0o700)
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        os.chown(data, IMAGE_USER, IMAGE_USER)
        user = {"user": IMAGE_USER, "group": IMAGE_USER, "extra_groups": []}
    scratch.chmod(0o755)
    config = scratch / "procot.toml"
    token = scratch / "token"
    token.write_text("t")
    config.write_text(f'[registry]\nurl = "http://127.0.0.1:1"\ntoken_file = "{token}"\n')
    env = environment(scratch, data)
    procot = str(scratch / "opt/procot/bin/procot")
    for arguments in (["--version"], ["check-config", str(config)], ["migrate", "--help"], ["sandbox", "--help"]):
        subprocess.run([procot, *arguments], env=env, check=True, cwd="/", stdout=subprocess.DEVNULL, **user)
    writable = subprocess.run(
        ["find", str(scratch / "opt"), "-writable", "-not", "-type", "l"],
        capture_output=True,
        check=True,
        text=True,
        **user,
    )
    if os.geteuid() == 0 and writable.stdout:
        raise SystemExit(f"the image's user can write to what is installed: {writable.stdout[:200]}")
    ready = data / "ready.json"
    server = subprocess.Popen(
        [procot, "serve", "--config", str(config), "--ready-file", str(ready)], env=env, cwd="/", **user
    )
    try:
        _wait_for(ready, server)
        check = next(json.loads(rest.partition("CMD")[2]) for keyword, rest in stages()[1] if keyword == "HEALTHCHECK")
        subprocess.run(check, env=env, check=True, cwd="/", **user)
    finally:
        server.terminate()
        if server.wait(30) != 0:
            raise SystemExit("serve did not end cleanly on SIGTERM")


def _wait_for(ready: Path, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > end:
            raise SystemExit("serve did not start")
        time.sleep(0.05)


def main() -> None:
    """Build, use, say so."""
    with tempfile.TemporaryDirectory(prefix="procot-image-") as name:
        scratch = Path(name)
        build(scratch)
        use(scratch)
    print("the Dockerfile's steps work: installed by hash, runs without rights, healthy, ends on SIGTERM")


if __name__ == "__main__":
    main()
