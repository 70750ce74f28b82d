/* groups.h - matrices of small integers whose columns share scales in groups (NUMERICS.md, 3). */
#ifndef BITX_GROUPS_H
#define BITX_GROUPS_H

#include "../src/floats.h"
#include "../src/ops.h"

enum { BITX_LEAST_GROUP = 16, BITX_MOST_GROUP = 4096 };

/* Whether columns may be cut into groups of so many. */
static inline int bitx_group_is_sound(uint32_t group, uint32_t columns)
{
    return group >= BITX_LEAST_GROUP && group <= BITX_MOST_GROUP && group % 16 == 0 &&
           columns <= BITX_MOST_COLUMNS;
}

/* For a sound group: how many there are; the last may be shorter. */
static inline uint32_t bitx_group_count(uint32_t group, uint32_t columns)
{
    return bitx_divide(columns - 1, group) + 1;
}

/* Columns of the group that starts at this one. */
static inline uint32_t bitx_group_columns(uint32_t group, uint32_t columns, uint32_t column)
{
    return columns - column < group ? columns - column : group;
}

/* Whether w is packed and its scales are [groups, n], or 1 in place of either. */
static inline int bitx_is_grouped(const bitx_matrix *w, const bitx_matrix *scale, uint32_t group)
{
    if (!bitx_is_by_column(w->layout) || !bitx_group_is_sound(group, w->columns)) return 0;
    return (bitx_is_tensor(scale, 2, BITX_F32) || bitx_is_tensor(scale, 2, BITX_F16)) &&
           (scale->rows == 1 || scale->rows == bitx_group_count(group, w->columns)) &&
           (scale->columns == 1 || scale->columns == w->rows);
}

/* The scale of row `row` of w in group `g`, widened. */
static inline float bitx_group_scale(const bitx_matrix *scale, uint32_t g, uint32_t row)
{
    const void *scales = bitx_row(scale, scale->rows > 1 ? g : 0);
    const uint32_t column = scale->columns > 1 ? row : 0;
    return scale->dtype == BITX_F32 ? ((const float *)scales)[column]
                                    : bitx_from_f16(((const uint16_t *)scales)[column]);
}

#endif /* BITX_GROUPS_H */
