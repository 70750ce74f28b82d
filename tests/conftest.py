"""What every test may ask for.  A test that names `target` runs for each.

Nothing is skipped in silence: a tool that is missing is a failure that says how to install it.  A
test may be skipped only for a reason that begins with `optional:`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

from bitexport.emit.source import copy_runtime
from bitexport.paths import runtime_root
from bitexport.targets import Target, load_targets
from bitexport.toolchain.compile import Library, build_library, sources
from bitexport.toolchain.onnxruntime import OPS_LIBRARY, build_ops_library, this_machine

AnyReport = TypeVar("AnyReport", pytest.TestReport, pytest.CollectReport)

ALLOWED_SKIP = "optional:"

# Where Debian's ccache puts a link for every compiler.
COMPILER_CACHE = Path("/usr/lib/ccache")


def pytest_configure() -> None:
    """Make what tests start alike, wherever they are started."""
    _use_compiler_cache()
    # A job in the background of a shell ignores it, and so would all that a test starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _use_compiler_cache() -> None:
    """Compile what was compiled before only once; tests build the same runtime hundreds of times.

    ccache answers only for the same text, the same flags and the same compiler, with the compiler's
    own bytes and warnings.  What is about compiling itself sets CCACHE_DISABLE.
    """
    if COMPILER_CACHE.is_dir():
        path = os.environ["PATH"]
        os.environ.setdefault("CCACHE_DIR", str(Path.home() / ".cache" / "ccache"))
        os.environ.setdefault("CCACHE_PATH", path)
        os.environ["PATH"] = f"{COMPILER_CACHE}{os.pathsep}{path}"


def pytest_report_header() -> str:
    """Say whether compilers are asked the same again and again."""
    if COMPILER_CACHE.is_dir():
        return f"compilers: through ccache, which keeps their answers in {os.environ['CCACHE_DIR']}"
    return "compilers: asked every time, for lack of the package ccache; that takes far longer"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip without an allowed reason into a failure."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure, by the same rule."""
    return _refuse_skip((yield))


def _refuse_skip(report: AnyReport) -> AnyReport:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED_SKIP):
            report.outcome = "failed"
            report.longrepr = f"skipped in silence: {reason}\nsee `bitexport doctor`"
    return report


@pytest.fixture(params=load_targets().values(), ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    """Return each target in turn."""
    each: Target = request.param
    return each


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Target], Library]:
    """Return a function that builds the runtime for a target, once, below a folder of its own.

    The folder is laid out as a bundle is: the library lies in `lib/<target>/`.
    """
    built: dict[str, Library] = {}

    def build(target: Target) -> Library:
        if target.name not in built:
            folder = tmp_path_factory.mktemp(f"library-{target.name}")
            built[target.name] = build_library(target, runtime_root(), folder)
        return built[target.name]

    return build


@pytest.fixture(scope="session")
def custom_ops(libraries: Callable[[Target], Library]) -> Path:
    """Return libbitexport_ort.so for this machine."""
    target = this_machine()
    runtime = libraries(target).archive.parents[2]
    copy_runtime([source.path for source in sources(target)], runtime)
    return build_ops_library(target, runtime, runtime / OPS_LIBRARY)


@pytest.fixture
def library(target: Target, libraries: Callable[[Target], Library]) -> Library:
    """Return the runtime, built for the target of the test."""
    return libraries(target)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder of the repository."""
    return Path(__file__).parents[1]
