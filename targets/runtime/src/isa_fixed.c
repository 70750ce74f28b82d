/* isa_fixed.c - no operating system to ask: the core has what the library was built for. */
#include "kernels.h"

uint32_t bitx_isa_detect(void)
{
    return ~0u;
}
