"""Several processes that do the same work side by side, and one that keeps them alive."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from vlcp.server import systemd

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""Seconds until a worker that ends again and again is started again; one that lived so long starts at once."""
PATIENCE = 7.0
"""Seconds that workers have to end after a signal; then they are killed. Their own limit is shorter."""
_STOP = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON = (signal.SIGHUP, signal.SIGUSR1)

Work = Callable[[Callable[[], None], int], int]
"""What a worker does. It calls its first argument when it is up, and stops when the pipe that is the second one is at
its end, because then nobody keeps it any more; the result is its exit status."""


@dataclass
class Worker:
    """One of the processes. `number` stays when it is started again."""

    number: int
    pause: float = 0.0
    """Seconds until it is started again."""
    due: float | None = None
    """When it is started (`time.monotonic`); None while it runs."""
    pid: int = 0
    born: float = 0.0
    up: bool = False
    pipe: int = field(default=-1)
    """Tells that the worker is up, and by its end that it has ended."""


class Supervisor:
    """Starts workers, starts those again that crash, and stops them all when it is told to."""

    def __init__(self, count: int, work: Work, up: Callable[[], None], reload: Callable[[], None]) -> None:
        self._workers = [Worker(number, due=0.0) for number in range(1, count + 1)]
        self._work = work
        self._when_up = up
        self._reload = reload
        self._is_up = False
        self._deadline: float | None = None
        """When what still runs is killed; None unless it is stopping."""
        self._status = 0

    def run(self) -> int:
        """Run until all workers have ended; the result is the exit status.

        That is 0 when all ended by themselves or after a signal, and 1 when one could not start or had to be killed.
        """
        self._wake_up, wakes = os.pipe()
        self._parent, self._alive = os.pipe()
        os.set_blocking(wakes, False)
        os.set_blocking(self._wake_up, False)
        signal.set_wakeup_fd(wakes)
        for number in (*_STOP, *_PASSED_ON):
            signal.signal(number, _nothing)
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._wake_up, selectors.EVENT_READ)
            while self._workers:
                self._start_due()
                for key, _ in self._selector.select(self._next()):
                    if key.data is None:
                        self._signals(os.read(self._wake_up, 100))
                    else:
                        self._heard(key.data)
                self._kill_late()
        return self._status

    def _next(self) -> float | None:
        times = [worker.due for worker in self._workers if worker.due is not None]
        if self._deadline is not None:
            times.append(self._deadline)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.due is not None and worker.due <= time.monotonic():
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        read, write = os.pipe()
        signals = {*_STOP, *_PASSED_ON}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        worker.pid = os.fork()
        if worker.pid == 0:
            os.close(read)
            self._be_worker(write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        os.close(write)
        worker.pipe, worker.born, worker.due, worker.up = read, time.monotonic(), None, False
        self._selector.register(read, selectors.EVENT_READ, worker)

    def _be_worker(self, write: int) -> None:
        """The whole life of a worker: it never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _STOP:
                signal.signal(number, signal.SIG_DFL)
            for number in _PASSED_ON:
                signal.signal(number, signal.SIG_IGN)  # until it can do something with them
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_STOP, *_PASSED_ON})
            self._selector.close()
            os.close(self._alive)
            for other in self._workers:
                if other.due is None and other.pipe >= 0:
                    os.close(other.pipe)
            systemd.forget()
            status = self._work(lambda: _write(write), self._parent)
            logging.shutdown()
        except Exception:
            logger.exception("a worker ends")
        finally:
            os._exit(status)

    def _heard(self, worker: Worker) -> None:
        """A worker is up, or it has ended."""
        if os.read(worker.pipe, 1):
            worker.up = True
            if not self._is_up and all(other.up for other in self._workers):
                self._is_up = True
                self._when_up()
            return
        self._selector.unregister(worker.pipe)
        os.close(worker.pipe)
        worker.pipe = -1
        self._ended(worker, os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1]))

    def _ended(self, worker: Worker, code: int) -> None:
        if code == 0 or self._deadline is not None:
            self._workers.remove(worker)
            self._status = self._status if code == 0 else 1
            return
        if not self._is_up:
            self._workers.remove(worker)
            self._status = 1
            self._stop()
            return
        lived = time.monotonic() - worker.born
        worker.pause = 0.0 if lived >= LONGEST_PAUSE else min(max(1.0, worker.pause * 2), LONGEST_PAUSE)
        worker.due = time.monotonic() + worker.pause
        how = f"signal {-code}" if code < 0 else f"status {code}"
        logger.warning(
            "worker %d ended with %s: it is started again in %g s", worker.number, how, worker.pause
        )

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in _STOP:
                self._stop()
            elif number in _PASSED_ON:
                if number == signal.SIGHUP:
                    self._reload()
                self._send(signal.Signals(number))

    def _stop(self) -> None:
        if self._deadline is None:
            systemd.notify("STOPPING=1")
            self._deadline = time.monotonic() + PATIENCE
            self._workers = [worker for worker in self._workers if worker.due is None]
            self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.due is None:
                os.kill(worker.pid, number)

    def _kill_late(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            self._send(signal.SIGKILL)
            self._deadline = time.monotonic() + PATIENCE


def _nothing(number: int, frame: FrameType | None) -> None:
    """The number is read from the pipe that wakes the selector."""


def _write(pipe: int) -> None:
    try:
        os.write(pipe, b"\0")
    except BrokenPipeError:
        pass  # nobody keeps us any more
