/* execute.c - run the plan, op by op or fusion by fusion. */
#include "floats.h"
#include "session.h"

void bitx_parallel(const bitx_session *session, bitx_task task, void *argument, size_t count)
{
    if (session->config.parallel_for && count > 1) {
        session->config.parallel_for(session->config.parallel_context, task, argument, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        task(argument, i);
}

/* Rows that are worth a task: some tens of microseconds. */
enum { ROWS_AT_ONCE = 4 };

typedef struct rows_job {
    bitx_row_task task;
    const void *argument;
    uint32_t rows;
} rows_job;

static void run_rows(void *argument, size_t index)
{
    const rows_job *job = argument;
    const uint32_t first = (uint32_t)index * ROWS_AT_ONCE, left = job->rows - first;
    const uint32_t end = left < ROWS_AT_ONCE ? job->rows : first + ROWS_AT_ONCE;
    for (uint32_t t = first; t < end; t++)
        job->task(job->argument, t);
}

void bitx_parallel_rows(const bitx_session *session, bitx_row_task task, const void *argument,
                        uint32_t rows)
{
    rows_job job = {task, argument, rows};
    bitx_parallel(session, run_rows, &job, ((size_t)rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE);
}

/* A value without a slot lives inside a fusion: it keeps no data. */
static void bind_value(const bitx_session *session, bitx_matrix *matrix, uint32_t rows)
{
    const bitx_value_record value = bitx_read_value(session->model, matrix->index);
    matrix->rows = bitx_value_rows(session, &value, rows);
    if (bitx_slot(&value, session->fused) != BITX_NONE)
        matrix->data = bitx_value_data(session, matrix->index);
}

/* Of an input with more rows than are kept, the last ones count. */
static void drop_first_rows(bitx_matrix *matrix, uint32_t kept)
{
    if (matrix->rank != 0 || !bitx_is_sequence(matrix) || matrix->rows <= kept) return;
    if (matrix->data) matrix->data += (matrix->rows - kept) * matrix->stride;
    matrix->rows = kept;
}

/* Gives an op's operands the memory and the rows that they have in this call. */
static void bind(bitx_call *call, const bitx_session *session, uint32_t op, uint32_t rows)
{
    const bitx_op_record record = bitx_read_op(session->model, op);
    bitx_describe(call, session->model, &record);
    call->session = session;
    call->context = session->context;
    call->position = session->position;
    for (uint32_t i = 0; i < call->outputs; i++)
        bind_value(session, &call->out[i], rows);
    for (uint32_t i = 0; i < call->inputs; i++)
        if (call->in[i].rank == 0) bind_value(session, &call->in[i], rows);

    if (call->out[0].row_kind != BITX_ROWS_KEPT) return;
    call->position += rows - call->out[0].rows;
    for (uint32_t i = 0; i < call->inputs; i++)
        drop_first_rows(&call->in[i], call->out[0].rows);
}

/* What an op wrote; of a state, the rows that it appended. */
static bitx_trace_event describe_output(const bitx_call *call, uint32_t op, uint32_t output)
{
    const bitx_matrix *out = &call->out[output];
    const bitx_model *model = call->session->model;
    const int is_state = out->role == BITX_STATE;
    const bitx_matrix *appended = &call->in[bitx_appended(call)];
    return (bitx_trace_event){.op = op,
                              .output = output,
                              .value = bitx_string(model, bitx_read_value(model, out->index).name),
                              .dtype = (bitx_dtype)out->dtype,
                              .rows = is_state ? appended->rows : out->rows,
                              .columns = out->columns,
                              .stride = out->stride,
                              .data = bitx_row(out, is_state ? call->position : 0),
                              .row_position =
                                  out->row_kind == BITX_ROWS_FIXED ? 0 : call->position};
}

static void report(const bitx_call *call, uint32_t op, uint32_t *op_output)
{
    const bitx_config *config = &call->session->config;
    for (uint32_t i = 0; i < call->outputs; i++) {
        bitx_trace_event event = describe_output(call, op, i);
        event.op_output = (*op_output)++;
        config->trace(config->trace_context, &event);
    }
}

static bitx_status run_fusion(const bitx_session *session, const bitx_op_record *first, uint32_t op,
                              uint32_t rows)
{
    bitx_call calls[BITX_MOST_FUSED];
    for (uint32_t i = 0; i < first->fused_ops; i++)
        bind(&calls[i], session, op + i, rows);
    return bitx_find_fusion(first->fusion)->run(calls);
}

static bitx_status run_op(const bitx_session *session, const bitx_op_record *record, uint32_t op,
                          uint32_t rows, uint32_t *op_output)
{
    bitx_call call;
    bind(&call, session, op, rows);
    const bitx_status status = bitx_find_op(record->code)->run(&call);
    if (status == BITX_OK && session->config.trace) report(&call, op, op_output);
    return status;
}

static int is_finite(const bitx_session *session, const bitx_value_record *value,
                     const uint8_t *row, uint32_t rows)
{
    const size_t stride = bitx_value_stride(value->columns, value->dtype);
    uint32_t largest = 0;
    for (uint32_t t = bitx_value_rows(session, value, rows); t > 0; t--, row += stride) {
        const float *x = (const float *)(const void *)row;
        const uint32_t of_row = bitx_largest_magnitude(x, value->columns);
        if (of_row > largest) largest = of_row;
    }
    return largest < BITX_INFINITY_BITS;
}

static int outputs_are_finite(const bitx_session *session, uint32_t rows)
{
    for (uint32_t i = 0; i < session->model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(session->model, i);
        if (value.role == BITX_OUTPUT && value.dtype == BITX_F32 &&
            !is_finite(session, &value, bitx_value_data(session, i), rows))
            return 0;
    }
    return 1;
}

/* An op, or a fusion that ends with it, makes rows to keep; when a call keeps none, nothing reads
 * them. */
static int makes_kept_rows(const bitx_session *session, uint32_t op)
{
    bitx_call call;
    const bitx_op_record record = bitx_read_op(session->model, op);
    bitx_describe(&call, session->model, &record);
    return call.out[0].row_kind == BITX_ROWS_KEPT;
}

bitx_status bitx_execute(const bitx_session *session, uint32_t rows)
{
    const int keeps = bitx_kept_rows(session, rows) > 0;
    bitx_status status = BITX_OK;
    uint32_t op_output = 0;

    for (uint32_t op = 0; status == BITX_OK && op < session->model->ops.count;) {
        const bitx_op_record record = bitx_read_op(session->model, op);
        const int fuses = session->fused && record.fusion;
        const uint32_t last = fuses ? op + record.fused_ops - 1 : op;
        if (!keeps && makes_kept_rows(session, last))
            status = BITX_OK;
        else if (fuses)
            status = run_fusion(session, &record, op, rows);
        else
            status = run_op(session, &record, op, rows, &op_output);
        op = last + 1;
    }
    if (status == BITX_OK && !outputs_are_finite(session, rows)) status = BITX_E_NOT_FINITE;
    return status;
}
