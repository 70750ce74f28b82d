/* check_cases.c - do what a file of cases asks of the text functions, print what came of it.
 *
 * The file: {u32 operation, u32 bytes}, then so many bytes, and again from the next multiple of 8.
 * tests/text/cases.py writes it.  Each case is copied into memory of exactly its size, so that a
 * sanitizer sees the first byte read past its end, and every result lies between poisoned bytes.
 * A line per case:
 *
 *     tokenizer STATUS              of R26
 *     encode STATUS COUNT TOKENS    decimal, or, above 64, the SHA-256 of the s32
 *     stream STATUS STOPPED PIECES  hex, one for each token pushed and one of the end; "-": empty
 *     chat STATUS                   of R27
 *     text STATUS BYTES HEX PLAIN   PLAIN: start-end for each range
 */
#include "bitexport_text.h"
#include "check.h"
#include "rules.h"

enum { TOKENIZER = 1, ENCODE = 2, STREAM = 3, CHAT = 4, MESSAGES = 5 };
enum { MOST_PRINTED = 64, MOST_RANGES = 8, MOST_STOPS = 8, MOST_TOKENS = 4096, MOST_MESSAGES = 8 };

typedef struct reader {
    const uint8_t *at;
    size_t left;
} reader;

static uint32_t take_word(reader *r)
{
    uint32_t word = 0;
    if (r->left < sizeof word) return 0;
    bitx_copy(&word, r->at, sizeof word);
    r->at += sizeof word;
    r->left -= sizeof word;
    return word;
}

/* Copies so many bytes, or what is left, to memory of their own. */
static const void *take_bytes(reader *r, size_t *count)
{
    if (*count > r->left) *count = r->left;
    uint8_t *const copy = runner_allocate(*count);
    if (!copy) return NULL;
    bitx_copy(copy, r->at, *count);
    r->at += *count;
    r->left -= *count;
    return copy;
}

static uint32_t take_count(reader *r, uint32_t most)
{
    const uint32_t count = take_word(r);
    return count < most ? count : most;
}

static void print_signed(int number)
{
    if (number < 0) print("-");
    print_number((size_t)(number < 0 ? -number : number));
}

static void print_hex(const char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    if (count == 0) print("-");
    for (size_t i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)bytes[i];
        const char two[] = {digits[byte >> 4], digits[byte & 15], '\0'};
        print(two);
    }
}

static void print_tokens(const int32_t *tokens, size_t count)
{
    bitx_sha256 hash;

    if (count > MOST_PRINTED) {
        print(" ");
        bitx_sha256_begin(&hash);
        bitx_sha256_add(&hash, tokens, count * sizeof *tokens);
        print_digest(&hash);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        print(" ");
        print_signed((int)tokens[i]);
    }
}

static void tokenizer(bitx_model *model, bitx_facts_record *facts, reader *r)
{
    size_t bytes = SIZE_MAX;

    facts->vocabulary = take_word(r);
    model->tokenizer.records = take_bytes(r, &bytes);
    model->tokenizer.bytes = bytes;
    print("tokenizer ");
    print_signed(bitx_check_tokenizer(model));
}

static void encode(const bitx_model *model, reader *r)
{
    const uint32_t flags = take_word(r), plain_count = take_count(r, MOST_RANGES);
    size_t text_bytes = take_word(r), room = 0, work_bytes = 0, count = 0;
    const int32_t given_room = (int32_t)take_word(r);
    bitx_range plain[MOST_RANGES] = {{0, 0}};

    for (uint32_t i = 0; i < plain_count; i++) {
        plain[i].start = take_word(r);
        plain[i].end = take_word(r);
    }
    const char *const bytes_of_text = take_bytes(r, &text_bytes);
    const bitx_text text = {bytes_of_text, text_bytes, plain, plain_count};
    print("encode ");
    bitx_status status = bitx_encode_room(&room, &work_bytes, model, text_bytes);
    if (status != BITX_OK) {
        print_signed(status);
        return;
    }
    if (given_room >= 0 && (size_t)given_room < room) room = (size_t)given_room;
    buffer tokens = make_buffer(room * sizeof(int32_t)), work = make_buffer(work_bytes);
    int32_t *const out = poisoned(&tokens, room * sizeof(int32_t));
    void *const scratch = poisoned(&work, work_bytes);
    const bitx_status less =
        bitx_encode(out, room, &count, model, &text, flags, scratch, work_bytes - 1);
    status = bitx_encode(out, room, &count, model, &text, flags, scratch, work_bytes);
    if (status != BITX_E_ARGUMENT && less != BITX_E_ROOM) print("took-less ");
    if (damage(&tokens) || damage(&work)) print("damage ");
    print_signed(status);
    print(" ");
    print_number(count);
    if (status == BITX_OK || status == BITX_E_ROOM) print_tokens(out, count < room ? count : room);
}

