"""pytest --bitexport out/ --bitexport-core cortex-a53: fixtures and marks, for anybody's tests.

pytest loads this file wherever bitexport is installed.  It imports nothing of bitexport before
--bitexport is given, and does nothing then but declare its options, marks and fixtures.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bitexport.emit.manifest import Bundle
    from bitexport.testing.device import Device

CASE_FIXTURE, CORE_FIXTURE = "_bitexport_case", "bitexport_core"
DEVICE_FIXTURE = "bitexport_device"
GOLDEN, BUDGET = "bitexport_golden", "bitexport_budget"
MARKS = (
    "bitexport: asks for a bundle (-m bitexport, -m 'not bitexport'); the plugin sets it",
    f"{GOLDEN}(path): the device answers as this transcript of `bitexport run --record` says; "
    "the path is relative to the test's file",
    f"{BUDGET}(instructions_per_token='350 M', behind=0, arena='40 MB', context=None, chunk=None): "
    "a token behind so many, an arena for so much context, take no more",
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A bundle that was given, and one of its cores."""

    bundle: Path
    core: str = ""


CASES = pytest.StashKey[list[Case]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("bitexport", "bundles of bitexport on emulated cores")
    group.addoption(
        "--bitexport", action="append", default=[], dest="bitexport_bundles", metavar="BUNDLE",
        help="run the tests that ask for a bundle on this one; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--bitexport-core", action="append", default=[], dest="bitexport_cores", metavar="CORE",
        help="on this core, instead of every core of the bundle's target; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--bitexport-on", dest="bitexport_on", metavar="DEVICE",
        help="on a device that has the --bitexport-core, ssh:pi@board, adb:SERIAL or serial:PORT, "
        "instead of an emulator",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks, and read what was given."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    given, cores = config.option.bitexport_bundles, config.option.bitexport_cores
    if cores and not given:
        raise pytest.UsageError("--bitexport-core says where to run: give --bitexport BUNDLE, too")
    if config.option.bitexport_on and len(cores) != 1:
        raise pytest.UsageError("--bitexport-on needs one --bitexport-core: that of the device")
    # Workers of xdist take over the options, but may stand elsewhere.
    config.option.bitexport_bundles = [str(config.invocation_params.dir / path) for path in given]
    config.stash[CASES] = _cases(config.option, cores) if given else []


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what the tests run on."""
    on = config.option.bitexport_on
    where = f", {on}" if on else ""
    return [f"bitexport: {case.bundle} on {case.core}{where}" for case in config.stash[CASES]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each bundle, or for each core of each bundle."""
    cases = metafunc.config.stash[CASES]
    if not cases or CASE_FIXTURE not in metafunc.fixturenames:
        return
    if CORE_FIXTURE in metafunc.fixturenames:
        names = [f"{case.bundle.name}-{case.core}" for case in cases]
    else:
        cases = [Case(bundle) for bundle in dict.fromkeys(case.bundle for case in cases)]
        names = [case.bundle.name for case in cases]
    metafunc.parametrize(CASE_FIXTURE, cases, indirect=True, ids=names, scope="session")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Set the mark by which such tests are chosen."""
    if _is_ours(item):
        item.add_marker("bitexport")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a mark that nothing would look at."""
    for item in items:
        for name in (GOLDEN, BUDGET):
            if item.get_closest_marker(name) and DEVICE_FIXTURE not in _fixtures(item):
                raise pytest.UsageError(
                    f"{item.nodeid}: {name} is for tests that take {DEVICE_FIXTURE}"
                )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Say in a sentence why there is no device."""
    with _told(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Look at the marks, then run the test; a difference is told without our own frames."""
    with _told(item):
        if _is_ours(item):
            _check_marks(item)
        yield


@pytest.fixture(scope="session")
def _bitexport_case(request: pytest.FixtureRequest) -> Case:
    """Return what the test runs on."""
    case = getattr(request, "param", None)
    if not isinstance(case, Case):
        pytest.fail(
            "this test runs on a bundle: give pytest --bitexport BUNDLE; "
            "without one leave such tests out: -m 'not bitexport'",
            pytrace=False,
        )
    return case


@pytest.fixture(scope="session")
def bitexport_bundle(_bitexport_case: Case) -> Bundle:
    """Return a bundle that was given with --bitexport, every file of it checked."""
    from bitexport.emit.manifest import open_bundle

    return open_bundle(_bitexport_case.bundle, check_files=True)


@pytest.fixture(scope="session")
def bitexport_core(_bitexport_case: Case) -> str:
    """Return the name of a core: the bundle's target has it, and --bitexport-core allows it."""
    return _bitexport_case.core


@pytest.fixture(scope="session")
def _bitexport_opened(
    bitexport_bundle: Bundle, bitexport_core: str, tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Device]:  # fmt: skip
    from bitexport.testing.device import open_device

    replays = tmp_path_factory.mktemp("bitexport")
    on = pytestconfig.option.bitexport_on
    with open_device(bitexport_bundle, bitexport_core, replays, on) as device:
        yield device


@pytest.fixture
def bitexport_device(_bitexport_opened: Device) -> Device:
    """Return the bundle on a core, before the first token: prefill, step, tokens, digests, costs.

    What it was linked for is kept from test to test; what it read is not.
    """
    return _bitexport_opened.again()


def _cases(option: Any, cores: list[str]) -> list[Case]:
    """Return every bundle with each of its cores that was asked for.

    A device without operating system may have a core that nobody emulates: it is named as the
    target.
    """
    from bitexport.emit.manifest import open_bundle
    from bitexport.errors import BitexportError
    from bitexport.targets import find_target

    cases, known = [], []
    try:
        for path in (Path(each).resolve() for each in option.bitexport_bundles):
            target = find_target(open_bundle(path).target_name)
            own = [*target.cores]
            if option.bitexport_on and target.os == "none":
                own.append(target.name)
            cases += [Case(path, core) for core in own if core in cores or not cores]
            known += own
    except BitexportError as error:
        raise pytest.UsageError(_sentence(error)) from error
    for core in cores:
        if core not in known:
            raise pytest.UsageError(
                f"--bitexport-core {core}: the bundles run on {', '.join(dict.fromkeys(known))}"
            )
    return list(dict.fromkeys(cases))


def _check_marks(item: pytest.Item) -> None:
    from bitexport.errors import TextError
    from bitexport.testing.budget import read_budget

    arguments: dict[str, Any] = getattr(item, "funcargs", {})
    for mark in item.iter_markers(GOLDEN):
        if len(mark.args) != 1 or mark.kwargs:
            raise TextError(f"{GOLDEN} names one transcript", hint=f'{GOLDEN}("golden/a.json")')
        arguments[DEVICE_FIXTURE].check_golden(item.path.parent / mark.args[0])
    for mark in item.iter_markers(BUDGET):
        if mark.args:
            raise TextError(f"{BUDGET} takes names", hint=f'{BUDGET}(arena="40 MB")')
        arguments[DEVICE_FIXTURE].check_budget(**read_budget(mark.kwargs))


@contextmanager
def _told(item: pytest.Item) -> Iterator[None]:
    """Turn what bitexport found into a failure of a few lines."""
    if not _is_ours(item):
        yield
        return
    from bitexport.errors import BitexportError

    try:
        yield
    except BitexportError as error:
        told = f"{_place(item, error)}: {_sentence(error)}"
        raise pytest.fail.Exception(told, pytrace=False) from None


def _place(item: pytest.Item, error: Exception) -> str:
    """Return the line of the test that was refused; of a mark, where the test begins."""
    file, first, _ = item.location
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(item.path)]
    return f"{file}:{lines[-1] if lines else (first or 0) + 1}"


def _sentence(error: Any) -> str:
    return f"{error}\nhint: {error.hint}" if error.hint else str(error)


def _is_ours(item: pytest.Item) -> bool:
    return CASE_FIXTURE in _fixtures(item)


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", []))
