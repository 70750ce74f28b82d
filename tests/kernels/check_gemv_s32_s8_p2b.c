/* check_gemv_s32_s8_p2b.c - the cases of check_looked_up.h for layout p2b. */
#include "check_looked_up.h"

static const char *const names[] = {"minus", "plus", "random", "bytes"};

static uint8_t byte_of_w(size_t pattern, size_t i, uint32_t *state)
{
    static const uint8_t plus[] = {0x5A, 0xDA, 0x1A}; /* four times index 26 */
    const uint8_t choices[] = {0x00, plus[i / 16 % 3], next_byte(state),
                               (uint8_t)(i * 167 + i / 256)};
    return choices[pattern];
}

int runner_run(int count, char **words)
{
    const looked_up_layout layout = {BITX_LAYOUT_P2B, sizeof names / sizeof *names, names,
                                     byte_of_w};

    (void)count;
    (void)words;
    return check_looked_up(&layout);
}
