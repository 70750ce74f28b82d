/* runner_serial.c - the runner on a bare core at the end of a serial line: runner.c and talk.c in
 * one program that stays on the board.
 *
 * The line is spoken as MLPerf Tiny's EnergyRunner speaks it (mlcommons/tiny, benchmark/api).  A
 * command has at most 80 characters and ends with %; line ends around it mean nothing.  The answer
 * is lines that begin with m-, or e- where something is refused, and the last is m-ready.
 *
 *     name%           m-name-dut-[bitexport]
 *     profile%        m-profile-[bitexport 1] and m-model-[SHA-256 of the model, in hex]
 *     db load N%      m-[Expecting N bytes]
 *     db HEX%         some of the bytes; after the last of them m-load-done
 *     infer N W%      reads the bytes as a line that ends with NUL, `runner` or `talk` and its
 *                     words, and a file behind it, if one is read; runs it W times unheard, then
 *                     N times.  Default: once.
 *
 * and infer answers, before m-ready:
 *
 *     m-input-[D]     the first 8 bytes of the SHA-256 of the bytes
 *     m-warmup-start-W
 *     m-warmup-done
 *     m-infer-start-N
 *     m-[L]           each line L that the program printed
 *     m-infer-done
 *     m-results-[S,D] the exit status, and the digest of all L, each with its newline; `results%`
 *                     says it again
 *
 * There is no clock: `timestamp%` is refused.  A fault ends the run with status 3 and resets the
 * board.
 */
#include "runner_bare.h"

#include "runner_uart.h"
#include "sha256.h"

enum { MOST_CHARACTERS = 80, SHORT_DIGEST = 8 };

static struct {
    uint8_t *bytes;
    size_t count, loaded;
} input;

static struct {
    bitx_sha256 hash;
    int muted, inside; /* a line */
    int status;
    uint8_t digest[BITX_SHA256_BYTES];
} output;

/* ---- Lines ---------------------------------------------------------------------------------- */

static void put(const char *text)
{
    for (; *text; text++)
        runner_uart_put(*text);
}

static void put_number(size_t number)
{
    char digits[24];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(number % 10));
        number /= 10;
    } while (number != 0);
    put(digits + at);
}

static void put_line(const char *before, size_t number, const char *after)
{
    put(before);
    put_number(number);
    put(after);
    put("\r\n");
}

static void put_hex(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        runner_uart_put("0123456789abcdef"[bytes[i] >> 4]);
        runner_uart_put("0123456789abcdef"[bytes[i] & 15]);
    }
}

static void put_digest(const char *before, const void *data, size_t count, size_t shown)
{
    uint8_t digest[BITX_SHA256_BYTES];
    bitx_sha256 hash;

    bitx_sha256_begin(&hash);
    bitx_sha256_add(&hash, data, count);
    bitx_sha256_end(&hash, digest);
    put(before);
    put_hex(digest, shown);
    put("]\r\n");
}

/* ---- What a program prints ------------------------------------------------------------------ */

void runner_write(const char *text, size_t bytes)
{
    if (output.muted) return;
    bitx_sha256_add(&output.hash, text, bytes);
    for (size_t i = 0; i < bytes; i++) {
        if (!output.inside) put("m-[");
        output.inside = text[i] != '\n';
        if (output.inside)
            runner_uart_put(text[i]);
        else
            put("]\r\n");
    }
}

static void put_results(void)
{
    put("m-results-[");
    put_number((size_t)output.status);
    put(",");
    put_hex(output.digest, SHORT_DIGEST);
    put("]\r\n");
}

static void end_output(int status)
{
    output.muted = 0;
    if (output.inside) runner_write("\n", 1);
    bitx_sha256_end(&output.hash, output.digest);
    output.status = status;
    put("m-infer-done\r\n");
    put_results();
}

void runner_exit(int code)
{
    volatile uint32_t *const aircr = (volatile uint32_t *)0xE000ED0Cu;

    end_output(code);
    for (;;)
        *aircr = 0x05FA0004u; /* a system reset */
}

const void *runner_read(const char *path, size_t *bytes)
{
    size_t line = 0;

    (void)path;
    while (line < input.count && input.bytes[line])
        line++;
    *bytes = input.count - line - 1;
    return input.bytes + line + 1;
}

int runner_save(const char *path, const void *bytes, size_t count)
{
    (void)path;
    (void)bytes;
    (void)count;
    return 0;
}

/* ---- Commands ------------------------------------------------------------------------------- */

/* Moves *at behind a word and the spaces after it, if it is that word. */
static int take(const char **at, const char *word)
{
    const char *rest = *at;

    while (*word && *rest == *word)
        rest++, word++;
    if (*word || (*rest && *rest != ' ')) return 0;
    while (*rest == ' ')
        rest++;
    *at = rest;
    return 1;
}

