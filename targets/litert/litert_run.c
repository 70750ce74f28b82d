/* litert_run.c - one call of the op ai.bitexport.Plan. */
#include "litert_plan.h"

#include <stdlib.h>
#include <string.h>

static const char MISFIT[] = "a tensor has a type or a shape that does not fit the plan";

static int rows_of(const litert_tensor *tensor)
{
    return tensor->dims && tensor->dims->size > 0 ? tensor->dims->data[0] : 0;
}

/* ---- A language model ---------------------------------------------------------------------- */

enum { TOKENS, POSITION };

static int step_fits(const litert_context *context, const litert_plan *plan)
{
    const litert_tensor *tokens = &context->tensors[plan->in[TOKENS].tensor];
    const litert_tensor *position = &context->tensors[plan->in[POSITION].tensor];
    const litert_tensor *logits = &context->tensors[plan->out[0].tensor];
    return tokens->type == LITERT_S32 && tokens->bytes >= 4 && position->type == LITERT_S32 &&
           position->bytes == 4 && logits->type == LITERT_F32 &&
           logits->bytes == sizeof(float) * (size_t)bitx_model_facts(&plan->model).vocabulary;
}

static litert_status run_step(litert_context *context, litert_plan *plan)
{
    const litert_tensor *tokens = &context->tensors[plan->in[TOKENS].tensor];
    const int32_t position = *(const int32_t *)context->tensors[plan->in[POSITION].tensor].data;
    litert_tensor *output = &context->tensors[plan->out[0].tensor];
    const float *logits;
    if (position < 0 || (uint32_t)position > bitx_session_position(plan->session))
        return bitx_litert_refuse(context,
                                  "the position is beyond what the model has seen; begin with 0");
    bitx_status status = bitx_session_rewind(plan->session, (uint32_t)position);
    if (status == BITX_OK)
        status = bitx_prefill(plan->session, tokens->data, tokens->bytes / 4, &logits);
    if (status != BITX_OK) return bitx_litert_refuse(context, bitx_status_name(status));
    memcpy(output->data, logits, output->bytes);
    return LITERT_OK;
}

/* ---- A network ----------------------------------------------------------------------------- */

static int port_fits(const litert_context *context, const litert_port *port, int rows)
{
    const litert_tensor *tensor = &context->tensors[port->tensor];
    const size_t wanted = port->fixed_rows ? port->fixed_rows : (size_t)rows;
    return port->type != 0 && tensor->type == port->type && rows_of(tensor) == (int)wanted &&
           tensor->bytes == wanted * port->row_bytes;
}

/* Rows of the call: those of the first input whose rows are not fixed. */
static int call_rows(const litert_context *context, const litert_plan *plan)
{
    for (int i = 0; i < plan->inputs; i++)
        if (plan->in[i].fixed_rows == 0) return rows_of(&context->tensors[plan->in[i].tensor]);
    return 1;
}

static litert_status resize(litert_context *context, const litert_port *port, int rows)
{
    litert_tensor *tensor = &context->tensors[port->tensor];
    const int rank = tensor->dims ? tensor->dims->size : 0;
    if (port->fixed_rows || rank == 0 || tensor->dims->data[0] == rows) return LITERT_OK;
    litert_ints *dims = malloc(sizeof *dims + (size_t)rank * sizeof dims->data[0]);
    if (!dims) return bitx_litert_refuse(context, "there is no memory left");
    memcpy(dims, tensor->dims, sizeof *dims + (size_t)rank * sizeof dims->data[0]);
    dims->data[0] = rows;
    return context->resize_tensor(context, tensor, dims); /* which takes dims over */
}

static litert_status prepare_network(litert_context *context, const litert_plan *plan)
{
    const int rows = call_rows(context, plan);
    for (int i = 0; i < plan->outputs; i++)
        if (resize(context, &plan->out[i], rows) != LITERT_OK) return LITERT_ERROR;
    for (int i = 0; i < plan->inputs; i++)
        if (!port_fits(context, &plan->in[i], rows)) return bitx_litert_refuse(context, MISFIT);
    for (int i = 0; i < plan->outputs; i++)
        if (!port_fits(context, &plan->out[i], rows)) return bitx_litert_refuse(context, MISFIT);
    return LITERT_OK;
}

/* Some rows of a tensor; all of one whose rows are fixed. */
static bitx_tensor part(const litert_context *context, const litert_port *port, uint32_t first,
                        uint32_t rows)
{
    uint8_t *data = context->tensors[port->tensor].data;
    if (port->fixed_rows) return (bitx_tensor){port->name, data, port->fixed_rows};
    return (bitx_tensor){port->name, data + first * port->row_bytes, rows};
}

static litert_status run_network(litert_context *context, litert_plan *plan)
{
    const uint32_t rows = (uint32_t)call_rows(context, plan), most = plan->config.chunk_rows;
    bitx_tensor in[LITERT_MOST_PORTS], out[LITERT_MOST_PORTS];
    for (uint32_t first = 0; first < rows; first += most) {
        const uint32_t count = rows - first < most ? rows - first : most;
        for (int i = 0; i < plan->inputs; i++)
            in[i] = part(context, &plan->in[i], first, count);
        for (int i = 0; i < plan->outputs; i++)
            out[i] = part(context, &plan->out[i], first, count);
        const bitx_status status =
            bitx_run(plan->session, count, in, (size_t)plan->inputs, out, (size_t)plan->outputs);
        if (status != BITX_OK) return bitx_litert_refuse(context, bitx_status_name(status));
    }
    return LITERT_OK;
}

/* ---- Both ---------------------------------------------------------------------------------- */

litert_status bitx_litert_prepare(litert_context *context, litert_node *node)
{
    const litert_plan *plan = node->user_data;
    if (!plan) return bitx_litert_refuse(context, "there is no memory left");
    if (plan->status != BITX_OK) return bitx_litert_refuse(context, bitx_status_name(plan->status));
    if (!plan->is_language_model) return prepare_network(context, plan);
    return step_fits(context, plan) ? LITERT_OK : bitx_litert_refuse(context, MISFIT);
}

litert_status bitx_litert_invoke(litert_context *context, litert_node *node)
{
    litert_plan *plan = node->user_data;
    return plan->is_language_model ? run_step(context, plan) : run_network(context, plan);
}
