/* ort_library.c - what onnxruntime asks of a library of custom ops: which there are, and run one.
 */
#include "ort_call.h"

#include "floats.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VISIBLE __attribute__((visibility("default")))

enum { DOMAIN_VERSION = 1 };

/* ---- Operators ---------------------------------------------------------------------------- */

static const ort_form *form_of(const bitx_ort_op *op)
{
    return (const ort_form *)(const void *)op;
}

static const char *name_of(const bitx_ort_op *op)
{
    return form_of(op)->name;
}

static const char *provider(const bitx_ort_op *op)
{
    (void)op;
    return "CPUExecutionProvider";
}

static bitx_ort_dtype dtype_of(char letter)
{
    switch (letter) {
    case 'x':
    case 'f': return BITX_ORT_F32;
    case 'q':
    case 'c': return BITX_ORT_S8;
    case 's':
    case 't': return BITX_ORT_S32;
    case 'i':
    case 'p':
    case 'P': return BITX_ORT_S64;
    case 'w': return BITX_ORT_U8;
    case 'h': return BITX_ORT_F16;
    case 'b': return BITX_ORT_BF16;
    default:  return BITX_ORT_ANY; /* g, k */
    }
}

static size_t input_count(const bitx_ort_op *op)
{
    return strlen(form_of(op)->inputs);
}

static size_t output_count(const bitx_ort_op *op)
{
    return strlen(form_of(op)->outputs) / 2;
}

static bitx_ort_dtype input_type(const bitx_ort_op *op, size_t index)
{
    return dtype_of(form_of(op)->inputs[index]);
}

static bitx_ort_dtype output_type(const bitx_ort_op *op, size_t index)
{
    return dtype_of(form_of(op)->outputs[2 * index]);
}

/* 0: required, 1: optional. */
static int input_characteristic(const bitx_ort_op *op, size_t index)
{
    return form_of(op)->inputs[index] == 'P';
}

/* Of an output: required.  Of memory: the default. */
static int zero(const bitx_ort_op *op, size_t index)
{
    (void)op, (void)index;
    return 0;
}

static int one(const bitx_ort_op *op)
{
    (void)op;
    return 1;
}

static int domain_version(const bitx_ort_op *op)
{
    (void)op;
    return DOMAIN_VERSION;
}

/* ---- Kernels ------------------------------------------------------------------------------ */

/* Reads one attribute as the plan has it: a float by its bits, a negative number by its own. */
static bitx_ort_status *read_attribute(uint32_t *value, const bitx_ort_api *api,
                                       const bitx_ort_kernel_info *info, const char *name)
{
    char text[128];
    bitx_ort_status *status;
    int64_t number = 0, least = 0;
    if (*name == '.') {
        float real = 0;
        status = api->attribute_float(info, name + 1, &real);
        *value = bitx_bits(real);
        return status;
    }
    if (*name == '-') {
        least = INT32_MIN;
        name++;
    }
    status = api->attribute_int(info, name, &number);
    if (status || (number >= least && number <= INT32_MAX)) {
        *value = (uint32_t)number;
        return status;
    }
    (void)snprintf(text, sizeof text, "ai.bitexport: attribute `%s` is out of range", name);
    return api->create_status(BITX_ORT_INVALID_ARGUMENT, text);
}

static bitx_ort_status *read_attributes(ort_kernel *kernel, const bitx_ort_kernel_info *info)
{
    size_t at = 0;
    if (*kernel->form->attributes == '@') return bitx_ort_read_window(kernel, info);
    for (const char *rest = kernel->form->attributes; *rest;) {
        char name[16];
        const size_t length = strcspn(rest, " ");
        memcpy(name, rest, length);
        name[length] = '\0';
        uint32_t *to = strcmp(name, "n") == 0   ? &kernel->n
                       : strcmp(name, "k") == 0 ? &kernel->k
                                                : &kernel->attribute[at++];
        bitx_ort_status *status = read_attribute(to, kernel->api, info, name);
        if (status) return status;
        rest += length + (rest[length] == ' ');
    }
    return NULL;
}

/* A node is all that a library sees of a graph, not the versions that the graph imports: so a node
 * of a later version than the first says its own (NUMERICS.md, section 3). */
