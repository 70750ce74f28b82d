/* ort_sequence.c - ops for which positions count: Rope, AppendCache, Attend, those of int8 codes.
 *
 * A cache of a graph has the shape [batch, heads, positions, size]; to the runtime each head of it
 * is a state of its own, its rows one after the other.  Codes have a second one beside them, with
 * their scales, of size 1.
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

static int is_of_codes(const ort_call *c)
{
    return c->kernel->form->code == BITX_OP_APPEND_CACHE_INT8 ||
           c->kernel->form->code == BITX_OP_ATTEND_INT8;
}

/* Caches that belong together. */
static size_t parts_of_cache(const ort_call *c)
{
    return is_of_codes(c) ? 2 : 1;
}

/* Whether input i is a cache, and the one behind it has its scales. */
static int is_cache(const ort_call *c, size_t i)
{
    const ort_tensor *cache = &c->in[i], *scales = &c->in[i + 1];
    if (cache->rank != 4 || cache->dims[3] == 0) return 0;
    if (!is_of_codes(c)) return cache->dtype == BITX_F32 || cache->dtype == BITX_F16;
    const int64_t wanted[] = {cache->dims[0], cache->dims[1], cache->dims[2], 1};
    return cache->dtype == BITX_S8 && scales->dtype == BITX_F32 &&
           bitx_ort_has_dims(scales, wanted, 4);
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
    const ort_tensor *past = &c->in[0], *x = &c->in[parts_of_cache(c)];
    const int64_t heads = c->call.attribute[0];
    if (!is_cache(c, 0)) return refuse_shapes(c);
    const int64_t wanted[] = {past->dims[0], -1, heads * past->dims[3]};
    if (!is_sequence(x) || past->dims[1] != heads || !bitx_ort_has_dims(x, wanted, 3))
        return refuse_shapes(c);
    return 1;
}

/* Takes over what was there, unless it is there already. */
static void copy_past(const bitx_matrix *present, const bitx_matrix *past, uint32_t before,
                      uint32_t after)
{
    if (present->data == past->data) return;
    bitx_copy(present->data, past->data, before * past->stride);
    bitx_zero(bitx_row(present, after), (present->rows - after) * past->stride);
}

/* One head: what was there, then the new rows. */
static void append_head(ort_call *c, size_t item, size_t head)
{
    const size_t parts = parts_of_cache(c);
    const ort_tensor *x = &c->in[parts];
    bitx_call call = c->call;
    call.inputs = (uint32_t)parts + 1;
    call.attribute[0] = 1;
    call.in[parts] = part(x, item, head, (size_t)c->in[0].dims[3]);
    for (size_t i = 0; i < parts; i++) {
        const bitx_matrix past = head_of(&c->in[i], item, head);
        call.in[i] = call.out[i] = head_of(&c->out[i], item, head);
        copy_past(&call.out[i], &past, call.position, call.position + call.in[parts].rows);
    }
    bitx_ort_run(c, &call);
}

static int overlap(const ort_tensor *a, const ort_tensor *b)
{
    const uint8_t *a_end = a->data + a->elements * bitx_element_bytes(a->dtype);
    const uint8_t *b_end = b->data + b->elements * bitx_element_bytes(b->dtype);
    return a->data < b_end && b->data < a_end;
}

/* Makes the present of part i, with room for so many positions; 0 after a refusal. */
static int make_present(ort_call *c, size_t i, int64_t positions, int may_share)
{
    const ort_tensor *past = &c->in[i];
    const int64_t dims[] = {past->dims[0], past->dims[1], positions, past->dims[3]};
    if (!bitx_ort_make_output(c, i, dims, 4, past->dtype)) return 0;
    if (!overlap(past, &c->out[i]) || (may_share && past->data == c->out[i].data)) return 1;
    bitx_ort_refuse(c, "past and present share memory, but nobody says how much is taken");
    return 0;
}

/* A past whose positions are all taken grows; one that has room, as the last input says, is as
 * large afterwards, and may be the same memory. */
void bitx_ort_append_cache(ort_call *c)
{
    const ort_tensor *past = &c->in[0];
    const size_t parts = parts_of_cache(c);
    if (!append_fits(c) || !read_position(c, parts + 1, past->dims[2])) return;
    const int has_room = c->in[parts + 1].data != NULL;
    const int64_t after = c->call.position + c->in[parts].dims[1];
    const int64_t positions = has_room ? past->dims[2] : after;
    if (after > positions) {
        bitx_ort_refuse_status(c, BITX_E_FULL);
        return;
    }
    for (size_t i = 0; i < parts; i++)
        if (!make_present(c, i, positions, has_room)) return;
    for (size_t b = 0; b < (size_t)past->dims[0]; b++)
        for (size_t h = 0; !c->status && h < (size_t)past->dims[1]; h++)
            append_head(c, b, h);
}

static int attend_fits(ort_call *c)
{
    const size_t parts = parts_of_cache(c);
    const ort_tensor *query = &c->in[0], *key = &c->in[1], *value = &c->in[1 + parts];
    const int64_t heads = c->call.attribute[0], kv_heads = c->call.attribute[1];
    if (!is_sequence(query) || !is_cache(c, 1) || !is_cache(c, 1 + parts) || kv_heads == 0 ||
        heads < kv_heads || key->dtype != value->dtype)
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
    call.inputs = (uint32_t)(1 + 2 * parts_of_cache(c));
    call.attribute[0] = call.attribute[1] = 1;
    call.in[0] = part(&c->in[0], item, head, size);
    for (size_t i = 1; i < call.inputs; i++)
        call.in[i] = head_of(&c->in[i], item, head * kv_heads / heads);
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
    const size_t last = 1 + 2 * parts_of_cache(c);
    if (!attend_fits(c) || !read_position(c, last, c->in[1].dims[2] - c->in[0].dims[1])) return;
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
