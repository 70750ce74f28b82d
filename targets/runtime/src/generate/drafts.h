/* drafts.h - prompt lookup (NUMERICS.md, section 8). */
#ifndef BITX_DRAFTS_H
#define BITX_DRAFTS_H

#include "../memory.h"

enum { BITX_LONGEST_MATCH = 3 };

/* Writes the tokens, at most `most`, that followed the latest earlier occurrence of the last
 * tokens; how many. */
static inline uint32_t bitx_draft(int32_t *draft, const int32_t *token, uint32_t count,
                                  uint32_t most)
{
    if (most == 0) return 0;
    for (uint32_t length = BITX_LONGEST_MATCH; length > 0; length--) {
        if (count <= length) continue;
        const int32_t *last = token + count - length;
        for (uint32_t start = count - length; start-- > 0;) {
            if (!bitx_same(token + start, last, length * sizeof *token)) continue;
            const uint32_t left = count - start - length;
            const uint32_t drafted = left < most ? left : most;
            bitx_copy(draft, token + start + length, drafted * sizeof *token);
            return drafted;
        }
    }
    return 0;
}

#endif /* BITX_DRAFTS_H */