static bitx_ort_status *refuse_other_version(const ort_kernel *kernel,
                                             const bitx_ort_kernel_info *info)
{
    char text[256];
    int64_t version = 1;
    bitx_ort_status *status = kernel->api->attribute_int(info, "domain_version", &version);
    if (status) {
        kernel->api->release_status(status);
        version = 1;
    }
    if (version == DOMAIN_VERSION) return NULL;
    (void)snprintf(text, sizeof text,
                   "ai.bitexport %s: the graph has version %lld of the ops, this library version "
                   "%d: use the library of the bitexport that built the graph",
                   kernel->form->name, (long long)version, (int)DOMAIN_VERSION);
    return kernel->api->create_status(BITX_ORT_INVALID_ARGUMENT, text);
}

/* Weights lie where they lie as long as the session lives: what they are is asked once. */
static bitx_ort_status *read_constants(ort_kernel *kernel, const bitx_ort_kernel_info *info)
{
    for (size_t i = 0; i < kernel->inputs; i++) {
        const bitx_ort_value *value = NULL;
        int is_constant = 0;
        bitx_ort_status *status = kernel->api->constant_input(info, i, &is_constant, &value);
        if (!status && is_constant) status = bitx_ort_read(&kernel->constant[i], kernel, value);
        if (status) return status;
    }
    return NULL;
}

static bitx_ort_status *create(const bitx_ort_op *op, const bitx_ort_api *api,
                               const bitx_ort_kernel_info *info, void **made)
{
    ort_kernel *kernel = calloc(1, sizeof *kernel);
    *made = NULL;
    if (!kernel) return api->create_status(BITX_ORT_FAIL, "there is no memory left");
    kernel->form = form_of(op);
    kernel->api = api;
    kernel->inputs = (uint32_t)input_count(op);
    kernel->outputs = (uint32_t)output_count(op);
    bitx_kernels_choose(&kernel->kernels, ~0u);
    bitx_ort_status *status = refuse_other_version(kernel, info);
    if (!status) status = read_attributes(kernel, info);
    if (!status) status = read_constants(kernel, info);
    if (status)
        free(kernel);
    else
        *made = kernel;
    return status;
}

static void destroy(void *kernel)
{
    free(kernel);
}

/* ---- Calls -------------------------------------------------------------------------------- */

/* bitx_parallel_for on the threads of the session. */
static void run_parallel(void *context, bitx_task task, void *argument, size_t count)
{
    ort_call *c = context;
    bitx_ort_status *status = c->kernel->api->parallel_for(c->context, task, count, 0, argument);
    if (!status) return;
    c->kernel->api->release_status(status);
    bitx_ort_refuse(c, "onnxruntime could not run its threads");
}

static bitx_ort_status *compute(void *made, bitx_ort_context *context)
{
    const ort_kernel *kernel = made;
    ort_call c = {.kernel = kernel, .context = context};
    c.session.kernels = kernel->kernels;
    c.session.config.parallel_for = run_parallel;
    c.session.config.parallel_context = &c;
    c.call.inputs = kernel->inputs;
    c.call.outputs = kernel->outputs;
    bitx_copy(c.call.attribute, kernel->attribute, sizeof c.call.attribute);
    for (size_t i = 0; i < c.call.inputs; i++)
        if (!bitx_ort_read_input(&c, i)) return c.status;
    switch (kernel->form->is_fusion ? 0 : kernel->form->code) {
    case BITX_OP_ROPE:              bitx_ort_rope(&c); break;
    case BITX_OP_APPEND_CACHE:
    case BITX_OP_APPEND_CACHE_INT8: bitx_ort_append_cache(&c); break;
    case BITX_OP_ATTEND:
    case BITX_OP_ATTEND_INT8:       bitx_ort_attend(&c); break;
    default:                        bitx_ort_map_rows(&c);
    }
    return c.status;
}

/* ---- The library -------------------------------------------------------------------------- */

