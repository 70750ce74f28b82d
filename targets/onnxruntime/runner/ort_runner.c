/* ort_runner.c - run the graph of a bundle in a real onnxruntime, and print what came out.
 *
 *     ort_runner ONNXRUNTIME OPS GRAPH FOLDER --prompt 1,2,3 --generate N --chunk N --threads N
 *                --outputs 4,0,1
 *     ort_runner ONNXRUNTIME OPS GRAPH FOLDER --network FILE --samples N --chunk N --threads N
 *                --outputs -1,0,1 --results N
 *
 * ONNXRUNTIME is libonnxruntime.so of a wheel; OPS the library of custom ops, `-` for none; GRAPH
 * an ONNX file whose weights lie in FOLDER, and beside it for an old onnxruntime.  --outputs says
 * which op output of the plan each output of the graph is, -1 for none.  The second form runs a
 * network: FILE holds the inputs of call after call, and the first outputs, --results of them, are
 * printed whole.  What is printed is what runner.c prints, so that one reader serves both.
 */
#define _POSIX_C_SOURCE 200809L

#include "../ort_abi.h"

#include "bitexport.h"
#include "sha256.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRINTED_BYTES = 16,
    MOST_OPERANDS = 8192,
    MOST_RANK = 8,
    READS_FOLDER = 22, /* the first 1.x that finds the weights of a graph in memory */
    ALL_OPTIMISATIONS = 99,
    ERRORS = 3
};

static const bitx_ort_api *api;
static long minor_version;

/* ---- Ending ------------------------------------------------------------------------------- */

/* In one line, whatever the reason has. */
static _Noreturn void stop(const char *what, const char *why)
{
    printf("status 1 %s: ", what);
    for (; *why; why++)
        putchar(*why == '\n' ? ' ' : *why);
    printf("\n");
    exit(1);
}

static void need(bitx_ort_status *status, const char *what)
{
    if (status) stop(what, api->error_message(status));
}

static void *allocate(size_t bytes)
{
    void *made = calloc(1, bytes + !bytes);
    if (!made) stop("memory", "there is none left");
    return made;
}

/* ---- Arguments ---------------------------------------------------------------------------- */

typedef struct numbers {
    int64_t *at;
    size_t count;
} numbers;

static numbers read_numbers(const char *text)
{
    numbers read = {allocate((strlen(text) + 1) * sizeof *read.at), 0};
    for (char *end; *text; text = *end == ',' ? end + 1 : end) {
        read.at[read.count++] = strtoll(text, &end, 10);
        if (end == text || (*end && *end != ',')) stop("arguments", text);
    }
    return read;
}

/* The last value given for an option, or the default. */
static const char *option(int count, char **words, const char *name, const char *otherwise)
{
    for (int i = 5; i + 1 < count; i += 2)
        if (strcmp(words[i], name) == 0) otherwise = words[i + 1];
    return otherwise;
}

/* ---- The graph ---------------------------------------------------------------------------- */

typedef struct operand {
    char *name;
    bitx_ort_value *value;
    size_t source; /* of an input that is a cache: the output that continues it */
} operand;

typedef struct graph {
    bitx_ort_session *session;
    bitx_ort_memory *memory;
    size_t inputs, outputs;
    operand in[MOST_OPERANDS], out[MOST_OPERANDS];
    numbers op_outputs;
} graph;

typedef struct tensor {
    uint8_t *data;
    int64_t dims[MOST_RANK];
    size_t rank, element_bytes;
} tensor;

static size_t bytes_of(bitx_ort_dtype dtype)
{
    switch (dtype) {
    case BITX_ORT_U8:
    case BITX_ORT_S8:   return 1;
    case BITX_ORT_F16:
    case BITX_ORT_BF16: return 2;
    case BITX_ORT_S64:  return 8;
    default:            return 4;
    }
}

static bitx_ort_dtype read_shape(tensor *read, const bitx_ort_shape *shape)
{
    bitx_ort_dtype dtype = BITX_ORT_ANY;
    need(api->element_type(shape, &dtype), "dtype");
    need(api->rank(shape, &read->rank), "rank");
    if (read->rank > MOST_RANK) stop("shape", "too many dimensions");
    need(api->dimensions(shape, read->dims, read->rank), "dimensions");
    read->element_bytes = bytes_of(dtype);
    return dtype;
}

static tensor read_value(bitx_ort_value *value)
{
    tensor read = {0};
    bitx_ort_shape *shape = NULL;
    void *data = NULL;
    need(api->shape_of_value(value, &shape), "shape");
    (void)read_shape(&read, shape);
    api->release_shape(shape);
    need(api->tensor_data(value, &data), "data");
    read.data = data;
    return read;
}

