/* talk.c - text in, text out, on a core: for `bitexport run --core` and `verify --transcript`.
 *
 *     talk <model> [--isa <mask>] [--threads <n>] [--chunk <n>] [--context <n>]
 *          [--ids <1,2,3>] [--text <hex> | <role>:<hex> ...] [--tokens <n>] [--draft <n>]
 *          [--keep <n>] [--stop <hex>]... [--sampler <9 numbers with commas>]
 *          [--resume <file>] [--save <file>]
 *
 * Linked in the place of runner.c.  <hex>: bytes of UTF-8, two digits each; `-` is none.  Roles:
 * system, user, assistant.  Text and messages go on behind --ids, messages as behind an answer;
 * with --keep, tokens before them are dropped until they fit.  --tokens 0 gives no answer: what was
 * given is only saved.  The sampler: temperature, top-p, min-p,
 * repetition, presence and frequency as the bits of floats, then top-k, each empty where the
 * model's own is to stay; and the low and the high word of the seed.  Prints:
 *
 *     restored <tokens>       with --resume
 *     given <1,2,3>           every token before the answer
 *     shown <hex>             and as text
 *     sampler <9 numbers>     as above, all of them
 *     prefill <done> <total>
 *     token <n> <hex>         chosen, and the text that is certain now
 *     ended <why> <n> <hex>   a bitx_end; the token that ended it, or -; the text held back
 *     status <n> <name>       something failed
 *     memory <bytes>          of session and generator
 *     saved <bytes>           with --save
 *     end
 */
#include "runner_print.h"

#include "bitexport_generate.h"
#include "generate/generator.h"
#include "sha256.h"

enum { MOST_MESSAGES = 48, MOST_STOPS = 8 };

typedef struct wish {
    const char *model, *ids, *text, *sampler, *resume, *save;
    const char *content[MOST_MESSAGES];
    bitx_role role[MOST_MESSAGES];
    const char *stop[MOST_STOPS];
    size_t messages, stops;
    uint32_t isa, threads, chunk, context, tokens, draft, keep;
    int shifts;
} wish;

/* ---- Words ---------------------------------------------------------------------------------- */

static int same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

/* Reads a decimal number that ends at a comma or at the end, and moves *text behind both. */
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
    if (*at && *at != ',') return 0;
    *text = *at ? at + 1 : at;
    *number = sum;
    return 1;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes written as hex digits, in memory of their own; null when they are not that. */
static char *read_hex(const char *text, size_t *count)
{
    size_t digits = 0;
    if (same(text, "-")) text = "";
    while (digit_of(text[digits]) >= 0)
        digits++;
    *count = digits / 2;
    char *bytes = runner_allocate(digits / 2);
    if (text[digits] || digits % 2 || !bytes) return NULL;
    for (size_t i = 0; i < *count; i++)
        bytes[i] = (char)(digit_of(text[2 * i]) << 4 | digit_of(text[2 * i + 1]));
    return bytes;
}

static int take_message(wish *w, const char *word)
{
    static const char *const roles[] = {"system:", "user:", "assistant:"};
    for (int role = 0; role < 3; role++) {
        const char *rest = word, *name = roles[role];
        while (*name && *rest == *name)
            rest++, name++;
        if (*name || w->messages == MOST_MESSAGES) continue;
        w->role[w->messages] = (bitx_role)role;
        w->content[w->messages++] = rest;
        return 1;
    }
    return 0;
}

/* Whether the two words mean something. */
static int take_option(wish *w, const char *word, const char *next)
{
    struct {
        const char *name;
        uint32_t *number;
    } const numbers[] = {{"--isa", &w->isa},       {"--threads", &w->threads},
                         {"--chunk", &w->chunk},   {"--context", &w->context},
                         {"--tokens", &w->tokens}, {"--draft", &w->draft},
                         {"--keep", &w->keep}};
    struct {
        const char *name;
        const char **text;
    } const texts[] = {{"--ids", &w->ids},
                       {"--text", &w->text},
                       {"--sampler", &w->sampler},
                       {"--resume", &w->resume},
                       {"--save", &w->save}};

    if (!*next) return 0;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (same(word, numbers[i].name)) {
            w->shifts |= numbers[i].number == &w->keep;
            return read_number(&next, numbers[i].number) && !*next;
        }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (same(word, texts[i].name)) {
            *texts[i].text = next;
            return 1;
        }
    if (!same(word, "--stop") || w->stops == MOST_STOPS) return 0;
    w->stop[w->stops++] = next;
    return 1;
}

