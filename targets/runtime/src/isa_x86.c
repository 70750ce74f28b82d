/* isa_x86.c - x86-64: ask the core, and ask whether the system saves the wide registers. */
#include "kernels.h"

#define OSXSAVE   (1u << 27) /* leaf 1, ecx */
#define F16C      (1u << 29) /* leaf 1, ecx */
#define AVX2      (1u << 5)  /* leaf 7, ebx */
#define YMM_STATE 6u         /* XCR0: both halves of the ymm registers */

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

uint32_t bitx_isa_detect(void)
{
    const uint32_t needed = OSXSAVE | F16C;
    if (cpuid(0).eax < 7 || (cpuid(1).ecx & needed) != needed) return 0;
    if ((saved_state() & YMM_STATE) != YMM_STATE) return 0;
    return cpuid(7).ebx & AVX2 ? BITX_ISA_AVX2 : 0;
}
