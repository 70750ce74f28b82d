"""A runtime of one screen, so that the toolchain is tested without the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

FILES = {
    "include/tiny.h": "int tiny_best(void);\nint tiny_neon(void);\nint tiny_dotprod(void);\n",
    "src/tiny.c": '#include "tiny.h"\nint tiny_best(void)\n{\n    return 1;\n}\n',
    "src/isa_linux.c": "int tiny_linux;\n",
    "src/isa_x86.c": "int tiny_x86;\n",
    "src/isa_fixed.c": "int tiny_fixed;\n",
    "kernels/dot/dot_scalar.c": "int tiny_scalar;\n",
    "kernels/dot/dot_neon.c": "int tiny_neon;\n",
    "kernels/dot/dot_dotprod.c": """
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with the flags of isa 'dotprod'"
#endif
#ifndef BITX_HAVE_DOTPROD
#error "the target has this instruction set, so say so"
#endif
int tiny_dotprod;
""",
    "kernels/dot/dot_avx2.c": "int tiny_avx2;\n",
    "extras/extra.c": """
void *malloc(__SIZE_TYPE__ bytes);
void *tiny(void);
void *tiny(void)
{
    return malloc(1);
}
""",
    "runner/runner.c": "#error not a part of the library\n",
}


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """Return the folder of a tiny runtime."""
    for name, text in FILES.items():
        path = tmp_path / "runtime" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "runtime"
