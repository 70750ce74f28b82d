/* runner.c - open a model, run it, print what came out.  `bitexport verify` and `run` judge.
 *
 * Prints facts, one a line.  The exit status is 0 after `end`, 1 after `status ...`, 2 when the
 * arguments make no sense.
 */
#include "runner.h"

#include "bitexport_network.h"
#include "bitexport_text.h"
#include "records.h"
#include "sha256.h"

enum { DIGEST = 16, MOST_TENSORS = 96 };

/* ---- Printing ------------------------------------------------------------------------------ */

static struct {
    char text[4096];
    size_t used;
} out;

static void flush(void)
{
    runner_write(out.text, out.used);
    out.used = 0;
}

static void print(const char *text)
{
    for (; *text; text++) {
        if (out.used == sizeof out.text) flush();
        out.text[out.used++] = *text;
    }
}

static void print_number(size_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(number % 10));
        number /= 10;
    } while (number != 0);
    print(digits + at);
}

static void print_signed(int32_t number)
{
    if (number < 0) print("-");
    print_number(number < 0 ? 0u - (uint32_t)number : (uint32_t)number);
}

static void print_bytes(const void *data, size_t count)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < count; i++) {
        const char pair[3] = {"0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15],
                              '\0'};
        print(pair);
    }
}

static void print_digest(const void *data, size_t bytes)
{
    bitx_sha256 hash;
    uint8_t digest[BITX_SHA256_BYTES];

    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, data, bytes);
    bitx_sha256_end(&hash, digest);
    print_bytes(digest, DIGEST);
}

/* ---- What is asked for --------------------------------------------------------------------- */

typedef struct request {
    const char *model, *prompt, *input;
    uint32_t generate, chunk, threads, isa, context, network;
    uint32_t dump_output, dump_position, dump_logits; /* the last: a position, or UINT32_MAX */
    int trace, dump, self_test, check_hashes, check_text, stop;
} request;

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Reads a decimal number and moves *text behind it. */
static int read_number(const char **text, uint32_t *number)
{
    uint32_t sum = 0;
    const char *at = *text;

    if (*at < '0' || *at > '9') return 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        const uint32_t digit = (uint32_t)(*at - '0');
        if (sum > (UINT32_MAX - digit) / 10) return 0;
        sum = 10 * sum + digit;
    }
    *text = at;
    *number = sum;
    return 1;
}

static int only_number(const char *text, uint32_t *number)
{
    return read_number(&text, number) && *text == '\0';
}

static int two_numbers(const char *text, uint32_t *first, uint32_t *second)
{
    return read_number(&text, first) && *text++ == ',' && only_number(text, second);
}

/* Returns the word that cannot be understood, or null when all can. */
static const char *read_words(request *asked, int count, char **words)
{
    struct {
        const char *name;
        int *flag;
    } const flags[] = {{"--trace", &asked->trace},
                       {"--self-test", &asked->self_test},
                       {"--check-hashes", &asked->check_hashes},
                       {"--check-text", &asked->check_text},
                       {"--stop", &asked->stop}};
    struct {
        const char *name;
        uint32_t *number;
    } const numbers[] = {{"--generate", &asked->generate},      {"--chunk", &asked->chunk},
                         {"--threads", &asked->threads},        {"--isa", &asked->isa},
                         {"--context", &asked->context},        {"--network", &asked->network},
                         {"--dump-logits", &asked->dump_logits}};
    struct {
        const char *name;
        const char **text;
    } const texts[] = {{"--prompt", &asked->prompt}, {"--input", &asked->input}};

    for (int i = 0; i < count; i++) {
        const char *const word = words[i], *const next = i + 1 < count ? words[i + 1] : "";
        int taken = 0;

        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
            if (equal(word, flags[f].name)) *flags[f].flag = taken = 1;
        for (size_t f = 0; f < sizeof numbers / sizeof *numbers; f++)
            if (equal(word, numbers[f].name) && only_number(next, numbers[f].number)) taken = 2;
        for (size_t f = 0; f < sizeof texts / sizeof *texts; f++)
            if (equal(word, texts[f].name) && *next) {
                *texts[f].text = next;
                taken = 2;
            }
        if (equal(word, "--dump")) {
            asked->dump = two_numbers(next, &asked->dump_output, &asked->dump_position);
            taken = 2 * asked->dump;
        }
        if (!taken && word[0] != '-') {
            asked->model = word;
            taken = 1;
        }
        if (!taken) return word;
        i += taken - 1;
    }
    return NULL;
}

/* ---- Tracing ------------------------------------------------------------------------------- */

