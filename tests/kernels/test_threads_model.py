"""The pool under every interleaving, with every stale read that C11 grants its memory orders.

An abstract copy of bitx_threads.c: a caller brings two jobs and stops the pool, two threads serve.
The orders are read from the C file; each that is made weaker must be caught.  Memory is a list of
messages per variable; a thread knows of each variable the oldest message that it may still read,
and learns what a message carries by acquiring it.  A load reads any message from there on, so
stores may be seen late and in another order; an exchange reads the last.  Stores before earlier
loads are not modelled.  Results of tasks are plain memory: to touch one without knowing its last
writer is a race.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pytest

from bitexport.paths import runtime_root
from bitexport.toolchain.compile import EXTRAS

JOBS = (2, 1)  # indices of each
SERVERS = 2

View = tuple[int, ...]
Place = tuple[str, str, str]  # function of bitx_threads.c, what it does, variable
Orders = Mapping[Place, tuple[str, ...]]  # of a compare-and-swap two: success, failure

# Variables; then one cell for the result of each index.
TICKET, JOB, UNFINISHED, SLEEPERS, STOPPING, CELL = range(6)
CELLS = {
    place: CELL + at
    for at, place in enumerate((job, i) for job, n in enumerate(JOBS, 1) for i in range(n))
}
UNTOUCHED, READY, RUN, OVER = range(4)
WORK, DONE = range(2)
NUMBER = 256  # of a ticket: job * NUMBER + indices left
SLEEPS = 1 << 31
NOTHING: View = (0,) * (CELL + len(CELLS))

FUNCTION = re.compile(r"^(?:static )?[\w ]+?\**(\w+)\([^;{]*\)\n\{\n(.*?)^\}", re.M | re.S)
ACCESS = re.compile(
    r"atomic_(\w+)_explicit\(\s*&(?:t|threads)->(\w+)[^;{]*?"
    r"memory_order_(\w+)(?:,\s*memory_order_(\w+))?\)"
)


def orders_of_the_pool() -> dict[Place, tuple[str, ...]]:
    """Return the memory orders that bitx_threads.c asks for."""
    text = (runtime_root() / EXTRAS / "bitx_threads.c").read_text(encoding="utf-8")
    found = {}
    for name, body in FUNCTION.findall(text):
        for operation, variable, *orders in ACCESS.findall(body):
            place = (name, operation.removesuffix("_weak"), variable)
            assert place not in found, place
            found[place] = tuple(order for order in orders if order)
    assert len(found) == len(re.findall(r"atomic_\w+_explicit", text))
    return found


# What the model leaves out: one caller holds `busy`, and the fields of a job are one variable.
# `argument` stands for all three.
LEFT_OUT = {
    ("begin", "exchange", "busy"), ("bitx_threads_for", "store", "busy"),
    *(("begin", "store", field) for field in ("task", "count")),
    *(("work_a_little", "load", field) for field in ("task", "count")),
}  # fmt: skip


class Message(NamedTuple):
    """A value of a variable, and what whoever acquires it learns."""

    value: int
    view: View


class Thread(NamedTuple):
    """Where a thread is, what it holds, and per variable the oldest message it may read."""

    at: str
    held: tuple[int | str, ...]
    view: View


class State(NamedTuple):
    """Everything.  threads[0] is the caller; of a cell `memory` keeps the last message alone."""

    threads: tuple[Thread, ...]
    memory: tuple[tuple[Message, ...], ...]
    semaphores: tuple[Message, ...]  # the count, and what was known to those who posted


class Wrong(Exception):  # noqa: N818  (it is what the test looks for)
    """The pool did something that it must not do."""


def acquires(order: str) -> bool:
    return order in ("acquire", "acq_rel", "seq_cst")


def releases(order: str) -> bool:
    return order in ("release", "acq_rel", "seq_cst")


def joined(a: View, b: View) -> View:
    return tuple(map(max, a, b))


class Step:
    """A thread's next action, on a copy of everything."""

    def __init__(self, state: State, who: int) -> None:
        self.who = who
        self.at, _, self.view = state.threads[who]
        self.others = list(state.threads)
        self.memory = list(state.memory)
        self.semaphores = list(state.semaphores)

    def copy(self) -> Step:
        """Return the same, to go another way."""
        other: Step = Step.__new__(Step)
        other.who, other.at, other.view = self.who, self.at, self.view
        other.others, other.memory = list(self.others), list(self.memory)
        other.semaphores = list(self.semaphores)
        return other

    def last(self, variable: int) -> int:
        """Return the last value that a variable got."""
        return self.memory[variable][-1].value

    def load(self, variable: int, which: int, order: str) -> int:
        """Read one of the messages."""
        message = self.memory[variable][which]
        self._knows(variable, which)
        if acquires(order):
            self.view = joined(self.view, message.view)
        return message.value

    def store(self, variable: int, value: int, order: str) -> None:
        """Add a message."""
        self._append(variable, value, order, NOTHING)

    def exchange(self, variable: int, value: int, order: str) -> None:
        """Read the last message and add one that passes on what it carried: a release sequence."""
        carried = self.memory[variable][-1].view
        self.load(variable, len(self.memory[variable]) - 1, order)
        self._append(variable, value, order, carried)

    def touch(self, cell: int, expected: int, value: int) -> None:
        """Access plain memory: from now on nobody else knows its last writer."""
        if not self.view[cell]:
            raise Wrong(f"a race: thread {self.who} at `{self.at}`")
        if self.last(cell) != expected:
            raise Wrong(f"thread {self.who} at `{self.at}` finds {self.last(cell)}")
        self.memory[cell] = (Message(value, ()),)
        self.others = [t._replace(view=_without(t.view, cell)) for t in self.others]
        for variable in range(CELL):
            self.memory[variable] = _all_without(self.memory[variable], cell)
        self.semaphores = list(_all_without(self.semaphores, cell))

    def run(self, job: int, left: int) -> None:
        """Run a task of the job that the thread read, at the index that it took."""
        cell = CELLS.get((job, JOBS[job - 1] - left))
        if cell is None:
            raise Wrong(f"thread {self.who} takes an index that job {job} has not")
        self.touch(cell, READY, RUN)

    def post(self, semaphore: int, count: int) -> None:
        """Add to a semaphore."""
        before = self.semaphores[semaphore]
        self.semaphores[semaphore] = Message(before.value + count, joined(before.view, self.view))

    def wait(self, semaphore: int) -> bool:
        """Take one from a semaphore, if there is one."""
        count, view = self.semaphores[semaphore]
        if count:
            self.semaphores[semaphore] = Message(count - 1, view if count > 1 else NOTHING)
            self.view = joined(self.view, view)
        return count > 0

    def go(self, at: str, *held: int | str) -> State:
        """Return everything after the action; the thread is then `at`."""
        self.others[self.who] = Thread(at, held, NOTHING if at == "left" else self.view)
        return _tidy(State(tuple(self.others), tuple(self.memory), tuple(self.semaphores)))

    def _knows(self, variable: int, which: int) -> None:
        self.view = (*self.view[:variable], which, *self.view[variable + 1 :])

    def _append(self, variable: int, value: int, order: str, carried: View) -> None:
        self._knows(variable, len(self.memory[variable]))
        own = tuple(n if v == variable else 0 for v, n in enumerate(self.view))
        view = joined(self.view if releases(order) else own, carried)
        self.memory[variable] = (*self.memory[variable], Message(value, view))


