/* check_gemv_s32_s8_b1r.c - the cases of check_packed.h for layout b1r. */
#include "check_packed.h"

static const char *const names[] = {"minus", "plus", "random", "bytes"};

static uint8_t byte_of_w(size_t pattern, size_t i, uint32_t *state)
{
    const uint8_t choices[] = {0x00, 0xFF, next_byte(state), (uint8_t)(i * 167 + i / 256)};
    return choices[pattern];
}

static bitx_gemv_s32_s8_b1r_fn kernel(const bitx_kernels *kernels)
{
    return kernels->gemv_s32_s8_b1r;
}

int runner_run(int count, char **words)
{
    const packed_layout layout = {kernel, 32, sizeof names / sizeof *names, names, byte_of_w};

    (void)count;
    (void)words;
    return check_packed(&layout);
}
