"""The report of a bundle as one page: no script, no other file, every string escaped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from string import Template

from bitexport.bench.device_table import energy
from bitexport.bench.drawing import number
from bitexport.report.bundle import BundleReport, LayerSum, Part
from bitexport.report.matrices import LAYER, MatrixFacts

PAGE, DATA = "report.html", "report.json"
KIBI = 1024

Format = Callable[[object], str]
Columns = Sequence[tuple[str, Format]]  # titles, and how cells become text

NAMES: Mapping[str, str] = {
    "ternary": "ternary weights",
    "binary": "binary weights",
    "int4": "int4 weights",
    "int8": "int8 weights",
    "float": "float weights",
    "tables": "RoPE tables",
    "scales": "weight scales",
}
# Weights have a colour each, everything else is grey.
COLOURS = (
    "ternary", "binary", "int4", "int8", "float", "embedding", "head", "norms", "tables", "scales",
)  # fmt: skip

TEMPLATE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$name for $target</title>
<style>
:root { --page: #fcfcfb; --ink: #1a1a19; --soft: #62625d; --line: #dfded8; --box: #f3f2ee;
  --ternary: #2a78d6; --embedding: #1b9e77; --norms: #e0a100; --tables: #7a5cc8; --scales: #d4527e;
  --binary: #123f7d; --int4: #5bb6e8; --int8: #0f8f9c; --float: #9c5f2e; --head: #6aa84f;
  --other: #a3a29b }
@media (prefers-color-scheme: dark) {
:root { --page: #181817; --ink: #ecebe6; --soft: #a3a29b; --line: #3a3a37; --box: #232322;
  --ternary: #4a94ea; --embedding: #2fb48c; --norms: #d9a520; --tables: #9a80e0; --scales: #e0719a;
  --binary: #7db4f5; --int4: #2f89bb; --int8: #28b4c2; --float: #c98a55; --head: #8cc470;
  --other: #76756f } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { margin: 2.75rem 0 .5rem; font-size: 1.15rem }
p { margin: .4rem 0 .8rem; max-width: 46rem }
.soft, th, summary { color: var(--soft) }
code { font: .92em ui-monospace, monospace }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0 0 }
.tiles div { padding: .7rem .9rem; background: var(--box); border-radius: .5rem }
.tiles dt { color: var(--soft); font-size: .85rem }
.tiles dd { margin: 0; font-size: 1.25rem; font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 1rem; min-width: 50% }
th, td { padding: .22rem 1.4rem .22rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); unicode-bidi: isolate; white-space: nowrap }
th { font-weight: 500; font-size: .85rem }
.n { text-align: right; font-variant-numeric: tabular-nums }
tfoot td { font-weight: 600; border-bottom: 0 }
td:first-child i, .key i { display: inline-block; width: .7em; height: .7em; margin-right: .55em;
  border-radius: 2px }
.key { margin-left: .6em; white-space: nowrap }
svg { display: block; width: 100%; margin: .75rem 0; overflow: visible }
svg rect { stroke: var(--page); stroke-width: 1.5px }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums }
.ternary { fill: var(--ternary); background: var(--ternary) }
.binary { fill: var(--binary); background: var(--binary) }
.int4 { fill: var(--int4); background: var(--int4) }
.int8 { fill: var(--int8); background: var(--int8) }
.float { fill: var(--float); background: var(--float) }
.head { fill: var(--head); background: var(--head) }
.embedding { fill: var(--embedding); background: var(--embedding) }
.norms { fill: var(--norms); background: var(--norms) }
.tables { fill: var(--tables); background: var(--tables) }
.scales { fill: var(--scales); background: var(--scales) }
.other { fill: var(--other); background: var(--other) }
summary { cursor: pointer }
</style>
</head>
<body>
<h1>$name</h1>
<p class="soft">$family model for <code>$target</code>: $summary</p>
<dl class="tiles">$tiles</dl>

<h2>Where the bytes go</h2>
<p><code>model.bitx</code> has $file_bytes bytes.  Bits per weight count the layout's padding.</p>
$file_bar
$file_table
$layer_table
<p>What each matrix of the graph is, and what it is multiplied with; runs of equal layers together.
Here bits per weight count the scales too.</p>
$matrix_table
<details><summary>All $matrix_count matrices</summary>
$all_matrices
</details>
<details><summary>All $tensor_count tensors</summary>
$tensor_table
</details>

<h2>Memory</h2>
<p>The arena that the caller gives a session, in bytes, besides <code>model.bitx</code> itself,
which is only read.  States are the KV cache ($cache); the rest is what flows between ops and grows
with the rows of a prefill chunk.  For a session without trace; it may ask for up to 256 bytes
less.$ram</p>
$arena_bars
$arena_table
<p>$cache_said</p>
$cache_table

<h2>Predicted speed</h2>
<p>Predicted, not measured: a roofline of counted instructions and of bytes to read.  Assumptions,
sources and prefill: <code>bitexport bench devices</code>.</p>
$predicted

<h2>Plan</h2>
<p>$op_count ops run as $steps steps: neighbours that one loop can do are fused, with the same
bits.</p>
$fusion_table
<details><summary>All $op_count ops, in order</summary>
$op_table
</details>

<h2>Kernels</h2>
<p>What each matrix op runs on, on the cores that <code>verify</code> emulates.  Every variant
returns the bits of the scalar one.</p>
$kernel_table
$core_table

<h2>Model and options</h2>
$fact_table
<p class="soft">Written by bitexport $version when the bundle was built; <code>report.json</code>
holds the same facts, <code>manifest.json</code> the hash of this page.</p>
</body>
</html>
""")


