"""The structures that Python hands to the C runtime are those of its headers."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from bitexport.paths import runtime_root
from bitexport.runtime import library as c
from bitexport.runtime.session import THREAD_POOL_BYTES

HEADERS = (
    "include/bitexport.h", "include/bitexport_text.h", "include/bitexport_generate.h",
    "extras/bitx_map.h",
)  # fmt: skip
STRUCTURES: dict[str, type[ctypes.Structure]] = {
    "bitx_section": c.Section, "bitx_facts": c.Facts, "bitx_map": c.Map,
    "bitx_trace_event": c.TraceEvent, "bitx_self_test_result": c.SelfTestResult,
    "bitx_model": c.Model, "bitx_config": c.Config,
    "bitx_tensor": c.Tensor, "bitx_range": c.Range, "bitx_text": c.Text,
    "bitx_string_view": c.StringView, "bitx_stream_config": c.StreamConfig,
    "bitx_stream": c.Stream, "bitx_message": c.Message, "bitx_chat": c.Chat, "bitx_bias": c.Bias,
    "bitx_sampler": c.Sampler, "bitx_answer": c.Answer, "bitx_event": c.Event,
}  # fmt: skip


def test_the_structures_are_those_of_the_headers(tmp_path: Path) -> None:
    lines = [f'#include "{runtime_root() / header}"' for header in HEADERS]
    lines += ["#include <stdio.h>", "int main(void) {"]
    expected = []
    for name, structure in STRUCTURES.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        expected.append(f"{name} {ctypes.sizeof(structure)}")
        for field, *_ in structure._fields_:
            place = f"offsetof({name}, {field}), sizeof((({name} *)0)->{field})"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", {place});')
            described = getattr(structure, field)
            expected.append(f"{name}.{field} {described.offset} {described.size}")
    (tmp_path / "sizes.c").write_text("\n".join([*lines, "return 0; }"]), encoding="utf-8")
    command = ["gcc", f"-I{runtime_root() / 'include'}", "sizes.c", "-o", "sizes"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "sizes"], check=True, capture_output=True, text=True)
    assert said.stdout.splitlines() == expected


def test_a_pool_of_threads_fits_the_memory_that_it_is_given(tmp_path: Path) -> None:
    root = runtime_root()
    (tmp_path / "size.c").write_text(
        '#include "bitx_threads.h"\n#include <stdio.h>\n'
        'int main(void) { printf("%zu", sizeof(bitx_threads)); return 0; }'
    )
    command = ["gcc", f"-I{root / 'include'}", f"-I{root / 'extras'}", "size.c", "-o", "size"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "size"], check=True, capture_output=True, text=True)
    assert int(said.stdout) <= THREAD_POOL_BYTES
