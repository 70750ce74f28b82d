/* chain.h - chains of digests (NUMERICS.md, section 6). */
#ifndef BITX_CHAIN_H
#define BITX_CHAIN_H

#include "bitexport.h"
#include "records.h"
#include "sha256.h"

/* Links one row to a chain: chain = SHA-256(chain, SHA-256(row)). */
static inline void bitx_link_row(uint8_t *chain, const void *row, size_t bytes)
{
    uint8_t digest[BITX_SHA256_BYTES];
    bitx_sha256 hash;
    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, row, bytes);
    bitx_sha256_end(&hash, digest);

    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, chain, BITX_SHA256_BYTES);
    bitx_sha256_add(&hash, digest, sizeof digest);
    bitx_sha256_end(&hash, chain);
}

/* Traces into an array of chains, one for each op output. */
static inline void bitx_link_event(void *context, const bitx_trace_event *event)
{
    uint8_t *chain = (uint8_t *)context + (size_t)event->op_output * BITX_SHA256_BYTES;
    const uint8_t *row = (const uint8_t *)event->data;
    const size_t bytes = (size_t)event->columns * bitx_element_bytes((uint32_t)event->dtype);
    for (uint32_t t = 0; t < event->rows; t++, row += event->stride)
        bitx_link_row(chain, row, bytes);
}

#endif /* BITX_CHAIN_H */