def report_files(report: BundleReport) -> dict[str, str]:
    """Return the report of a bundle, texts by file name."""
    facts = json.dumps(report.as_json(), indent=1, sort_keys=True) + "\n"
    return {DATA: facts, PAGE: render_page(report)}


def render_page(report: BundleReport) -> str:
    """Return the page."""
    last = report.memory[-1]
    weights = sum(part.weights for part in report.parts)
    ram = f"  The target has {report.ram_bytes:,} bytes for both." if report.ram_bytes else ""
    text = {
        "name": report.model.name,
        "family": report.model.family,
        "target": report.target,
        "summary": report.target_summary,
        "cache": report.options.cache,
        "version": report.bitexport,
        "ram": ram,
    }
    tiles = {
        "model.bitx": _size(report.file_bytes),
        "numbers stored": f"{weights:,}",
        "context": f"{last.context:,} tokens",
        f"arena, chunks of {last.chunk_rows}": _size(last.bytes),
        "bits/weight, whole file": _bits(report.bits_per_weight),
    }
    return TEMPLATE.substitute(
        {key: escape(value) for key, value in text.items()},
        tiles="".join(
            f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>"
            for key, value in tiles.items()
        ),
        file_bytes=_number(report.file_bytes),
        file_bar=_file_bar(report),
        file_table=_file_table(report),
        layer_table=_layer_table(report),
        matrix_table=_matrix_table(report),
        matrix_count=_number(len(report.weights)),
        all_matrices=_table(
            [("matrix", _code), *_matrix_columns()],
            [(matrix.name, *_matrix_cells(matrix)) for matrix in report.weights],
        ),
        tensor_count=_number(len(report.tensors)),
        tensor_table=_table(
            [("tensor", _code), ("shape", _text), ("stored as", _text), ("layout", _text),
             ("bytes", _number), ("bits/weight", _bits)],
            [(t.name, list(t.shape), t.dtype, t.layout, t.bytes, t.bits_per_weight)
             for t in report.tensors],
        ),
        arena_bars=_arena_bars(report),
        arena_table=_arena_table(report),
        cache_said=_cache_said(report),
        cache_table=_cache_table(report),
        predicted=_predicted(report),
        op_count=_number(len(report.ops)),
        steps=_number(report.steps),
        fusion_table=_table(
            [("run as one", _text), ("times", _number)],
            [(" + ".join(fusion.ops), fusion.count) for fusion in report.fusions],
        ),
        op_table=_op_table(report),
        kernel_table=_kernel_table(report),
        core_table=_table(
            [("core", _code), ("instruction sets that must be seen to run", _text)],
            [(core.core, ", ".join(core.instruction_sets)) for core in report.cores],
        ),
        fact_table=_fact_table(report),
    )  # fmt: skip


# ---- tables ----------------------------------------------------------------------------------


