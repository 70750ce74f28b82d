/* sample.c - from logits to a token, to the bit (NUMERICS.md, section 8). */
#include "bitexport_generate.h"

#include "../floats.h"
#include "../records.h"
#include "philox.h"

/* What a choice works with; in the caller's work. */
typedef struct choice {
    const bitx_sampler *sampler;
    uint32_t vocabulary;
    float *logit;      /* adjusted; -infinity: no candidate */
    float *e;          /* exp(logit - largest) */
    uint32_t *ids;     /* a heap of candidates, then behind it those that were taken from it */
    uint32_t *allowed; /* bits */
    uint32_t heap;     /* candidates still in it */
    uint32_t count;    /* candidates in all */
    float sum;         /* of e */
} choice;

static uint32_t mask_words(uint32_t vocabulary)
{
    return vocabulary / 32 + (vocabulary % 32 != 0);
}

size_t bitx_sample_room(uint32_t vocabulary)
{
    return ((size_t)vocabulary * 3 + mask_words(vocabulary)) * sizeof(uint32_t);
}

/* ---- Steps 1 to 3: who may be chosen ----------------------------------------------------------
 */

static int is_above_zero(float x)
{
    return x > 0.0f && bitx_magnitude(x) < BITX_INFINITY_BITS;
}

static int is_finite(float x)
{
    return bitx_magnitude(x) < BITX_INFINITY_BITS;
}

/* Each comparison is false for a NaN. */
bitx_status bitx_sampler_check(const bitx_sampler *s)
{
    if (!s || (s->bias_count && !s->bias)) return BITX_E_ARGUMENT;
    const int sound = (s->temperature == 0.0f || is_above_zero(s->temperature)) && s->top_k >= 1 &&
                      s->top_p > 0.0f && s->top_p <= 1.0f && s->min_p >= 0.0f && s->min_p <= 1.0f &&
                      is_above_zero(s->repetition) && is_finite(s->presence) &&
                      is_finite(s->frequency);
    return sound ? BITX_OK : BITX_E_ARGUMENT;
}

/* Counts tokens where the candidates will be. */
static bitx_status penalize(const choice *c, const int32_t *history, size_t count)
{
    const bitx_sampler *s = c->sampler;
    const int per_count = s->frequency != 0.0f || s->presence != 0.0f;
    if (s->repetition == 1.0f && !per_count) return BITX_OK;

    bitx_zero(c->ids, c->vocabulary * sizeof *c->ids);
    for (size_t i = count > s->window ? count - s->window : 0; i < count; i++) {
        if ((uint32_t)history[i] >= c->vocabulary) return BITX_E_TOKEN;
        c->ids[history[i]]++;
    }
    for (uint32_t i = 0; i < c->vocabulary; i++) {
        float l = c->logit[i];
        if (c->ids[i] == 0) continue;
        if (s->repetition != 1.0f) l = l > 0.0f ? l / s->repetition : l * s->repetition;
        if (per_count) l = (l - (float)c->ids[i] * s->frequency) - s->presence;
        c->logit[i] = l;
    }
    return BITX_OK;
}

static bitx_status add_biases(const choice *c)
{
    for (size_t i = 0; i < c->sampler->bias_count; i++) {
        const bitx_bias *bias = &c->sampler->bias[i];
        if ((uint32_t)bias->token >= c->vocabulary) return BITX_E_TOKEN;
        c->logit[bias->token] = c->logit[bias->token] + bias->bias;
    }
    return BITX_OK;
}

static void apply_mask(const choice *c, const int32_t *history, size_t count)
{
    if (!c->sampler->mask) return;
    for (uint32_t i = 0; i < mask_words(c->vocabulary); i++)
        c->allowed[i] = ~0u;
    c->sampler->mask(c->sampler->mask_context, history, count, c->allowed, c->vocabulary);
    for (uint32_t i = 0; i < c->vocabulary; i++)
        if (!(c->allowed[i / 32] >> i % 32 & 1)) c->logit[i] = -__builtin_inff();
}

static bitx_status adjust(choice *c, const float *logits, const int32_t *history, size_t count)
{
    bitx_copy(c->logit, logits, c->vocabulary * sizeof *logits);
    bitx_status status = penalize(c, history, count);
    if (status == BITX_OK) status = add_biases(c);
    if (status != BITX_OK) return status;
    for (uint32_t i = 0; i < c->vocabulary; i++)
        if (!(c->logit[i] < __builtin_inff())) return BITX_E_NOT_FINITE;
    apply_mask(c, history, count);
    return BITX_OK;
}

/* ---- Step 6: candidates in order --------------------------------------------------------------
 */

static int comes_before(const choice *c, uint32_t a, uint32_t b)
{
    return c->logit[a] > c->logit[b] || (c->logit[a] == c->logit[b] && a < b);
}

static void sink(const choice *c, uint32_t parent)
{
    const uint32_t id = c->ids[parent];
    for (;;) {
        uint32_t child = 2 * parent + 1;
        if (child >= c->heap) break;
        if (child + 1 < c->heap && comes_before(c, c->ids[child + 1], c->ids[child])) child++;
        if (!comes_before(c, c->ids[child], id)) break;
        c->ids[parent] = c->ids[child];
        parent = child;
    }
    c->ids[parent] = id;
}

static void collect(choice *c)
{
    c->count = 0;
    for (uint32_t i = 0; i < c->vocabulary; i++)
        if (c->logit[i] > -__builtin_inff()) c->ids[c->count++] = i;
    c->heap = c->count;
}

static void make_heap(const choice *c)
{
    for (uint32_t parent = c->heap / 2; parent > 0; parent--)
        sink(c, parent - 1);
}