static void give(graph *g, size_t input, void *data, const int64_t *dims, size_t rank,
                 bitx_ort_dtype dtype)
{
    size_t bytes = bytes_of(dtype);
    for (size_t i = 0; i < rank; i++)
        bytes *= (size_t)dims[i];
    if (g->in[input].value) api->release_value(g->in[input].value);
    need(api->create_tensor(g->memory, data, bytes, dims, rank, dtype, &g->in[input].value),
         g->in[input].name);
}

/* Finds what continues a cache, and begins it without positions. */
static void begin_cache(graph *g, size_t input)
{
    static uint8_t nothing[64];
    static const char prefix[] = "past_key_values.";
    bitx_ort_type *type = NULL;
    const bitx_ort_shape *shape = NULL;
    tensor empty = {0};
    char present[256];

    if (strncmp(g->in[input].name, prefix, sizeof prefix - 1) != 0) return;
    (void)snprintf(present, sizeof present, "present.%s", g->in[input].name + sizeof prefix - 1);
    for (size_t o = 0; o < g->outputs; o++)
        if (strcmp(g->out[o].name, present) == 0) g->in[input].source = o;
    if (g->in[input].source == SIZE_MAX) stop(g->in[input].name, "nothing continues it");
    need(api->input_type(g->session, input, &type), "type");
    need(api->shape_of_type(type, &shape), "type");
    const bitx_ort_dtype dtype = read_shape(&empty, shape);
    const int64_t dims[] = {1, empty.dims[1], 0, empty.dims[3]};
    api->release_type(type);
    give(g, input, nothing, dims, 4, dtype);
}

static void name_operands(graph *g)
{
    bitx_ort_allocator *allocator = NULL;
    need(api->default_allocator(&allocator), "allocator");
    need(api->input_count(g->session, &g->inputs), "inputs");
    need(api->output_count(g->session, &g->outputs), "outputs");
    if (g->inputs > MOST_OPERANDS || g->outputs > MOST_OPERANDS) stop("graph", "too large");
    if (g->outputs != g->op_outputs.count) stop("--outputs", "as many as the graph has");
    for (size_t i = 0; i < g->inputs; i++) {
        need(api->input_name(g->session, i, allocator, &g->in[i].name), "input");
        g->in[i].source = SIZE_MAX;
    }
    for (size_t o = 0; o < g->outputs; o++)
        need(api->output_name(g->session, o, allocator, &g->out[o].name), "output");
    for (size_t i = 0; i < g->inputs; i++)
        begin_cache(g, i);
}

static void *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) stop(path, "cannot be read");
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *data = allocate(*bytes);
    if (fread(data, 1, *bytes, file) != *bytes) stop(path, "cannot be read");
    (void)fclose(file);
    return data;
}

/* The instruction set whose kernels a library of custom ops runs. */
static const char *register_ops(bitx_ort_options *options, const char *path)
{
    void *handle = NULL;
    const char *(*isa)(void) = NULL;
    if (strcmp(path, "-") == 0) return "none";
    need(api->register_library(options, path, &handle), "custom ops");
    void *const found = dlsym(handle, "bitx_ort_isa");
    if (!found) stop(path, "is not the library of bitexport");
    memcpy(&isa, &found, sizeof isa);
    return isa();
}

static void open_graph(graph *g, char **words, int threads)
{
    bitx_ort_env *env = NULL;
    bitx_ort_options *options = NULL;

    need(api->create_env(ERRORS, "bitexport", &env), "environment");
    need(api->create_options(&options), "options");
    need(api->set_threads(options, threads), "threads");
    need(api->set_optimization(options, ALL_OPTIMISATIONS), "optimisation");
    need(api->add_option(options, "session.model_external_initializers_file_folder_path", words[4]),
         "folder");
    const char *isa = register_ops(options, words[2]);
    printf("isa available %s\nisa used %s\n", isa, isa);
    if (minor_version < READS_FOLDER) {
        need(api->create_session_of_file(env, words[3], options, &g->session), "session");
    } else {
        size_t bytes = 0;
        void *model = read_file(words[3], &bytes);
        need(api->create_session(env, model, bytes, options, &g->session), "session");
        free(model);
    }
    need(api->create_cpu_memory(1, 0, &g->memory), "memory");
    name_operands(g);
}

/* ---- A call ------------------------------------------------------------------------------- */

