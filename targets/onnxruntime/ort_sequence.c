/* ort_sequence.c - ops for which positions count: Rope, AppendCache, Attend.
 *
 * A cache of a graph has the shape [batch, heads, positions, size]; to the runtime each head of it
 * is a state of its own, its rows one after the other.
 */
#include "ort_call.h"

#include <stdlib.h>

/* Some rows of a value [batch, sequence, heads * size]: one row of the batch, `heads` of its heads.
 */
static bitx_matrix part(const ort_tensor *tensor, size_t item, size_t head, size_t size)
{
    bitx_matrix m = bitx_ort_rows(tensor);
    m.rows = (uint32_t)tensor->dims[1];
    m.data += item * m.rows * m.stride + head * size * bitx_element_bytes(m.dtype);
    m.columns = (uint32_t)size;
    return m;
}

/* One head of a cache. */
static bitx_matrix head_of(const ort_tensor *cache, size_t item, size_t head)
{
    bitx_matrix m = bitx_ort_rows(cache);
    m.rows = (uint32_t)cache->dims[2];
    m.data += (item * (size_t)cache->dims[1] + head) * m.rows * m.stride;
    m.role = BITX_STATE;
    return m;
}

static int refuse_shapes(ort_call *c)
{
    bitx_ort_refuse_status(c, BITX_E_ARGUMENT);
    return 0;
}

static int is_sequence(const ort_tensor *x)
{
    return x->rank == 3 && x->dtype == BITX_F32;
}

static int is_cache(const ort_tensor *cache)
{
    return cache->rank == 4 && (cache->dtype == BITX_F32 || cache->dtype == BITX_F16);
}

/* Reads how many positions there were before; those of `otherwise` if nobody says. */
static int read_position(ort_call *c, size_t input, int64_t otherwise)
{
    const ort_tensor *past = &c->in[input];
    int64_t position = otherwise;
    if (past->data) {
        if (past->dtype != 0 || past->elements != 1) return refuse_shapes(c);
        position = *(const int64_t *)(const void *)past->data;
    }
    if (position < 0 || position > INT32_MAX) return refuse_shapes(c);
    c->call.position = (uint32_t)position;
    return 1;
}

void bitx_ort_rope(ort_call *c)
{
    const ort_tensor *x = &c->in[0];
    if (!is_sequence(x)) {
        (void)refuse_shapes(c);
        return;
    }
    if (!read_position(c, 3, -1)) return;
    if (!bitx_ort_make_output(c, 0, x->dims, 3, BITX_F32)) return;
    for (size_t b = 0; !c->status && b < (size_t)x->dims[0]; b++) {
        bitx_call call = c->call;
        call.inputs = 3;
        call.in[0] = part(x, b, 0, (size_t)x->dims[2]);
        call.in[1] = bitx_ort_plain(&c->in[1]);
        call.in[2] = bitx_ort_plain(&c->in[2]);
        call.out[0] = part(&c->out[0], b, 0, (size_t)x->dims[2]);
        bitx_ort_run(c, &call);
    }
}

static int append_fits(ort_call *c)
{
    const ort_tensor *past = &c->in[0], *x = &c->in[1];
    const int64_t heads = c->call.attribute[0];
    const int64_t wanted[] = {past->rank == 4 ? past->dims[0] : 0, -1,
                              past->rank == 4 ? heads * past->dims[3] : 0};
    if (!is_cache(past) || !is_sequence(x) || past->dims[1] != heads || past->dims[3] == 0 ||
        !bitx_ort_has_dims(x, wanted, 3))
        return refuse_shapes(c);
    return 1;
}

/* One head: what was there, unless it is there already, then the new rows. */
static void append_head(ort_call *c, size_t item, size_t head)
{
    const bitx_matrix past = head_of(&c->in[0], item, head);
    bitx_call call = c->call;
    call.inputs = 2;
    call.attribute[0] = 1;
    call.out[0] = head_of(&c->out[0], item, head);
    call.in[0] = call.out[0];
    call.in[1] = part(&c->in[1], item, head, past.columns);
    if (call.out[0].data != past.data) {
        const uint32_t end = call.position + call.in[1].rows;
        bitx_copy(call.out[0].data, past.data, call.position * past.stride);
        bitx_zero(bitx_row(&call.out[0], end), (call.out[0].rows - end) * past.stride);
    }
    bitx_ort_run(c, &call);
}

static int overlap(const ort_tensor *a, const ort_tensor *b)
{
    const uint8_t *a_end = a->data + a->elements * bitx_element_bytes(a->dtype);
    const uint8_t *b_end = b->data + b->elements * bitx_element_bytes(b->dtype);
    return a->data < b_end && b->data < a_end;
}

