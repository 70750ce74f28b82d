/* check_gemm_s32_s8_p2r.c - run every variant on every case.
 *
 * A line: <isa> <tiles> <k> <spare> <columns> <w> <digest of Y> <poisoned bytes overwritten>.  Of
 * columns, the first is all -128, the second all 127, the third of random bytes, and so on in turn.
 * Behind each row of X and of Y lies a gap; that of Y is poisoned.
 */
#include "check.h"
#include "check_p2r.h"

enum { MOST_ROWS = 5 * 16, MOST_COLUMNS = 17, MOST_K = 131056, GAP = 16 };
enum { MOST_Y = MOST_COLUMNS * (MOST_ROWS + GAP) * 4, MOST_X = 4 * (MOST_K + GAP) };

static struct {
    buffer y, x, w;
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
    const size_t n = 16 * s->tiles;
    size_t changed = 0;
    for (size_t t = 0; t < s->columns; t++, y += n + GAP) {
        bitx_sha256_add(hash, y, n * sizeof *y);
        for (size_t i = 0; i < GAP; i++)
            changed += y[n + i] != -1;
    }
    return changed;
}

static void check_case(bitx_isa isa, size s)
{
    const size_t n = 16 * s.tiles, stride = 4 * (s.k + s.spare), y_stride = n + GAP;
    bitx_kernels kernels;
    int32_t *const y = poisoned(&buffers.y, s.columns * y_stride * sizeof *y);
    int8_t *const x = poisoned(&buffers.x, s.columns * (s.k + GAP));
    uint8_t *const w = poisoned(&buffers.w, s.tiles * stride);

    bitx_kernels_choose(&kernels, isa);
    fill_columns(x, &s);
    for (size_t in_w = 0; in_w < P2R_PATTERNS; in_w++) {
        uint32_t state = 2;
        bitx_sha256 hash;
        for (size_t i = 0; i < s.tiles * stride; i++)
            w[i] = p2r_byte(in_w, i, &state);
        for (size_t i = 0; i < s.columns * y_stride; i++)
            y[i] = -1;
        kernels.gemm_s32_s8_p2r(y, y_stride, x, s.k + GAP, s.columns, w, n, s.k, stride);

        bitx_sha256_begin(&hash);
        const size_t gaps = read_rows(y, &s, &hash);
        const size_t numbers[] = {s.tiles, s.k, s.spare, s.columns};
        print(bitx_isa_name(isa));
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            print(" ");
            print_number(numbers[i]);
        }
        print(" ");
        print(p2r_names[in_w]);
        print(" ");
        print_digest(&hash);
        print(" ");
        print_number(gaps + damage(&buffers.y) + damage(&buffers.x) + damage(&buffers.w));
        print("\n");
    }
}

int runner_run(int count, char **words)
{
    static const size_t tiles[] = {1, 2, 3, 5}, depths[] = {16, 32, 208};
    static const size_t columns[] = {1, 2, 3, 4, 5, 7, 8, 17};
    static const size others[] = {
        {2, 2560, 0, 6}, {3, 144, 48, 9}, {1, 1040, 16, 8}, {1, MOST_K, 0, 4}};

    (void)count;
    (void)words;
    buffers.y = make_buffer(MOST_Y);
    buffers.x = make_buffer(MOST_X);
    buffers.w = make_buffer(4 * MOST_K);
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