def _without(view: View, cell: int) -> View:
    return (*view[:cell], 0, *view[cell + 1 :]) if view[cell] else view


def _all_without(messages: Iterable[Message], cell: int) -> tuple[Message, ...]:
    return tuple(Message(m.value, _without(m.view, cell)) for m in messages)


def _tidy(state: State) -> State:
    """Forget what can make no difference, so that few states are different.

    That is messages that all who read the variable are past, what is carried by messages that
    nobody acquires, and which of the threads that serve is which.
    """
    caller, *servers = (thread for thread in state.threads)
    drop = []
    for variable in range(CELL):
        readers = [caller] if variable == UNFINISHED else servers
        readers = [caller, *servers] if variable == TICKET else readers
        readers = [] if variable == SLEEPERS else readers
        here = [thread.view[variable] for thread in readers if thread.at != "left"]
        last = len(state.memory[variable]) - 1
        drop.append(min((last, *here)))

    def less(view: View) -> View:
        known = [n - d if n > d else 0 for n, d in zip(view, drop, strict=False)]
        known[UNFINISHED] = 0
        return (*known, *view[CELL:])

    memory = list(state.memory)
    for variable in range(CELL):
        kept = state.memory[variable][drop[variable] :]
        memory[variable] = tuple(
            Message(m.value, NOTHING if variable in (JOB, STOPPING) else less(m.view)) for m in kept
        )
    unfinished = caller.view[UNFINISHED] - drop[UNFINISHED]
    view = less(caller.view)
    caller = caller._replace(view=(*view[:UNFINISHED], unfinished, *view[UNFINISHED + 1 :]))
    servers = sorted(thread._replace(view=less(thread.view)) for thread in servers)
    semaphores = tuple(Message(m.value, less(m.view)) for m in state.semaphores)
    return State((caller, *servers), tuple(memory), semaphores)


