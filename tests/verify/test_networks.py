"""The verifier of networks finds what is wrong: in the program, in the numbers, in the options."""

from __future__ import annotations

import dataclasses
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.networks import write_pictures, write_rows

from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import BundleError, RunError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.paths import runtime_root
from bitexport.targets import Target, find_target
from bitexport.toolchain.compile import Library, build_runner, library_flags
from bitexport.verify.cores import Machine
from bitexport.verify.expected import load_reference
from bitexport.verify.inputs import fixed_inputs, read_inputs
from bitexport.verify.networks import ExpectedNetwork, compute_network, run_network, verify_network
from bitexport_ref.bitx import BitxError, network_test, read_bitx

HOST = find_target("host")
NETWORKS = {"rows": write_rows, "pictures": write_pictures}
MUTATIONS = [
    ("rows", "ops/threshold.c", "x[i] >= level[i]", "x[i] > level[i]", "Threshold"),
    ("rows", "ops/affine.c", "* *factor + *offset", "* *factor - *offset", "Affine"),
    ("rows", "ops/quantize_fixed.c", "bitx_nearest(w > most ? most : w)", "(w > most ? most : w)",
     "QuantizeFixed"),
    ("rows", "ops/softmax.c", "y[i] / sum", "y[i] * (1.0f / sum)", "Softmax"),
    ("pictures", "ops/window.h", "- (int32_t)w->pad_left", "+ (int32_t)w->pad_left",
     "DepthwiseConv"),
    ("pictures", "ops/patches.c", "bitx_zero(to, bytes)", "(void)bytes", "Patches"),
    ("pictures", "ops/depthwise_conv.c", "x[c] * weight[c]", "x[c] * -weight[c]", "DepthwiseConv"),
    ("pictures", "ops/pool_max.c", "if (!from) continue;", "if (!from) from = bitx_row(x, 0);",
     "PoolMax"),
    ("pictures", "ops/pool_mean.c", "(float)count", "(float)(w.kernel_height * w.kernel_width)",
     "PoolMean"),
    ("pictures", "ops/channels_first.c", "(size_t)c * x->rows + t", "(size_t)t * x->columns + c",
     "ChannelsFirst"),
    ("pictures", "ops/channels_last.c", "c * height + down", "c * height + (down ? down - 1 : 0)",
     "ChannelsLast"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Return both networks, as source."""
    folder = tmp_path_factory.mktemp("networks")
    return {
        name: build_bundle(
            write(folder / f"{name}.onnx"), HOST, Options(), folder / name,
            Wanted(compile_library=False),
        )
        for name, write in NETWORKS.items()
    }  # fmt: skip


def expected_of(bundle: Bundle) -> ExpectedNetwork:
    """Return what the reference computes of fixed numbers."""
    model = load_reference(bundle.graph)
    return compute_network(model, fixed_inputs(model))


def with_change(library: Library, file: str, right: str, wrong: str, folder: Path) -> Path:
    """Return a copy of a library in which the files that a change concerns are compiled anew."""
    source, header = folder / "source", Path(file).name
    shutil.copytree(runtime_root(), source)
    text = (source / file).read_text(encoding="utf-8")
    assert right in text
    (source / file).write_text(text.replace(right, wrong), encoding="utf-8")
    files = [source / file]
    if file.endswith(".h"):
        files = [path for path in (source / "ops").glob("*.c") if header in path.read_text()]
    archive = folder / library.archive.name
    shutil.copyfile(library.archive, archive)
    flags = library_flags(HOST, source)
    for path in files:
        made = folder / f"{path.stem}.o"
        command = [HOST.compiler, *flags, "-c", str(path), "-o", str(made)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
        subprocess.run([HOST.archiver, "r", str(archive), str(made)], check=True)
    return archive


@pytest.mark.parametrize(
    ("name", "file", "right", "wrong", "found"), MUTATIONS, ids=[each[1] for each in MUTATIONS]
)
def test_a_change_in_an_op_is_found_there(
    name: str, file: str, right: str, wrong: str, found: str, bundles: dict[str, Bundle],
    libraries: Callable[[Target], Library], tmp_path: Path,
) -> None:  # fmt: skip
    archive = with_change(libraries(HOST), file, right, wrong, tmp_path)
    library = dataclasses.replace(libraries(HOST), archive=archive, shared=None)
    program = build_runner(HOST, library, bundles[name].path, tmp_path / "runner")
    device = Machine(HOST, program, bundles[name].data)
    expected = expected_of(bundles[name])
    result = verify_network(device, "native", expected, lambda _: None)
    assert result.failure
    assert result.failure.difference.what.startswith(found), result.failure
    assert not result.passed


def test_a_run_that_stops_is_a_failure(
    bundles: dict[str, Bundle], libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    device = machine_of(bundles["rows"], libraries, tmp_path)
    expected = expected_of(bundles["rows"])
    bad = {name: array.copy() for name, array in expected.inputs.items()}
    bad["x"][3, 0] = np.nan
    observed = run_network(device, "native", bad, ["--trace"], 5)
    assert "not a finite number" in (observed.stopped or "")
    broken = dataclasses.replace(expected, inputs=bad)
    result = verify_network(device, "native", broken, lambda _: None)
    assert "was not computed: the run stopped" in result.failure.difference.what  # type: ignore[union-attr]


def machine_of(bundle: Bundle, libraries: Callable[[Target], Library], tmp_path: Path) -> Machine:
    """Link the runner for this machine."""
    program = build_runner(HOST, libraries(HOST), bundle.path, tmp_path / "runner")
    return Machine(HOST, program, bundle.data)


def test_calls_of_any_size_return_the_same(
    bundles: dict[str, Bundle], libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    device = machine_of(bundles["rows"], libraries, tmp_path)
    expected = expected_of(bundles["rows"])
    for chunk in (1, 2, 3, 4, 5, 9):
        observed = run_network(device, "native", expected.inputs, [], chunk)
        for name, result in expected.results.items():
            assert observed.results[name] == result.tobytes()


def test_a_file_of_half_a_sample_is_refused(
    bundles: dict[str, Bundle], libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    device = machine_of(bundles["pictures"], libraries, tmp_path)
    half = {"x": np.zeros((1, 3, 7, 4), np.float32)}
    observed = run_network(device, "native", half, [], 1)
    assert "bad argument" in (observed.stopped or "")
    with pytest.raises(RunError):
        run_network(device, "native", half, ["--nonsense"], 1)


def test_the_reference_refuses_what_is_no_number(bundles: dict[str, Bundle]) -> None:
    model = load_reference(bundles["rows"].graph)
    with pytest.raises(BundleError, match="the reference cannot run this"):
        compute_network(model, {"x": np.full((1, 50), np.inf, np.float32)})


def test_samples_come_flat_or_in_shape(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    model = load_reference(bundles["pictures"].graph)
    x = np.random.default_rng(1).standard_normal((2, 3, 7, 9))
    for array in (x, x.reshape(2, -1), x.astype(np.float32)):
        np.save(tmp_path / "x.npy", array)
        found = read_inputs(tmp_path / "x.npy", model)["x"]
        np.testing.assert_array_equal(found, x.astype(np.float32))
    np.savez(tmp_path / "x.npz", x=x, other=x)
    assert read_inputs(tmp_path / "x.npz", model)["x"].shape == (2, 3, 7, 9)


@pytest.mark.parametrize(
    ("array", "hint"),
    [(np.zeros((2, 5)), "a sample has 189 numbers"), (np.zeros((0, 3, 7, 9)), "a sample has"),
     (np.zeros((1, 189), complex), "a sample has"), (np.zeros((1, 378)), "a sample has")],
)  # fmt: skip
def test_samples_of_another_size_are_refused(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]], hint: str,
    bundles: dict[str, Bundle], tmp_path: Path,
) -> None:  # fmt: skip
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(BundleError) as caught:
        read_inputs(tmp_path / "x.npy", load_reference(bundles["pictures"].graph))
    assert hint in (caught.value.hint or "")


def test_what_is_no_array_is_refused(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    model = load_reference(bundles["pictures"].graph)
    (tmp_path / "x.npy").write_text("no numbers")
    with pytest.raises(BundleError, match=r"is no \.npy or \.npz file"):
        read_inputs(tmp_path / "x.npy", model)
    with pytest.raises(BundleError, match="No such file"):
        read_inputs(tmp_path / "gone.npy", model)
    np.savez(tmp_path / "x.npz", a=np.zeros(3), b=np.zeros(3))
    with pytest.raises(BundleError, match="holds no array `x`"):
        read_inputs(tmp_path / "x.npz", model)


SELF_TEST = 12


def section(file: bytes) -> tuple[int, int]:
    """Return offset and bytes of the self-test."""
    bitx = read_bitx(file)
    found = bitx.section(SELF_TEST)
    assert found
    return found.offset, found.size


def self_test_of(device: Machine, file: bytes, folder: Path) -> tuple[str | None, str | None]:
    """Return what the self-test of a file says, and what stopped it."""
    path = folder / "changed.bitx"
    path.write_bytes(file)
    observed = dataclasses.replace(device, model=path).start("native", ["--self-test"])
    return observed.self_test, observed.stopped


@pytest.mark.parametrize("name", NETWORKS)
def test_the_self_test_in_the_file_finds_what_differs(
    name: str, bundles: dict[str, Bundle], libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    device = machine_of(bundles[name], libraries, tmp_path)
    file = bundles[name].data.read_bytes()
    assert self_test_of(device, file, tmp_path) == ("ok", None)
    stored = network_test(read_bitx(file))
    assert stored
    at, size = section(file)
    outputs = len(stored.chains)
    chains = at + size - 16 * outputs
    for output in (0, outputs // 2, outputs - 1):
        changed = bytearray(file)
        changed[chains + 16 * output] ^= 1
        said, stopped = self_test_of(device, bytes(changed), tmp_path)
        assert said == f"{len(stored.samples)} {output}"
        assert "self-test" in (stopped or "")
    changed = bytearray(file)
    changed[chains - 1] ^= 0x80  # the sign of the last number of the last sample
    assert (self_test_of(device, bytes(changed), tmp_path)[0] or "ok").split()[1:] == ["0"]


@pytest.mark.parametrize("at", [0, 4, 8, 12])
def test_a_damaged_self_test_is_damage(
    at: int, bundles: dict[str, Bundle], libraries: Callable[[Target], Library], tmp_path: Path
) -> None:
    device = machine_of(bundles["rows"], libraries, tmp_path)
    changed = bytearray(bundles["rows"].data.read_bytes())
    for number in (0, 1, 77, 255):
        struct.pack_into("<I", changed, section(bytes(changed))[0] + at, number * 0x01010101)
        try:
            network_test(read_bitx(bytes(changed)))
            expected = None
        except BitxError as error:
            expected = error.rule
        said, stopped = self_test_of(device, bytes(changed), tmp_path)
        assert (said is None and "damaged" in (stopped or "")) == (expected == 31), stopped


def asked(*words: object) -> Result:
    """Return what `bitexport` answers."""
    return CliRunner().invoke(main, [str(word) for word in words])


def test_options_that_have_no_meaning_are_refused(bundles: dict[str, Bundle]) -> None:
    folder = bundles["rows"].path
    for words, said in (
        (["verify", folder, "--prompt", "Once"], "--prompt is for language models"),
        (["verify", folder, "--ids", "1,2"], "--ids is for language models"),
        (["run", folder], "give --input FILE"),
        (["run", folder, "--input", "x.npy", "--chat"], "--chat is for language models"),
        (["run", folder, "Once"], "is for language models"),
    ):
        result = asked(*words)
        assert result.exit_code == 64, result.output
        assert said in result.output, result.output


def test_what_language_models_alone_can_do_is_refused(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    folder = bundles["rows"].path
    (tmp_path / "text").write_text("a text\n")
    for words in (["eval", folder, tmp_path / "text"], ["bench", "model", folder]):
        result = asked(*words)
        assert result.exit_code == 1, result.output
        assert "holds a network, no language model" in result.output, result.output