static void give_tokens(graph *g, int64_t *tokens, size_t count, size_t position)
{
    const int64_t dims[] = {1, (int64_t)count}, all[] = {1, (int64_t)(position + count)};
    static int64_t *ones, *positions;
    ones = realloc(ones, (position + count) * sizeof *ones);
    positions = realloc(positions, count * sizeof *positions);
    if (!ones || !positions) stop("memory", "there is none left");
    for (size_t i = 0; i < position + count; i++)
        ones[i] = 1;
    for (size_t i = 0; i < count; i++)
        positions[i] = (int64_t)(position + i);
    for (size_t i = 0; i < g->inputs; i++) {
        const char *name = g->in[i].name;
        if (strcmp(name, "input_ids") == 0)
            give(g, i, tokens, dims, 2, BITX_ORT_S64);
        else if (strcmp(name, "attention_mask") == 0)
            give(g, i, ones, all, 2, BITX_ORT_S64);
        else if (strcmp(name, "position_ids") == 0)
            give(g, i, positions, dims, 2, BITX_ORT_S64);
        else if (g->in[i].source == SIZE_MAX)
            stop(name, "nobody says what it is");
    }
}

static void run(graph *g)
{
    static const char *in_names[MOST_OPERANDS], *out_names[MOST_OPERANDS];
    static const bitx_ort_value *in[MOST_OPERANDS];
    static bitx_ort_value *out[MOST_OPERANDS];
    for (size_t i = 0; i < g->inputs; i++) {
        in_names[i] = g->in[i].name;
        in[i] = g->in[i].value;
    }
    for (size_t o = 0; o < g->outputs; o++) {
        out_names[o] = g->out[o].name;
        out[o] = NULL;
    }
    need(api->run(g->session, NULL, in_names, in, g->inputs, out_names, g->outputs, out), "run");
    for (size_t o = 0; o < g->outputs; o++)
        g->out[o].value = out[o];
}

/* Hands caches on; releases everything else. */
static void advance(graph *g)
{
    for (size_t i = 0; i < g->inputs; i++) {
        const size_t source = g->in[i].source;
        if (source == SIZE_MAX) continue;
        api->release_value(g->in[i].value);
        g->in[i].value = g->out[source].value;
        g->out[source].value = NULL;
    }
    for (size_t o = 0; o < g->outputs; o++)
        if (g->out[o].value) api->release_value(g->out[o].value);
}

/* ---- What came out ------------------------------------------------------------------------ */

/* A row is in pieces where it is one of a cache: each head has its own. */
static void print_row(const uint8_t *data, size_t bytes, size_t pieces, size_t stride)
{
    bitx_sha256 hash;
    uint8_t digest[BITX_SHA256_BYTES];
    bitx_sha256_begin(&hash);
    for (size_t i = 0; i < pieces; i++)
        bitx_sha256_add(&hash, data + i * stride, bytes);
    bitx_sha256_end(&hash, digest);
    for (size_t i = 0; i < PRINTED_BYTES; i++)
        printf("%02x", digest[i]);
}

static void print_output(const tensor *t, int64_t op_output, size_t position, size_t rows)
{
    const int is_cache = t->rank == 4;
    const size_t bytes = (size_t)t->dims[t->rank - 1] * t->element_bytes;
    const size_t heads = is_cache ? (size_t)t->dims[1] : 1;
    const size_t stride = is_cache ? (size_t)t->dims[2] * bytes : 0;
    if (t->dims[t->rank - 2] != (int64_t)(is_cache ? position + rows : rows))
        stop("output", "has another number of rows");
    printf("op %lld %zu", (long long)op_output, position);
    for (size_t row = 0; row < rows; row++) {
        printf(" ");
        print_row(t->data + (is_cache ? position + row : row) * bytes, bytes, heads, stride);
    }
    printf("\n");
}

/* Of a network: every row of the last dimension, and of what is a result every byte. */
static void print_plain(const operand *out, int64_t op_output, size_t position, int is_result)
{
    const tensor t = read_value(out->value);
    size_t rows = 1;
    for (size_t i = 0; i + 1 < t.rank; i++)
        rows *= (size_t)t.dims[i];
    const size_t bytes = (t.rank ? (size_t)t.dims[t.rank - 1] : 1) * t.element_bytes;
    if (op_output >= 0) {
        printf("op %lld %zu", (long long)op_output, position);
        for (size_t row = 0; row < rows; row++) {
            printf(" ");
            print_row(t.data + row * bytes, bytes, 1, 0);
        }
        printf("\n");
    }
    if (!is_result) return;
    printf("output %s %zu ", out->name, rows);
    for (size_t i = 0; i < rows * bytes; i++)
        printf("%02x", t.data[i]);
    printf("\n");
}