static const char *take_words(wish *w, int count, char **words)
{
    for (int i = 0; i < count; i++) {
        if (take_message(w, words[i])) continue;
        if (words[i][0] != '-')
            w->model = words[i];
        else if (i + 1 == count || !take_option(w, words[i], words[i + 1]))
            return words[i];
        else
            i++;
    }
    return NULL;
}

/* ---- Facts ---------------------------------------------------------------------------------- */

static void print_hex(const char *bytes, size_t count)
{
    if (count == 0) print("-");
    for (size_t i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)bytes[i];
        const char pair[3] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15], '\0'};
        print(pair);
    }
}

static void print_pair(const char *name, size_t first, size_t second)
{
    print(name);
    print_number(first);
    print(" ");
    print_number(second);
    print("\n");
}

static void print_event(const bitx_event *event)
{
    if (event->kind == BITX_EVENT_PREFILL) {
        print_pair("prefill ", event->done, event->total);
        return;
    }
    print(event->kind == BITX_EVENT_TEXT ? "token " : "ended ");
    if (event->kind == BITX_EVENT_END) {
        print_number((size_t)event->end);
        print(" ");
    }
    if (event->token < 0)
        print("-");
    else
        print_number((size_t)event->token);
    print(" ");
    print_hex(event->text, event->bytes);
    print("\n");
}

/* ---- From words to tokens ------------------------------------------------------------------- */

typedef struct tokens {
    int32_t *token;
    size_t count;
} tokens;

static bitx_status read_ids(tokens *given, const char *text)
{
    size_t commas = 1;
    for (const char *at = text; *at; at++)
        commas += *at == ',';
    given->token = runner_allocate(commas * sizeof *given->token);
    if (!given->token) return BITX_E_ARENA;
    while (*text) {
        uint32_t number;
        if (!read_number(&text, &number)) return BITX_E_ARGUMENT;
        given->token[given->count++] = (int32_t)number;
    }
    return BITX_OK;
}

static bitx_status encode(tokens *given, const bitx_model *model, const bitx_text *text,
                          uint32_t flags)
{
    size_t room = 0, work_bytes = 0;
    const bitx_status status = bitx_encode_room(&room, &work_bytes, model, text->count);
    if (status != BITX_OK) return status;
    void *work = runner_allocate(work_bytes);
    given->token = runner_allocate(room * sizeof *given->token);
    if (!work || !given->token) return BITX_E_ARENA;
    return bitx_encode(given->token, room, &given->count, model, text, flags, work, work_bytes);
}

static bitx_status encode_chat(tokens *given, const bitx_model *model, const wish *w, int goes_on)
{
    bitx_message said[MOST_MESSAGES];
    bitx_range plain[MOST_MESSAGES];
    bitx_text text = {.plain = plain};
    bitx_chat chat;

    for (size_t i = 0; i < w->messages; i++) {
        said[i].role = w->role[i];
        said[i].content = read_hex(w->content[i], &said[i].bytes);
        if (!said[i].content) return BITX_E_ARGUMENT;
    }
    const bitx_role after = goes_on ? BITX_ROLE_ASSISTANT : BITX_ROLE_START;
    bitx_status status = bitx_chat_of_model(&chat, model);
    if (status != BITX_OK) return status;
    status = bitx_chat_text(NULL, 0, &text.count, plain, MOST_MESSAGES, &text.plain_count, model,
                            said, w->messages, after, 1);
    if (status != BITX_OK && status != BITX_E_ROOM) return status;
    const size_t room = text.count;
    char *bytes = runner_allocate(room);
    if (!bytes) return BITX_E_ARENA;
    text.bytes = bytes;
    status = bitx_chat_text(bytes, room, &text.count, plain, MOST_MESSAGES, &text.plain_count,
                            model, said, w->messages, after, 1);
    if (goes_on) chat.encode_flags |= BITX_ENCODE_BARE;
    return status == BITX_OK ? encode(given, model, &text, chat.encode_flags) : status;
}

/* What comes first, or goes on behind --ids or a session that holds tokens. */
static bitx_status find_tokens(tokens *given, const bitx_model *model, const wish *w, int goes_on)
{
    bitx_text text = {0};
    if (w->messages) return encode_chat(given, model, w, goes_on);
    if (!w->text) return goes_on ? BITX_OK : BITX_E_ARGUMENT;
    text.bytes = read_hex(w->text, &text.count);
    return text.bytes ? encode(given, model, &text, goes_on ? BITX_ENCODE_BARE : 0)
                      : BITX_E_ARGUMENT;
}

