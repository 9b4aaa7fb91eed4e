"""Long tasks and threads: what ends one before its time is logged, counted, and told to whom it serves.

An exception in a task that nobody awaits dies unheard, and whatever the task served stands still for ever.
So every task of the server is started by `start`, threads and callbacks that serve somebody run in `guard`,
and steps that must all be tried go through `attempt`. `hear_others` is for what libraries start.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")
Tell = Callable[[str], object]  # gets the reason why what was served ends, in words for its user

failures: Counter[str] = Counter()  # of this process, by name of task
_lock = threading.Lock()
_running: set[asyncio.Task[Any]] = set()  # an event loop alone holds its tasks weakly


def start(
    work: Coroutine[Any, Any, T],
    name: str,
    tell: Tell | None = None,
    expected: tuple[type[Exception], ...] = (),
) -> asyncio.Task[T]:
    """A task of the running loop. name: one of few, for log and metrics.

    tell: ends what the task serves, where the task fails. expected: what whoever awaits the task deals with.
    """
    task = asyncio.create_task(work, name=name)
    _running.add(task)

    def ended(task: asyncio.Task[T]) -> None:
        _running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, expected):
            failed(name, error, tell)

    task.add_done_callback(ended)
    return task


def guard(name: str, tell: Tell | None, work: Callable[..., object], *arguments: Any) -> None:
    """Call `work`: all that a thread does, or one callback of the event loop's."""
    try:
        work(*arguments)
    except Exception as error:
        failed(name, error, tell)


async def attempt(name: str, work: Awaitable[object]) -> None:
    """One step of several that must all be tried, such as releasing what a session holds."""
    try:
        await work
    except Exception as error:
        failed(name, error)


def failed(name: str, error: BaseException, tell: Tell | None = None) -> None:
    """Log it with its traceback, count it, tell whom it served."""
    with _lock:
        failures[name] += 1
    logger.error("%s failed", name, exc_info=error)
    if tell is not None:
        tell(f"an error in the server ({name}); its log says more")


def hear_others(loop: asyncio.AbstractEventLoop) -> None:
    """From now on log and count too what fails in the tasks, callbacks and threads of libraries."""

    def of_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            logger.error("%s", context["message"])
        else:
            failed("a library's task", error)

    def of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
            failed("a library's thread", arguments.exc_value)

    loop.set_exception_handler(of_loop)
    threading.excepthook = of_thread
