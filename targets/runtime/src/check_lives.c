/* check_lives.c - R22, R20, R23: who makes, reads and overwrites each value. */
#include "ops.h"
#include "rules.h"

/* The next operand, at `from` or after, that is this value; the number of operands if none is. */
static uint32_t next_use(const bitx_model *model, uint32_t value, uint32_t from)
{
    for (; from < model->operands.count; from++) {
        const bitx_operand_record operand = bitx_read_operand(model, from);
        if (operand.index == value && operand.kind == BITX_OPERAND_VALUE) break;
    }
    return from;
}

/* The op that an operand belongs to. */
static uint32_t op_of(const bitx_model *model, uint32_t operand)
{
    uint32_t low = 0, high = model->ops.count;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (bitx_read_op(model, middle).first_operand <= operand)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first op of the fusion that covers this one; the op itself if none does. */
static uint32_t first_fused(const bitx_model *model, uint32_t op)
{
    for (uint32_t back = 0; back < BITX_MOST_FUSED && back <= op; back++)
        if (bitx_read_op(model, op - back).fused_ops > back) return op - back;
    return op;
}

/* What the plan does with one value, in the order of execution. */
typedef struct life {
    uint32_t written, read; /* how often */
    uint32_t maker;         /* the last op that wrote it */
    int read_early;         /* before it was written, or by the op that writes it */
    int read_elsewhere;     /* outside the fusion that makes it */
} life;

static life follow(const bitx_model *model, uint32_t value)
{
    life l = {0};
    for (uint32_t i = next_use(model, value, 0); i < model->operands.count;
         i = next_use(model, value, i + 1)) {
        const uint32_t op = op_of(model, i);
        const bitx_op_record record = bitx_read_op(model, op);
        if (i >= record.first_operand + record.inputs) {
            l.written++;
            l.maker = op;
        } else if (!bitx_appends_to(record.code, i - record.first_operand)) {
            l.read++;
            l.read_early |= l.written == 0;
            l.read_elsewhere |= first_fused(model, op) != first_fused(model, l.maker);
        }
    }
    return l;
}

/* R22.  A state counts as made by the op that appends to it, so that no position is read unwritten.
 */
static int is_made_properly(const bitx_model *model, const bitx_value_record *value, const life *l)
{
    if (value->role == BITX_INPUT) return l->written == 0;
    if (l->written != 1 || l->read_early) return 0;
    const uint32_t code = bitx_read_op(model, l->maker).code;
    return (value->role == BITX_STATE) == bitx_appends(code);
}

/* R20.  Whether the value is made and only used inside one fusion. */
static int is_inside_fusion(const bitx_model *model, const bitx_value_record *value, const life *l)
{
    const uint32_t first = first_fused(model, l->maker);
    return value->role == BITX_INTERNAL && l->read > 0 && !l->read_elsewhere &&
           bitx_read_op(model, first).fusion != 0;
}

static bitx_status check_life(bitx_model *model, uint32_t i)
{
    const bitx_value_record value = bitx_read_value(model, i);
    const life l = follow(model, i);
    if (!is_made_properly(model, &value, &l)) return bitx_broken(model, 22, i);
    if ((value.fused_slot == BITX_NONE) != is_inside_fusion(model, &value, &l))
        return bitx_broken(model, 20, l.maker);
    return BITX_OK;
}

/* One slot while the plan runs: the value that it holds, and what the current op did to it. */
typedef struct tenant {
    uint32_t slot, value;
    int fused, was_read, is_output;
} tenant;

/* Each returns whether the slot then holds what the plan expects. */
static int move_in(tenant *t, uint32_t value, int is_output)
{
    const int was_free = !t->was_read && !t->is_output;
    t->value = value;
    t->is_output = is_output;
    t->was_read = 1; /* alive in this op: no second value may follow */
    return was_free;
}

static int use_operand(const bitx_model *model, tenant *t, uint32_t operand, int writes)
{
    const bitx_operand_record record = bitx_read_operand(model, operand);
    if (record.kind != BITX_OPERAND_VALUE) return 1;
    const bitx_value_record value = bitx_read_value(model, record.index);
    if (value.role == BITX_STATE || bitx_slot(&value, t->fused) != t->slot) return 1;
    if (writes) return move_in(t, record.index, value.role == BITX_OUTPUT);
    t->was_read = 1;
    return t->value == record.index;
}

/* Runs ops [first, end) as one: all that they read lives until all that they write does. */
static int use_ops(const bitx_model *model, tenant *t, uint32_t first, uint32_t end)
{
    t->was_read = 0;
    for (int writes = 0; writes < 2; writes++)
        for (uint32_t op = first; op < end; op++) {
            const bitx_op_record record = bitx_read_op(model, op);
            const uint32_t outputs = record.first_operand + record.inputs;
            const uint32_t from = writes ? outputs : record.first_operand;
            const uint32_t to = writes ? outputs + record.outputs : outputs;
            for (uint32_t operand = from; operand < to; operand++)
                if (!use_operand(model, t, operand, writes)) return 0;
        }
    return 1;
}

static int inputs_move_in(const bitx_model *model, tenant *t)
{
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role == BITX_INPUT && bitx_slot(&value, t->fused) == t->slot && !move_in(t, i, 0))
            return 0;
    }
    return 1;
}

/* R23.  Every reader must find in the slot what was made for it. */
static bitx_status check_slot(bitx_model *model, uint32_t slot, int fused)
{
    tenant t = {.slot = slot, .value = BITX_NONE, .fused = fused};
    int sound = inputs_move_in(model, &t);
    for (uint32_t op = 0; sound && op < model->ops.count;) {
        const uint32_t covered = fused ? bitx_read_op(model, op).fused_ops : 0;
        const uint32_t end = op + (covered ? covered : 1);
        sound = use_ops(model, &t, op, end);
        op = end;
    }
    return sound ? BITX_OK : bitx_broken(model, 23, t.value);
}

/* Whether two values have this slot.  *used: whether this or a higher one is used at all. */
static int is_shared(const bitx_model *model, uint32_t slot, int fused, int *used)
{
    uint32_t tenants = 0;
    *used = 0;
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        const uint32_t its_slot = bitx_slot(&value, fused);
        tenants += its_slot == slot;
        *used |= its_slot != BITX_NONE && its_slot >= slot;
    }
    return tenants > 1;
}

static bitx_status check_slots(bitx_model *model, int fused)
{
    int used = 1;
    for (uint32_t slot = 0; used; slot++) {
        const int shared = is_shared(model, slot, fused, &used);
        const bitx_status status = shared ? check_slot(model, slot, fused) : BITX_OK;
        if (status != BITX_OK) return status;
    }
    return BITX_OK;
}

bitx_status bitx_check_lives(bitx_model *model)
{
    bitx_status status = BITX_OK;
    for (uint32_t i = 0; status == BITX_OK && i < model->values.count; i++)
        status = check_life(model, i);
    for (int fused = 0; status == BITX_OK && fused < 2; fused++)
        status = check_slots(model, fused);
    return status;
}
