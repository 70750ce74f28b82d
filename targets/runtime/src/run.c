/* run.c - bitx_run(): inputs and outputs by name. */
#include "session.h"

static int same_text(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* The value of that name and role; BITX_NONE if the plan has none. */
static uint32_t find_value(const bitx_model *model, const char *name, uint32_t role)
{
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role == role && same_text(bitx_text(model, value.name), name)) return i;
    }
    return BITX_NONE;
}

static const bitx_tensor *find_tensor(const bitx_tensor *tensors, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (same_text(tensors[i].name, name)) return &tensors[i];
    return NULL;
}

/* Whether each tensor names a value of the role, has memory, and rows that the value has; none has
 * the name of another. */
static bitx_status check_tensors(const bitx_session *session, const bitx_tensor *tensors,
                                 size_t count, uint32_t role, uint32_t rows)
{
    if (count > 0 && !tensors) return BITX_E_ARGUMENT;
    for (size_t i = 0; i < count; i++) {
        if (!tensors[i].name || !tensors[i].data) return BITX_E_ARGUMENT;
        const uint32_t index = find_value(session->model, tensors[i].name, role);
        if (index == BITX_NONE || find_tensor(tensors, i, tensors[i].name)) return BITX_E_NAME;
        const bitx_value_record value = bitx_read_value(session->model, index);
        const uint32_t has = bitx_value_rows(session, &value, rows), wants = tensors[i].rows;
        if (wants == 0 || wants > has || (role == BITX_INPUT && wants != has))
            return BITX_E_ARGUMENT;
    }
    return BITX_OK;
}

/* A name stands for the first value that has it: another one could not be given. */
static int every_input_is_given(const bitx_model *model, const bitx_tensor *inputs, size_t count)
{
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role != BITX_INPUT) continue;
        const char *name = bitx_text(model, value.name);
        if (find_value(model, name, BITX_INPUT) != i || !find_tensor(inputs, count, name)) return 0;
    }
    return 1;
}

/* The rows of the arena are padded with zeros: kernels read past the last column. */
static void take_input(const bitx_session *session, const bitx_tensor *tensor)
{
    const uint32_t index = find_value(session->model, tensor->name, BITX_INPUT);
    const bitx_value_record value = bitx_read_value(session->model, index);
    const size_t bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
    const size_t stride = bitx_value_stride(value.columns, value.dtype);
    const uint8_t *from = tensor->data;
    uint8_t *to = bitx_value_data(session, index);
    for (uint32_t t = 0; t < tensor->rows; t++, from += bytes, to += stride) {
        bitx_copy(to, from, bytes);
        bitx_zero(to + bytes, stride - bytes);
    }
}

static void give_output(const bitx_session *session, const bitx_tensor *tensor, uint32_t rows)
{
    const uint32_t index = find_value(session->model, tensor->name, BITX_OUTPUT);
    const bitx_value_record value = bitx_read_value(session->model, index);
    const size_t bytes = (size_t)value.columns * bitx_element_bytes(value.dtype);
    const size_t stride = bitx_value_stride(value.columns, value.dtype);
    const uint32_t skipped = bitx_value_rows(session, &value, rows) - tensor->rows;
    const uint8_t *from = bitx_value_data(session, index) + skipped * stride;
    uint8_t *to = tensor->data;
    for (uint32_t t = 0; t < tensor->rows; t++, from += stride, to += bytes)
        bitx_copy(to, from, bytes);
}

static bitx_status check_call(const bitx_session *session, uint32_t rows, const bitx_tensor *inputs,
                              size_t input_count, const bitx_tensor *outputs, size_t output_count)
{
    if (rows == 0 || rows > session->chunk_rows) return BITX_E_ARGUMENT;
    if (session->tokens != BITX_NONE && rows > session->context - session->position)
        return BITX_E_FULL;
    bitx_status status = check_tensors(session, inputs, input_count, BITX_INPUT, rows);
    if (status == BITX_OK)
        status = check_tensors(session, outputs, output_count, BITX_OUTPUT, rows);
    if (status == BITX_OK && !every_input_is_given(session->model, inputs, input_count))
        status = BITX_E_NAME;
    return status;
}

bitx_status bitx_run(bitx_session *session, uint32_t rows, const bitx_tensor *inputs,
                     size_t input_count, const bitx_tensor *outputs, size_t output_count)
{
    if (!session) return BITX_E_ARGUMENT;
    bitx_status status = check_call(session, rows, inputs, input_count, outputs, output_count);
    if (status != BITX_OK) return status;

    for (size_t i = 0; i < input_count; i++)
        take_input(session, &inputs[i]);
    status = bitx_execute(session, rows);
    if (status != BITX_OK) return status;
    for (size_t i = 0; i < output_count; i++)
        give_output(session, &outputs[i], rows);
    if (session->tokens != BITX_NONE) session->position += rows;
    return BITX_OK;
}
