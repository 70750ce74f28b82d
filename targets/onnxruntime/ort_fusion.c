/* ort_fusion.c - the fusions of the runtime as operators: what its ops take and give, put together.
 */
#include "ort_call.h"

/* A value between two ops: it has no data. */
static bitx_matrix handed_on(const bitx_matrix *like, uint32_t dtype, uint32_t columns)
{
    return (bitx_matrix){.stride = bitx_value_stride(columns, dtype),
                         .rows = like->rows,
                         .columns = columns,
                         .dtype = dtype,
                         .row_kind = BITX_ROWS_CALL};
}

static bitx_call one_to_one(bitx_matrix in, bitx_matrix out)
{
    return (bitx_call){.inputs = 1, .outputs = 1, .in = {in}, .out = {out}};
}

static bitx_call two_to_one(bitx_matrix in, bitx_matrix second, bitx_matrix out)
{
    return (bitx_call){.inputs = 2, .outputs = 1, .in = {in, second}, .out = {out}};
}

/* Each returns how many calls it made; `of` is the call of the operator. */
static size_t put_norm_quantize(bitx_call *calls, const bitx_call *of)
{
    const bitx_matrix normal = handed_on(&of->in[0], BITX_F32, of->in[0].columns);
    calls[0] = two_to_one(of->in[0], of->in[1], normal);
    bitx_copy(calls[0].attribute, of->attribute, sizeof of->attribute);
    calls[1] = one_to_one(normal, of->out[0]);
    calls[1].outputs = 2;
    calls[1].out[1] = of->out[1];
    return of->attribute[1] == 1 ? 2 : 0; /* the fusion knows one head */
}

static size_t put_matmul_rescale(bitx_call *calls, const bitx_call *of)
{
    const bitx_matrix sums = handed_on(&of->in[0], BITX_S32, of->in[1].rows);
    calls[0] = two_to_one(of->in[0], of->in[1], sums);
    calls[1] = two_to_one(sums, of->in[2], of->out[0]);
    calls[1].inputs = 3;
    calls[1].in[2] = of->in[3];
    return 2;
}

static size_t put_matmul_rescale_int16(bitx_call *calls, const bitx_call *of)
{
    const bitx_matrix sums = handed_on(&of->in[0], BITX_S32, of->in[1].rows);
    calls[0] = two_to_one(of->in[0], of->in[1], sums);
    calls[1] = two_to_one(of->in[2], of->in[1], sums);
    calls[2] = two_to_one(sums, of->in[3], of->out[0]);
    calls[2].inputs = 4;
    calls[2].in[2] = of->in[4];
    calls[2].in[3] = sums;
    return 3;
}

static size_t put_relu_square_mul(bitx_call *calls, const bitx_call *of)
{
    const bitx_matrix value = handed_on(&of->in[0], BITX_F32, of->in[0].columns);
    calls[0] = one_to_one(of->in[0], value);
    calls[1] = two_to_one(value, value, value);
    calls[2] = two_to_one(value, of->in[1], of->out[0]);
    return 3;
}

static size_t put_silu_mul(bitx_call *calls, const bitx_call *of)
{
    const bitx_matrix value = handed_on(&of->in[0], BITX_F32, of->in[0].columns);
    calls[0] = one_to_one(of->in[0], value);
    calls[1] = two_to_one(value, of->in[1], of->out[0]);
    return 2;
}

static size_t put_calls(bitx_call *calls, uint32_t fusion, const bitx_call *of)
{
    switch (fusion) {
    case BITX_FUSION_NORM_QUANTIZE:         return put_norm_quantize(calls, of);
    case BITX_FUSION_TERNARY_RESCALE:
    case BITX_FUSION_DENSE_RESCALE:         return put_matmul_rescale(calls, of);
    case BITX_FUSION_RELU_SQUARE_MUL:       return put_relu_square_mul(calls, of);
    case BITX_FUSION_SILU_MUL:              return put_silu_mul(calls, of);
    case BITX_FUSION_TERNARY_RESCALE_INT16:
    case BITX_FUSION_DENSE_RESCALE_INT16:   return put_matmul_rescale_int16(calls, of);
    default:                                return 0;
    }
}

void bitx_ort_run_fusion(ort_call *c, const bitx_call *call)
{
    const bitx_fusion *fusion = bitx_find_fusion(c->kernel->form->code);
    bitx_call calls[BITX_MOST_FUSED];
    const size_t count = fusion ? put_calls(calls, c->kernel->form->code, call) : 0;
    int fits = count > 0;
    for (size_t i = 0; fits && i < count; i++) {
        calls[i].session = &c->session;
        fits = bitx_find_op(fusion->op[i])->fits(&calls[i]);
    }
    bitx_ort_refuse_status(c, fits ? fusion->run(calls) : BITX_E_ARGUMENT);
}
