/* isa_apple.c - iOS, macOS and their kin on Arm: ask the kernel. */
#include "kernels.h"

#include <sys/sysctl.h>

static int has(const char *feature)
{
    int is_there = 0;
    size_t bytes = sizeof is_there;
    return sysctlbyname(feature, &is_there, &bytes, NULL, 0) == 0 && is_there;
}

uint32_t bitx_isa_detect(void)
{
    uint32_t isa = BITX_ISA_NEON; /* every one with 64 bits */
    if (has("hw.optional.arm.FEAT_DotProd")) isa |= BITX_ISA_DOTPROD;
    if ((isa & BITX_ISA_DOTPROD) && has("hw.optional.arm.FEAT_I8MM")) isa |= BITX_ISA_I8MM;
    return isa;
}
