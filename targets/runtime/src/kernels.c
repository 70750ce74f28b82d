/* kernels.c - start from the definitions; let each better instruction set overwrite them. */
#include "kernels.h"

void bitx_kernels_choose(bitx_kernels *kernels, uint32_t mask)
{
    const uint32_t isa = bitx_isa_available() & mask;

    bitx_use_scalar(kernels);
#ifdef BITX_HAVE_NEON
    if (isa & BITX_ISA_NEON) bitx_use_neon(kernels);
#endif
#ifdef BITX_HAVE_DOTPROD
    if (isa & BITX_ISA_DOTPROD) bitx_use_dotprod(kernels);
#endif
#ifdef BITX_HAVE_AVX2
    if (isa & BITX_ISA_AVX2) bitx_use_avx2(kernels);
#endif
    (void)isa;
}

uint32_t bitx_isa_available(void)
{
    uint32_t built = BITX_ISA_SCALAR;
#ifdef BITX_HAVE_NEON
    built |= BITX_ISA_NEON;
#endif
#ifdef BITX_HAVE_DOTPROD
    built |= BITX_ISA_DOTPROD;
#endif
#ifdef BITX_HAVE_AVX2
    built |= BITX_ISA_AVX2;
#endif
    return built & (bitx_isa_detect() | BITX_ISA_SCALAR);
}

const char *bitx_isa_name(bitx_isa isa)
{
    switch (isa) {
    case BITX_ISA_SCALAR:  return "scalar";
    case BITX_ISA_NEON:    return "neon";
    case BITX_ISA_DOTPROD: return "dotprod";
    case BITX_ISA_AVX2:    return "avx2";
    }
    return NULL;
}
