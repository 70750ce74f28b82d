/* bench_kernels.c - call every kernel once on matrices of a real size, between two marks.
 *
 * Linked as the runner is.  The emulator writes its count of instructions at each mark
 * (targets/tools/count_instructions.c); a line here says what lay between two of them: <kernel>
 * <isa> <rows> <depth> <columns>.  `bitexport bench kernels` puts both together.
 *
 * Options: --isa <mask>, --kernel <name>.  A kernel is called for each instruction set that has a
 * variant of its own; the definition for the first shape only.
 */
#include "runner_print.h"

#include "lookup.h"
#include "memory.h"
#include "session.h"

typedef struct product {
    int32_t *y;
    int8_t *x;
    uint8_t *w;
    size_t n, k, columns;
    bitx_session session; /* with these kernels, and scratch: what an op needs */
} product;

/* ---- The kernels --------------------------------------------------------------------------- */

/* All packed layouts have kernels of one type. */
static void gemv_packed(const void *kernel, const product *p)
{
    const bitx_gemv_s32_s8_p2r_fn *const gemv = kernel;
    (*gemv)(p->y, p->x, p->w, p->n, p->k, 4 * p->k);
}

static void gemv_plain(const void *kernel, const product *p)
{
    const bitx_gemv_s32_s8_s8_fn *const gemv = kernel;
    (*gemv)(p->y, p->x, (const int8_t *)p->w, p->n, p->k);
}

static void gemm_packed(const void *kernel, const product *p)
{
    const bitx_gemm_s32_s8_p2r_fn *const gemm = kernel;
    (*gemm)(p->y, p->n, p->x, p->k, p->columns, p->w, p->n, p->k, 4 * p->k);
}

/* Tiles of 12 rows and 32 columns: the last may be longer than the matrix. */
static void gemv_t5x3(const void *kernel, const product *p)
{
    const bitx_gemv_s32_s8_t5x3_fn *const gemv = kernel;
    (*gemv)(p->y, p->x, p->w, (p->n + 11) / 12 * 12, p->k, p->k / 32 * 80);
}

static void gemm_t5x3(const void *kernel, const product *p)
{
    const bitx_gemm_s32_s8_t5x3_fn *const gemm = kernel;
    const size_t n = (p->n + 11) / 12 * 12;
    (*gemm)(p->y, n, p->x, p->k, p->columns, p->w, n, p->k, p->k / 32 * 80);
}

/* The whole op: tables are made for some columns, and serve all rows. */
static void multiply(const product *p, uint32_t layout)
{
    const uint32_t n = (uint32_t)p->n, k = (uint32_t)p->k, rows = (uint32_t)p->columns;
    const bitx_call call = {
        .session = &p->session,
        .in = {{(uint8_t *)p->x, p->k, rows, k, BITX_S8, BITX_LAYOUT_PLAIN, 0, 0, 0, 0},
               {p->w, 0, n, k, BITX_U8, layout, 2, 0, 0, 0}},
        .out = {{(uint8_t *)p->y, p->n * sizeof *p->y, rows, n, BITX_S32, BITX_LAYOUT_PLAIN, 0, 0,
                 0, 0}}};
    (void)bitx_op_ternary_matmul(&call);
}

static void multiply_p2b(const void *kernel, const product *p)
{
    (void)kernel;
    multiply(p, BITX_LAYOUT_P2B);
}

static void multiply_p16(const void *kernel, const product *p)
{
    (void)kernel;
    multiply(p, BITX_LAYOUT_P16);
}

static const struct kernel {
    const char *name;
    size_t at;                                          /* in the table of kernels */
    size_t rows;                                        /* that take 4 bytes a column */
    void (*call)(const void *kernel, const product *p); /* kernel: its place in the table */
    size_t columns[3];
} list[] = {
    {"gemv_s32_s8_p2r", offsetof(bitx_kernels, gemv_s32_s8_p2r), 16, gemv_packed, {1}},
    {"gemv_s32_s8_b1r", offsetof(bitx_kernels, gemv_s32_s8_b1r), 32, gemv_packed, {1}},
    {"gemv_s32_s8_p2b", offsetof(bitx_kernels, gemv_s32_s8_p2b), 16, multiply_p2b, {1}},
    {"gemv_s32_s8_q4r", offsetof(bitx_kernels, gemv_s32_s8_q4r), 8, gemv_packed, {1}},
    {"gemv_s32_s8_t5x3", offsetof(bitx_kernels, gemv_s32_s8_t5x3), 16, gemv_t5x3, {1}},
    {"gemv_s32_s8_p16", offsetof(bitx_kernels, gemv_s32_s8_p16), 16, multiply_p16, {1}},
    {"gemv_s32_s8_s8", offsetof(bitx_kernels, gemv_s32_s8_s8), 4, gemv_plain, {1}},
    {"gemm_s32_s8_p2b", offsetof(bitx_kernels, gemm_s32_s8_p2b), 16, multiply_p2b, {16, 64}},
    {"gemm_s32_s8_p2r", offsetof(bitx_kernels, gemm_s32_s8_p2r), 16, gemm_packed, {16, 64}},
    {"gemm_s32_s8_p16", offsetof(bitx_kernels, gemm_s32_s8_p16), 16, multiply_p16, {16, 64}},
    {"gemm_s32_s8_t5x3", offsetof(bitx_kernels, gemm_s32_s8_t5x3), 16, gemm_t5x3, {16, 64}},
};