/* ---- The answer ----------------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float x;
    bitx_copy(&x, &bits, sizeof x);
    return x;
}

static int read_sampler(bitx_sampler *sampler, const char *text)
{
    uint32_t low = 0, high = 0;
    float *const floats[] = {&sampler->temperature, &sampler->top_p,    &sampler->min_p,
                             &sampler->repetition,  &sampler->presence, &sampler->frequency};
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
        uint32_t bits;
        if (*text == ',')
            text++;
        else if (read_number(&text, &bits))
            *floats[i] = float_of(bits);
        else
            return 0;
    }
    if (*text == ',')
        text++;
    else if (!read_number(&text, &sampler->top_k))
        return 0;
    if (!read_number(&text, &low) || !read_number(&text, &high)) return 0;
    sampler->seed = low | (uint64_t)high << 32;
    return !*text;
}

static bitx_status read_answer(bitx_answer *answer, const bitx_model *model, const wish *w)
{
    static bitx_string_view stops[MOST_STOPS];
    const bitx_status status = bitx_answer_default(answer, model);
    if (status != BITX_OK) return status;
    if (w->sampler && !read_sampler(&answer->sampler, w->sampler)) return BITX_E_ARGUMENT;
    answer->most_tokens = w->tokens;
    answer->draft = w->draft;
    answer->when_full = w->shifts ? BITX_WHEN_FULL_SHIFT : BITX_WHEN_FULL_STOP;
    answer->keep = w->keep;
    answer->stream.continues = w->messages == 0;
    answer->stream.stops = stops;
    for (size_t i = 0; i < w->stops; i++) {
        stops[i].bytes = read_hex(w->stop[i], &stops[i].count);
        if (!stops[i].bytes) return BITX_E_ARGUMENT;
        answer->stream.stop_count++;
    }
    return BITX_OK;
}

static bitx_status give(bitx_generator *generator, const tokens *given)
{
    return given->count ? bitx_generator_give(generator, given->token, given->count) : BITX_OK;
}

/* Gives the tokens so far, and behind them the new ones. */
static bitx_status give_both(bitx_generator *generator, const tokens *before, const tokens *given,
                             const wish *w)
{
    const size_t context = generator->session->context;
    bitx_status status = give(generator, before);
    while (status == BITX_OK && w->shifts && given->count <= context &&
           generator->count > w->keep && generator->count > context - given->count)
        status = bitx_generator_shift(generator, w->keep);
    return status == BITX_OK ? give(generator, given) : status;
}

static bitx_status restore(bitx_generator *generator, const char *file)
{
    size_t count = 0;
    const void *bytes = runner_read(file, &count);
    const bitx_status status =
        bytes ? bitx_generator_restore(generator, bytes, count) : BITX_E_ARGUMENT;
    if (status != BITX_OK) return status;
    print("restored ");
    print_number(generator->count);
    print("\n");
    return BITX_OK;
}

static bitx_status save(const bitx_generator *generator, const char *file)
{
    const size_t count = bitx_generator_save_size(generator);
    void *bytes = runner_allocate(count);
    if (!bytes) return BITX_E_ARENA;
    const bitx_status status = bitx_generator_save(generator, bytes, count);
    if (status != BITX_OK) return status;
    if (!runner_save(file, bytes, count)) return BITX_E_ARGUMENT;
    print("saved ");
    print_number(count);
    print("\n");
    return BITX_OK;
}

static void print_given(const bitx_generator *generator)
{
    uint32_t count;
    const int32_t *token = bitx_generator_tokens(generator, &count);
    print("given ");
    if (count == 0) print("-");
    for (uint32_t i = 0; i < count; i++) {
        if (i) print(",");
        print_number((size_t)token[i]);
    }
    print("\n");
}

/* The same as their stream has them. */
static bitx_status print_shown(const bitx_model *model, const bitx_generator *generator)
{
    static bitx_stream stream;
    uint32_t count;
    const int32_t *token = bitx_generator_tokens(generator, &count);
    const char *text;
    size_t bytes, some = 0;
    int stopped;

    if (!model->tokenizer.records) return BITX_OK;
    bitx_status status = bitx_stream_open(&stream, model, NULL);
    print("shown ");
    for (uint32_t i = 0; status == BITX_OK && i < count; i++) {
        status = bitx_stream_push(&stream, token[i], &text, &bytes, &stopped);
        if (status == BITX_OK && bytes) print_hex(text, bytes);
        some += bytes;
    }
    if (status == BITX_OK) status = bitx_stream_finish(&stream, &text, &bytes);
    if (status == BITX_OK && (bytes || !some)) print_hex(text, bytes);
    print("\n");
    return status;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    bitx_copy(&bits, &x, sizeof bits);
    return bits;
}