#define FORM(op_type, its_code, fuses, weights, ins, outs, attribute_names)                        \
    {.op = {.version = BITX_ORT_API_VERSION,                                                       \
            .name = name_of,                                                                       \
            .provider = provider,                                                                  \
            .input_type = input_type,                                                              \
            .input_count = input_count,                                                            \
            .output_type = output_type,                                                            \
            .output_count = output_count,                                                          \
            .destroy = destroy,                                                                    \
            .input_characteristic = input_characteristic,                                          \
            .output_characteristic = zero,                                                         \
            .input_memory = zero,                                                                  \
            .variadic_input_least = one,                                                           \
            .variadic_input_is_homogeneous = one,                                                  \
            .variadic_output_least = one,                                                          \
            .variadic_output_is_homogeneous = one,                                                 \
            .create = create,                                                                      \
            .compute = compute,                                                                    \
            .first_version = domain_version,                                                       \
            .last_version = domain_version},                                                       \
     .name = #op_type,                                                                             \
     .inputs = (ins),                                                                              \
     .outputs = (outs),                                                                            \
     .attributes = (attribute_names),                                                              \
     .code = (its_code),                                                                           \
     .layout = BITX_LAYOUT_##weights,                                                              \
     .is_fusion = (fuses)},
#define BITX_ORT_FORM(op_type, op, ...)       FORM(op_type, BITX_OP_##op, 0, __VA_ARGS__)
#define BITX_ORT_FUSION(op_type, fusion, ...) FORM(op_type, BITX_FUSION_##fusion, 1, __VA_ARGS__)

static const ort_form forms[] = {
#include "ort_forms.def"
};

enum { FORMS = sizeof forms / sizeof *forms };

/* One domain serves every session of a process: it lives as long as the library. */
static struct {
    pthread_mutex_t lock;
    bitx_ort_domain *made;
} domain = {PTHREAD_MUTEX_INITIALIZER, NULL};

static bitx_ort_status *make_domain(const bitx_ort_api *api)
{
    bitx_ort_domain *made = NULL;
    bitx_kernels kernels;
    if (!bitx_floats_are_sound())
        return api->create_status(BITX_ORT_FAIL,
                                  "bitexport: this build or core does not round as IEEE-754 asks");
    bitx_kernels_choose(&kernels, ~0u);
    if (!bitx_kernels_agree(&kernels))
        return api->create_status(
            BITX_ORT_FAIL, "bitexport: a fast kernel disagrees with its definition on this core");
    bitx_ort_status *status = api->create_domain("ai.bitexport", &made);
    for (size_t i = 0; !status && i < FORMS; i++)
        status = api->add_op(made, &forms[i].op);
    if (status && made)
        api->release_domain(made);
    else if (!status)
        domain.made = made;
    return status;
}

bitx_ort_status *RegisterCustomOps(bitx_ort_options *options, const bitx_ort_base *base);

/* Called by onnxruntime when a program registers the library. */
VISIBLE bitx_ort_status *RegisterCustomOps(bitx_ort_options *options, const bitx_ort_base *base)
{
    const bitx_ort_api *api = base->api(BITX_ORT_API_VERSION);
    bitx_ort_status *status = NULL;
    if (!api) {
        const bitx_ort_api *first = base->api(1);
        return first->create_status(BITX_ORT_FAIL, "bitexport needs onnxruntime 1.17 or newer");
    }
    pthread_mutex_lock(&domain.lock);
    if (!domain.made) status = make_domain(api);
    pthread_mutex_unlock(&domain.lock);
    return status ? status : api->add_domain(options, domain.made);
}

/* ---- What others ask ----------------------------------------------------------------------- */

const char *bitx_ort_isa(void);
const char *bitx_ort_form(size_t index);
uint32_t bitx_ort_domain_version(void);

/* The instruction set whose kernels are run: the best of those that this core has. */
VISIBLE const char *bitx_ort_isa(void)
{
    bitx_kernels kernels;
    bitx_kernels_choose(&kernels, ~0u);
    return bitx_isa_name(kernels.isa);
}

/* The name of an operator; null behind the last. */
VISIBLE const char *bitx_ort_form(size_t index)
{
    return index < FORMS ? forms[index].name : NULL;
}

/* The version of domain ai.bitexport whose operators these are. */
VISIBLE uint32_t bitx_ort_domain_version(void)
{
    return DOMAIN_VERSION;
}
