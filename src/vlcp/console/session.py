"""One session: reads statements, carries them out in a thread of its own, and shows what comes of them."""

from __future__ import annotations

import ast
import asyncio
import code
import concurrent.futures
import ctypes
import inspect
import threading
import types
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from vlcp.console.hold import Hold
from vlcp.console.output import SHOW
from vlcp.console.telnet import Control
from vlcp.console.terminal import Terminal

T = TypeVar("T")
LONGEST_VALUE = 100_000
"""Characters of a value that is shown by itself; `print` shows all."""
_FILE = "<console>"


class HeldError(RuntimeError):
    """The event loop stands still, so it would never answer."""


class InLoopError(RuntimeError):
    """What waits for the event loop is called in the loop's own thread."""


class Session(code.InteractiveInterpreter):
    """Statements of one terminal. `variables` are what they know in the beginning."""

    def __init__(self, terminal: Terminal, loop: asyncio.AbstractEventLoop, hold: Hold) -> None:
        super().__init__({"__name__": "__console__", "__show__": self._show})
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.terminal = terminal
        self.loop = loop
        self.hold = hold
        self.futures: set[concurrent.futures.Future[Any]] = set()
        """What this session has given to the event loop and is not done."""
        self._waiting: concurrent.futures.Future[Any] | None = None
        self._running = False
        self._ended = False
        self.on_end: Callable[[], object] = lambda: None
        """Called in the session's thread when it ends."""
        self._thread = threading.Thread(target=self._main, name="console", daemon=True)

    def start(self, banner: str, variables: Mapping[str, Any]) -> None:
        """Begin the thread."""
        self.locals.update(variables)
        self._banner = banner
        self._thread.start()

    def alive(self) -> bool:
        """The thread is there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the session, whatever it does; called in the event loop's thread, returns at once."""
        self._ended = True
        for future in tuple(self.futures):
            future.cancel()
        self.terminal.close()
        self._raise(SystemExit)

    def join(self, limit: float) -> None:
        """Wait for the end of the thread, but not longer than `limit` seconds."""
        self._thread.join(limit)

    # -- in the session's thread

    def _main(self) -> None:
        SHOW.set(self.show)
        self.terminal.start(self.interrupt)
        try:
            self.terminal.write(f"{self._banner}\n")
            self._converse()
        except (OSError, SystemExit):
            pass  # the client is gone, or wants to
        finally:
            SHOW.set(None)
            self.close()
            self.on_end()

    def _converse(self) -> None:
        statement = list[str]()
        while not self._ended:
            try:
                line = self.terminal.read("... " if statement else ">>> ")
                if line is Control.END:
                    return
                if isinstance(line, Control):
                    statement.clear()
                    self.terminal.write("\nKeyboardInterrupt\n")
                    continue
                statement.append(line)
                if not self.runsource("\n".join(statement), _FILE):
                    statement.clear()
            except KeyboardInterrupt:  # it came just when the statement was done
                statement.clear()

    def runcode(self, code: types.CodeType) -> None:
        """Carry out a statement; a value is shown, one with `await` runs as a task in the event loop."""
        self._running = True
        try:
            result = types.FunctionType(code, self.locals)()
            if inspect.iscoroutine(result):
                self.wait(result, "statement")
        except SystemExit:
            raise
        except KeyboardInterrupt:
            self.write("KeyboardInterrupt\n")
        except BaseException:
            self.showtraceback()
        finally:
            self._running = False

    def runsource(self, source: str, filename: str = _FILE, symbol: str = "single") -> bool:
        """Carry out a statement, once it is complete; True when more lines are needed."""
        try:
            complete = self.compile(source, filename, symbol)
            if complete is None:
                return True
            tree = compile(source, filename, "exec", ast.PyCF_ONLY_AST | self.compile.compiler.flags)
        except (OverflowError, SyntaxError, ValueError):
            self.showsyntaxerror(filename)
            return False
        for node in tree.body:
            if isinstance(node, ast.Expr):
                show = ast.copy_location(ast.Name("__show__", ast.Load()), node.value)
                node.value = ast.copy_location(ast.Call(show, [node.value], []), node.value)
        self.runcode(compile(tree, filename, "exec", self.compile.compiler.flags, dont_inherit=True))
        return False

    def write(self, data: str) -> None:
        """Show text of the interpreter itself, such as a traceback."""
        self.terminal.write(data)

    def show(self, text: str) -> None:
        """Show text of a statement, as long as the session lives."""
        if not self._ended:
            self.terminal.write(text)

    def _show(self, value: Any) -> None:
        """Show the value of an expression, and keep it as `_`."""
        if value is None:
            return
        self.locals["_"] = value
        text = repr(value)
        rest = len(text) - LONGEST_VALUE
        self.show(f"{text[:LONGEST_VALUE]}... ({rest} more characters)\n" if rest > 0 else f"{text}\n")

    # -- between the threads

    def in_loop(self) -> bool:
        """This is the event loop's own thread, which must not wait for itself."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def submit(self, coroutine: Coroutine[Any, Any, T], name: str) -> concurrent.futures.Future[T]:
        """Run a coroutine as a task of the event loop, which this session owns."""

        async def named() -> T:
            if (task := asyncio.current_task()) is not None:
                task.set_name(f"console: {name}")
            return await coroutine

        if self.hold.active and not self.in_loop():
            coroutine.close()
            raise HeldError("the event loop is held: resume() first")
        future = asyncio.run_coroutine_threadsafe(named(), self.loop)
        self.futures.add(future)
        future.add_done_callback(self.futures.discard)
        return future

    def wait(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        """Run a coroutine in the event loop and wait for its result; an interruption cancels it."""
        if self.in_loop():
            coroutine.close()
            raise InLoopError("this would wait for the event loop, within it: use await")
        self._waiting = future = self.submit(coroutine, name)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            self._waiting = None

    def interrupt(self) -> bool:
        """Interrupt the statement that runs, if there is one. Called from the thread that reads."""
        running, waiting = self._running, self._waiting
        if waiting is None or not waiting.cancel():
            self._raise(KeyboardInterrupt)
        return running

    def _raise(self, kind: type[BaseException]) -> None:
        """Raise an exception in the session's thread as soon as it carries out Python code."""
        thread = self._thread.ident
        if thread is not None and self._running and thread != threading.get_ident():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
