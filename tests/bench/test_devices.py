"""`bench devices` predicts by its data: every number has a source, and none is a law of nature."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.bench.figures import COUNTS, PREDICTED, README, REWRITE, packed, predicted, promised
from tests.tiny_checkpoint import write_checkpoint

from bitexport.bench import costs
from bitexport.bench.device import Device, find_device, load_devices
from bitexport.bench.emulated import count_model
from bitexport.bench.forecast import shown
from bitexport.bench.published import FACTOR, held_against, left_out, published
from bitexport.bench.roofline import (
    NEARLY,
    Prediction,
    Refusal,
    best_step,
    layouts,
    misfit,
    predict,
    predict_shape,
    step,
)
from bitexport.bench.workload import (
    HEAD,
    LAYERS,
    Workload,
    bundle_workload,
    load_shapes,
    shape_workload,
)
from bitexport.cli import main
from bitexport.emit.manifest import Bundle
from bitexport.errors import TargetError
from bitexport.models.parts.options import Options
from bitexport.package.bundle import Wanted, build_bundle
from bitexport.report.bundle import describe
from bitexport.report.html import report_files
from bitexport.targets import find_target, load_isas, load_targets
from bitexport_ref.bitx import open_bitx

NAMED = {
    "raspberry-pi-4", "raspberry-pi-5", "pixel-8", "snapdragon-8-elite", "iphone-16", "rk3588",
    "stm32h743", "alif-ensemble-e7", "raspberry-pi-zero-2-w",
}  # fmt: skip
PLANNED = {"arm64-v8.0"}
"""A target that devices may name before there is one."""
SHAPE = load_shapes()["bitnet-2b-4t"]
DEVICES = load_devices()
STORIES = Path(__file__).parents[2] / "samples/stories/model"
TABLES = Path(str(files("bitexport.bench").joinpath("devices")))


def numbers(table: Mapping[str, Any]) -> set[str]:
    return {key for key, value in table.items() if isinstance(value, (int, float))}


# ---- the data --------------------------------------------------------------------------------


def test_the_devices_are_those_that_the_readme_names() -> None:
    assert {key for key, device in DEVICES.items() if not device.reference} == NAMED


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_number_of_a_device_has_a_source(path: Path) -> None:
    facts = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(facts) <= {
        "name", "summary", "targets", "reference", "cluster", "memory", "power",
    }  # fmt: skip
    for table in (*facts["cluster"], facts["memory"], facts["power"]):
        assert numbers(table) == set(table["source"])
        assert all(value > 0 for key, value in table.items() if key in numbers(table))
        assert all(len(source) > len("estimate: ") for source in table["source"].values())


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.key)
def test_a_device_runs_targets_and_instruction_sets_that_exist(device: Device) -> None:
    targets = load_targets()
    assert device.targets
    assert set(device.targets) <= set(targets) | PLANNED
    for cluster in device.clusters:
        assert set(cluster.isas) <= set(load_isas())
        assert set(cluster.isas) <= set(targets[device.targets[0]].isas)
    assert device.memory.usable <= device.memory.ram
    assert device.memory.one_core <= device.memory.all_cores
    speeds = [cluster.clock * cluster.vector for cluster in device.clusters]
    assert speeds == sorted(speeds, reverse=True), "the fastest cluster comes first"


def test_the_packed_counts_are_the_promised_ones() -> None:
    assert COUNTS.read_text(encoding="utf-8") == packed(promised()), REWRITE


def test_readme_shows_the_predictions() -> None:
    marked = PREDICTED.search(README.read_text(encoding="utf-8"))
    assert marked, "README has lost the marks around its table of predictions"
    assert marked[2] == predicted() + "\n", REWRITE


def test_the_other_costs_say_where_they_are_from() -> None:
    assert set(costs.other_costs()) <= set(load_targets())
    for table in costs.other_costs().values():
        assert numbers(table) == set(table["source"]) == {"attention", "float", "element"}
        assert all(
            source.startswith(("counted", "estimate")) for source in table["source"].values()
        )


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(TargetError, match="there is no device `abacus`"):
        find_device("abacus")


# ---- the model -------------------------------------------------------------------------------


def workload(layout: str = "p2r", embedding: str = "q8") -> Workload:
    return dataclasses.replace(shape_workload(SHAPE, layout, embedding), target="arm64")


def seconds(device: Device, work: Workload, *, context: int = 0, prompt: int = 1) -> float:
    """Return the best of any number of threads; best_step takes few that are nearly as good."""
    return min(
        step(device, work, "arm64", context, prompt=prompt, threads=threads).seconds
        for threads in range(1, device.cores + 1)
    )


def changed(device: Device, **memory: float) -> Device:
    return dataclasses.replace(device, memory=dataclasses.replace(device.memory, **memory))


def clocked(device: Device, factor: float) -> Device:
    clusters = (
        dataclasses.replace(cluster, clock=factor * cluster.clock) for cluster in device.clusters
    )
    return dataclasses.replace(device, clusters=tuple(clusters))


ARM64 = [device for device in DEVICES.values() if "arm64" in device.targets]


@pytest.mark.parametrize("device", ARM64, ids=lambda device: device.key)
def test_more_of_anything_is_never_slower(device: Device) -> None:
    base, twice = workload(), 2.0
    memory = device.memory
    faster = changed(device, one_core=twice * memory.one_core, all_cores=twice * memory.all_cores)
    for context, prompt in ((0, 1), (2048, 1), (0, 512)):
        now = seconds(device, base, context=context, prompt=prompt)
        assert seconds(faster, base, context=context, prompt=prompt) <= now
        assert seconds(clocked(device, twice), base, context=context, prompt=prompt) <= now
        both = seconds(clocked(faster, twice), base, context=context, prompt=prompt)
        assert both == pytest.approx(now / 2, rel=0.15)  # threads do not meet faster
    assert seconds(device, base, context=2048) > seconds(device, base)


def test_fewer_bits_are_faster_where_memory_is_waited_for() -> None:
    device = find_device("raspberry-pi-5")
    by_head = [seconds(device, workload(embedding=form)) for form in ("q4", "q8", "bf16", "f32")]
    assert by_head == sorted(by_head)
    assert len(set(by_head)) == len(by_head)
    base = workload()
    layers = [
        dataclasses.replace(work, bytes=work.bytes * 1.6 / 2) if work.part == LAYERS else work
        for work in base.works
    ]
    assert seconds(device, dataclasses.replace(base, works=tuple(layers))) < seconds(device, base)


def test_memory_alone_bounds_decode_from_below() -> None:
    for device in ARM64:
        base = workload()
        assert seconds(device, base) >= base.bytes / device.memory.all_cores


def test_what_fits_the_cache_is_not_read_from_memory() -> None:
    device = find_device("raspberry-pi-5")
    roomy = changed(device, cache=3 * workload().bytes)
    assert best_step(roomy, workload(), "arm64", 0).whole.bytes == 0


def test_prefill_computes_the_head_once() -> None:
    device = find_device("rk3588")
    decode = best_step(device, workload(), "arm64", 0)
    prefill = best_step(device, workload(), "arm64", 0, 512)
    assert prefill.parts[HEAD].seconds < decode.parts[HEAD].seconds / 100
    assert prefill.rate > decode.rate


def test_joules_grow_with_what_is_done() -> None:
    device = find_device("raspberry-pi-5")
    some = best_step(device, workload(), "arm64", 0)
    more = best_step(device, workload(), "arm64", 2048)
    assert more.joules > some.joules > some.seconds * device.idle_watts


def test_few_threads_work_where_more_bring_little() -> None:
    device = find_device("raspberry-pi-5")
    chosen = best_step(device, workload(), "arm64", 0)
    assert chosen.threads < device.cores
    assert chosen.seconds <= seconds(device, workload()) / NEARLY


def test_the_best_layout_is_chosen_for_a_device() -> None:
    assert "p2r" in layouts()
    for device in ARM64:
        chosen = predict_shape(device, SHAPE, "q8", (0,))
        if isinstance(chosen, Refusal):
            continue
        rivals = [
            result.points[0].decode.seconds
            for layout in layouts()
            for target in device.targets
            for result in [
                predict(
                    device,
                    dataclasses.replace(shape_workload(SHAPE, layout, "q8"), target=target),
                    (0,),
                )
            ]
            if isinstance(result, Prediction)
        ]
        assert chosen.points[0].decode.seconds <= min(rivals) / NEARLY


def test_a_model_that_does_not_fit_is_refused_in_a_sentence() -> None:
    small = misfit(find_device("raspberry-pi-zero-2-w"), workload())
    assert small
    assert small.startswith(
        "Raspberry Pi Zero 2 W gives a program 420 MB of memory; the model needs"
    )
    flash = predict_shape(find_device("stm32h743"), SHAPE, "q8", (0,))
    assert isinstance(flash, Refusal)
    assert flash.reason == "STM32H743 has 2.1 MB of flash; the model's file takes 849 MB."


def test_a_long_context_that_does_not_fit_says_which_would() -> None:
    device = changed(find_device("raspberry-pi-5"), usable=1e9)
    reason = misfit(device, workload())
    assert reason
    context = int(reason.partition("with a context of ")[2].partition(" ")[0].replace(",", ""))
    saved = (SHAPE.context - context) * round(workload().position.bytes)
    arena = workload().arena_bytes - saved
    shorter = dataclasses.replace(workload(), context=context, arena_bytes=arena)
    assert misfit(device, shorter) is None


def test_work_that_nobody_counted_is_refused() -> None:
    work = workload()
    layers = dataclasses.replace(work.works[0], kernel="gemv_s32_s8_unheard")
    result = predict(
        find_device("raspberry-pi-5"), dataclasses.replace(work, works=(layers,)), (0,)
    )
    assert isinstance(result, Refusal)
    assert "nobody has counted gemv_s32_s8_unheard" in result.reason


def test_a_library_runs_only_what_it_was_built_for() -> None:
    for target in load_targets().values():
        assert costs.cost("gemv_s32_s8_p2r", target.name, ()) is None
    assert costs.cost("gemv_s32_s8_p2r", "armv7", ("dotprod",)) is None
    slow = costs.cost("gemv_s32_s8_p2r", "arm64", ("neon",))
    fast = costs.cost("gemv_s32_s8_p2r", "arm64", ("neon", "dotprod"))
    many = costs.cost("gemv_s32_s8_p2r", "arm64", ("neon", "dotprod"), 16)
    assert slow
    assert fast
    assert many
    assert slow > fast > many


# ---- held against others ---------------------------------------------------------------------


def test_published_speeds_are_predicted_within_the_stated_factor() -> None:
    held = held_against()
    assert len(held) >= 15
    for each in held:
        assert 1 / FACTOR <= each.ratio <= FACTOR, each
    within_two = [each for each in held if 0.5 <= each.ratio <= 2]
    assert len(within_two) >= 0.9 * len(held)


def test_published_figures_name_devices_shapes_and_sources() -> None:
    for runtime in published()["runtime"]:
        assert runtime["counted"]
        for figure in runtime["figure"]:
            assert figure["device"] in DEVICES
            assert figure["shape"] in load_shapes()
            assert figure["source"]
            assert (figure["phase"] == "prefill") == ("tokens" in figure)
    assert all(name and reason for name, reason in left_out())


# ---- bundles and the command -----------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("devices")
    checkpoint = write_checkpoint(folder / "checkpoint")
    return build_bundle(checkpoint.path, find_target("arm64"), Options(), folder / "bundle")


def test_a_bundle_is_predicted_by_its_own_plan(bundle: Bundle) -> None:
    bitx = open_bitx(bundle.data)
    found = bundle_workload(bitx, target="arm64", arena_bytes=1000)
    facts = bitx.facts
    layers = sum(work.amount for work in found.works if work.part == LAYERS)
    products = [
        bitx.tensors[op.inputs[1].index] for op in bitx.ops if op.code.name.endswith("_MATMUL")
    ]
    head = facts.vocabulary * facts.hidden
    assert layers == sum(t.shape[0] * t.shape[1] for t in products) - head
    assert next(work.amount for work in found.works if work.part == HEAD) == head
    assert found.position.bytes == 2 * 2 * facts.layers * facts.kv_heads * facts.head_size
    assert found.position.amount == 2 * facts.layers * facts.heads * facts.head_size
    assert found.layout == find_target("arm64").layout
    assert 0 < found.bytes < found.file_bytes


def test_only_devices_that_run_a_target_are_shown() -> None:
    assert {device.key for device in shown((), "cortex-m55")} == {"alif-ensemble-e7"}
    assert {device.key for device in shown((), "host")} == {"epyc-zen3"}
    assert not any(device.reference for device in shown((), "arm64"))
    assert [device.key for device in shown(("epyc-zen3",), "arm64")] == ["epyc-zen3"]


def said(*words: str) -> Any:
    result = CliRunner().invoke(main, ["bench", "devices", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_prints_predictions_and_says_so(bundle: Bundle) -> None:
    text = said(str(bundle.path), "--model", SHAPE.key, "--context", "0")
    for word in ("predicted", "Raspberry Pi 5", "energy a token", "Predicted means:", SHAPE.name):
        assert word in text
    assert "STM32H743 has 2.1 MB of flash" in text
    assert "published speeds of other runtimes" in text


def test_the_command_prints_json(bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("--json", "--html", str(page), "--context", "0", "--context", "8")
    facts = json.loads(said(str(bundle.path), *words))
    assert set(facts) == {"predicted", "assumptions", "published"}
    (model,) = facts["predicted"]
    assert {each["device"] for each in model["predicted"]} <= NAMED
    for each in model["predicted"]:
        assert [point["context"] for point in each["points"]] == [0, 8]
        for point in each["points"]:
            assert point["decode"]["tokens_per_second"] > 0
            assert point["decode"]["joules_per_token"] > 0
            assert sum(point["decode"]["share_of_time"].values()) == pytest.approx(1, abs=0.01)
    assert "Predicted, not measured" in page.read_text(encoding="utf-8")


def test_half_of_the_context_stands_for_those_beyond_it(bundle: Bundle) -> None:
    context = open_bitx(bundle.data).facts.context
    (model,) = json.loads(said(str(bundle.path), "--json"))["predicted"]
    for each in model["predicted"]:
        assert [point["context"] for point in each["points"]] == [0, context // 2]


def test_a_bundle_on_a_device_of_another_target_is_one_sentence(bundle: Bundle) -> None:
    text = said(str(bundle.path), "--device", "stm32h743")
    assert "STM32H743 runs libraries of `cortex-m4`; this bundle is for `arm64`." in text


def test_the_report_shows_predicted_speed(bundle: Bundle) -> None:
    folder = bundle.path.parent
    wanted = Wanted(compile_library=False, describe=lambda built: report_files(describe(built)))
    texts = []
    for name in ("one", "two"):
        made = build_bundle(
            folder / "checkpoint", find_target("arm64"), Options(), folder / name, wanted
        )
        texts.append([(made.path / file).read_bytes() for file in ("report.json", "report.html")])
    assert texts[0] == texts[1]
    facts = json.loads(texts[0][0])["predicted"]
    assert {each["device"] for each in facts["predicted"]} <= NAMED
    assert "<h2>Predicted speed</h2>" in texts[0][1].decode()


# ---- held against counts ---------------------------------------------------------------------

COUNTED = {
    "arm64": ("cortex-a76", "raspberry-pi-5"),
    "armv7": ("cortex-a7", "raspberry-pi-zero-2-w"),
    "cortex-m4": ("mps2-an386", "stm32h743"),
    "cortex-m55": ("mps3-an547", "alif-ensemble-e7"),
    "host": ("native", "epyc-zen3"),
}
"""Of each target: a core that QEMU counts on, and a device with the same instruction sets."""
APART = 0.2
"""How far predicted instructions may be from counted ones: kernels were counted on larger matrices,
where the tables of lookup kernels and the ends of rows weigh less."""


@pytest.mark.parametrize("name", COUNTED)
def test_the_instructions_of_a_token_are_those_that_are_counted(name: str, tmp_path: Path) -> None:
    core, device = COUNTED[name]
    wanted = Wanted(self_test=False)
    made = build_bundle(STORIES, find_target(name), Options(), tmp_path / "bundle", wanted)
    work = bundle_workload(open_bitx(made.data), target=name, arena_bytes=0)
    (count,) = count_model(made, [core], (0, 200), print)
    for token in count.tokens:
        predicted_step = step(find_device(device), work, name, token.context, threads=1)
        found = predicted_step.whole.instructions
        assert found == pytest.approx(token.instructions, rel=APART), (token.context, token.steps)
