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
#ifdef BITX_HAVE_I8MM
    if (isa & BITX_ISA_I8MM) bitx_use_i8mm(kernels);
#endif
#ifdef BITX_HAVE_MVE
    if (isa & BITX_ISA_MVE) bitx_use_mve(kernels);
#endif
#ifdef BITX_HAVE_DSP
    if (isa & BITX_ISA_DSP) bitx_use_dsp(kernels);
#endif
#ifdef BITX_HAVE_VNNI
    if (isa & BITX_ISA_VNNI) bitx_use_vnni(kernels);
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
#ifdef BITX_HAVE_I8MM
    built |= BITX_ISA_I8MM;
#endif
#ifdef BITX_HAVE_MVE
    built |= BITX_ISA_MVE;
#endif
#ifdef BITX_HAVE_DSP
    built |= BITX_ISA_DSP;
#endif
#ifdef BITX_HAVE_VNNI
    built |= BITX_ISA_VNNI;
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
    case BITX_ISA_I8MM:    return "i8mm";
    case BITX_ISA_MVE:     return "mve";
    case BITX_ISA_DSP:     return "dsp";
    case BITX_ISA_VNNI:    return "vnni";
    }
    return NULL;
}
