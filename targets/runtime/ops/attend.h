/* attend.h - what Attend and AttendInt8 share: who looks at which columns of how many positions. */
#ifndef BITX_ATTEND_H
#define BITX_ATTEND_H

#include "../src/floats.h"
#include "../src/session.h"

/* Whether the heads of query and output split them, and so the states of keys and of values. */
static inline int bitx_heads_fit(const bitx_call *call, const bitx_matrix *key,
                                 const bitx_matrix *value)
{
    const bitx_matrix *query = &call->in[0];
    const uint32_t heads = call->attribute[0], kv_heads = call->attribute[1];
    if (heads == 0 || kv_heads == 0 || kv_heads > heads) return 0;
    const uint64_t d = bitx_divide(query->columns, heads);
    return bitx_maps_rows(query, &call->out[0]) && bitx_is_sequence(query) &&
           d * heads == query->columns && d * kv_heads == key->columns &&
           key->columns == value->columns;
}

/* One head of one row: which columns, and how many positions it sees. */
typedef struct bitx_head {
    size_t d, query_column, key_column, group;
    uint32_t positions;
    float scale;
} bitx_head;

/* floor(index * kv_heads / heads) by long division: the product may pass 2^32, its factors, bounded
 * by the columns, stay below 2^25. */
static inline uint32_t bitx_group_of(uint32_t index, uint32_t kv_heads, uint32_t heads)
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
typedef struct bitx_rows_of_heads {
    const bitx_call *call;
    uint32_t first, end;
} bitx_rows_of_heads;

/* What an op does to one head of row t. */
typedef void (*bitx_attend_task)(const bitx_call *call, uint32_t t, const bitx_head *h,
                                 float *scores);

static inline void bitx_attend_rows(const bitx_rows_of_heads *rows, size_t index,
                                    bitx_attend_task attend)
{
    const bitx_call *call = rows->call;
    const uint32_t heads = call->attribute[0], kv_heads = call->attribute[1];
    const size_t d = bitx_divide(call->in[0].columns, heads);
    const size_t group = bitx_group_of((uint32_t)index, kv_heads, heads);
    bitx_head h = {d, index * d, group * d, group, 0, bitx_float(call->attribute[2])};
    uint8_t *scores = call->session->scores + index * call->session->scores_stride;

    for (uint32_t t = rows->first; t < rows->end; t++) {
        h.positions = call->position + t + 1;
        attend(call, t, &h, (float *)(void *)scores);
    }
}

/* The task for every head, some rows at a time. */
static inline bitx_status bitx_attend_all(const bitx_call *call, bitx_task task)
{
    enum { ROWS_AT_ONCE = 8 };
    const uint32_t rows = call->out[0].rows;
    if ((uint64_t)call->position + rows > call->in[1].rows) return BITX_E_FULL;
    for (uint32_t t = 0; t < rows; t += ROWS_AT_ONCE) {
        bitx_rows_of_heads some = {call, t, rows - t < ROWS_AT_ONCE ? rows : t + ROWS_AT_ONCE};
        bitx_parallel(call->session, task, &some, call->attribute[0]);
    }
    return BITX_OK;
}

#endif /* BITX_ATTEND_H */