/* The matrices of BitNet b1.58 2B4T: n rows, k columns. */
static const struct shape {
    size_t n, k;
} shapes[] = {{2560, 2560}, {6912, 2560}, {2560, 6912}};

enum { MOST_N = 6912, MOST_K = 6912, MOST_W = 2560 * 6912, MOST_COLUMNS = 64 };
enum { MOST_SCRATCH = 147456 };

/* ---- Between two marks --------------------------------------------------------------------- */

/* The emulator knows it by its name. */
void bench_mark(void);

__attribute__((noinline)) void bench_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

static void measure(const struct kernel *kernel, const void *place, bitx_isa isa, const product *p)
{
    bench_mark();
    kernel->call(place, p);
    bench_mark();
    print(kernel->name);
    print(" ");
    print(bitx_isa_name(isa));
    print(" ");
    print_number(p->n);
    print(" ");
    print_number(p->k);
    print(" ");
    print_number(p->columns);
    print("\n");
}

/* Every shape and number of columns for which W has room. */
static void measure_all(const struct kernel *kernel, const void *place, bitx_isa isa, product *p,
                        size_t w_bytes)
{
    const size_t count = isa == BITX_ISA_SCALAR ? 1 : sizeof shapes / sizeof *shapes;

    if (isa == BITX_ISA_SCALAR && kernel->columns[0] > 1) return; /* it calls another, defined */
    for (size_t s = 0; s < count; s++)
        for (size_t c = 0; c < 3 && kernel->columns[c]; c++) {
            p->n = shapes[s].n;
            p->k = shapes[s].k;
            p->columns = kernel->columns[c];
            if (p->n / kernel->rows * 4 * p->k <= w_bytes) measure(kernel, place, isa, p);
        }
}

/* ---- Everything ---------------------------------------------------------------------------- */

/* Bytes at random: a kernel that skips zeros finds some. */
static void fill(uint8_t *bytes, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static uint32_t number(const char *text)
{
    uint32_t sum = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        sum = 10 * sum + (uint32_t)(*text - '0');
    return sum;
}

int runner_run(int count, char **words)
{
    const char *only = NULL;
    uint32_t isas = bitx_isa_available();
    size_t w_bytes = MOST_W;
    bitx_kernels kernels, definitions;
    product p = {.y = runner_allocate(MOST_N * MOST_COLUMNS * sizeof *p.y),
                 .x = runner_allocate(MOST_K * MOST_COLUMNS),
                 .session.scratch = runner_allocate(MOST_SCRATCH)};

    while (!(p.w = runner_allocate(w_bytes)) && w_bytes > 0)
        w_bytes /= 2;
    if (!p.y || !p.x || !p.w || !p.session.scratch) return 1;
    fill((uint8_t *)p.x, MOST_K * MOST_COLUMNS);
    for (size_t i = 0; i < (size_t)MOST_K * MOST_COLUMNS; i++)
        if (p.x[i] == -128) p.x[i] = -127; /* as QuantizeRows clips: no code is -128 */
    fill(p.w, w_bytes);

    for (int i = 0; i + 1 < count; i += 2) {
        if (equal(words[i], "--isa")) isas &= number(words[i + 1]);
        if (equal(words[i], "--kernel")) only = words[i + 1];
    }
    bitx_use_scalar(&definitions);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(isas & bit)) continue;
        bitx_kernels_choose(&kernels, bit);
        p.session.kernels = kernels;
        for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
            const void *const own = (const uint8_t *)&kernels + list[i].at;
            const void *const definition = (const uint8_t *)&definitions + list[i].at;

            if (only && !equal(list[i].name, only)) continue;
            if (bit != BITX_ISA_SCALAR && bitx_same(own, definition, sizeof(void (*)(void))))
                continue;
            measure_all(&list[i], own, (bitx_isa)bit, &p, w_bytes);
        }
    }
    print("end\n");
    return 0;
}