static void print_sampler(const bitx_sampler *s)
{
    const uint32_t numbers[] = {
        bits_of(s->temperature),  bits_of(s->top_p),     bits_of(s->min_p), bits_of(s->repetition),
        bits_of(s->presence),     bits_of(s->frequency), s->top_k,          (uint32_t)s->seed,
        (uint32_t)(s->seed >> 32)};
    print("sampler ");
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (i) print(",");
        print_number(numbers[i]);
    }
    print("\n");
}

static bitx_status open_generator(bitx_generator **generator, const bitx_model *model,
                                  const bitx_config *config)
{
    bitx_session *session;
    size_t arena_bytes = 0, bytes = 0;
    bitx_status status = bitx_session_size(&arena_bytes, model, config);
    if (status == BITX_OK) status = bitx_generator_size(&bytes, model, config->context_tokens);
    if (status != BITX_OK) return status;
    void *arena = runner_allocate(arena_bytes), *memory = runner_allocate(bytes);
    if (!arena || !memory) return BITX_E_ARENA;
    print("memory ");
    print_number(arena_bytes + bytes);
    print("\n");
    status = bitx_session_open(&session, model, config, arena, arena_bytes);
    return status == BITX_OK ? bitx_generator_open(generator, session, memory, bytes) : status;
}

static bitx_status answer_it(bitx_generator *generator, const bitx_model *model, const wish *w)
{
    bitx_answer answer;
    bitx_event event = {.kind = BITX_EVENT_PREFILL};
    bitx_status status = read_answer(&answer, model, w);
    if (status == BITX_OK) print_sampler(&answer.sampler);
    if (status == BITX_OK) status = bitx_generator_start(generator, &answer);
    while (status == BITX_OK && event.kind != BITX_EVENT_END) {
        status = bitx_generator_next(generator, &event);
        if (status == BITX_OK) print_event(&event);
    }
    return status == BITX_OK ? event.status : status;
}

static bitx_status talk(const bitx_model *model, const wish *w)
{
    bitx_config config = bitx_config_default();
    bitx_generator *generator = NULL;
    tokens before = {NULL, 0}, given = {NULL, 0};

    config.isa_mask = w->isa;
    config.context_tokens = w->context;
    if (w->chunk) config.chunk_rows = w->chunk;
    config.kept_rows = w->draft + 1;
    if (config.chunk_rows < config.kept_rows) config.chunk_rows = config.kept_rows;
    if (w->threads > 1) {
        config.parallel_for = runner_threads(w->threads, &config.parallel_context);
        if (!config.parallel_for) return BITX_E_ARGUMENT;
    }
    bitx_status status = w->ids ? read_ids(&before, w->ids) : BITX_OK;
    if (status == BITX_OK) status = open_generator(&generator, model, &config);
    if (status == BITX_OK && w->resume) status = restore(generator, w->resume);
    if (status == BITX_OK) status = find_tokens(&given, model, w, w->ids || generator->count > 0);
    if (status == BITX_OK) status = give_both(generator, &before, &given, w);
    if (status != BITX_OK) return status;
    print_given(generator);
    status = print_shown(model, generator);
    if (status == BITX_OK && w->tokens) status = answer_it(generator, model, w);
    return status == BITX_OK && w->save ? save(generator, w->save) : status;
}

int runner_run(int count, char **words)
{
    wish w = {.isa = UINT32_MAX, .tokens = BITX_ALL};
    bitx_model model = {0};
    size_t bytes = 0;
    const char *odd = take_words(&w, count, words);
    if (odd) {
        print("usage ");
        print(odd);
        print("\n");
        return 2;
    }
    const void *blob = runner_blob(w.model, &bytes);
    bitx_status status = blob ? bitx_model_open(&model, blob, bytes) : BITX_E_ARGUMENT;
    if (status == BITX_OK) status = talk(&model, &w);
    if (status == BITX_OK) {
        print("end\n");
        return 0;
    }
    print("status ");
    print_number((size_t)-(int64_t)status);
    print(" ");
    print(bitx_status_name(status));
    print("\n");
    return 1;
}