def _table(columns: Columns, rows: Iterable[Sequence[object]], foot: Sequence[object] = ()) -> str:
    """Return a table; a column whose cells are numbers is aligned to the right."""
    kinds = [kind for _, kind in columns]
    marks = [' class="n"' if kind in NUMBERS else "" for kind in kinds]

    def line(tag: str, cells: Iterable[str]) -> str:
        pairs = zip(marks, cells, strict=True)
        return "<tr>" + "".join(f"<{tag}{mark}>{cell}</{tag}>" for mark, cell in pairs) + "</tr>"

    def cells(row: Sequence[object]) -> Iterable[str]:
        return (kind(cell) for kind, cell in zip(kinds, row, strict=True))

    body = "\n".join(line("td", cells(row)) for row in rows)
    end = f"\n<tfoot>{line('td', cells(foot))}</tfoot>" if foot else ""
    head = line("th", (escape(title) for title, _ in columns))
    return (
        f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>{end}\n'
        "</table></div>"
    )


def _file_table(report: BundleReport) -> str:
    columns = [
        ("part", _part), ("stored as", _text), ("numbers", _number), ("bytes", _number),
        ("bits/weight", _bits), ("of the file", _percent),
    ]  # fmt: skip
    rows = [
        (part.name, ", ".join(part.stored_as), part.weights or None, part.bytes,
         part.bits_per_weight, part.bytes / report.file_bytes)
        for part in report.parts
    ]  # fmt: skip
    weights = sum(part.weights for part in report.parts)
    return _table(columns, rows, ("the file", "", weights, report.file_bytes, None, 1.0))


def _layer_table(report: BundleReport) -> str:
    """Return a row for each run of equal layers."""
    kinds = [part.name for part in report.parts if part.weights]
    titles = [*(NAMES.get(kind, kind) for kind in kinds), "bytes each", "together"]
    columns: Columns = [("layers", _text), *((title, _number) for title in titles)]
    rows: list[tuple[object, ...]] = []
    for _, group in itertools.groupby(
        report.layers, key=lambda layer: (layer.kinds, layer.layer is None)
    ):
        run = list(group)
        each = [run[0].kinds.get(kind) for kind in kinds]
        rows.append((_layers(run), *each, run[0].bytes, len(run) * run[0].bytes))
    sums = [sum(layer.kinds.get(kind, 0) for layer in report.layers) for kind in kinds]
    total = sum(layer.bytes for layer in report.layers)
    return _table(columns, rows, ("all", *sums, None, total))


def _layers(run: Sequence[LayerSum]) -> str:
    return _span([layer.layer for layer in run])


def _span(layers: Sequence[int | None]) -> str:
    first, last = layers[0], layers[-1]
    if first is None:
        return "outside"
    return str(first) if first == last else f"{first} to {last}"


def _matrix_columns() -> Columns:
    return [
        ("shape", _text), ("numbers", _text), ("layout", _text), ("bits/weight", _bits),
        ("a scale for", _text), ("activations", _text),
    ]  # fmt: skip


def _matrix_cells(matrix: MatrixFacts) -> tuple[object, ...]:
    return (
        list(matrix.shape), matrix.form, matrix.layout, matrix.bits_per_weight, matrix.scales,
        matrix.activations,
    )  # fmt: skip


def _matrix_table(report: BundleReport) -> str:
    """Return a row for each matrix of a run of equal layers."""
    by_layer: dict[int | None, list[tuple[object, ...]]] = {}
    for matrix in report.weights:
        name = matrix.name[match.end() :] if (match := LAYER.search(matrix.name)) else matrix.name
        cells = (name.removesuffix(".weight"), *_matrix_cells(matrix))
        by_layer.setdefault(matrix.layer, []).append(cells)
    rows: list[tuple[object, ...]] = []
    for cells_of_layer, group in itertools.groupby(by_layer.items(), key=lambda item: item[1]):
        span = _span([layer for layer, _ in group])
        rows += [(span, *cells) for cells in cells_of_layer]
    return _table([("layers", _text), ("matrix", _code), *_matrix_columns()], rows)


def _arena_table(report: BundleReport) -> str:
    """Return a row for each context, with rest and sum for each chunk."""
    columns = [("context", _number), ("states", _number)]
    rows: list[tuple[int, ...]] = []
    for context, group in itertools.groupby(report.memory, key=lambda arena: arena.context):
        arenas = list(group)
        sums = (size for arena in arenas for size in (arena.rest, arena.bytes))
        rows.append((context, arenas[0].states, *sums))
    for arena in arenas:
        chunk = f"{arena.chunk_rows} row{'s' if arena.chunk_rows > 1 else ''}"
        columns += [(f"rest, {chunk}", _number), (f"arena, {chunk}", _number)]
    return _table(columns, rows)


