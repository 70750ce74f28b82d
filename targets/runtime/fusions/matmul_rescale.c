/* matmul_rescale.c - one integer product, or those of high and low, then Rescale: sums lie where
 * floats will, and the second product finds the weights of the first in the cache. */
#include "../ops/integer_matmul.h"
#include "../ops/row_math.h"

/* Rows whose low sums are on the stack at a time, 2 KiB. */
enum { LOW_ROWS = 8 };

typedef struct products {
    const bitx_call *high, *low; /* low: null if there is one product */
    const bitx_call *rescale;
    bitx_pass pass; /* the only one if there is low */
} products;

/* The first `rows` of a panel that begins `i` rows into this one. */
static bitx_panel part_of(const bitx_panel *all, uint32_t i, uint32_t rows)
{
    const uint32_t left = all->rows - i;
    return (bitx_panel){all->t + i, left < rows ? left : rows, all->y + i * all->y_stride,
                        all->y_stride};
}

static void rescale_task(void *argument, size_t index)
{
    const products *p = argument;
    const uint32_t first = (uint32_t)index * bitx_rows_per_task(&p->high->in[1]);
    const bitx_matrix *out = &p->rescale->out[0], *weight_scale = &p->rescale->in[2];
    const bitx_panel all = bitx_panel_of(&p->pass, &p->high->in[0], out, first);
    const uint32_t n = bitx_task_rows(&p->high->in[1], first), step = weight_scale->columns > 1;
    const float *factor = (const float *)bitx_row(weight_scale, 0) + first * step;

    bitx_integer_sums(p->high, &p->pass, &all, first);
    if (p->pass.column + p->pass.columns < p->high->in[1].columns) return;
    for (uint32_t t = 0; t < all.rows; t++) {
        const float scale = *(const float *)bitx_row(&p->rescale->in[1], p->pass.t + t);
        const int32_t *sum = all.y + t * all.y_stride;
        float *y = (float *)bitx_row(out, p->pass.t + t) + first;
        bitx_rescale(y, sum, factor, step, scale, n);
    }
}

static void rescale_task_int16(void *argument, size_t index)
{
    const products *p = argument;
    const uint32_t first = (uint32_t)index * bitx_rows_per_task(&p->high->in[1]);
    const bitx_matrix *out = &p->rescale->out[0], *weight_scale = &p->rescale->in[2];
    const bitx_panel all = bitx_panel_of(&p->pass, &p->high->in[0], out, first);
    const uint32_t n = bitx_task_rows(&p->high->in[1], first), step = weight_scale->columns > 1;
    const float *factor = (const float *)bitx_row(weight_scale, 0) + first * step;
    const uint32_t first_low = p->low->in[0].rows - out->rows;

    for (uint32_t t = 0; t < all.rows; t += LOW_ROWS) {
        int32_t low_sums[LOW_ROWS * BITX_TASK_ROWS];
        const bitx_panel high = part_of(&all, t, LOW_ROWS);
        const bitx_panel low = {first_low + t, high.rows, low_sums, BITX_TASK_ROWS};
        bitx_integer_sums(p->high, &p->pass, &high, first);
        bitx_integer_sums(p->low, &p->pass, &low, first);
        for (uint32_t i = 0; i < high.rows; i++) {
            const float scale = *(const float *)bitx_row(&p->rescale->in[1], t + i);
            const int32_t *sum = high.y + i * high.y_stride, *low_sum = low.y + i * low.y_stride;
            float *y = (float *)bitx_row(out, t + i) + first;
            bitx_rescale_int16(y, sum, low_sum, factor, step, scale, n);
        }
    }
}

static bitx_status run(products p, bitx_task task)
{
    bitx_run_passes(p.high, &p.pass, p.rescale->out[0].rows, task, &p);
    return BITX_OK;
}

bitx_status bitx_fusion_ternary_rescale(const bitx_call *calls)
{
    return run((products){.high = &calls[0], .rescale = &calls[1]}, rescale_task);
}

bitx_status bitx_fusion_dense_rescale(const bitx_call *calls)
{
    return run((products){.high = &calls[0], .rescale = &calls[1]}, rescale_task);
}

bitx_status bitx_fusion_ternary_rescale_int16(const bitx_call *calls)
{
    return run((products){.high = &calls[0], .low = &calls[1], .rescale = &calls[2]},
               rescale_task_int16);
}

bitx_status bitx_fusion_dense_rescale_int16(const bitx_call *calls)
{
    return run((products){.high = &calls[0], .low = &calls[1], .rescale = &calls[2]},
               rescale_task_int16);
}
