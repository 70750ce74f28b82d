/* check_gemv_s32_s8_p2r.c - the cases of check_packed.h for layout p2r. */
#include "check_packed.h"

static const char *const names[] = {"minus", "plus", "trits", "bytes", "lowest", "highest"};

/* Three codes at random, and where a random code is the fourth, a zero. */
static uint8_t trits(uint8_t random)
{
    uint32_t byte = 0;
    for (uint32_t field = 0; field < 4; field++) {
        const uint32_t two = random >> 2 * field & 3, code = two == 3 ? 1 : two;
        byte |= (field < 3 ? code : (code + 3) & 3) << 2 * field;
    }
    return (uint8_t)byte;
}

static uint8_t byte_of_w(size_t pattern, size_t i, uint32_t *state)
{
    const uint8_t choices[] = {0xC0, 0x6A, trits(next_byte(state)), (uint8_t)(i * 167 + i / 256),
                               0x80, 0x7F};
    return choices[pattern];
}

static bitx_gemv_s32_s8_p2r_fn kernel(const bitx_kernels *kernels)
{
    return kernels->gemv_s32_s8_p2r;
}

int runner_run(int count, char **words)
{
    const packed_layout layout = {kernel, 16, sizeof names / sizeof *names, names, byte_of_w};

    (void)count;
    (void)words;
    return check_packed(&layout);
}
