/* gemv_s32_s8_s8_dotprod.c - Armv8.2-A with FEAT_DotProd. */
#include "gemv_s32_s8_s8.h"

#if !defined(__ARM_FEATURE_DOTPROD)
#error "compile this file with the flags of isa 'dotprod' (targets/isa.toml)"
#endif
#include <arm_neon.h>

void bitx_gemv_s32_s8_s8_dotprod(int32_t *restrict y, const int8_t *restrict x,
                                 const int8_t *restrict w, size_t n, size_t k)
{
    for (size_t row = 0; row < n; row++, w += k) {
        int32x4_t even = vdupq_n_s32(0), odd = even;
        size_t i = 0;
        for (; i + 32 <= k; i += 32) {
            even = vdotq_s32(even, vld1q_s8(x + i), vld1q_s8(w + i));
            odd = vdotq_s32(odd, vld1q_s8(x + i + 16), vld1q_s8(w + i + 16));
        }
        int32_t sum = vaddvq_s32(vaddq_s32(even, odd));
        for (; i < k; i++)
            sum += x[i] * w[i];
        y[row] = sum;
    }
}
