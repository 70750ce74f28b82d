/* attend.c - softmax(query key) value over the positions so far; one task for each query head
 * and some rows. */
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

/* scores[j] = query key_j for every position. */
static void score(const bitx_call *call, float *scores, const float *query, const head *h)
{
    const bitx_kernels *kernels = &call->session->kernels;
    const bitx_matrix *key = &call->in[1];
    if (key->dtype == BITX_F32)
        kernels->gemv_f32_f32_f32(scores, query, (const float *)bitx_row(key, 0) + h->key_column,
                                  h->positions, h->d, key->stride);
    else
        kernels->gemv_f32_f32_f16(scores, query, (const uint16_t *)bitx_row(key, 0) + h->key_column,
                                  h->positions, h->d, key->stride);
}

/* y = the sum of e_j value_j. */
static void mix(const bitx_call *call, float *y, const float *e, const head *h)
{
    const bitx_kernels *kernels = &call->session->kernels;
    const bitx_matrix *value = &call->in[2];
    if (value->dtype == BITX_F32)
        kernels->gevm_f32_f32_f32(y, e, (const float *)bitx_row(value, 0) + h->key_column,
                                  h->positions, h->d, value->stride);
    else
        kernels->gevm_f32_f32_f16(y, e, (const uint16_t *)bitx_row(value, 0) + h->key_column,
                                  h->positions, h->d, value->stride);
}

static void attend(const bitx_call *call, uint32_t t, const head *h, float *scores)
{
    const float *query = (const float *)bitx_row(&call->in[0], t) + h->query_column;
    float *y = (float *)bitx_row(&call->out[0], t) + h->query_column, z;

    score(call, scores, query, h);
    call->session->kernels.softmax_f32_f32(&z, scores, h->scale, h->positions);
    mix(call, y, scores, h);
    BITX_EACH(i, h->d, y[i] = y[i] / z);
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

/* Some rows for each head: scores have room for one row of a head, so rows of one are in order. */
typedef struct rows_of_heads {
    const bitx_call *call;
    uint32_t first, end;
} rows_of_heads;

enum { ROWS_AT_ONCE = 8 };

static void attend_task(void *argument, size_t index)
{
    const rows_of_heads *rows = argument;
    const bitx_call *call = rows->call;
    const uint32_t heads = call->attribute[0], kv_heads = call->attribute[1];
    const size_t d = bitx_divide(call->in[0].columns, heads);
    const size_t group = group_of((uint32_t)index, kv_heads, heads);
    head h = {d, index * d, group * d, 0, bitx_float(call->attribute[2])};
    uint8_t *scores = call->session->scores + index * call->session->scores_stride;

    for (uint32_t t = rows->first; t < rows->end; t++) {
        h.positions = call->position + t + 1;
        attend(call, t, &h, (float *)(void *)scores);
    }
}

bitx_status bitx_op_attend(const bitx_call *call)
{
    const uint32_t rows = call->out[0].rows;
    if ((uint64_t)call->position + rows > call->in[1].rows) return BITX_E_FULL;
    for (uint32_t t = 0; t < rows; t += ROWS_AT_ONCE) {
        rows_of_heads some = {call, t, rows - t < ROWS_AT_ONCE ? rows : t + ROWS_AT_ONCE};
        bitx_parallel(call->session, attend_task, &some, call->attribute[0]);
    }
    return BITX_OK;
}