static void print_event(void *context, const bitx_trace_event *event)
{
    const request *const asked = context;
    const uint8_t *const data = event->data;
    const size_t row_bytes = event->columns * bitx_element_bytes((uint32_t)event->dtype);

    if (asked->trace) {
        print("op ");
        print_number(event->op_output);
        print(" ");
        print_number(event->row_position);
        for (uint32_t row = 0; row < event->rows; row++) {
            print(" ");
            print_digest(data + row * event->stride, row_bytes);
        }
        print("\n");
    }
    if (asked->dump && event->op_output == asked->dump_output &&
        asked->dump_position >= event->row_position &&
        asked->dump_position - event->row_position < event->rows) {
        print("dump ");
        print_number(event->op_output);
        print(" ");
        print_number(asked->dump_position);
        print(" ");
        print_bytes(data + (asked->dump_position - event->row_position) * event->stride, row_bytes);
        print("\n");
    }
}

/* ---- Sessions ------------------------------------------------------------------------------ */

/* Opens a session in memory of its own, exactly as large as it asks.  A traced one starts from
 * bytes that are NaN as a float and -1 as an integer: nothing can lean on zeros. */
static bitx_status open_session(bitx_session **session, size_t *arena_bytes,
                                const bitx_model *model, const bitx_config *config)
{
    void *arena;
    bitx_status status = bitx_session_size(arena_bytes, model, config);

    if (status != BITX_OK) return status;
    arena = runner_allocate(*arena_bytes);
    if (!arena) return BITX_E_ARENA;
    if (config->trace)
        for (size_t i = 0; i < *arena_bytes; i++)
            ((uint8_t *)arena)[i] = 0xFF;
    return bitx_session_open(session, model, config, arena, *arena_bytes);
}

/* Once op by op with every chain; then, unless it is traced, as the session itself runs. */
static bitx_status self_test(bitx_session *session, const bitx_model *model,
                             const bitx_config *config)
{
    bitx_self_test_result result = {0, UINT32_MAX};
    bitx_config by_op = *config;
    bitx_session *unfused = NULL;
    size_t bytes, outputs = 0;
    void *chains;
    bitx_status status;

    by_op.trace = NULL;
    by_op.unfused = by_op.keep_all_rows = 1;
    status = open_session(&unfused, &bytes, model, &by_op);
    if (status != BITX_OK) return status;
    for (uint32_t op = 0; op < model->ops.count; op++)
        outputs += bitx_read_op(model, op).outputs;
    chains = runner_allocate(BITX_SHA256_BYTES * outputs);
    if (!chains) return BITX_E_ARENA;
    if (bitx_model_facts(model).is_language_model) {
        status = bitx_self_test(unfused, chains, BITX_SHA256_BYTES * outputs, &result);
        if (status == BITX_OK && !config->trace) status = bitx_self_test(session, NULL, 0, &result);
    } else {
        status = bitx_network_test(unfused, chains, BITX_SHA256_BYTES * outputs, &result);
        if (status == BITX_OK && !config->trace)
            status = bitx_network_test(session, chains, BITX_SHA256_BYTES * outputs, &result);
    }
    if (status == BITX_OK) print("self-test ok\n");
    if (status == BITX_E_SELF_TEST) {
        print("self-test ");
        print_number(result.position);
        print(" ");
        print_number(result.op_output);
        print("\n");
    }
    return status;
}

static void print_logits(const bitx_session *session, const request *asked, const float *logits,
                         uint32_t vocabulary)
{
    const uint32_t position = bitx_session_position(session) - 1;

    print("logits ");
    print_number(position);
    print(" ");
    print_digest(logits, vocabulary * sizeof *logits);
    print("\n");
    if (position != asked->dump_logits) return;
    print("dump logits ");
    print_number(position);
    print(" ");
    print_bytes(logits, vocabulary * sizeof *logits);
    print("\n");
}

/* ---- A language model ---------------------------------------------------------------------- */

static int is_end(const bitx_facts *facts, int32_t token)
{
    for (uint32_t i = 0; i < facts->eos_count; i++)
        if (facts->eos[i] == (uint32_t)token) return 1;
    return 0;
}

