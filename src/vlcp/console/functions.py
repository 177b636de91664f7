"""What statements of the console can use: the server, its configuration, and functions to look and to interfere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from vlcp.console.hold import Debugger, wait
from vlcp.console.session import InLoopError, Session
from vlcp.server.config import Config
from vlcp.server.notifications import Listener, Notification

if TYPE_CHECKING:
    from vlcp.server.server import Server

HELP = """\
Variables
  server       the running server: server.modules, server.apis, server.loader, server.config
  manager      the configuration: manager.savetostr(), manager.module.httpserver
  container    where callapi(container, ...) leaves its result: container.retvalue
  _            the last value that was shown

Functions
  callapi(module, api, **parameters)   call an API of a module and give its result; within async def: await callapi(...)
  capture(what=None)                   show notifications: "module", "module/name", a list of them, a function, or all
  sendevent("module/name", **values)   send a notification
  execute(coroutine)                   run a coroutine in the event loop and give its result, as `await` does
  subroutine(coroutine)                the same in the background
  syscall(function)                    call a function in the event loop's thread and give its result
  breakpoint()                         hold the event loop: nothing changes until resume(), but for 60 seconds at most
  resume()                             let the event loop go on
  debug()                              pdb in the event loop's thread; c, q or restore_console() returns
  console_help()                       this text

Ctrl-C interrupts a statement. exit() or Ctrl-D ends the session; the server goes on.
"""


class Container:
    """Where `callapi` leaves a result for those who call it in a loop."""

    retvalue: Any = None


class ConfigurationTree:
    """The configuration below a key: `manager.module.httpserver.url` is a value, `manager.module` a tree again."""

    def __init__(self, config: Config, key: str = "") -> None:
        self._config = config
        self._key = key

    def savetostr(self) -> str:
        """The text of a configuration file."""
        prefix = f"{self._key}." if self._key else ""
        lines = self._config.dump().splitlines(keepends=True)
        return "".join(line for line in lines if line.startswith(prefix))

    def __getattr__(self, name: str) -> Any:
        key = f"{self._key}.{name}" if self._key else name
        value = self._config.get(key)
        return ConfigurationTree(self._config, key) if isinstance(value, dict) else value

    def __dir__(self) -> list[str]:
        return [*self._config.names(self._key), "savetostr"]

    def __repr__(self) -> str:
        return self.savetostr().rstrip("\n")


class Capture:
    """Notifications that are shown until `stop`. The last one is `seen`."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self.seen: Notification | None = None
        self.first = concurrent.futures.Future[Notification]()

    def stop(self) -> None:
        """Show nothing more."""
        if self.listener is not None:
            self.listener.close()

    def __repr__(self) -> str:
        return "capturing; .stop() ends it, .seen is the last notification"