# ---- bitx_threads.c ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pool:
    """The algorithm under given orders; with `numbered` false a ticket does not name its job.

    A step is one action that others can see.  The loads before it belong to it: what may be read
    may be read later as well.
    """

    orders: Orders
    numbered: bool = True

    def steps(self, state: State, who: int) -> Iterator[State]:
        """Yield what may be after the next action of a thread."""
        at, held, _ = state.threads[who]
        yield from getattr(self, f"_{at}")(Step(state, who), *held)

    def _order(self, function: str, operation: str, variable: str, which: int = 0) -> str:
        return self.orders[function, operation, variable][which]

    def _loads(self, before: Step, variable: int, *place: str) -> Iterator[tuple[Step, int]]:
        """Yield each value that a load may return, and the thread after it."""
        order = self._order(*place)
        for which in range(before.view[variable], len(before.memory[variable])):
            step = before.copy()
            yield step, step.load(variable, which, order)

    # work_a_little()

    def _take(self, before: Step) -> Iterator[tuple[Step, bool]]:
        """Yield the thread after it took an index and ran it, or found none.

        A swap that fails is followed by the same loads again, so it adds nothing.
        """
        swap = self._order("work_a_little", "compare_exchange", "ticket")
        for step, ticket in self._loads(before, TICKET, "work_a_little", "load", "ticket"):
            if ticket % NUMBER == 0:
                yield step, False
            elif step.last(TICKET) == ticket:
                yield from self._swap(step, ticket, swap)

    def _swap(self, before: Step, ticket: int, order: str) -> Iterator[tuple[Step, bool]]:
        for step, job in self._loads(before, JOB, "work_a_little", "load", "argument"):
            step.exchange(TICKET, ticket - 1, order)
            step.run(job, ticket % NUMBER)
            yield step, True

    def _finish(self, step: Step, *held: int | str) -> Iterator[State]:
        before = step.last(UNFINISHED)
        order = self._order("finish", "fetch_sub", "unfinished")
        step.exchange(UNFINISHED, before - 1, order)
        if before == SLEEPS + 1:
            step.post(DONE, 1)
        at, *rest = held
        yield step.go(str(at), *rest)

    # serve() and wait_for_work()

    def _serve(self, before: Step) -> Iterator[State]:
        for step, stopping in self._loads(before, STOPPING, "serve", "load", "stopping"):
            yield from [step.go("left")] if stopping else self._work(step)

    def _work(self, before: Step) -> Iterator[State]:
        """work_off() as others than the caller do it, then lie down."""
        order = self._order("wait_for_work", "fetch_add", "sleepers")
        for step, took in self._take(before):
            if took:
                yield step.go("finish", "work")
            else:
                step.exchange(SLEEPERS, step.last(SLEEPERS) + 1, order)
                yield step.go("look")

    def _look(self, before: Step) -> Iterator[State]:
        for at_ticket, ticket in self._loads(before, TICKET, "work_has_come", "load", "ticket"):
            if ticket % NUMBER:
                yield from self._withdraw(at_ticket)
                continue
            for step, stopping in self._loads(
                at_ticket, STOPPING, "work_has_come", "load", "stopping"
            ):
                yield from self._withdraw(step) if stopping else [step.go("sleep")]

    def _withdraw(self, before: Step) -> Iterator[State]:
        """Whoever reads zero late was counted by wake() all the same: only the last is read."""
        if sleepers := before.last(SLEEPERS):
            order = self._order("withdraw", "compare_exchange", "sleepers")
            before.exchange(SLEEPERS, sleepers - 1, order)
        yield before.go("serve" if sleepers else "sleep")

    def _sleep(self, step: Step) -> Iterator[State]:
        if step.wait(WORK):
            yield step.go("serve")

    def _left(self, step: Step) -> Iterator[State]:
        yield from ()

    # bitx_threads_for()

    def _begin(self, step: Step, job: int) -> Iterator[State]:
        for index in range(JOBS[job - 1]):
            step.touch(CELLS[job, index], UNTOUCHED, READY)
        step.store(JOB, job, self._order("begin", "store", "argument"))
        step.store(UNFINISHED, JOBS[job - 1], self._order("begin", "store", "unfinished"))
        number = NUMBER * job if self.numbered else 0
        step.store(TICKET, number + JOBS[job - 1], self._order("begin", "store", "ticket"))
        yield step.go("begun", job)

    def _begun(self, before: Step, job: int) -> Iterator[State]:
        for step, took in self._take(before):
            yield step.go("finish", "decide", job) if took else step.go("decide", job)

    def _decide(self, step: Step, job: int) -> Iterator[State]:
        """Whether waking is worth it depends on the clock."""
        yield from self._wake(step.copy(), job)
        yield from self._help(step, job)

    def _help(self, before: Step, job: int) -> Iterator[State]:
        for step, took in self._take(before):
            if took:
                yield step.go("finish", "help", job)
            else:
                yield from self._wait(step, job)

    def _wake(self, step: Step, job: int) -> Iterator[State]:
        """Of a job, wake one; to stop, all."""
        sleepers = step.last(SLEEPERS)  # having read another, the swap fails and looks again
        woken = min(sleepers, 1 if job else SERVERS)
        step.exchange(
            SLEEPERS, sleepers - woken, self._order("wake", "compare_exchange", "sleepers")
        )
        step.post(WORK, woken)
        yield step.go("help", job) if job else step.go("join")

    def _wait(self, before: Step, job: int) -> Iterator[State]:
        for step, left in self._loads(before, UNFINISHED, "end_has_come", "load", "unfinished"):
            if left == 0:
                yield self._ended(step, job)
        unfinished = before.last(UNFINISHED)
        order = self._order("wait_for_end", "fetch_add", "unfinished")
        before.exchange(UNFINISHED, unfinished + SLEEPS, order)
        yield self._ended(before, job) if unfinished == 0 else before.go("wait_done", job)

    def _wait_done(self, step: Step, job: int) -> Iterator[State]:
        if step.wait(DONE):
            yield self._ended(step, job)

    def _ended(self, step: Step, job: int) -> State:
        for index in range(JOBS[job - 1]):
            step.touch(CELLS[job, index], RUN, OVER)
        return step.go("begin", job + 1) if job < len(JOBS) else step.go("stop")

    # bitx_threads_stop()

    def _stop(self, step: Step) -> Iterator[State]:
        step.store(STOPPING, 1, self._order("bitx_threads_stop", "store", "stopping"))
        yield step.go("wake", 0)

    def _join(self, step: Step) -> Iterator[State]:
        if all(thread.at == "left" for thread in step.others[1:]):
            yield step.go("left")