static bitx_status generate(bitx_session *session, const bitx_model *model, const request *asked,
                            const int32_t *prompt, size_t prompt_count)
{
    const bitx_facts facts = bitx_model_facts(model);
    const float *logits = NULL;
    bitx_status status = bitx_prefill(session, prompt, prompt_count, &logits);

    if (status != BITX_OK) return status;
    print_logits(session, asked, logits, facts.vocabulary);
    for (uint32_t made = 0; made < asked->generate; made++) {
        const int32_t token = bitx_greedy(logits, facts.vocabulary);
        print("token ");
        print_number((uint32_t)token);
        print("\n");
        flush();
        if (asked->stop && is_end(&facts, token)) break;
        if (made + 1 == asked->generate) break;
        status = bitx_step(session, token, &logits);
        if (status != BITX_OK) return status;
        print_logits(session, asked, logits, facts.vocabulary);
    }
    return BITX_OK;
}

/* Reads "1,2,3".  Null, when it is something else. */
static const int32_t *read_prompt(const char *text, size_t *count)
{
    int32_t *tokens;
    size_t commas = 0;

    for (const char *at = text; *at; at++)
        commas += *at == ',';
    tokens = runner_allocate((commas + 1) * sizeof *tokens);
    if (!tokens) return NULL;
    for (*count = 0; *count <= commas; ++*count) {
        uint32_t token;
        if (!read_number(&text, &token) || *text != (*count < commas ? ',' : '\0')) return NULL;
        tokens[*count] = (int32_t)token;
        text += *count < commas;
    }
    return tokens;
}

/* ---- A network ----------------------------------------------------------------------------- */

/* Describes the values of one role, in plan order, and finds memory for each.  Returns how many
 * there are, or -1 when they are too many or too large. */
static int place_tensors(bitx_tensor *tensors, size_t *bytes, const bitx_model *model,
                         uint32_t role, uint32_t call_rows)
{
    int count = 0;

    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        const uint32_t rows = value.row_kind == BITX_ROWS_FIXED ? value.rows : call_rows;

        if (value.role != role) continue;
        if (count == MOST_TENSORS) return -1;
        bytes[count] = (size_t)rows * value.columns * bitx_element_bytes(value.dtype);
        tensors[count].name = bitx_string(model, value.name);
        tensors[count].rows = rows;
        tensors[count].data = runner_allocate(bytes[count]);
        if (!tensors[count].data) return -1;
        count++;
    }
    return count;
}

/* Bytes that the inputs of one call take from the file, and how many of them each row adds. */
static size_t bytes_of_call(const bitx_model *model, const bitx_tensor *inputs,
                            const size_t *input_bytes, size_t *of_row)
{
    size_t bytes = 0, input = 0;

    *of_row = 0;
    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role != BITX_INPUT) continue;
        bytes += input_bytes[input];
        if (value.row_kind == BITX_ROWS_CALL) *of_row += input_bytes[input] / inputs[input].rows;
        input++;
    }
    return bytes;
}

/* Places all tensors for so many rows anew, in the memory that they have for more. */
static void use_rows(bitx_tensor *tensors, size_t *bytes, const bitx_model *model, uint32_t role,
                     uint32_t rows)
{
    size_t at = 0;

    for (uint32_t i = 0; i < model->values.count; i++) {
        const bitx_value_record value = bitx_read_value(model, i);
        if (value.role != role) continue;
        if (value.row_kind != BITX_ROWS_FIXED) tensors[at].rows = rows;
        bytes[at] = (size_t)tensors[at].rows * value.columns * bitx_element_bytes(value.dtype);
        at++;
    }
}

static void take_inputs(const bitx_tensor *inputs, const size_t *bytes, int count,
                        const uint8_t *from)
{
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < bytes[i]; at++)
            ((uint8_t *)inputs[i].data)[at] = from[at];
        from += bytes[i];
    }
}

static void print_outputs(const bitx_tensor *outputs, const size_t *bytes, int count)
{
    for (int i = 0; i < count; i++) {
        print("output ");
        print(outputs[i].name);
        print(" ");
        print_number(outputs[i].rows);
        print(" ");
        print_bytes(outputs[i].data, bytes[i]);
        print("\n");
    }
}

