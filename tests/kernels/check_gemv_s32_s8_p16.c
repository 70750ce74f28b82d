/* check_gemv_s32_s8_p16.c - the cases of check_looked_up.h for layout p16. */
#include "check_looked_up.h"

static const char *const names[] = {"minus", "plus", "random", "bytes", "highest"};

static uint8_t byte_of_w(size_t pattern, size_t i, uint32_t *state)
{
    const uint8_t choices[] = {0, 242, next_byte(state), (uint8_t)(i * 167 + i / 256), 255};
    return choices[pattern];
}

int runner_run(int count, char **words)
{
    const looked_up_layout layout = {BITX_LAYOUT_P16, sizeof names / sizeof *names, names,
                                     byte_of_w};

    (void)count;
    (void)words;
    return check_looked_up(&layout);
}