class Functions:
    """The functions of one session."""

    def __init__(self, server: Server, session: Session, say: Callable[[str], None]) -> None:
        """`say` shows text to the session."""
        self._server = server
        self._session = session
        self._say = say
        self._captures = list[Capture]()

    def variables(self) -> dict[str, Any]:
        """What the statements know in the beginning."""
        functions = (
            *(self.callapi, self.capture, self.sendevent, self.subroutine, self.execute, self.syscall),
            *(self.breakpoint, self.resume, self.debug, self.restore_console, self.console_help),
        )
        named = {function.__name__: function for function in functions}
        tree = ConfigurationTree(self._server.config)
        ends = {"exit": _exit, "quit": _exit}  # Python's own close the standard input of the process
        return {**named, **ends, "server": self._server, "manager": tree, "container": Container()}

    def close(self) -> None:
        """End what the session has captured; called in the event loop."""
        for captured in self._captures:
            captured.stop()

    def let_go(self) -> None:
        """End what the session holds; called from any thread."""
        self._session.hold.end_of(self._session)

    # -- calls and notifications

    def callapi(self, *target: Any, **params: Any) -> Any:
        """Call an API: callapi("knowledge", "get", key="a").

        Within the event loop, in an async def, it must be awaited. With the container as the first parameter nothing is
        yielded, and the result is in container.retvalue: for _ in callapi(container, "knowledge", "get", key="a"): pass
        """
        if target and isinstance(target[0], Container):
            return self._callapi_in_loop(target[0], *target[1:], **params)
        module, api = target
        call = self._server.apis.call(module, api, params)
        if self._session.in_loop():
            return call
        return self._session.wait(call, f"{module}/{api}")

    def _callapi_in_loop(
        self, container: Container, module: str, api: str, **params: Any
    ) -> Generator[None, None, Any]:
        container.retvalue = self._session.wait(
            self._server.apis.call(module, api, params), f"{module}/{api}"
        )
        return container.retvalue
        yield  # what makes it a generator; there is nothing to wait for any more

    def capture(
        self,
        matchers: Any = None,
        blocking: bool = False,
        breakpoint: bool = False,
        captureonce: bool = False,
        callback: Callable[[Notification], object] | None = None,
    ) -> Any:
        """Show the notifications that match: "module", "module/name", a list of them, or a function; None: all.

        blocking: wait for the first one and return it; breakpoint: hold the event loop when one comes; captureonce:
        only the first; callback: called with each, in the event loop's thread.
        """
        matches, captured = _matcher(matchers), Capture()
        once = captureonce or blocking

        def take(notification: Notification) -> None:
            if not matches(notification):
                return
            captured.seen = notification
            self._say(f"{notification}\n")
            if once:
                captured.stop()
            if not captured.first.done():
                captured.first.set_result(notification)
            if callback is not None:
                callback(notification)
            if breakpoint:
                self._say("the event loop is held: resume() lets it go on\n")
                self._session.hold.here(self._session)

        def begin() -> None:
            captured.listener = self._server.notifications.listen(take)
            self._captures.append(captured)

        self.syscall(begin)
        if not blocking:
            return captured
        try:
            return self._session.wait(_awaited(captured.first), "capture")
        finally:
            captured.stop()

    def sendevent(self, event: Any, emerge: bool = False, /, **attributes: Any) -> None:
        """Send a notification, "module/name" with attributes or one that was captured; it is always told at once."""
        if isinstance(event, Notification):
            module, name, attributes = event.module, event.name, {**event.attributes, **attributes}
        else:
            module, _, name = str(event).partition("/")
        self.syscall(lambda: self._server.notifications.notify(module, name, **attributes))

    # -- work in the event loop

    def execute(self, coroutine: Any) -> Any:
        """Run a coroutine in the event loop and return its result; a generator is exhausted here."""
        if inspect.isgenerator(coroutine):
            return _exhaust(coroutine)
        return self._session.wait(_checked(coroutine), "execute")

    def subroutine(self, coroutine: Any) -> Any:
        """Run a coroutine in the background, as long as the session lives. What it raises is shown.

        Returns a future: .result(), .cancel(), .done().
        """
        if inspect.isgenerator(coroutine):
            return self._session.submit(asyncio.to_thread(_exhaust, coroutine), "subroutine")
        return self._session.submit(self._shown(_checked(coroutine)), "subroutine")

    async def _shown(self, coroutine: Awaitable[Any]) -> Any:
        try:
            return await coroutine
        except Exception:
            self._say(f"a subroutine has failed:\n{traceback.format_exc()}")
            raise

    def syscall(self, function: Callable[[], Any]) -> Any:
        """Call a function in the event loop's thread, between two of its steps, and return its result."""
        if self._session.in_loop():
            return function()

        async def call() -> Any:
            return function()

        return self._session.wait(call(), "syscall")

    # -- holding

    def breakpoint(self) -> str:
        """Hold the event loop until resume(), at most for 60 seconds. Other sessions can look meanwhile, not call."""
        if self._session.in_loop():
            self._session.hold.here(self._session)
            return "the event loop was held"
        self._session.hold.begin(self._session)
        return f"the event loop is held, for {self._session.hold.limit:g} seconds at most: resume() lets it go on"

    def resume(self) -> str:
        """Let the event loop go on."""
        return "the event loop goes on" if self._session.hold.end() else "the event loop was not held"

    def debug(self) -> None:
        """pdb in the thread of the event loop, which is held at every prompt of pdb. Ends a hold by breakpoint()."""
        if self._session.in_loop():
            raise InLoopError("debug() is for the prompt: pdb needs the session's thread to wait for it")
        loop, ended = self._session.loop, threading.Event()
        debugger = Debugger(self._session.terminal, ended.set)
        self._session.hold.end()
        loop.call_soon_threadsafe(debugger.set_trace)
        while not ended.is_set():
            try:
                wait(ended)
            except KeyboardInterrupt:  # pdb waits for a breakpoint
                loop.call_soon_threadsafe(debugger.leave)
            except SystemExit:
                loop.call_soon_threadsafe(debugger.leave)
                raise

    def restore_console(self) -> str:
        """At the prompt of pdb: return to the console. Here there is nothing to return from."""
        return "this is the console"

    def console_help(self) -> None:
        """Show what there is."""
        self._say(HELP)


def _exit(code: object = None) -> NoReturn:
    """End the session."""
    raise SystemExit(code)


def _matcher(wanted: Any) -> Callable[[Notification], bool]:
    if wanted is None:
        return lambda notification: True
    if callable(wanted):
        return lambda notification: bool(wanted(notification))
    names = {wanted} if isinstance(wanted, str) else set(_texts(wanted))
    return lambda n: n.module in names or f"{n.module}/{n.name}" in names


def _texts(wanted: Iterable[Any]) -> Iterator[str]:
    for one in wanted:
        if not isinstance(one, str):
            raise TypeError(f"{one!r} is neither the name of a module nor module/name")
        yield one


def _checked(coroutine: Any) -> Any:
    if not inspect.iscoroutine(coroutine):
        raise TypeError(f"{coroutine!r} is not a coroutine: call an async def")
    return coroutine


def _exhaust(generator: Generator[Any, Any, Any]) -> Any:
    try:
        while True:
            next(generator)
    except StopIteration as end:
        return end.value


async def _awaited(future: concurrent.futures.Future[Notification]) -> Notification:
    return await asyncio.wrap_future(future)
