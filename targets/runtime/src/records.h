/* records.h - the records of a .bitx file, as FORMAT.md lays them out. */
#ifndef BITX_RECORDS_H
#define BITX_RECORDS_H

#include "bitexport.h"
#include "memory.h"

#define BITX_NONE 0xFFFFFFFFu

typedef struct bitx_string_record {
    uint32_t offset, bytes;
} bitx_string_record;

typedef struct bitx_header_record {
    uint8_t magic[8];
    uint32_t version, minimum_runtime;
    uint64_t file_bytes;
    uint32_t sections, header_bytes;
    uint8_t sha256[32];
} bitx_header_record;

typedef struct bitx_section_record {
    uint32_t id, reserved;
    uint64_t offset, bytes, records;
    uint8_t sha256[32];
} bitx_section_record;

typedef struct bitx_facts_record {
    uint32_t kind, vocabulary, context, hidden, layers, heads, kv_heads, head_size;
    uint32_t bos, eos_count, eos[4];
    bitx_string_record name, family;
    uint32_t tokens_value, logits_value;
    uint8_t reserved[16];
} bitx_facts_record;

typedef struct bitx_tensor_record {
    bitx_string_record name;
    uint32_t dtype, layout, rank, shape[4], reserved;
    uint64_t offset, bytes, reserved_too;
} bitx_tensor_record;

typedef struct bitx_value_record {
    bitx_string_record name;
    uint32_t dtype, row_kind, rows, columns, role, slot, fused_slot;
    uint8_t reserved[12];
} bitx_value_record;

typedef struct bitx_op_record {
    uint32_t code, first_operand;
    uint16_t inputs, outputs;
    uint32_t fusion, fused_ops;
    uint32_t attribute[4];
    uint32_t reserved;
} bitx_op_record;

typedef struct bitx_operand_record {
    uint32_t kind, index;
} bitx_operand_record;

typedef struct bitx_generation_record {
    uint32_t flags;
    float temperature;
    uint32_t top_k;
    float top_p, min_p, repetition, presence, frequency;
    uint32_t reserved[8];
} bitx_generation_record;

enum { BITX_NETWORK = 0, BITX_LANGUAGE_MODEL = 1 };
enum {
    BITX_LAYOUT_PLAIN = 0,
    BITX_LAYOUT_P2R = 1,
    BITX_LAYOUT_B1R = 2,
    BITX_LAYOUT_Q4R = 3,
    BITX_LAYOUT_P2B = 4,
    BITX_LAYOUT_T5X3 = 5,
    BITX_LAYOUT_P16 = 6,
    BITX_LAYOUT_AFTER_LAST
};
enum { BITX_ROWS_FIXED = 0, BITX_ROWS_CALL = 1, BITX_ROWS_KEPT = 2, BITX_ROWS_CONTEXT = 3 };
enum { BITX_INTERNAL = 0, BITX_INPUT = 1, BITX_OUTPUT = 2, BITX_STATE = 3 };
enum { BITX_OPERAND_VALUE = 1, BITX_OPERAND_TENSOR = 2 };

/* The same records, copied out: the blob may be a plain array of bytes. */
#define BITX_READER(name, section)                                                                 \
    static inline bitx_##name##_record bitx_read_##name(const bitx_model *model, uint32_t index)   \
    {                                                                                              \
        bitx_##name##_record record;                                                               \
        bitx_copy(&record, model->section.records + index * sizeof record, sizeof record);         \
        return record;                                                                             \
    }
BITX_READER(facts, facts)
BITX_READER(tensor, tensors)
BITX_READER(value, values)
BITX_READER(op, ops)
BITX_READER(operand, operands)
BITX_READER(generation, generation)
#undef BITX_READER

static inline bitx_section_record bitx_read_section(const bitx_model *model, size_t index)
{
    bitx_section_record section;
    bitx_copy(&section, model->blob + sizeof(bitx_header_record) + index * sizeof section,
              sizeof section);
    return section;
}

static inline const char *bitx_string(const bitx_model *model, bitx_string_record string)
{
    return (const char *)model->strings.records + string.offset;
}

/* Bytes of one element; 0 for a dtype that is not one. */
static inline uint32_t bitx_element_bytes(uint32_t dtype)
{
    switch (dtype) {
    case BITX_F32:
    case BITX_S32:  return 4;
    case BITX_F16:
    case BITX_BF16: return 2;
    case BITX_S8:
    case BITX_U8:   return 1;
    default:        return 0;
    }
}

/* A library for one model may leave out layouts that its tensors do not have: bit l of BITX_LAYOUTS
 * keeps layout l.  The linker then drops the kernels of the others, and a file with such a tensor
 * is refused as one of a later version. */
#ifndef BITX_LAYOUTS
#define BITX_LAYOUTS 0xffffffffu
#endif

static inline int bitx_keeps_layout(uint32_t layout)
{
    return (int)(BITX_LAYOUTS >> layout & 1u);
}

/* What serves a layout; null where it is not kept, and the linker drops it. */
#define BITX_KEPT(layout, kernel) (bitx_keeps_layout(BITX_LAYOUT_##layout) ? (kernel) : NULL)

/* Whether a layout is this one, and kept. */
static inline int bitx_is_layout(uint32_t layout, uint32_t which)
{
    return bitx_keeps_layout(which) && layout == which;
}

/* Rows of one tile of a packed layout; 0 for one that is not packed. */
static inline uint32_t bitx_tile_rows(uint32_t layout)
{
    switch (layout) {
    case BITX_LAYOUT_P2R:
    case BITX_LAYOUT_P2B:  return 16;
    case BITX_LAYOUT_B1R:  return 32;
    case BITX_LAYOUT_Q4R:
    case BITX_LAYOUT_P16:  return 8;
    case BITX_LAYOUT_T5X3: return 12;
    default:               return 0;
    }
}

/* Whether a byte holds one column of several rows, so that columns may be cut anywhere. */
static inline int bitx_is_by_column(uint32_t layout)
{
    return bitx_is_layout(layout, BITX_LAYOUT_P2R) || bitx_is_layout(layout, BITX_LAYOUT_B1R) ||
           bitx_is_layout(layout, BITX_LAYOUT_Q4R);
}

/* Of a matrix in a packed layout: from one row of tiles to the next. */
static inline uint64_t bitx_tiles_stride(uint32_t layout, uint32_t columns)
{
    if (bitx_is_layout(layout, BITX_LAYOUT_P2B))
        return 96 * (bitx_divide(columns - 1, 24) + UINT64_C(1));
    if (bitx_is_layout(layout, BITX_LAYOUT_T5X3))
        return 80 * (bitx_divide(columns - 1, 32) + UINT64_C(1));
    if (bitx_is_layout(layout, BITX_LAYOUT_P16))
        return 16 * (bitx_divide(columns - 1, 10) + UINT64_C(1));
    return 4 * bitx_round_up(columns, 16);
}

/* From one row of a value to the next. */
static inline size_t bitx_value_stride(uint32_t columns, uint32_t dtype)
{
    return (size_t)bitx_round_up((uint64_t)columns * bitx_element_bytes(dtype), BITX_ALIGNMENT);
}

/* The slot that a value has in the plan that a session runs. */
static inline uint32_t bitx_slot(const bitx_value_record *value, int fused)
{
    return fused ? value->fused_slot : value->slot;
}

#endif /* BITX_RECORDS_H */