/* A past whose positions are all taken grows; one that has room, as its third input says, is as
 * large afterwards, and may be the same memory. */
void bitx_ort_append_cache(ort_call *c)
{
    const ort_tensor *past = &c->in[0];
    if (!append_fits(c) || !read_position(c, 2, past->dims[2])) return;
    const int64_t after = c->call.position + c->in[1].dims[1];
    const int64_t dims[] = {past->dims[0], past->dims[1], c->in[2].data ? past->dims[2] : after,
                            past->dims[3]};
    if (after > dims[2]) {
        bitx_ort_refuse_status(c, BITX_E_FULL);
        return;
    }
    if (!bitx_ort_make_output(c, 0, dims, 4, past->dtype)) return;
    if (overlap(past, &c->out[0]) && !(c->in[2].data && past->data == c->out[0].data)) {
        bitx_ort_refuse(c, "past and present share memory, but nobody says how much is taken");
        return;
    }
    for (size_t b = 0; b < (size_t)dims[0]; b++)
        for (size_t h = 0; !c->status && h < (size_t)dims[1]; h++)
            append_head(c, b, h);
}

static int attend_fits(ort_call *c)
{
    const ort_tensor *query = &c->in[0], *key = &c->in[1], *value = &c->in[2];
    const int64_t heads = c->call.attribute[0], kv_heads = c->call.attribute[1];
    if (!is_sequence(query) || !is_cache(key) || !is_cache(value) || kv_heads == 0 ||
        heads < kv_heads || key->dtype != value->dtype || key->dims[3] == 0)
        return refuse_shapes(c);
    const int64_t wanted[] = {query->dims[0], kv_heads, key->dims[2], key->dims[3]};
    if (!bitx_ort_has_dims(key, wanted, 4) || !bitx_ort_has_dims(value, wanted, 4) ||
        query->dims[2] != heads * key->dims[3] || query->dims[1] > key->dims[2])
        return refuse_shapes(c);
    return 1;
}

/* Every head of every item of the batch. */
typedef struct heads_job {
    const ort_call *c;
    bitx_status *status; /* one for each */
} heads_job;

static bitx_status attend_head(const ort_call *c, size_t item, size_t head, float *scores)
{
    const size_t heads = c->call.attribute[0], kv_heads = c->call.attribute[1];
    const size_t size = (size_t)c->in[1].dims[3];
    bitx_session session = c->session;
    bitx_call call = c->call;
    session.config.parallel_for = NULL;
    session.scores = (uint8_t *)scores;
    session.scores_stride = 0;
    call.session = &session;
    call.inputs = 3;
    call.attribute[0] = call.attribute[1] = 1;
    call.in[0] = part(&c->in[0], item, head, size);
    call.in[1] = head_of(&c->in[1], item, head * kv_heads / heads);
    call.in[2] = head_of(&c->in[2], item, head * kv_heads / heads);
    call.out[0] = part(&c->out[0], item, head, size);
    const bitx_op *op = bitx_find_op(c->kernel->form->code);
    if (!op) return BITX_E_UNSUPPORTED;
    return op->fits(&call) ? op->run(&call) : BITX_E_ARGUMENT;
}

static void attend_task(void *argument, size_t index)
{
    const heads_job *job = argument;
    const size_t heads = job->c->call.attribute[0];
    const size_t positions = job->c->call.position + (size_t)job->c->in[0].dims[1];
    float *scores = malloc(positions * sizeof *scores);
    job->status[index] =
        scores ? attend_head(job->c, index / heads, index % heads, scores) : BITX_E_ARENA;
    free(scores);
}

void bitx_ort_attend(ort_call *c)
{
    if (!attend_fits(c) || !read_position(c, 3, c->in[1].dims[2] - c->in[0].dims[1])) return;
    if (!bitx_ort_make_output(c, 0, c->in[0].dims, 3, BITX_F32)) return;
    const size_t count = (size_t)c->in[0].dims[0] * c->call.attribute[0];
    if (c->out[0].elements == 0) return;
    heads_job job = {c, calloc(count, sizeof(bitx_status))};
    if (!job.status) {
        bitx_ort_refuse_status(c, BITX_E_ARENA);
        return;
    }
    bitx_parallel(&c->session, attend_task, &job, count);
    for (size_t i = 0; i < count; i++)
        bitx_ort_refuse_status(c, job.status[i]);
    free(job.status);
}
