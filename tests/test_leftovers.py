"""The guard in conftest.py: a test that leaves something behind fails, one that cleans up does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT

CASES = """
import asyncio, socket, subprocess, threading, time
import pytest

kept = []

async def test_task_left():
    kept.append(asyncio.create_task(asyncio.sleep(100)))

def test_socket_left():
    kept.append(socket.socket())

async def test_child_left():
    kept.append(subprocess.Popen(["sleep", "5"]))

def test_ended_child_left():
    kept.append(subprocess.Popen(["true"]))

def test_thread_left():
    threading.Thread(target=time.sleep, args=(2,)).start()

@pytest.fixture(scope="module")
def shared():
    with socket.socket() as ours:
        yield ours

@pytest.fixture
async def server():
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    yield server
    server.close()

def test_shared_clean(shared): pass

async def test_server_clean(server): pass

async def test_executor_clean():
    await asyncio.to_thread(time.sleep, 0)

async def test_child_clean():
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the same settings and conftest, and the cases as its tests."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("conftest.py", "effort.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    (tmp_path / "tests" / "test_cases.py").write_text(CASES)
    return tmp_path


def test_what_a_test_leaves_behind_fails_it(project: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-rE", "--tb=no"]
    run = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    told = set(re.findall(r"^ERROR tests/test_cases.py::test_(\w+)", run.stdout, re.MULTILINE))
    assert told == {"task_left", "socket_left", "child_left", "ended_child_left", "thread_left"}, run.stdout
    assert "9 passed" in run.stdout
