/* philox.h - Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", SC 2011. */
#ifndef BITX_PHILOX_H
#define BITX_PHILOX_H

#include <stdint.h>

/* The first word for counter (n, 0, 0, 0). */
static inline uint32_t bitx_philox(uint64_t seed, uint32_t n)
{
    uint32_t c[4] = {n, 0, 0, 0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c[0] * 0xd2511f53u, b = (uint64_t)c[2] * 0xcd9e8d57u;
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[3] = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return c[0];
}

/* A multiple of 2^-24 in [0, 1). */
static inline float bitx_uniform(uint64_t seed, uint32_t n)
{
    return (float)(bitx_philox(seed, n) >> 8) * 0x1p-24f;
}

#endif /* BITX_PHILOX_H */
