"""The colours of the report's pages, light and dark: weights have one each, the rest is grey."""

from __future__ import annotations

COLOURS = (
    "ternary", "binary", "int4", "int8", "float", "embedding", "head", "norms", "tables", "scales",
)  # fmt: skip

VARIABLES = """\
:root { --page: #fcfcfb; --ink: #1a1a19; --soft: #62625d; --line: #dfded8; --box: #f3f2ee;
  --ternary: #2a78d6; --embedding: #1b9e77; --norms: #e0a100; --tables: #7a5cc8; --scales: #d4527e;
  --binary: #123f7d; --int4: #5bb6e8; --int8: #0f8f9c; --float: #9c5f2e; --head: #6aa84f;
  --other: #a3a29b }
@media (prefers-color-scheme: dark) {
:root { --page: #181817; --ink: #ecebe6; --soft: #a3a29b; --line: #3a3a37; --box: #232322;
  --ternary: #4a94ea; --embedding: #2fb48c; --norms: #d9a520; --tables: #9a80e0; --scales: #e0719a;
  --binary: #7db4f5; --int4: #2f89bb; --int8: #28b4c2; --float: #c98a55; --head: #8cc470;
  --other: #76756f } }"""

MARKS = "\n".join(
    f".{name} {{ fill: var(--{name}); background: var(--{name}) }}" for name in (*COLOURS, "other")
)