/* Runs the file's inputs call by call; the last call may have fewer rows. */
static bitx_status run_network(bitx_session *session, const bitx_model *model, const request *asked)
{
    bitx_tensor inputs[MOST_TENSORS], outputs[MOST_TENSORS];
    size_t input_bytes[MOST_TENSORS], output_bytes[MOST_TENSORS], file_bytes = 0, of_row;
    const int input_count = place_tensors(inputs, input_bytes, model, BITX_INPUT, asked->network);
    const int output_count =
        place_tensors(outputs, output_bytes, model, BITX_OUTPUT, asked->network);
    const uint8_t *const file = asked->input ? runner_read(asked->input, &file_bytes) : NULL;
    uint32_t rows = asked->network, before = 0;

    if (input_count < 0 || output_count < 0) return BITX_E_ARENA;
    if (!file) return BITX_E_ARGUMENT;
    for (size_t used = 0; used < file_bytes; before += rows) {
        size_t bytes = bytes_of_call(model, inputs, input_bytes, &of_row);
        const size_t left = file_bytes - used;
        if (left < bytes) {
            const size_t lacking = of_row ? (bytes - left) / of_row : rows;
            if (lacking >= rows) return BITX_E_ARGUMENT;
            rows -= (uint32_t)lacking;
            use_rows(inputs, input_bytes, model, BITX_INPUT, rows);
            use_rows(outputs, output_bytes, model, BITX_OUTPUT, rows);
            bytes = bytes_of_call(model, inputs, input_bytes, &of_row);
            if (left != bytes) return BITX_E_ARGUMENT;
        }
        take_inputs(inputs, input_bytes, input_count, file + used);
        print("call ");
        print_number(before);
        print("\n");
        const bitx_status status =
            bitx_run(session, rows, inputs, (size_t)input_count, outputs, (size_t)output_count);
        if (status != BITX_OK) return status;
        print_outputs(outputs, output_bytes, output_count);
        flush();
        used += bytes;
    }
    return BITX_OK;
}

/* ---- Everything ---------------------------------------------------------------------------- */

static void print_isas(const char *title, uint32_t isas)
{
    print("isa ");
    print(title);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *const name = isas & bit ? bitx_isa_name((bitx_isa)bit) : NULL;
        if (!name) continue;
        print(" ");
        print(name);
    }
    print("\n");
}

static bitx_status run(bitx_model *model, const void *blob, size_t blob_bytes, const request *asked)
{
    bitx_config config = bitx_config_default();
    bitx_session *session = NULL;
    const int32_t *prompt = NULL;
    size_t arena_bytes = 0, prompt_count = 0;
    bitx_status status = bitx_model_open(model, blob, blob_bytes);

    if (status == BITX_OK && asked->check_hashes) status = bitx_model_check_hashes(model);
    if (status == BITX_OK && asked->check_text) status = bitx_model_check_text(model);
    if (status != BITX_OK) return status;

    if (asked->chunk) config.chunk_rows = asked->chunk;
    if (asked->context) config.context_tokens = asked->context;
    if (asked->network) config.chunk_rows = asked->network;
    config.keep_all_rows = asked->network != 0;
    config.isa_mask = asked->isa;
    if (asked->threads > 1) {
        config.parallel_for = runner_threads(asked->threads, &config.parallel_context);
        if (!config.parallel_for) return BITX_E_ARGUMENT;
    }
    if (asked->trace || asked->dump) {
        config.trace = print_event;
        config.trace_context = (void *)(uintptr_t)asked;
    }
    if (asked->prompt) {
        prompt = read_prompt(asked->prompt, &prompt_count);
        if (!prompt) return BITX_E_ARGUMENT;
    }

    status = open_session(&session, &arena_bytes, model, &config);
    if (status != BITX_OK) return status;
    print_isas("used", bitx_session_isa(session));
    print("arena ");
    print_number(arena_bytes);
    print("\n");
    flush();
    if (asked->self_test) status = self_test(session, model, &config);
    if (status == BITX_OK && prompt) status = generate(session, model, asked, prompt, prompt_count);
    if (status == BITX_OK && asked->network) status = run_network(session, model, asked);
    return status;
}

static void print_status(bitx_status status, const char *name, const bitx_model *model)
{
    print("status ");
    print_signed((int32_t)status);
    print(" ");
    print(name);
    print(" rule ");
    print_number(model->rule);
    print(" record ");
    print_number(model->record);
    print("\n");
}

int runner_run(int count, char **words)
{
    request asked = {.isa = UINT32_MAX, .threads = 1, .dump_logits = UINT32_MAX};
    bitx_model model = {0};
    const char *const odd = read_words(&asked, count, words);
    bitx_status status = BITX_E_ARGUMENT;
    const void *blob;
    size_t blob_bytes = 0;

    print("runner 1\n");
    if (odd) {
        print("usage ");
        print(odd);
        print("\n");
        flush();
        return 2;
    }
    print_isas("available", bitx_isa_available());
    blob = runner_blob(asked.model, &blob_bytes);
    if (blob) status = run(&model, blob, blob_bytes, &asked);
    if (status == BITX_OK) {
        print("end\n");
    } else {
        print_status(status, blob ? bitx_status_name(status) : "cannot read the file", &model);
    }
    flush();
    return status == BITX_OK ? 0 : 1;
}
