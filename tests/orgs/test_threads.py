"""Threads by purpose: callers take turns, and one cannot use them all."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from orgs.threads import EXPORTS, READS, SESSIONS, TOKENS, Threads, TooManyWaiting


async def running(threads: Threads, caller: str, gate: threading.Event) -> asyncio.Task[bool]:
    """Return work of the caller that runs, or waits, until the gate is open."""
    task = asyncio.create_task(threads.run(caller, partial(gate.wait, 10)))
    await asyncio.sleep(0.01)
    return task


async def test_work_returns_its_value_or_raises() -> None:
    threads = Threads("t", 1)
    async with asyncio.timeout(120):  # each thread is free after its work, also after an error
        assert await threads.run("a", lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await threads.run("a", lambda: 1 // 0)
        assert await threads.run("a", threading.get_ident) != threading.get_ident()


async def test_each_thread_runs_work_once() -> None:
    threads, ran = Threads("t", 3), list[int]()
    threads.run_in_each(partial(ran.append, 0))
    assert ran == []  # they have not begun
    await threads.run("a", lambda: None)
    threads.run_in_each(lambda: ran.append(threading.get_ident()))
    assert len(set(ran)) == len(ran) == 3


async def test_one_caller_leaves_threads_to_others() -> None:
    threads, gate = Threads("t", 3, of_one=2), threading.Event()
    slow = [await running(threads, "a", gate) for _ in range(10)]
    assert await asyncio.wait_for(threads.run("b", lambda: "at once"), 120) == "at once"
    gate.set()
    assert await asyncio.gather(*slow) == [True] * 10


@pytest.mark.parametrize("pool", [SESSIONS, READS, EXPORTS, TOKENS], ids=lambda pool: pool.name)
def test_pool_keeps_thread_from_each_caller(pool: Threads) -> None:
    assert pool.of_one < pool.most


async def test_work_keeps_its_thread_until_it_ends() -> None:
    threads, gate = Threads("t", 2, of_one=1), threading.Event()
    running_now, most = list[int](), list[int]()

    def work() -> None:
        running_now.append(1)
        most.append(len(running_now))
        gate.wait(0.01)
        running_now.pop()

    await asyncio.gather(*(threads.run("a", work) for _ in range(5)))
    assert most == [1] * 5


async def test_callers_take_turns() -> None:
    threads, gate, order = Threads("t", 1), threading.Event(), list[str]()
    first = await running(threads, "a", gate)
    works = [threads.run(caller, partial(order.append, caller)) for caller in "aaabbc"]
    waiting = [asyncio.create_task(work) for work in works]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *waiting)
    assert order == ["a", "b", "c", "a", "b", "a"]


async def test_too_much_waiting_work_of_one_caller_is_refused() -> None:
    threads, gate = Threads("t", 1), threading.Event()
    work = [await running(threads, "a", gate) for _ in range(3)]
    with pytest.raises(TooManyWaiting):
        await threads.run("a", lambda: None, waiting_max=2)
    work.append(await running(threads, "b", gate))
    gate.set()
    await asyncio.gather(*work)
    await threads.run("a", lambda: None, waiting_max=2)


async def test_cancelled_work_does_not_run() -> None:
    threads, gate, done = Threads("t", 1), threading.Event(), list[int]()
    first = await running(threads, "a", gate)
    second = asyncio.create_task(threads.run("a", partial(done.append, 1)))
    await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.wait([second])
    await asyncio.sleep(0.01)  # the cancellation reaches the waiting work by the loop's callbacks
    gate.set()
    await first
    await threads.run("a", lambda: None)
    assert done == []


async def test_thread_rests_after_work_and_answer_does_not_wait() -> None:
    def busy(seconds: float) -> None:
        end_s = time.thread_time() + seconds
        while time.thread_time() < end_s:
            pass

    threads = Threads("t", 1, rest=20.0)
    began_s = time.monotonic()
    resting = asyncio.create_task(threads.run("a", partial(busy, 0.05)))
    following = asyncio.create_task(threads.run("b", time.monotonic))
    await resting
    answered_s = time.monotonic()
    followed_s = await following
    assert followed_s - began_s >= 1.0
    assert answered_s < followed_s


FORKS = """
import asyncio, os
from orgs.threads import Threads

threads = Threads("t", 1)
asyncio.run(threads.run("a", lambda: None))
with threads._lock:  # as one of its threads may have it
    child = os.fork()
if child == 0:
    os._exit(asyncio.run(threads.run("a", lambda: 7)))
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_threads_work_after_fork() -> None:
    assert subprocess.run([sys.executable, "-c", FORKS], timeout=240, check=False).returncode == 7