def _cache_said(report: BundleReport) -> str:
    """Return what the costs of caches are, or how to have them measured."""
    if not (costs := report.measured.get("kv_cache")):
        return (
            "What other kinds of KV cache would take; <code>build --measure-cache</code> measures "
            "what each costs in KL."
        )
    return (
        "What each kind of KV cache takes, and what it costs: KL to a cache of f32 in nats a "
        "token, and how often the likeliest token is the same; measured in the reference on "
        f"{costs['tokens']:,} tokens of {escape(costs['text'])}."
    )


def _cache_table(report: BundleReport) -> str:
    """Return a row for each kind of cache."""
    context = report.memory[-1].context
    columns = [
        ("KV cache", _text), ("bytes a position", _number), (f"bytes at {context:,}", _number),
        ("KL to f32", _small), ("same token", _percent),
    ]  # fmt: skip
    rows = [
        (
            f"{each.cache}, this one" if each.cache == report.options.cache else each.cache,
            each.position_bytes, each.position_bytes * context, each.kl, each.same_choice,
        )
        for each in report.caches
    ]  # fmt: skip
    return _table(columns, rows)


def _op_table(report: BundleReport) -> str:
    """Return every op; the number of a step stands at its first op only."""
    columns = [
        ("step", _number), ("op", _text), ("kernel", _code), ("writes", _code), ("weights", _code),
    ]  # fmt: skip
    rows: list[tuple[object, ...]] = []
    last = None
    for op in report.ops:
        first = op.step != last
        step, name = (op.step + 1, op.op) if first else (None, f"+ {op.op}")
        rows.append((step, name, op.kernel, op.output, " ".join(op.weights)))
        last = op.step
    return _table(columns, rows)


def _kernel_table(report: BundleReport) -> str:
    columns: list[tuple[str, Format]] = [("op", _text), ("times", _number), ("weights", _text)]
    columns += [(core.core, _kernel) for core in report.cores]
    rows = [
        (use.op, use.count, use.weights,
         *(use.kernel and core.kernels[use.kernel] for core in report.cores))
        for use in report.matrices
    ]  # fmt: skip
    return _table(columns, rows)


def _ternarized(report: BundleReport) -> str:
    """Return how trits were made of a float model, and what that cost."""
    if not (cost := report.measured.get("ternarize")):
        return report.options.ternarize or "no"
    return (
        f"{cost['method']}: perplexity {cost['before']:.4g} before, {cost['after']:.4g} after, on "
        f"{cost['tokens']:,} tokens of {cost['text']}"
    )


def _fact_table(report: BundleReport) -> str:
    model, options, tested = report.model, report.options, report.self_test
    facts = {
        "layers": f"{model.layers:,}",
        "hidden size": f"{model.hidden:,}",
        "heads": f"{model.heads} for queries, {model.kv_heads} for keys and values, "
        f"{model.head_size} columns each",
        "vocabulary": f"{model.vocabulary:,}",
        "begin and end tokens": f"{'none' if model.bos is None else model.bos}; "
        + (", ".join(map(str, model.eos)) or "none"),
        "container": model.container or "none",
        "activations": f"{model.activations}: {model.activations_because}"
        if model.activations
        else "none",
        "--embedding": options.embedding or "as trained",
        "--activations": options.activations or "as trained",
        "--head-activations": options.head_activations or "as the layers",
        "--precision": " ".join(f"{pattern}={form}" for pattern, form in options.precision)
        or "as trained",
        "--ternarize": _ternarized(report),
        "--kv-cache": options.cache,
        "--context": "the model's own" if options.context is None else f"{options.context:,}",
    }
    if tested:
        facts["self-test"] = (
            f"{tested.prompt_tokens} prompt tokens, {tested.generated_tokens} generated, "
            f"the digests of {tested.op_outputs:,} op outputs"
        )
    return _table([("fact", _text), ("value", _text)], facts.items())