static int take_number(const char **at, uint32_t *number)
{
    uint32_t sum = 0;
    const char *rest = *at;

    if (*rest < '0' || *rest > '9') return 0;
    for (; *rest >= '0' && *rest <= '9'; rest++) {
        if (sum > UINT32_MAX / 10 - 1) return 0;
        sum = 10 * sum + (uint32_t)(*rest - '0');
    }
    if (*rest && *rest != ' ') return 0;
    while (*rest == ' ')
        rest++;
    *at = rest;
    *number = sum;
    return 1;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void begin_load(const char *at)
{
    uint32_t count = 0;

    input.count = input.loaded = 0;
    if (!take_number(&at, &count) || *at || count == 0) {
        put("e-[db load takes a number of bytes]\r\n");
        return;
    }
    runner_forget(0);
    input.bytes = runner_allocate(count);
    if (!input.bytes) {
        put_line("e-[there is no memory for ", count, " bytes]");
        return;
    }
    input.count = count;
    put_line("m-[Expecting ", count, " bytes]");
}

static void load(const char *at)
{
    for (; *at && *at != ' '; at += 2) {
        const int high = digit_of(at[0]), low = high < 0 ? -1 : digit_of(at[1]);
        if (low < 0) {
            put("e-[db takes pairs of hex digits]\r\n");
            return;
        }
        if (input.loaded == input.count) {
            put("e-[these are more bytes than db load said]\r\n");
            return;
        }
        input.bytes[input.loaded++] = (uint8_t)(high << 4 | low);
    }
    if (input.loaded == input.count) put("m-load-done\r\n");
}

static int run_once(void)
{
    static char *words[RUNNER_MOST_WORDS];
    size_t line = 0;

    while (input.bytes[line])
        line++;
    runner_forget(input.count);
    char *const copy = runner_allocate(line + 1);
    if (!copy) return 2;
    for (size_t i = 0; i <= line; i++)
        copy[i] = (char)input.bytes[i];
    const char *rest = copy;
    const int talks = take(&rest, "talk");
    const int count = runner_cut(copy, words);
    return talks ? runner_talk(count, words) : runner_run(count, words);
}

static void infer(const char *at)
{
    uint32_t runs = 1, warmups = 0;
    int status = 0, ended = 0;

    for (size_t i = 0; i < input.count; i++)
        ended |= input.bytes[i] == '\0';
    if (*at &&
        !(take_number(&at, &runs) && runs > 0 && (!*at || (take_number(&at, &warmups) && !*at)))) {
        put("e-[infer takes how often, and how often before that]\r\n");
        return;
    }
    if (input.count == 0 || input.loaded < input.count || !ended) {
        put("e-[nothing is loaded that could run]\r\n");
        return;
    }
    put_digest("m-input-[", input.bytes, input.count, SHORT_DIGEST);
    put_line("m-warmup-start-", warmups, "");
    output.muted = 1;
    bitx_sha256_begin(&output.hash);
    while (warmups-- > 0)
        (void)run_once();
    put("m-warmup-done\r\n");
    put_line("m-infer-start-", runs, "");
    output.muted = 0;
    while (runs-- > 0)
        status = run_once();
    end_output(status);
}

static void put_profile(void)
{
    size_t bytes;
    const void *const model = runner_blob(NULL, &bytes);

    put("m-profile-[bitexport 1]\r\n");
    put_digest("m-model-[", model, bytes, BITX_SHA256_BYTES);
}

static void obey(const char *at)
{
    if (take(&at, "name"))
        put("m-name-dut-[bitexport]\r\n");
    else if (take(&at, "profile"))
        put_profile();
    else if (take(&at, "infer"))
        infer(at);
    else if (take(&at, "results"))
        put_results();
    else if (take(&at, "timestamp"))
        put("e-[there is no clock]\r\n");
    else if (!take(&at, "db")) {
        put("e-[Unknown command: ");
        put(at);
        put("]\r\n");
    } else if (take(&at, "load"))
        begin_load(at);
    else
        load(at);
}

void runner_main(void)
{
    static char command[MOST_CHARACTERS + 1];
    size_t count = 0;

    bitx_sha256_begin(&output.hash);
    put("m-init-done\r\nm-ready\r\n");
    for (;;) {
        const int byte = runner_uart_get();
        if (byte == '\r' || byte == '\n') continue;
        if (byte != '%') {
            if (count < sizeof command) command[count] = (char)byte;
            count += count < sizeof command;
            continue;
        }
        if (count < sizeof command) {
            command[count] = '\0';
            obey(command);
        } else {
            put_line("e-[a command has at most ", MOST_CHARACTERS, " characters]");
        }
        count = 0;
        put("m-ready\r\n");
    }
}
