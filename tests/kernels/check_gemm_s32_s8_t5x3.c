/* check_gemm_s32_s8_t5x3.c - run every variant on every case; and what packs weights for it.
 *
 * A line: <isa> <tiles> <k> <spare> <columns> <w> <digest of Y> <poisoned bytes overwritten>.  Of
 * columns, the first is all -128, the second all 127, the third of random bytes, and so on in turn.
 * Behind each row of X and of Y lies a gap; that of Y is poisoned.  With no columns the digest is
 * that of the weights in layout p2r.
 */
#include "check_t5x3.h"

enum { MOST_ROWS = 9 * T5X3_ROWS, MOST_COLUMNS = 35, MOST_K = 131072, GAP = 16 };
enum { MOST_Y = MOST_COLUMNS * (MOST_ROWS + GAP) * 4, MOST_X = 4 * (MOST_K + GAP) };
enum { MOST_PACKED_K = 896, MOST_PACKED = 3 * 4 * MOST_PACKED_K };

static struct {
    buffer y, x, w, packed;
} buffers;

typedef struct size {
    size_t tiles, k, spare, columns;
} size;

static void fill_columns(int8_t *x, const size *s)
{
    for (size_t t = 0; t < s->columns; t++) {
        uint32_t state = (uint32_t)t;
        for (size_t i = 0; i < s->k; i++)
            x[t * (s->k + GAP) + i] = (int8_t)(t % 3 == 0   ? -128
                                               : t % 3 == 1 ? 127
                                                            : next_byte(&state));
    }
}

/* Adds the sums to a digest; returns how much of the gaps is poisoned no more. */
static size_t read_rows(const int32_t *y, const size *s, bitx_sha256 *hash)
{
    const size_t n = T5X3_ROWS * s->tiles;
    size_t changed = 0;
    for (size_t t = 0; t < s->columns; t++, y += n + GAP) {
        bitx_sha256_add(hash, y, n * sizeof *y);
        for (size_t i = 0; i < GAP; i++)
            changed += y[n + i] != -1;
    }
    return changed;
}

static size_t multiply(const bitx_kernels *kernels, const uint8_t *w, const size *s,
                       bitx_sha256 *hash)
{
    const size_t n = T5X3_ROWS * s->tiles, y_stride = n + GAP;
    int32_t *const y = poisoned(&buffers.y, s->columns * y_stride * sizeof *y);
    int8_t *const x = poisoned(&buffers.x, s->columns * (s->k + GAP));

    fill_columns(x, s);
    for (size_t i = 0; i < s->columns * y_stride; i++)
        y[i] = -1;
    kernels->gemm_s32_s8_t5x3(y, y_stride, x, s->k + GAP, s->columns, w, n, s->k,
                              t5x3_stride(s->k + s->spare));
    return read_rows(y, s, hash) + damage(&buffers.y) + damage(&buffers.x);
}

static size_t pack(const bitx_kernels *kernels, const uint8_t *w, const size *s, bitx_sha256 *hash)
{
    uint8_t *const packed = poisoned(&buffers.packed, 3 * 4 * s->k);

    kernels->pack_p2r_t5x3(packed, w, s->tiles, s->k, t5x3_stride(s->k + s->spare));
    bitx_sha256_add(hash, packed, 3 * 4 * s->k);
    return damage(&buffers.packed);
}

static void check_case(bitx_isa isa, size s)
{
    const size_t bytes = s.tiles * t5x3_stride(s.k + s.spare);
    uint8_t *const w = poisoned(&buffers.w, bytes);
    bitx_kernels kernels;

    bitx_kernels_choose(&kernels, isa);
    for (size_t in_w = 0; in_w < T5X3_PATTERNS; in_w++) {
        const size_t numbers[] = {s.tiles, s.k, s.spare, s.columns};
        uint32_t state = 2;
        bitx_sha256 hash;
        for (size_t i = 0; i < bytes; i++)
            w[i] = t5x3_byte(in_w, i, &state);

        bitx_sha256_begin(&hash);
        const size_t overwritten =
            s.columns ? multiply(&kernels, w, &s, &hash) : pack(&kernels, w, &s, &hash);
        print_case(isa, numbers, 4);
        print(t5x3_names[in_w]);
        print(" ");
        print_digest(&hash);
        print(" ");
        print_number(overwritten + damage(&buffers.w));
        print("\n");
    }
}

int runner_run(int count, char **words)
{
    static const size_t tiles[] = {1, 2, 3, 4, 5}, depths[] = {32, 224}, columns[] = {1, 2, 5, 17};
    static const size others[] = {{9, 96, 0, 4},   {4, 896, 0, 7},    {3, 160, 64, 9},
                                  {2, 96, 32, 35}, {1, MOST_K, 0, 4}, {1, 96, 0, 0},
                                  {2, 32, 0, 0},   {3, 64, 64, 0},    {4, MOST_PACKED_K, 0, 0}};

    (void)count;
    (void)words;
    buffers.y = make_buffer(MOST_Y);
    buffers.x = make_buffer(MOST_X);
    buffers.w = make_buffer(MOST_K / 32 * 80);
    buffers.packed = make_buffer(MOST_PACKED);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (!(bitx_isa_available() & bit)) continue;
        for (size_t n = 0; n < sizeof tiles / sizeof *tiles; n++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                for (size_t t = 0; t < sizeof columns / sizeof *columns; t++)
                    check_case((bitx_isa)bit, (size){tiles[n], depths[k], 0, columns[t]});
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            check_case((bitx_isa)bit, others[i]);
    }
    print("end\n");
    return 0;
}