static void stream(const bitx_model *model, reader *r)
{
    const uint32_t flags = take_word(r), stop_count = take_count(r, MOST_STOPS);
    size_t token_bytes = take_count(r, MOST_TOKENS) * sizeof(int32_t);
    bitx_string_view stops[MOST_STOPS] = {{NULL, 0}};
    const char *text = NULL;
    size_t bytes = 0;
    int stopped = 0;

    for (uint32_t i = 0; i < stop_count; i++)
        stops[i].count = take_word(r);
    const int32_t *const tokens = take_bytes(r, &token_bytes);
    const size_t count = token_bytes / sizeof(int32_t);
    for (uint32_t i = 0; i < stop_count; i++)
        stops[i].bytes = take_bytes(r, &stops[i].count);
    const bitx_stream_config config = {.stops = stops,
                                       .stop_count = stop_count,
                                       .show_control = flags & 1,
                                       .continues = flags >> 1 & 1};
    bitx_stream *const s = runner_allocate(sizeof *s);
    print("stream ");
    bitx_status status = bitx_stream_open(s, model, &config);
    print_signed(status);
    for (size_t i = 0; i < count && status == BITX_OK && !stopped; i++) {
        status = bitx_stream_push(s, tokens[i], &text, &bytes, &stopped);
        print(" ");
        if (status == BITX_OK)
            print_hex(text, bytes);
        else
            print_signed(status);
    }
    if (s->model) {
        if (bitx_stream_finish(s, &text, &bytes) != BITX_OK) print(" unfinished");
        print(stopped ? " stopped " : " ended ");
        print_hex(text, bytes);
    }
}

static void chat(bitx_model *model, reader *r)
{
    size_t bytes = SIZE_MAX;

    model->chat.records = take_bytes(r, &bytes);
    model->chat.bytes = bytes;
    print("chat ");
    print_signed(bitx_check_chat(model));
}

static void messages(const bitx_model *model, reader *r)
{
    const uint32_t after = take_word(r), generate = take_word(r);
    const uint32_t count = take_count(r, MOST_MESSAGES);
    bitx_message list[MOST_MESSAGES] = {{BITX_ROLE_USER, NULL, 0}};
    size_t bytes = 0, plain_count = 0;

    for (uint32_t i = 0; i < count; i++) {
        list[i].role = (bitx_role)take_word(r);
        list[i].bytes = take_word(r);
    }
    for (uint32_t i = 0; i < count; i++)
        list[i].content = take_bytes(r, &list[i].bytes);
    print("text ");
    bitx_status status = bitx_chat_text(NULL, 0, &bytes, NULL, 0, &plain_count, model, list, count,
                                        (bitx_role)after, (int)generate);
    if (status == BITX_E_ROOM) {
        buffer text = make_buffer(bytes), plain = make_buffer(plain_count * sizeof(bitx_range));
        char *const to = poisoned(&text, bytes);
        bitx_range *const ranges = poisoned(&plain, plain_count * sizeof(bitx_range));
        if (bytes > 0 &&
            bitx_chat_text(to, bytes - 1, &bytes, ranges, plain_count, &plain_count, model, list,
                           count, (bitx_role)after, (int)generate) != BITX_E_ROOM)
            print("took-less ");
        status = bitx_chat_text(to, bytes, &bytes, ranges, plain_count, &plain_count, model, list,
                                count, (bitx_role)after, (int)generate);
        if (damage(&text) || damage(&plain)) print("damage ");
        print_signed(status);
        print(" ");
        print_number(bytes);
        print(" ");
        print_hex(to, bytes);
        for (size_t i = 0; i < plain_count; i++) {
            print(" ");
            print_number(ranges[i].start);
            print("-");
            print_number(ranges[i].end);
        }
        return;
    }
    print_signed(status);
    print(" ");
    print_number(bytes);
}

int runner_run(int count, char **words)
{
    bitx_facts_record facts = {.kind = BITX_LANGUAGE_MODEL};
    bitx_model model;
    reader all;

    all.at = runner_blob(count > 0 ? words[0] : NULL, &all.left);
    bitx_zero(&model, sizeof model);
    model.facts = (bitx_section){(const uint8_t *)&facts, sizeof facts, 1};
    while (all.left >= 8) {
        const uint32_t operation = take_word(&all), bytes = take_word(&all);
        const size_t padded = (size_t)bitx_round_up(bytes, 8);
        reader r = {all.at, bytes};
        if (padded > all.left) return 1;
        all.at += padded;
        all.left -= padded;
        switch (operation) {
        case TOKENIZER: tokenizer(&model, &facts, &r); break;
        case ENCODE:    encode(&model, &r); break;
        case STREAM:    stream(&model, &r); break;
        case CHAT:      chat(&model, &r); break;
        case MESSAGES:  messages(&model, &r); break;
        default:        return 1;
        }
        print("\n");
    }
    print("end\n");
    return 0;
}
