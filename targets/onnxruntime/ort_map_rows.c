/* ort_map_rows.c - ops that compute each row by itself: the leading dimensions are all one.
 *
 * The runtime's kernels read, and write, up to the next multiple of 64 bytes of a row.  A tensor of
 * onnxruntime has no room for that; where its rows end elsewhere, a copy has.
 */
#include "ort_call.h"

#include "../runtime/ops/groups.h"
#include "lookup.h"

#include <stdlib.h>

/* Kernels of floats alone stop at the last column; a fusion keeps sums where floats will be. */
static int has_room(const ort_call *c, const bitx_matrix *m)
{
    return m->stride % BITX_ALIGNMENT == 0 || (m->dtype == BITX_F32 && !c->kernel->form->is_fusion);
}

static size_t padded_stride(const bitx_matrix *m)
{
    return (size_t)bitx_round_up(m->stride, BITX_ALIGNMENT);
}

/* Tokens are int64 in a graph, s32 in the runtime; one that does not fit is in no vocabulary. */
static void narrow_tokens(int32_t *to, const int64_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i] < 0 || from[i] > INT32_MAX ? -1 : (int32_t)from[i];
}

static bitx_matrix describe_tokens(const ort_tensor *tensor)
{
    return (bitx_matrix){.data = tensor->data,
                         .stride = sizeof(int32_t),
                         .rows = tensor->elements > UINT32_MAX ? 0 : (uint32_t)tensor->elements,
                         .columns = 1,
                         .dtype = BITX_S32,
                         .row_kind = BITX_ROWS_CALL};
}

/* Packed weights are bytes in a row; the attributes say of which matrix. */
static int describe_packed(bitx_matrix *matrix, const ort_kernel *kernel, const ort_tensor *tensor)
{
    const uint32_t layout = kernel->form->layout, tile = bitx_tile_rows(layout);
    if (kernel->n == 0 || kernel->k == 0 || tile == 0) return 0;
    const uint64_t tiles = bitx_divide(kernel->n - 1, tile) + UINT64_C(1);
    *matrix = (bitx_matrix){.data = tensor->data,
                            .stride = kernel->k,
                            .rows = kernel->n,
                            .columns = kernel->k,
                            .dtype = BITX_U8,
                            .layout = layout,
                            .rank = 2};
    return tensor->elements == tiles * bitx_tiles_stride(layout, kernel->k);
}

static int describe_input(ort_call *c, size_t i)
{
    const ort_tensor *tensor = &c->in[i];
    switch (c->kernel->form->inputs[i]) {
    case 'i': c->call.in[i] = describe_tokens(tensor); return 1;
    case 'w': return describe_packed(&c->call.in[i], c->kernel, tensor);
    case 'x':
    case 'q':
    case 's':
        c->call.in[i] = bitx_ort_rows(tensor);
        if (bitx_ort_is_of_picture(c->kernel->form)) c->call.in[i].row_kind = BITX_ROWS_FIXED;
        return tensor->rank > 0;
    default: c->call.in[i] = bitx_ort_plain(tensor); return tensor->rank == 1 || tensor->rank == 2;
    }
}

static int64_t output_columns(const ort_call *c, char rule)
{
    const bitx_matrix *in = c->call.in;
    switch (rule) {
    case 'n': return in[1].rows;
    case 'k': return in[1].columns;
    case 'g':
        return in[0].columns && bitx_group_is_sound(c->call.attribute[0], in[0].columns)
                   ? bitx_group_count(c->call.attribute[0], in[0].columns)
                   : 0;
    case '=': return in[0].columns;
    default:  return 1;
    }
}

static uint32_t output_dtype(char letter)
{
    return letter == 'q' ? BITX_S8 : letter == 's' ? BITX_S32 : BITX_F32;
}

/* The shape of output i; its rank, or 0. */
static size_t output_dims(int64_t *dims, const ort_call *c, size_t i)
{
    const ort_form *form = c->kernel->form;
    const size_t rank = c->in[0].rank + (form->inputs[0] == 'i');
    if (bitx_ort_is_of_picture(form)) return bitx_ort_picture_dims(dims, c, i);
    if (rank > ORT_MOST_RANK) return 0;
    for (size_t d = 0; d < c->in[0].rank; d++)
        dims[d] = c->in[0].dims[d];
    dims[rank - 1] = output_columns(c, form->outputs[2 * i + 1]);
    return rank;
}

