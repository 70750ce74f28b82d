/* runner_print.h - lines of text, for small programs beside the runner. */
#ifndef BITX_RUNNER_PRINT_H
#define BITX_RUNNER_PRINT_H

#include "runner.h"

static struct {
    char text[256];
    size_t used;
} line;

/* Writes what it has when a line ends. */
static inline void print(const char *text)
{
    for (; *text; text++) {
        line.text[line.used++] = *text;
        if (*text != '\n' && line.used < sizeof line.text) continue;
        runner_write(line.text, line.used);
        line.used = 0;
    }
}

static inline void print_number(size_t number)
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

#endif /* BITX_RUNNER_PRINT_H */
