/* check_kept_rows.c - a product and its Rescale as one, where only the last row is kept.
 *
 * Sums that lie inside a fusion may have all rows of the call though its result has the last one
 * alone (FORMAT.md, R19), those of high and of low each for themselves.  A line:
 * <isa> <layout> <rows of high> <rows of low> <results that differ>; without low its rows are 0.
 */
#include "check.h"
#include "lookup.h"
#include "session.h"

/* More columns than a pass has. */
enum { N = 20, K = 400, ROWS = 5 };

static buffer x, w, y, scratch;

/* What an op is given of x: all of its rows, or the last one. */
static bitx_matrix rows_of_x(const uint8_t *data, uint32_t rows)
{
    const size_t stride = bitx_value_stride(K, BITX_S8);
    return (bitx_matrix){(uint8_t *)(uintptr_t)data + (ROWS - rows) * stride,
                         stride,
                         rows,
                         K,
                         BITX_S8,
                         0,
                         0,
                         0,
                         0,
                         0};
}

static bitx_call product(const bitx_session *session, bitx_matrix of_x, bitx_matrix weight,
                         void *sums)
{
    const size_t stride = bitx_value_stride(N, BITX_S32);
    return (bitx_call){.session = session,
                       .in = {of_x, weight},
                       .out = {{sums, stride, of_x.rows, N, BITX_S32, 0, 0, 0, 0, 0}}};
}

static bitx_call rescale(const bitx_session *session, float *one, void *result)
{
    const size_t stride = bitx_value_stride(N, BITX_F32);
    return (bitx_call){.session = session,
                       .in = {{0},
                              {(uint8_t *)one, sizeof *one, 1, 1, BITX_F32, 0, 0, 0, 0, 0},
                              {(uint8_t *)one, sizeof *one, 1, 1, BITX_F32, 0, 1, 0, 0, 0}},
                       .out = {{result, stride, 1, N, BITX_F32, 0, 0, 0, 0, 0}}};
}

static uint32_t different(bitx_isa isa, uint32_t layout, uint32_t high_rows, uint32_t low_rows)
{
    static bitx_session session;
    static int32_t sums[32], low_sums[32];
    const size_t x_bytes = ROWS * bitx_value_stride(K, BITX_S8);
    const uint8_t *const high = x.memory + GUARD, *const low = high + x_bytes;
    const bitx_matrix weight = {w.memory + GUARD, 0, N, K, BITX_U8, layout, 2, 0, 0, 0};
    float *const found = poisoned(&y, bitx_value_stride(N, BITX_F32));
    float one = 1;
    uint32_t wrong = 0;

    bitx_kernels_choose(&session.kernels, BITX_ISA_SCALAR);
    bitx_call call = product(&session, rows_of_x(high, 1), weight, sums);
    (void)bitx_op_ternary_matmul(&call);
    call = product(&session, rows_of_x(low, 1), weight, low_sums);
    (void)bitx_op_ternary_matmul(&call);

    bitx_kernels_choose(&session.kernels, isa);
    session.scratch = poisoned(&scratch, (size_t)bitx_scratch_bytes(layout, K));
    bitx_call calls[3] = {product(&session, rows_of_x(high, high_rows), weight, NULL)};
    calls[low_rows ? 2 : 1] = rescale(&session, &one, found);
    if (low_rows) {
        calls[1] = product(&session, rows_of_x(low, low_rows), weight, NULL);
        (void)bitx_fusion_ternary_rescale_int16(calls);
    } else {
        (void)bitx_fusion_ternary_rescale(calls);
    }
    for (size_t i = 0; i < N; i++) {
        const float sum = (float)sums[i], both = sum * 256 + (float)low_sums[i];
        wrong += found[i] != (low_rows ? both : sum);
    }
    return wrong;
}

static void print_different(bitx_isa isa, uint32_t layout, uint32_t high_rows, uint32_t low_rows)
{
    const uint32_t numbers[] = {layout, high_rows, low_rows,
                                different(isa, layout, high_rows, low_rows)};
    print(bitx_isa_name(isa));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        print(" ");
        print_number(numbers[i]);
    }
    print("\n");
}

int runner_run(int count, char **words)
{
    static const uint32_t layouts[] = {BITX_LAYOUT_P2R, BITX_LAYOUT_B1R, BITX_LAYOUT_P2B,
                                       BITX_LAYOUT_T5X3, BITX_LAYOUT_P16};
    const size_t x_stride = bitx_value_stride(K, BITX_S8), w_bytes = 8192;
    uint32_t state = 1;

    (void)count, (void)words;
    x = make_buffer(2 * ROWS * x_stride);
    w = make_buffer(w_bytes);
    y = make_buffer(bitx_value_stride(N, BITX_F32));
    scratch = make_buffer((size_t)bitx_scratch_bytes(BITX_LAYOUT_P2B, K));
    uint8_t *const codes = poisoned(&x, 2 * ROWS * x_stride);
    uint8_t *const bytes = poisoned(&w, w_bytes);
    for (size_t i = 0; i < 2 * ROWS * x_stride; i++)
        codes[i] = i % x_stride < K ? next_byte(&state) : 0;
    for (size_t i = 0; i < w_bytes; i++)
        bytes[i] = next_byte(&state);

    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
            for (uint32_t high = 1; high <= ROWS; high += ROWS - 1)
                for (uint32_t low = 0; low <= ROWS; low += low ? ROWS - 1 : 1)
                    if (low == 0 || !bitx_find_lookup(layouts[i]).block)
                        print_different((bitx_isa)bit, layouts[i], high, low);
    }
    print("end\n");
    return 0;
}