/* The candidate at a place of the order; those before it are taken from the heap on the way. */
static uint32_t candidate(choice *c, uint32_t place)
{
    while (c->count - c->heap <= place) {
        const uint32_t first = c->ids[0];
        c->ids[0] = c->ids[--c->heap];
        c->ids[c->heap] = first;
        if (c->heap) sink(c, 0);
    }
    return c->ids[c->count - 1 - place];
}

/* Top-k: what comes behind the k-th candidate is none.  The order so far stays what it is. */
static uint32_t keep_top(choice *c)
{
    const uint32_t k = c->sampler->top_k;
    if (k >= c->count) return c->count;
    (void)candidate(c, k - 1);
    for (uint32_t i = 0; i < c->heap; i++)
        c->logit[c->ids[i]] = -__builtin_inff();
    return k;
}

/* ---- Steps 7 to 10 ----------------------------------------------------------------------------
 */

/* What is no candidate adds +0: no lane changes. */
static void soften(choice *c, float largest)
{
    float *restrict e = c->e;
    const float *restrict logit = c->logit;
    BITX_EACH(i, c->vocabulary, e[i] = bitx_exp(logit[i] - largest));
    c->sum = bitx_lane_sum(c->e, c->vocabulary);
}

static float probability(choice *c, uint32_t place)
{
    return c->e[candidate(c, place)] / c->sum;
}

/* How many of the first k stay by top-p and min-p; and the sum of theirs. */
static uint32_t cut(choice *c, uint32_t k, float *total)
{
    const bitx_sampler *s = c->sampler;
    const float least = s->min_p * probability(c, 0);
    uint32_t kept = 0;
    *total = 0.0f;
    while (kept < k) {
        const float p = probability(c, kept);
        if (s->min_p > 0.0f && !(p >= least)) break;
        *total = *total + p;
        kept++;
        if (s->top_p < 1.0f && *total >= s->top_p) break;
    }
    return kept;
}

static uint32_t draw(choice *c, uint32_t position)
{
    const bitx_sampler *s = c->sampler;
    uint32_t kept = keep_top(c);
    float total = 1.0f, running = 0.0f;

    soften(c, c->logit[candidate(c, 0)]);
    if (s->top_p < 1.0f || s->min_p > 0.0f) kept = cut(c, kept, &total);
    const float threshold = bitx_uniform(s->seed, position) * total;
    for (uint32_t place = 0; place < kept; place++) {
        running = running + probability(c, place);
        if (running > threshold) return candidate(c, place);
    }
    return candidate(c, kept - 1);
}

static bitx_status scale(const choice *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        float *l = &c->logit[c->ids[i]];
        *l = *l / c->sampler->temperature;
        if (!is_finite(*l)) return BITX_E_NOT_FINITE;
    }
    return BITX_OK;
}

static uint32_t first_of_largest(const choice *c)
{
    uint32_t best = c->ids[0];
    for (uint32_t i = 1; i < c->count; i++)
        if (c->logit[c->ids[i]] > c->logit[best]) best = c->ids[i];
    return best;
}

bitx_status bitx_sample(int32_t *token, const bitx_sampler *sampler, const float *logits,
                        uint32_t vocabulary, const int32_t *history, size_t count, void *work,
                        size_t work_bytes)
{
    if (!token || !logits || !work || (count && !history) || vocabulary == 0)
        return BITX_E_ARGUMENT;
    if (work_bytes < bitx_sample_room(vocabulary)) return BITX_E_ROOM;
    bitx_status status = bitx_sampler_check(sampler);
    if (status != BITX_OK) return status;

    choice c = {.sampler = sampler, .vocabulary = vocabulary, .logit = work};
    c.e = c.logit + vocabulary;
    c.ids = (uint32_t *)(void *)(c.e + vocabulary);
    c.allowed = c.ids + vocabulary;
    status = adjust(&c, logits, history, count);
    if (status != BITX_OK) return status;
    collect(&c);
    if (c.count == 0) return BITX_E_MASK;
    if (sampler->temperature == 0.0f) {
        *token = (int32_t)first_of_largest(&c);
        return BITX_OK;
    }
    status = scale(&c);
    if (status != BITX_OK) return status;
    make_heap(&c);
    *token = (int32_t)draw(&c, (uint32_t)count);
    return BITX_OK;
}

/* ---- What the model asks for ------------------------------------------------------------------
 */

bitx_sampler bitx_sampler_greedy(void)
{
    return (bitx_sampler){.top_k = BITX_ALL, .top_p = 1.0f, .repetition = 1.0f, .window = BITX_ALL};
}

/* R28. */
bitx_status bitx_sampler_of_model(bitx_sampler *sampler, const bitx_model *model)
{
    if (!sampler || !model || !model->facts.records) return BITX_E_ARGUMENT;
    *sampler = bitx_sampler_greedy();
    if (!model->generation.records) return BITX_OK;
    const bitx_generation_record asked = bitx_read_generation(model, 0);
    sampler->temperature = asked.temperature;
    sampler->top_k = asked.top_k;
    sampler->top_p = asked.top_p;
    sampler->min_p = asked.min_p;
    sampler->repetition = asked.repetition;
    sampler->presence = asked.presence;
    sampler->frequency = asked.frequency;
    const int sound = asked.flags <= 1 && asked.temperature > 0.0f &&
                      bitx_all_zero((const uint8_t *)asked.reserved, sizeof asked.reserved) &&
                      bitx_sampler_check(sampler) == BITX_OK;
    if (!(asked.flags & 1)) sampler->temperature = 0.0f;
    return sound ? BITX_OK : BITX_E_FORMAT;
}