static int make_outputs(ort_call *c)
{
    for (size_t i = 0; i < c->call.outputs; i++) {
        int64_t dims[ORT_MOST_RANK + 1];
        const size_t rank = output_dims(dims, c, i);
        const uint32_t dtype = output_dtype(c->kernel->form->outputs[2 * i]);
        if (rank == 0 || !bitx_ort_make_output(c, i, dims, rank, dtype)) return 0;
        c->call.out[i] = bitx_ort_rows(&c->out[i]);
        c->call.out[i].row_kind = c->call.in[0].row_kind;
    }
    return 1;
}

static size_t bytes_of_copies(const ort_call *c)
{
    size_t bytes = 0;
    for (size_t i = 0; i < c->call.inputs; i++)
        if (c->call.in[i].rank == 0 && !has_room(c, &c->call.in[i]))
            bytes += (size_t)bitx_round_up(padded_stride(&c->call.in[i]) * c->call.in[i].rows,
                                           BITX_ALIGNMENT);
    for (size_t i = 0; i < c->call.outputs; i++)
        if (!has_room(c, &c->call.out[i]))
            bytes += padded_stride(&c->call.out[i]) * c->call.out[i].rows;
    return bytes + (size_t)bitx_scratch_bytes(c->kernel->form->layout, c->kernel->k);
}

/* Moves a value to where its rows have room; its bytes too, if it is an input. */
static uint8_t *move(bitx_matrix *m, uint8_t *to, int with_bytes)
{
    const size_t bytes = m->stride, stride = padded_stride(m);
    for (uint32_t t = 0; with_bytes && t < m->rows; t++) {
        bitx_copy(to + t * stride, bitx_row(m, t), bytes);
        bitx_zero(to + t * stride + bytes, stride - bytes);
    }
    m->data = to;
    m->stride = stride;
    return to + m->rows * stride;
}

static uint8_t *copy_in(ort_call *c, uint8_t *to)
{
    for (size_t i = 0; i < c->call.inputs; i++) {
        bitx_matrix *m = &c->call.in[i];
        if (m->rank != 0 || has_room(c, m)) continue;
        if (c->kernel->form->inputs[i] == 'i') {
            narrow_tokens((int32_t *)(void *)to, (const int64_t *)(const void *)m->data, m->rows);
            m->data = to;
            to += bitx_round_up(m->rows * m->stride, BITX_ALIGNMENT);
        } else {
            to = move(m, to, 1);
        }
    }
    return to;
}

static void copy_out(const ort_call *c)
{
    for (size_t i = 0; i < c->call.outputs; i++) {
        const bitx_matrix *m = &c->call.out[i], to = bitx_ort_rows(&c->out[i]);
        if (m->data == to.data) continue;
        for (uint32_t t = 0; t < m->rows; t++)
            bitx_copy(bitx_row(&to, t), bitx_row(m, t), to.stride);
    }
}

static void run(ort_call *c)
{
    const size_t bytes = bytes_of_copies(c);
    c->room =
        bytes ? aligned_alloc(BITX_ALIGNMENT, (size_t)bitx_round_up(bytes, BITX_ALIGNMENT)) : NULL;
    if (bytes && !c->room) {
        bitx_ort_refuse(c, "there is no memory left");
        return;
    }
    uint8_t *to = copy_in(c, c->room);
    for (size_t i = 0; i < c->call.outputs; i++)
        if (!has_room(c, &c->call.out[i])) to = move(&c->call.out[i], to, 0);
    c->session.scratch = to;
    if (c->kernel->form->is_fusion)
        bitx_ort_run_fusion(c, &c->call);
    else
        bitx_ort_run(c, &c->call);
    if (!c->status) copy_out(c);
    free(c->room);
}

void bitx_ort_map_rows(ort_call *c)
{
    for (size_t i = 0; i < c->call.inputs; i++)
        if (!describe_input(c, i)) {
            bitx_ort_refuse_status(c, BITX_E_ARGUMENT);
            return;
        }
    if (!make_outputs(c)) {
        bitx_ort_refuse_status(c, BITX_E_ARGUMENT);
        return;
    }
    if (c->call.out[0].rows > 0) run(c);
}
