/* attend.c - softmax(query key) value over the positions so far; one task for each query head
 * and some rows. */
#include "attend.h"

static int is_state(const bitx_matrix *m)
{
    return m->rank == 0 && m->role == BITX_STATE && (m->dtype == BITX_F32 || m->dtype == BITX_F16);
}

int bitx_fits_attend(const bitx_call *call)
{
    const bitx_matrix *key = &call->in[1], *value = &call->in[2];
    return bitx_heads_fit(call, key, value) && is_state(key) && is_state(value);
}

/* scores[j] = query key_j for every position. */
static void score(const bitx_call *call, float *scores, const float *query, const bitx_head *h)
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
static void mix(const bitx_call *call, float *y, const float *e, const bitx_head *h)
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

static void attend(const bitx_call *call, uint32_t t, const bitx_head *h, float *scores)
{
    const float *query = (const float *)bitx_row(&call->in[0], t) + h->query_column;
    float *y = (float *)bitx_row(&call->out[0], t) + h->query_column, z;

    score(call, scores, query, h);
    call->session->kernels.softmax_f32_f32(&z, scores, h->scale, h->positions);
    mix(call, y, scores, h);
    BITX_EACH(i, h->d, y[i] = y[i] / z);
}

static void attend_task(void *argument, size_t index)
{
    bitx_attend_rows(argument, index, attend);
}

bitx_status bitx_op_attend(const bitx_call *call)
{
    return bitx_attend_all(call, attend_task);
}
