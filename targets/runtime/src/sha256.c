/* sha256.c - SHA-256 (FIPS 180-4), one block at a time. */
#include "sha256.h"

#include "memory.h"

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static uint32_t big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_big_endian(uint8_t *bytes, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(x >> (24 - 8 * i));
}

static uint32_t schedule(uint32_t *w, int i)
{
    const uint32_t a = w[(i + 1) % 16], b = w[(i + 14) % 16];
    const uint32_t s0 = rotate(a, 7) ^ rotate(a, 18) ^ a >> 3;
    const uint32_t s1 = rotate(b, 17) ^ rotate(b, 19) ^ b >> 10;
    return w[i % 16] += s0 + w[(i + 9) % 16] + s1;
}

static void add_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

    for (int i = 0; i < 16; i++)
        w[i] = big_endian(block + 4 * i);
    for (int i = 0; i < 64; i++) {
        const uint32_t word = i < 16 ? w[i] : schedule(w, i);
        const uint32_t s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        const uint32_t s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        const uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constant[i] + word;
        const uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void bitx_sha256_begin(bitx_sha256 *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    bitx_copy(hash->state, start, sizeof start);
    hash->bytes = 0;
}

void bitx_sha256_add(bitx_sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *next = data;
    size_t held = (size_t)(hash->bytes & 63);
    hash->bytes += bytes;

    while (bytes > 0) {
        if (held == 0 && bytes >= 64) {
            add_block(hash->state, next);
            next += 64, bytes -= 64;
            continue;
        }
        const size_t taken = bytes < 64 - held ? bytes : 64 - held;
        bitx_copy(hash->block + held, next, taken);
        next += taken, bytes -= taken, held += taken;
        if (held == 64) {
            add_block(hash->state, hash->block);
            held = 0;
        }
    }
}

void bitx_sha256_end(bitx_sha256 *hash, uint8_t digest[BITX_SHA256_BYTES])
{
    static const uint8_t one_then_zeros[64] = {0x80};
    const uint64_t bits = hash->bytes * 8;
    uint8_t length[8];

    put_big_endian(length, (uint32_t)(bits >> 32));
    put_big_endian(length + 4, (uint32_t)bits);
    bitx_sha256_add(hash, one_then_zeros, (size_t)(((55 - hash->bytes) & 63) + 1));
    bitx_sha256_add(hash, length, sizeof length);
    for (size_t i = 0; i < 8; i++)
        put_big_endian(digest + 4 * i, hash->state[i]);
}
