"""The suite's own guard: a test that leaves state behind fails, what it left is named, and nobody else fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAKY = """
import asyncio, atexit, contextvars, logging, os, random, signal, subprocess, sys, tempfile, threading, time
import pytest, structlog
import gateway.contract.rules as ours
from gateway.observe.logging import configure

HELD = []
NAMED = contextvars.ContextVar("named")

def test_structlog(): configure(level="error")
def test_logging(): logging.getLogger("library").setLevel(10)
def test_context(): NAMED.set("left")
def test_environment(): os.environ["LEFT"] = "1"
def test_cwd(tmp_path): os.chdir(tmp_path)
def test_umask(): os.umask(0o027)
def test_signal(): signal.signal(signal.SIGUSR1, lambda *_: None)
def test_patch(): time.sleep = time.sleep.__call__
def test_ours(): ours.LEFT = 1
def test_container(): HELD.append(open(os.devnull))
def test_thread(): threading.Thread(target=threading.Event().wait, daemon=True, name="left").start()
def test_process():
    HELD.append(subprocess.Popen(["sleep", "300"]))
    atexit.register(HELD[-1].wait)
    atexit.register(HELD[-1].kill)
def test_temporary(): tempfile.mkdtemp(prefix="procot-left-", dir=os.environ["PLACE"])
async def test_task(): HELD.append(asyncio.create_task(asyncio.sleep(3600)))

def test_tidy(tmp_path, monkeypatch):
    monkeypatch.setenv("BACK", "1")
    monkeypatch.setattr(time, "sleep", print)
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory(), open(os.devnull):
        structlog.get_logger().info("nothing")

async def test_tidy_loop():
    await asyncio.to_thread(len, "")
    await asyncio.create_task(asyncio.sleep(0))

@pytest.fixture(scope="module")
def longer():
    os.environ["LONGER"] = "1"
    yield
    del os.environ["LONGER"]

def test_longer(longer): pass
"""
LEFT = {
    "structlog": "structlog: wrapper_class",
    "logging": "logging: library",
    "context": "context variable: named",
    "environment": "environment: LEFT is new 1",
    "cwd": "process: cwd",
    "umask": "process: umask",
    "signal": "signal handler: SIGUSR1",
    "patch": "module: time: sleep",
    "ours": "module: gateway.contract.rules: LEFT",
    "container": "open file:",
    "thread": "thread: left",
    "process": "sleep 300",
    "temporary": "temporary: ",
    "task": "left running",
}


def test_whoever_leaves_something_fails_by_name_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.leaks.plugin",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    )
    done = subprocess.run(
        (*command, "-o", "asyncio_mode=auto", "--rootdir", tmp_path, "--basetemp", tmp_path / "base", tmp_path),
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PLACE": str(tmp_path), "LEAK_GRACE_S": "0.2"},
    )
    parts = done.stdout.split("ERROR at teardown of test_")[1:]
    told = {part.partition(" ")[0]: part for part in parts}
    assert told.keys() == LEFT.keys(), done.stdout
    for name, what in LEFT.items():
        assert what in told[name], told[name]
