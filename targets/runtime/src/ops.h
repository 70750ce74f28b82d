/* ops.h - an op of the plan, with its operands; and the table of all ops. */
#ifndef BITX_OPS_H
#define BITX_OPS_H

#include "records.h"

enum {
#define BITX_OP(code, constant, name, fewest, most, outputs, attributes) BITX_OP_##constant = code,
#include "../ops/ops.def"
#undef BITX_OP
    BITX_OP_AFTER_LAST
};

enum {
#define BITX_FUSION(code, constant, name, first, second, third) BITX_FUSION_##constant = code,
#include "../fusions/fusions.def"
#undef BITX_FUSION
    BITX_FUSION_AFTER_LAST
};

/* A library for one model may leave out what its plan does not use: bit c of BITX_OPS keeps the op
 * of code c, of BITX_FUSIONS the fusion.  The linker then drops the code of the others, and a file
 * that asks for one is refused as one that asks for an op of a later version. */
#ifndef BITX_OPS
#define BITX_OPS 0xffffffffu
#endif

static inline int bitx_keeps_op(uint32_t code)
{
    return (int)(BITX_OPS >> code & 1u);
}

/* Whether an op is this one, and kept. */
static inline int bitx_is_op(uint32_t code, uint32_t which)
{
    return bitx_keeps_op(which) && code == which;
}

/* Whether an op appends rows to states: its first inputs, which are its outputs too. */
static inline int bitx_appends(uint32_t code)
{
    return code == BITX_OP_APPEND_CACHE || bitx_is_op(code, BITX_OP_APPEND_CACHE_INT8);
}

/* Whether such an op appends to this operand. */
static inline int bitx_appends_to(uint32_t code, uint32_t operand)
{
    return (code == BITX_OP_APPEND_CACHE && operand == 0) ||
           (bitx_is_op(code, BITX_OP_APPEND_CACHE_INT8) && operand < 2);
}

enum { BITX_MOST_INPUTS = 5, BITX_MOST_OUTPUTS = 3, BITX_MOST_FUSED = 3 };

/* Activations of an integer product: more columns could pass 2^31 (NUMERICS.md, section 4). */
#define BITX_MOST_COLUMNS 131056u

/* A value or a tensor.  While a file is checked, values have no rows and no data yet. */
typedef struct bitx_matrix {
    uint8_t *data; /* of a tensor: only read */
    size_t stride; /* bytes from row to row */
    uint32_t rows, columns;
    uint32_t dtype, layout;
    uint32_t rank;                  /* of a tensor; a value has 0.  Rank 1 is a single row */
    uint32_t row_kind, role, index; /* of a value */
} bitx_matrix;

typedef struct bitx_call {
    const bitx_session *session; /* null while a file is checked */
    uint32_t context;            /* positions that the op may meet */
    uint32_t position;           /* of the first row */
    uint32_t inputs, outputs;
    uint32_t attribute[4];
    bitx_matrix in[BITX_MOST_INPUTS], out[BITX_MOST_OUTPUTS];
} bitx_call;

/* Which input of an op that appends has the rows: the one behind the states. */
static inline uint32_t bitx_appended(const bitx_call *call)
{
    return bitx_keeps_op(BITX_OP_APPEND_CACHE_INT8) ? call->outputs : 1;
}

/* fits: whether the operands are such that run may trust them.  run: see NUMERICS.md, section 3. */
typedef struct bitx_op {
    int (*fits)(const bitx_call *call);
    bitx_status (*run)(const bitx_call *call);
    uint8_t fewest_inputs, most_inputs, outputs, attributes;
} bitx_op;

/* calls: one for each op that the fusion covers.  Values between them have no data. */
typedef struct bitx_fusion {
    bitx_status (*run)(const bitx_call *calls);
    uint32_t op[BITX_MOST_FUSED];
    uint32_t ops;
} bitx_fusion;

/* Null for a code that is not one. */
const bitx_op *bitx_find_op(uint32_t code);
const bitx_fusion *bitx_find_fusion(uint32_t code);

#define BITX_OP(code, constant, name, fewest, most, outputs, attributes)                           \
    int bitx_fits_##name(const bitx_call *call);                                                   \
    bitx_status bitx_op_##name(const bitx_call *call);
#include "../ops/ops.def"
#undef BITX_OP

#define BITX_FUSION(code, constant, name, first, second, third)                                    \
    bitx_status bitx_fusion_##name(const bitx_call *calls);
#include "../fusions/fusions.def"
#undef BITX_FUSION

static inline void *bitx_row(const bitx_matrix *matrix, size_t row)
{
    return matrix->data + row * matrix->stride;
}

/* Describes the operands of an op as the file has them. */
void bitx_describe(bitx_call *call, const bitx_model *model, const bitx_op_record *op);

/* ---- What fits --------------------------------------------------------------------------------
 */

static inline int bitx_is_value(const bitx_matrix *m, uint32_t dtype)
{
    return m->rank == 0 && m->dtype == dtype && m->role != BITX_STATE;
}

static inline int bitx_is_tensor(const bitx_matrix *m, uint32_t rank, uint32_t dtype)
{
    return m->rank == rank && m->layout == BITX_LAYOUT_PLAIN && m->dtype == dtype;
}

static inline int bitx_is_vector(const bitx_matrix *m, uint32_t columns)
{
    return bitx_is_tensor(m, 1, BITX_F32) && m->columns == columns;
}

/* Whether x has the rows that y is computed from: as many, or those of the call for kept ones. */
static inline int bitx_rows_fit(const bitx_matrix *x, const bitx_matrix *y)
{
    if (y->row_kind == BITX_ROWS_KEPT && x->row_kind == BITX_ROWS_CALL) return 1;
    return x->row_kind == y->row_kind && x->rows == y->rows;
}

/* Whether the rows have positions. */
static inline int bitx_is_sequence(const bitx_matrix *m)
{
    return m->row_kind == BITX_ROWS_CALL || m->row_kind == BITX_ROWS_KEPT;
}

/* f32 values of equal columns, and rows that fit. */
static inline int bitx_maps_rows(const bitx_matrix *x, const bitx_matrix *y)
{
    return bitx_is_value(x, BITX_F32) && bitx_is_value(y, BITX_F32) && x->columns == y->columns &&
           bitx_rows_fit(x, y);
}

/* The second operand of Add and Mul: a value like y, or a tensor that serves every row. */
static inline int bitx_fits_second(const bitx_matrix *b, const bitx_matrix *y)
{
    return b->rank == 0 ? bitx_maps_rows(b, y) : bitx_is_vector(b, y->columns);
}

static inline const float *bitx_second_row(const bitx_matrix *b, size_t row)
{
    return (const float *)bitx_row(b, b->rank == 0 ? row : 0);
}

#endif /* BITX_OPS_H */
