/* matmul_rescale.c - an integer product, then Rescale: sums stay on the stack. */
#include "../ops/integer_matmul.h"
#include "../ops/row_math.h"

static void rescale_task(void *argument, size_t index)
{
    const bitx_call *matmul = argument, *rescale = matmul + 1;
    const bitx_matrix *w = &matmul->in[1], *weight_scale = &rescale->in[2];
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS, n = bitx_task_rows(w, first);
    const uint32_t step = weight_scale->columns > 1;
    const float *factor = (const float *)bitx_row(weight_scale, 0) + first * step;
    const uint32_t skipped = matmul->in[0].rows - rescale->out[0].rows;

    for (uint32_t t = 0; t < rescale->out[0].rows; t++) {
        int32_t sum[BITX_TASK_ROWS];
        const float scale = *(const float *)bitx_row(&rescale->in[1], t);
        float *y = (float *)bitx_row(&rescale->out[0], t) + first;
        bitx_integer_sums(matmul, skipped + t, first, sum);
        for (uint32_t j = 0; j < n; j++)
            y[j] = bitx_rescale(sum[j], factor[j * step], scale);
    }
}

static bitx_status matmul_rescale(const bitx_call *calls)
{
    bitx_parallel(calls->session, rescale_task, (void *)(uintptr_t)calls,
                  bitx_matmul_tasks(&calls->in[1]));
    return BITX_OK;
}

bitx_status bitx_fusion_ternary_rescale(const bitx_call *calls)
{
    return matmul_rescale(calls);
}

bitx_status bitx_fusion_dense_rescale(const bitx_call *calls)
{
    return matmul_rescale(calls);
}
