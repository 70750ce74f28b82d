/* bitexport_generate.h - choose tokens: penalties, temperature, top-k, top-p, min-p, seeds.
 *
 * The same seed, logits and history give the same token on every device: NUMERICS.md, section 8.
 */
#ifndef BITEXPORT_GENERATE_H
#define BITEXPORT_GENERATE_H

#include "bitexport.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BITX_ALL 0xffffffffu

/* Added to the logit of one token; -INFINITY forbids it. */
typedef struct bitx_bias {
    int32_t token;
    float bias;
} bitx_bias;

/* Says which tokens may follow: clears bit t % 32 of allowed[t / 32] for every token t that may
 * not.  All bits are set before. */
typedef void (*bitx_token_mask)(void *context, const int32_t *history, size_t count,
                                uint32_t *allowed, uint32_t vocabulary);

/* Set by bitx_sampler_greedy() or bitx_sampler_of_model(); change what you need. */
typedef struct bitx_sampler {
    float temperature;         /* 0: the largest logit, of equal ones the lowest id */
    uint32_t top_k;            /* at least 1; BITX_ALL: every token */
    float top_p;               /* above 0, at most 1 */
    float min_p;               /* 0 to 1 */
    float repetition;          /* above 0; 1: no penalty */
    float presence, frequency; /* 0: no penalty */
    uint32_t window;           /* how many of the last tokens penalties look at; BITX_ALL */
    uint64_t seed;
    const bitx_bias *bias;
    size_t bias_count;
    bitx_token_mask mask; /* null: every token may follow */
    void *mask_context;
} bitx_sampler;

bitx_sampler bitx_sampler_greedy(void);

/* What the model's generation_config.json asks for; greedy if the file has none.  The seed is 0. */
bitx_status bitx_sampler_of_model(bitx_sampler *sampler, const bitx_model *model);

/* Whether the numbers are allowed. */
bitx_status bitx_sampler_check(const bitx_sampler *sampler);

/* Bytes of work that bitx_sample() needs. */
size_t bitx_sample_room(uint32_t vocabulary);

/* Chooses the token that follows `count` tokens of history.  work: aligned to 4. */
bitx_status bitx_sample(int32_t *token, const bitx_sampler *sampler, const float *logits,
                        uint32_t vocabulary, const int32_t *history, size_t count, void *work,
                        size_t work_bytes);

#ifdef __cplusplus
}
#endif
#endif /* BITEXPORT_GENERATE_H */
