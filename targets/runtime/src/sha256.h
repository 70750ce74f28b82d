/* sha256.h - SHA-256 (FIPS 180-4). */
#ifndef BITX_SHA256_H
#define BITX_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { BITX_SHA256_BYTES = 32 };

typedef struct bitx_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} bitx_sha256;

void bitx_sha256_begin(bitx_sha256 *hash);
void bitx_sha256_add(bitx_sha256 *hash, const void *data, size_t bytes);
void bitx_sha256_end(bitx_sha256 *hash, uint8_t digest[BITX_SHA256_BYTES]);

#endif /* BITX_SHA256_H */
