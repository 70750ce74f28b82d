/* ternary_matmul.c - int8 activations times ternary or binary weights, summed in int32. */
#include "integer_matmul.h"

int bitx_fits_ternary_matmul(const bitx_call *call)
{
    const uint32_t layout = call->in[1].layout;
    return (layout == BITX_LAYOUT_P2R || layout == BITX_LAYOUT_B1R || layout == BITX_LAYOUT_P2B ||
            layout == BITX_LAYOUT_T5X3 || layout == BITX_LAYOUT_P16) &&
           bitx_integer_matmul_fits(call);
}

bitx_status bitx_op_ternary_matmul(const bitx_call *call)
{
    bitx_integer_matmul(call);
    return BITX_OK;
}
