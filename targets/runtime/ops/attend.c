/* attend.c - softmax(query key) value over the positions so far; one task for each query head. */
#include "../src/floats.h"
#include "../src/session.h"

static int is_state(const bitx_matrix *m)
{
    return m->rank == 0 && m->role == BITX_STATE && (m->dtype == BITX_F32 || m->dtype == BITX_F16);
}

int bitx_fits_attend(const bitx_call *call)
{
    const bitx_matrix *query = &call->in[0], *key = &call->in[1], *value = &call->in[2];
    const uint32_t heads = call->attribute[0], kv_heads = call->attribute[1];
    if (heads == 0 || kv_heads == 0 || kv_heads > heads) return 0;
    const uint64_t d = bitx_divide(query->columns, heads);
    return bitx_maps_rows(query, &call->out[0]) && bitx_is_sequence(query) && is_state(key) &&
           is_state(value) && d * heads == query->columns && d * kv_heads == key->columns &&
           key->columns == value->columns;
}

/* One head of one row: which columns, and how many positions it sees. */
typedef struct head {
    size_t d, query_column, key_column;
    uint32_t positions;
    float scale;
} head;

static float score(const bitx_matrix *key, uint32_t j, const float *query, const head *h)
{
    const void *row = bitx_row(key, j);
    const float dot = key->dtype == BITX_F32
                          ? bitx_lane_dot(query, (const float *)row + h->key_column, h->d)
                          : bitx_lane_dot_f16(query, (const uint16_t *)row + h->key_column, h->d);
    return dot * h->scale;
}

/* Turns scores into e_j; returns their lane sum. */
static float exponentiate(float *scores, uint32_t positions)
{
    float largest = scores[0];
    for (uint32_t j = 1; j < positions; j++)
        if (scores[j] > largest) largest = scores[j];
    for (uint32_t j = 0; j < positions; j++)
        scores[j] = bitx_exp(scores[j] - largest);
    return bitx_lane_sum(scores, positions);
}

static void add_weighted_f32(float *y, float e, const float *value, size_t d)
{
    for (size_t i = 0; i < d; i++)
        y[i] = y[i] + e * value[i];
}

static void add_weighted_f16(float *y, float e, const uint16_t *value, size_t d)
{
    for (size_t i = 0; i < d; i++)
        y[i] = y[i] + e * bitx_from_f16(value[i]);
}

static void attend(const bitx_call *call, uint32_t t, const head *h, float *scores)
{
    const bitx_matrix *key = &call->in[1], *value = &call->in[2];
    const float *query = (const float *)bitx_row(&call->in[0], t) + h->query_column;
    float *y = (float *)bitx_row(&call->out[0], t) + h->query_column;

    for (uint32_t j = 0; j < h->positions; j++)
        scores[j] = score(key, j, query, h);
    const float z = exponentiate(scores, h->positions);
    bitx_zero(y, h->d * sizeof *y);
    for (uint32_t j = 0; j < h->positions; j++) {
        const void *row = bitx_row(value, j);
        if (value->dtype == BITX_F32)
            add_weighted_f32(y, scores[j], (const float *)row + h->key_column, h->d);
        else
            add_weighted_f16(y, scores[j], (const uint16_t *)row + h->key_column, h->d);
    }
    for (size_t i = 0; i < h->d; i++)
        y[i] = y[i] / z;
}

/* floor(index * kv_heads / heads) by long division: the product may pass 2^32, its factors, bounded
 * by the columns, stay below 2^25. */
static uint32_t group_of(uint32_t index, uint32_t kv_heads, uint32_t heads)
{
    uint32_t quotient = 0, rest = 0;
    for (int bit = 24; bit >= 0; bit--) {
        quotient *= 2;
        rest = 2 * rest + (index >> bit & 1) * kv_heads;
        for (; rest >= heads; rest -= heads)
            quotient++;
    }
    return quotient;
}

static void attend_task(void *argument, size_t index)
{
    const bitx_call *call = argument;
    const uint32_t heads = call->attribute[0], kv_heads = call->attribute[1];
    const size_t d = bitx_divide(call->in[0].columns, heads);
    const size_t group = group_of((uint32_t)index, kv_heads, heads);
    head h = {d, index * d, group * d, 0, bitx_float(call->attribute[2])};
    uint8_t *scores = call->session->scores + index * call->session->scores_stride;

    for (uint32_t t = 0; t < call->out[0].rows; t++) {
        h.positions = call->position + t + 1;
        attend(call, t, &h, (float *)(void *)scores);
    }
}

bitx_status bitx_op_attend(const bitx_call *call)
{
    if ((uint64_t)call->position + call->out[0].rows > call->in[1].rows) return BITX_E_FULL;
    bitx_parallel(call->session, attend_task, (void *)(uintptr_t)call, call->attribute[0]);
    return BITX_OK;
}
