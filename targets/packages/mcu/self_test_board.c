/* self_test_board.c - run the model's own vectors on a board, and measure arena and stack against
 * the plan (memory.cmake).  The machine is that of runner_semihosting.c; on yours, replace this
 * file and keep what runner_run() does.
 */
#include "runner_bare.h"

extern const uint8_t bitx_model_start[], bitx_model_end[];
extern uint32_t runner_stack_top[], runner_bss_end[];

enum { PAINT = 0x5AC3A53C, MARGIN_BYTES = 256 };

static void print(const char *text)
{
    size_t bytes = 0;
    while (text[bytes])
        bytes++;
    runner_write(text, bytes);
}

static void print_number(const char *before, size_t number, const char *after)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(number % 10));
        number /= 10;
    } while (number != 0);
    print(before);
    print(digits + at);
    print(after);
}

/* The lowest word of the stack that is looked at: three times what is planned. */
static uintptr_t lowest_word(void)
{
    const uintptr_t floor = (uintptr_t)runner_bss_end;
    const uintptr_t wanted = (uintptr_t)runner_stack_top - 3 * BITX_STACK_BYTES;
    return wanted < floor ? floor : wanted;
}

/* Not inlined: all that is in use lies above its frame. */
__attribute__((noinline)) static void paint_stack(void)
{
    const volatile uint32_t here = 0;
    const uintptr_t end = (uintptr_t)&here - MARGIN_BYTES;
    for (uintptr_t at = lowest_word(); at < end; at += sizeof(uint32_t))
        *(volatile uint32_t *)at = PAINT;
}

static size_t stack_used(void)
{
    uintptr_t at = lowest_word();
    while (*(const volatile uint32_t *)at == PAINT)
        at += sizeof(uint32_t);
    return (uintptr_t)runner_stack_top - at;
}

static bitx_status test(size_t *arena_bytes, bitx_self_test_result *result)
{
    const size_t model_bytes = (size_t)(bitx_model_end - bitx_model_start);
    bitx_config config = bitx_config_default();
    bitx_session *session = NULL;
    bitx_model model;
    bitx_status status = bitx_model_open(&model, bitx_model_start, model_bytes);

    config.chunk_rows = BITX_CHUNK_ROWS;
    if (status == BITX_OK) status = bitx_model_check_hashes(&model);
    if (status == BITX_OK) status = bitx_session_size(arena_bytes, &model, &config);
    if (status != BITX_OK) return status;
    void *const arena = runner_allocate(*arena_bytes);
    status = bitx_session_open(&session, &model, &config, arena, arena ? *arena_bytes : 0);
    if (status == BITX_OK) status = bitx_self_test(session, NULL, 0, result);
    return status;
}

int runner_run(int count, char **words)
{
    bitx_self_test_result result = {0, UINT32_MAX};
    size_t arena_bytes = 0;

    (void)count;
    (void)words;
    paint_stack();
    const bitx_status status = test(&arena_bytes, &result);
    const size_t stack_bytes = stack_used();

    print(status == BITX_OK ? "self-test equal" : bitx_status_name(status));
    print_number(", ", result.position, " positions\n");
    print_number("arena ", arena_bytes, "");
    print_number(" of ", BITX_ARENA_BYTES, " bytes planned\n");
    print_number("stack ", stack_bytes, "");
    print_number(" of ", BITX_STACK_BYTES, " bytes planned\n");
    if (status != BITX_OK) return 1;
    return arena_bytes <= BITX_ARENA_BYTES && stack_bytes <= BITX_STACK_BYTES ? 0 : 2;
}
