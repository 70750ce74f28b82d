/* matmul_rescale.c - one integer product, or those of high and low, then Rescale: sums stay on the
 * stack, and the second product finds the weights of the first in the cache. */
#include "../ops/integer_matmul.h"
#include "../ops/row_math.h"

typedef struct products {
    const bitx_call *high, *low; /* low: null if there is one product */
    const bitx_call *rescale;
} products;

/* The sums of row t of the result. */
static void product_sums(const products *p, const bitx_call *product, uint32_t t, uint32_t first,
                         int32_t *sum)
{
    const uint32_t skipped = product->in[0].rows - p->rescale->out[0].rows;
    bitx_integer_sums(product, skipped + t, first, sum);
}

static void rescale_task(void *argument, size_t index)
{
    const products *p = argument;
    const bitx_matrix *weight_scale = &p->rescale->in[2], *out = &p->rescale->out[0];
    const uint32_t first = (uint32_t)index * BITX_TASK_ROWS;
    const uint32_t n = bitx_task_rows(&p->high->in[1], first);
    const uint32_t step = weight_scale->columns > 1;
    const float *factor = (const float *)bitx_row(weight_scale, 0) + first * step;

    for (uint32_t t = 0; t < out->rows; t++) {
        int32_t sum[BITX_TASK_ROWS], low_sum[BITX_TASK_ROWS];
        const float scale = *(const float *)bitx_row(&p->rescale->in[1], t);
        float *y = (float *)bitx_row(out, t) + first;
        product_sums(p, p->high, t, first, sum);
        if (p->low) {
            product_sums(p, p->low, t, first, low_sum);
            for (uint32_t j = 0; j < n; j++)
                y[j] = bitx_rescale_int16(sum[j], low_sum[j], factor[j * step], scale);
        } else {
            for (uint32_t j = 0; j < n; j++)
                y[j] = bitx_rescale(sum[j], factor[j * step], scale);
        }
    }
}

static bitx_status run(products p)
{
    bitx_parallel(p.high->session, rescale_task, &p, bitx_matmul_tasks(&p.high->in[1]));
    return BITX_OK;
}

bitx_status bitx_fusion_ternary_rescale(const bitx_call *calls)
{
    return run((products){&calls[0], NULL, &calls[1]});
}

bitx_status bitx_fusion_dense_rescale(const bitx_call *calls)
{
    return run((products){&calls[0], NULL, &calls[1]});
}

bitx_status bitx_fusion_ternary_rescale_int16(const bitx_call *calls)
{
    return run((products){&calls[0], &calls[1], &calls[2]});
}

bitx_status bitx_fusion_dense_rescale_int16(const bitx_call *calls)
{
    return run((products){&calls[0], &calls[1], &calls[2]});
}
