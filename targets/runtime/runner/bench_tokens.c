/* bench_tokens.c - run single tokens of a model between two marks, for `bitexport bench model`.
 *
 * Linked as the runner is.  The emulator writes its count of instructions at each mark, and where
 * an op or a fusion begins (targets/tools/count_instructions.c); a line here says what lay between
 * two marks: token <position>.  The position is how many tokens the session has consumed before.
 *
 * Options: --model <path>, where the model is not linked in; --context <position>, which increase.
 */
#include "runner_print.h"

enum { AT_ONCE = 64 };

/* The emulator knows it by its name. */
void bench_mark(void);

__attribute__((noinline)) void bench_mark(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Any tokens will do: what they are changes no work. */
static int32_t token_at(uint32_t position, uint32_t vocabulary)
{
    return (int32_t)(position * 7919u % vocabulary);
}

static bitx_status append(bitx_session *session, uint32_t count, uint32_t vocabulary)
{
    bitx_status status = BITX_OK;

    while (status == BITX_OK && count > 0) {
        const uint32_t n = count < AT_ONCE ? count : AT_ONCE;
        const uint32_t position = bitx_session_position(session);
        int32_t tokens[AT_ONCE];
        const float *logits;

        for (uint32_t i = 0; i < n; i++)
            tokens[i] = token_at(position + i, vocabulary);
        status = bitx_prefill(session, tokens, n, &logits);
        count -= n;
    }
    return status;
}

static bitx_status measure(bitx_session *session, uint32_t position, uint32_t vocabulary)
{
    const int32_t token = token_at(position, vocabulary);
    bitx_status status = append(session, position - bitx_session_position(session), vocabulary);
    const float *logits;

    if (status != BITX_OK) return status;
    bench_mark();
    status = bitx_step(session, token, &logits);
    bench_mark();
    if (status != BITX_OK) return status;
    print("token ");
    print_number(position);
    print("\n");
    return BITX_OK;
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static uint32_t number(const char *text)
{
    uint32_t sum = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        sum = 10 * sum + (uint32_t)(*text - '0');
    return sum;
}

/* As many positions as the last measurement takes: what a board has no memory for is not asked. */
static bitx_status open_session(bitx_session **session, const bitx_model *model, uint32_t context)
{
    bitx_config config = bitx_config_default();
    size_t bytes = 0;
    void *arena;

    config.context_tokens = context;
    const bitx_status status = bitx_session_size(&bytes, model, &config);
    if (status != BITX_OK) return status;
    arena = runner_allocate(bytes);
    return arena ? bitx_session_open(session, model, &config, arena, bytes) : BITX_E_ARENA;
}

static void print_isa(uint32_t isa)
{
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *const name = isa & bit ? bitx_isa_name((bitx_isa)bit) : NULL;
        if (!name) continue;
        print("isa ");
        print(name);
        print("\n");
    }
}

int runner_run(int count, char **words)
{
    const char *path = NULL;
    uint32_t last = 0;
    size_t bytes = 0;
    bitx_session *session = NULL;
    bitx_model model = {0};
    bitx_status status = BITX_E_ARGUMENT;

    for (int i = 0; i + 1 < count; i += 2) {
        if (equal(words[i], "--model")) path = words[i + 1];
        if (equal(words[i], "--context")) last = number(words[i + 1]);
    }
    const void *const blob = runner_blob(path, &bytes);
    if (blob) status = bitx_model_open(&model, blob, bytes);
    const uint32_t vocabulary = status == BITX_OK ? bitx_model_facts(&model).vocabulary : 0;
    if (status == BITX_OK) status = open_session(&session, &model, last + 1);
    if (status == BITX_OK) print_isa(bitx_session_isa(session));
    for (int i = 0; status == BITX_OK && i + 1 < count; i += 2)
        if (equal(words[i], "--context"))
            status = measure(session, number(words[i + 1]), vocabulary);
    print(status == BITX_OK ? "end" : bitx_status_name(status));
    print("\n");
    return 0;
}
