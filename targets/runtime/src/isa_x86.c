/* isa_x86.c - x86-64: ask the core, and ask whether the system saves the wide registers. */
#include "kernels.h"

#define OSXSAVE   (1u << 27)                       /* leaf 1, ecx */
#define F16C      (1u << 29)                       /* leaf 1, ecx */
#define AVX2      (1u << 5)                        /* leaf 7, ebx */
#define AVX512    (1u << 16 | 1u << 30 | 1u << 31) /* leaf 7, ebx: F, BW and VL */
#define VNNI      (1u << 11)                       /* leaf 7, ecx */
#define YMM_STATE 6u                               /* XCR0: both halves of the ymm registers */
#define ZMM_STATE (YMM_STATE | 1u << 5 | 1u << 6 | 1u << 7) /* masks, zmm0 on, all of zmm16 on */

typedef struct leaf {
    uint32_t eax, ebx, ecx, edx;
} leaf;

static leaf cpuid(uint32_t number)
{
    leaf l;
    __asm__ volatile("cpuid"
                     : "=a"(l.eax), "=b"(l.ebx), "=c"(l.ecx), "=d"(l.edx)
                     : "a"(number), "c"(0));
    return l;
}

static uint32_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int has(uint32_t bits, uint32_t all_of)
{
    return (bits & all_of) == all_of;
}

uint32_t bitx_isa_detect(void)
{
    if (cpuid(0).eax < 7 || !has(cpuid(1).ecx, OSXSAVE | F16C)) return 0;

    const leaf features = cpuid(7);
    const uint32_t state = saved_state();
    if (!has(state, YMM_STATE) || !has(features.ebx, AVX2)) return 0;
    if (!has(state, ZMM_STATE) || !has(features.ebx, AVX512) || !has(features.ecx, VNNI))
        return BITX_ISA_AVX2;
    return BITX_ISA_AVX2 | BITX_ISA_VNNI;
}