/* Prints every output of the call; returns the token with the largest logit of the last row. */
static int64_t print_call(const graph *g, size_t position, size_t rows, int is_answer)
{
    int64_t token = -1;
    for (size_t o = 0; o < g->outputs; o++) {
        const tensor t = read_value(g->out[o].value);
        print_output(&t, g->op_outputs.at[o], position, rows);
        if (strcmp(g->out[o].name, "logits") != 0 || !is_answer) continue;
        const size_t bytes = (size_t)t.dims[2] * sizeof(float);
        const uint8_t *last = t.data + (rows - 1) * bytes;
        printf("logits %zu ", position + rows - 1);
        print_row(last, bytes, 1, 0);
        token = bitx_greedy((const float *)(const void *)last, (size_t)t.dims[2]);
        printf("\ntoken %lld\n", (long long)token);
    }
    return token;
}

/* The prompt in chunks, then single tokens. */
static void generate(graph *g, numbers prompt, size_t chunk, size_t count)
{
    size_t position = 0;
    int64_t token = -1;
    for (size_t rows; position < prompt.count; position += rows) {
        const size_t left = prompt.count - position;
        rows = left < chunk ? left : chunk;
        give_tokens(g, prompt.at + position, rows, position);
        run(g);
        token = print_call(g, position, rows, rows == left);
        advance(g);
    }
    for (size_t made = 1; made < count; made++, position++) {
        give_tokens(g, &token, 1, position);
        run(g);
        token = print_call(g, position, 1, 1);
        advance(g);
    }
}

/* Gives an input of a network so many samples out of the file; returns the bytes that it takes. */
static size_t give_samples(graph *g, size_t input, uint8_t *data, size_t left, size_t samples)
{
    bitx_ort_type *type = NULL;
    const bitx_ort_shape *shape = NULL;
    tensor asked = {0};
    need(api->input_type(g->session, input, &type), "type");
    need(api->shape_of_type(type, &shape), "type");
    const bitx_ort_dtype dtype = read_shape(&asked, shape);
    api->release_type(type);
    size_t bytes = asked.element_bytes;
    for (size_t i = 0; i < asked.rank; i++) {
        if (asked.dims[i] < 0) asked.dims[i] = (int64_t)samples;
        bytes *= (size_t)asked.dims[i];
    }
    if (bytes > left) stop("--network", "the file is too short");
    give(g, input, data, asked.dims, asked.rank, dtype);
    return bytes;
}

static void run_network(graph *g, const char *path, size_t samples, size_t chunk, size_t results)
{
    size_t bytes = 0, at = 0;
    uint8_t *const data = read_file(path, &bytes);
    for (size_t done = 0, now; done < samples; done += now) {
        now = samples - done < chunk ? samples - done : chunk;
        for (size_t i = 0; i < g->inputs; i++)
            at += give_samples(g, i, data + at, bytes - at, now);
        run(g);
        for (size_t o = 0; o < g->outputs; o++)
            print_plain(&g->out[o], g->op_outputs.at[o], done, o < results);
        advance(g);
    }
    if (at != bytes) stop("--network", "the file is too long");
}

static void find_api(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const bitx_ort_base *(*get)(void) = NULL;
    if (!library) stop("onnxruntime", dlerror());
    void *const found = dlsym(library, "OrtGetApiBase");
    if (!found) stop(path, "is not onnxruntime");
    memcpy(&get, &found, sizeof get);
    const bitx_ort_base *base = get();
    api = base->api(BITX_ORT_API_VERSION);
    if (!api) stop("onnxruntime", "is older than 1.17");
    const char *const version = base->version(), *const dot = strchr(version, '.');
    minor_version = dot ? strtol(dot + 1, NULL, 10) : 0;
    printf("onnxruntime %s\n", version);
}

int main(int count, char **words)
{
    static graph g;
    printf("runner 1\n");
    if (count < 5) stop("arguments", "ONNXRUNTIME OPS GRAPH FOLDER");
    find_api(words[1]);
    g.op_outputs = read_numbers(option(count, words, "--outputs", ""));
    const numbers prompt = read_numbers(option(count, words, "--prompt", "1"));
    const numbers chunk = read_numbers(option(count, words, "--chunk", "16"));
    const numbers made = read_numbers(option(count, words, "--generate", "1"));
    const numbers threads = read_numbers(option(count, words, "--threads", "1"));
    const numbers samples = read_numbers(option(count, words, "--samples", "1"));
    const numbers results = read_numbers(option(count, words, "--results", "0"));
    const char *network = option(count, words, "--network", NULL);
    if (chunk.at[0] < 1) stop("--chunk", "at least 1");
    open_graph(&g, words, (int)threads.at[0]);
    if (network)
        run_network(&g, network, (size_t)samples.at[0], (size_t)chunk.at[0], (size_t)results.at[0]);
    else
        generate(&g, prompt, (size_t)chunk.at[0], (size_t)made.at[0]);
    printf("end\n");
    return 0;
}
