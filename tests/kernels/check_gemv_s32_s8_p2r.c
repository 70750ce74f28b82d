/* check_gemv_s32_s8_p2r.c - the cases of check_packed.h for layout p2r. */
#include "check_p2r.h"
#include "check_packed.h"

static bitx_gemv_s32_s8_p2r_fn kernel(const bitx_kernels *kernels)
{
    return kernels->gemv_s32_s8_p2r;
}

int runner_run(int count, char **words)
{
    const packed_layout layout = {kernel, 16, P2R_PATTERNS, p2r_names, p2r_byte};

    (void)count;
    (void)words;
    return check_packed(&layout);
}