def explore(pool: Pool) -> int:
    """Visit every state; return how many there are."""
    zero, untouched = (Message(0, NOTHING),), (Message(UNTOUCHED, ()),)
    first = State(
        (
            Thread("begin", (1,), (*NOTHING[:CELL], *(1 for _ in CELLS))),
            *(Thread("serve", (), NOTHING) for _ in range(SERVERS)),
        ),
        (*(zero for _ in range(CELL)), *(untouched for _ in CELLS)),
        (Message(0, NOTHING), Message(0, NOTHING)),
    )
    seen, todo = {first}, [first]
    while todo:
        state = todo.pop()
        after = {each for who in range(len(state.threads)) for each in pool.steps(state, who)}
        if not after and any(thread.at != "left" for thread in state.threads):
            raise Wrong(f"all sleep: {[thread.at for thread in state.threads]}")
        todo += after - seen
        seen |= after
    return len(seen)


ORDERS = orders_of_the_pool()
MODELLED = {place: orders for place, orders in ORDERS.items() if place not in LEFT_OUT}
WEAKER = {"acq_rel": ("acquire", "release"), "acquire": ("relaxed",), "release": ("relaxed",)}
WEAKENED = [
    (place, at, weaker)
    for place, orders in MODELLED.items()
    for at, order in enumerate(orders)
    for weaker in WEAKER.get(order, ())
]


def test_whatever_happens_every_index_runs_once_and_nobody_sleeps_for_ever() -> None:
    assert explore(Pool(MODELLED)) > 1000


@pytest.mark.parametrize(
    ("place", "at", "weaker"),
    WEAKENED,
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else None,
)
def test_no_order_can_be_weaker(place: Place, at: int, weaker: str) -> None:
    orders = list(MODELLED[place])
    orders[at] = weaker
    with pytest.raises(Wrong):
        explore(Pool({**MODELLED, place: tuple(orders)}))


def test_a_late_thread_would_take_from_the_next_job_if_tickets_did_not_name_theirs() -> None:
    with pytest.raises(Wrong):
        explore(Pool(MODELLED, numbered=False))
