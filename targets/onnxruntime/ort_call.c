/* ort_call.c - operands of onnxruntime become those of the runtime, in place. */
#include "ort_call.h"

#include <stdio.h>
#include <string.h>

static bitx_ort_status *refusal(const ort_kernel *kernel, const char *because)
{
    char text[256];
    (void)snprintf(text, sizeof text, "ai.bitexport %s: %s", kernel->form->name, because);
    return kernel->api->create_status(BITX_ORT_INVALID_ARGUMENT, text);
}

void bitx_ort_refuse(ort_call *c, const char *because)
{
    if (!c->status) c->status = refusal(c->kernel, because);
}

const char *bitx_ort_meaning(bitx_status status)
{
    switch ((int)status) {
    case BITX_E_NOT_FINITE:  return "a value is NaN, infinite, or too large for the cache's dtype";
    case BITX_E_TOKEN:       return "a token is outside the vocabulary";
    case BITX_E_FULL:        return "the context holds no further token";
    case BITX_E_UNSUPPORTED: return "this library lacks the op";
    case BITX_E_ARGUMENT: return "an operand has a shape or a dtype that does not fit the others";
    default:              return bitx_status_name(status);
    }
}

void bitx_ort_refuse_status(ort_call *c, bitx_status status)
{
    if (status != BITX_OK) bitx_ort_refuse(c, bitx_ort_meaning(status));
}

/* Takes over what onnxruntime says; 0 if that is an error. */
static int succeeds(ort_call *c, bitx_ort_status *status)
{
    if (!status) return 1;
    if (c->status)
        c->kernel->api->release_status(status);
    else
        c->status = status;
    return 0;
}

/* int64 is no dtype of the runtime: 0. */
static int read_dtype(uint32_t *dtype, bitx_ort_dtype given)
{
    switch (given) {
    case BITX_ORT_F32:  *dtype = BITX_F32; return 1;
    case BITX_ORT_F16:  *dtype = BITX_F16; return 1;
    case BITX_ORT_BF16: *dtype = BITX_BF16; return 1;
    case BITX_ORT_S8:   *dtype = BITX_S8; return 1;
    case BITX_ORT_U8:   *dtype = BITX_U8; return 1;
    case BITX_ORT_S32:  *dtype = BITX_S32; return 1;
    case BITX_ORT_S64:  *dtype = 0; return 1;
    default:            return 0;
    }
}

/* No tensor has 2^48 elements; each dimension fits 32 bits. */
static int count_elements(ort_tensor *tensor)
{
    tensor->elements = 1;
    for (size_t i = 0; i < tensor->rank; i++) {
        const int64_t dim = tensor->dims[i];
        if (dim < 0 || dim > INT32_MAX) return 0;
        tensor->elements *= (uint64_t)dim;
        if (tensor->elements >> 48) return 0;
    }
    return 1;
}

static bitx_ort_status *read_shape(ort_tensor *tensor, const ort_kernel *kernel,
                                   const bitx_ort_shape *shape)
{
    const bitx_ort_api *api = kernel->api;
    bitx_ort_dtype dtype = BITX_ORT_ANY;
    bitx_ort_status *status = api->element_type(shape, &dtype);
    if (!status) status = api->rank(shape, &tensor->rank);
    if (status) return status;
    if (!read_dtype(&tensor->dtype, dtype) || tensor->rank > ORT_MOST_RANK)
        return refusal(kernel, bitx_ort_meaning(BITX_E_ARGUMENT));
    status = api->dimensions(shape, tensor->dims, tensor->rank);
    if (!status && !count_elements(tensor))
        status = refusal(kernel, bitx_ort_meaning(BITX_E_ARGUMENT));
    return status;
}

bitx_ort_status *bitx_ort_read(ort_tensor *tensor, const ort_kernel *kernel,
                               const bitx_ort_value *value)
{
    const bitx_ort_api *api = kernel->api;
    bitx_ort_shape *shape = NULL;
    void *data = NULL;

    if (!value) return refusal(kernel, "an input is missing");
    bitx_ort_status *status = api->shape_of_value(value, &shape);
    if (status) return status;
    status = read_shape(tensor, kernel, shape);
    api->release_shape(shape);
    /* The interface has no other way to read. */
    if (!status) status = api->tensor_data((bitx_ort_value *)(uintptr_t)value, &data);
    tensor->data = data;
    return status;
}

int bitx_ort_read_input(ort_call *c, size_t i)
{
    const bitx_ort_value *value = NULL;
    if (c->kernel->constant[i].data) {
        c->in[i] = c->kernel->constant[i];
        return 1;
    }
    if (c->kernel->form->inputs[i] == 'P') {
        size_t count = 0;
        if (!succeeds(c, c->kernel->api->context_input_count(c->context, &count))) return 0;
        if (i >= count) return 1;
    }
    if (!succeeds(c, c->kernel->api->context_input(c->context, i, &value))) return 0;
    if (!value && c->kernel->form->inputs[i] == 'P') return 1;
    return succeeds(c, bitx_ort_read(&c->in[i], c->kernel, value));
}

int bitx_ort_make_output(ort_call *c, size_t i, const int64_t *dims, size_t rank, uint32_t dtype)
{
    const bitx_ort_api *api = c->kernel->api;
    bitx_ort_value *value = NULL;
    ort_tensor *out = &c->out[i];
    void *data = NULL;

    out->rank = rank;
    out->dtype = dtype;
    memcpy(out->dims, dims, rank * sizeof *dims);
    if (!count_elements(out)) {
        bitx_ort_refuse_status(c, BITX_E_ARGUMENT);
        return 0;
    }
    if (!succeeds(c, api->context_output(c->context, i, dims, rank, &value))) return 0;
    if (!succeeds(c, api->tensor_data(value, &data))) return 0;
    out->data = data;
    return 1;
}

bitx_matrix bitx_ort_rows(const ort_tensor *tensor)
{
    const uint32_t columns = tensor->rank ? (uint32_t)tensor->dims[tensor->rank - 1] : 0;
    const uint64_t rows = columns ? tensor->elements / columns : 0;
    return (bitx_matrix){.data = tensor->data,
                         .stride = (size_t)columns * bitx_element_bytes(tensor->dtype),
                         .rows = rows > UINT32_MAX ? 0 : (uint32_t)rows,
                         .columns = columns,
                         .dtype = tensor->dtype,
                         .row_kind = BITX_ROWS_CALL};
}

bitx_matrix bitx_ort_plain(const ort_tensor *tensor)
{
    bitx_matrix matrix = bitx_ort_rows(tensor);
    matrix.rank = (uint32_t)tensor->rank;
    matrix.row_kind = BITX_ROWS_FIXED;
    return matrix;
}

int bitx_ort_has_dims(const ort_tensor *tensor, const int64_t *dims, size_t rank)
{
    if (tensor->rank != rank) return 0;
    for (size_t i = 0; i < rank; i++)
        if (dims[i] >= 0 && tensor->dims[i] != dims[i]) return 0;
    return 1;
}

void bitx_ort_run(ort_call *c, bitx_call *call)
{
    const bitx_op *op = bitx_find_op(c->kernel->form->code);
    call->session = &c->session;
    if (!op)
        bitx_ort_refuse_status(c, BITX_E_UNSUPPORTED);
    else if (!op->fits(call))
        bitx_ort_refuse_status(c, BITX_E_ARGUMENT);
    else
        bitx_ort_refuse_status(c, op->run(call));
}
