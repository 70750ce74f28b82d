/* isa_linux.c - Arm Linux and Android: ask the kernel. */
#include "kernels.h"

#include <sys/auxv.h>

#ifdef __aarch64__
#define HWCAP_NEON    (1ul << 1)  /* HWCAP_ASIMD */
#define HWCAP_DOTPROD (1ul << 20) /* HWCAP_ASIMDDP */
#define HWCAP2_SMMLA  (1ul << 13) /* HWCAP2_I8MM */
#else
#define HWCAP_NEON    (1ul << 12)
#define HWCAP_DOTPROD (1ul << 24) /* HWCAP_ASIMDDP */
#define HWCAP2_SMMLA  0ul         /* no kernels for it */
#endif

uint32_t bitx_isa_detect(void)
{
    const unsigned long hwcap = getauxval(AT_HWCAP);
    uint32_t isa = 0;
    if (hwcap & HWCAP_NEON) isa |= BITX_ISA_NEON;
    if (hwcap & HWCAP_DOTPROD) isa |= BITX_ISA_DOTPROD;
    if ((isa & BITX_ISA_DOTPROD) && (getauxval(AT_HWCAP2) & HWCAP2_SMMLA)) isa |= BITX_ISA_I8MM;
    return isa;
}