def _predicted(report: BundleReport) -> str:
    """Return predicted decode on each device, and a sentence for each that cannot run it."""
    if report.predicted is None:
        return "<p>It is no language model.</p>"
    columns = [
        ("device", _text), ("behind", _number), ("predicted, tokens/s", _short),
        ("predicted energy a token", _energy), ("threads", _number), ("waits for", _text),
    ]  # fmt: skip
    rows = [
        (each["name"], point["context"], decode["tokens_per_second"], decode["joules_per_token"],
         decode["threads"], decode["bound"])
        for each in report.predicted["predicted"]
        for point in each["points"]
        for decode in [point["decode"]]
    ]  # fmt: skip
    refused = "".join(f"<p>{escape(reason)}</p>" for reason in report.predicted["refused"].values())
    return (_table(columns, rows) if rows else "") + refused


# ---- bars ------------------------------------------------------------------------------------


def _file_bar(report: BundleReport) -> str:
    """Return the file as one bar: weights by kind, the rest together."""
    shares = {kind: part.bytes for part in report.parts if (kind := _colour(part)) != "other"}
    shares["other"] = report.file_bytes - sum(shares.values())
    x, rects = 0.0, []
    for kind, size in shares.items():
        width = 100 * size / report.file_bytes
        what = NAMES.get(kind, "all else" if kind == "other" else kind)
        rects.append(_rect(kind, x, 0, width, 28, f"{what}: {size:,} bytes"))
        x += width
    return f'<svg height="28" role="img" aria-label="model.bitx by kind">{"".join(rects)}</svg>'


def _colour(part: Part) -> str:
    return part.name if part.name in COLOURS else "other"


def _arena_bars(report: BundleReport) -> str:
    """Return a bar for each context, at the largest chunk: states, then the rest."""
    rows = max(arena.chunk_rows for arena in report.memory)
    shown = [arena for arena in report.memory if arena.chunk_rows == rows]
    scale = 72 / max(arena.bytes for arena in shown)
    lines = []
    for at, arena in enumerate(shown):
        y, states = 22 * at, scale * arena.states
        lines += [
            f'<text x="8%" y="{y + 13}" text-anchor="end">{arena.context:,}</text>',
            _rect("ternary", 9, y, states, 18, f"states: {arena.states:,} bytes"),
            _rect("other", 9 + states, y, scale * arena.rest, 18, f"rest: {arena.rest:,} bytes"),
            f'<text x="{10 + scale * arena.bytes:.3f}%" y="{y + 13}">{_size(arena.bytes)}</text>',
        ]
    label = f"arena by context, chunks of {rows} rows"
    return (
        f'<p class="soft">By context, in chunks of {rows} rows: <span class="key"><i '
        'class="ternary"></i>states</span> <span class="key"><i class="other"></i>rest</span></p>'
        f'<svg height="{22 * len(shown)}" role="img" aria-label="{label}">{"".join(lines)}</svg>'
    )


def _rect(kind: str, x: float, y: int, width: float, height: int, title: str) -> str:
    return (
        f'<rect class="{kind}" x="{x:.3f}%" y="{y}" width="{width:.3f}%" height="{height}">'
        f"<title>{escape(title)}</title></rect>"
    )


# ---- cells -----------------------------------------------------------------------------------


def _text(cell: object) -> str:
    return "" if cell is None else escape(str(cell))


def _code(cell: object) -> str:
    return "" if cell is None else f"<code>{escape(str(cell))}</code>"


def _kernel(cell: object) -> str:
    return "portable C" if cell is None else _code(cell)


def _number(cell: object) -> str:
    return "" if cell is None else f"{cell:,}"


def _bits(cell: object) -> str:
    return "" if cell is None else f"{cell:.3f}"


def _short(cell: object) -> str:
    return number(cell) if isinstance(cell, float) else ""


def _small(cell: object) -> str:
    return f"{cell:.2e}" if isinstance(cell, float) else ""


def _energy(cell: object) -> str:
    return energy(cell) if isinstance(cell, float) else ""


def _percent(cell: object) -> str:
    return "" if cell is None else f"{cell:.2%}"


def _part(cell: object) -> str:
    """Return the name of a part, with the colour that it has in the bar."""
    name = str(cell)
    kind = name if name in COLOURS else "other"
    mark = "" if name == "the file" else f'<i class="{kind}"></i>'
    return mark + escape(NAMES.get(name, name))


def _size(count: int) -> str:
    """Return bytes in the largest unit of which there is one."""
    size, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB"):
        if size < KIBI:
            break
        size, unit = size / KIBI, larger
    return f"{count:,} bytes" if unit == "bytes" else f"{size:.2f} {unit}"


NUMBERS = (_number, _percent, _bits, _short, _energy, _small)
"""Cells that are aligned to the right."""
