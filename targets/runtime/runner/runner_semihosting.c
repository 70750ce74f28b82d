/* runner_semihosting.c - the runner on a bare Arm core that a debugger or QEMU serves.
 *
 * The debugger writes to its standard output, hands over the command line and ends the run: "Arm
 * semihosting", version 2.
 */
#include "runner_bare.h"

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_FLEN = 0x0C,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20
};
enum { OPEN_READ = 1, OPEN_WRITE = 4, OPEN_WRITE_BYTES = 5, APPLICATION_EXIT = 0x20026 };

static uintptr_t ask_debugger(uintptr_t operation, const uintptr_t *block)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const uintptr_t *r1 __asm__("r1") = block;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* Keeps the compiler from seeing a strlen or memcpy in the loop that is one. */
#define ONE_BY_ONE __asm__ volatile("" ::: "memory")

/* A file of the debugger's machine; all bits set when it cannot be opened. */
static uintptr_t open_file(const char *path, uintptr_t mode)
{
    uintptr_t length = 0;
    while (path[length]) {
        length++;
        ONE_BY_ONE;
    }
    return ask_debugger(SYS_OPEN, (const uintptr_t[]){(uintptr_t)path, mode, length});
}

void runner_write(const char *text, size_t bytes)
{
    static uintptr_t console;

    if (console == 0) console = open_file(":tt", OPEN_WRITE);
    ask_debugger(SYS_WRITE, (const uintptr_t[]){console, (uintptr_t)text, bytes});
}

void runner_exit(int code)
{
    for (;;)
        ask_debugger(SYS_EXIT_EXTENDED, (const uintptr_t[]){APPLICATION_EXIT, (uintptr_t)code});
}

const void *runner_read(const char *path, size_t *bytes)
{
    const uintptr_t file = open_file(path, OPEN_READ);

    *bytes = 0;
    if (file == UINTPTR_MAX) return NULL;
    const uintptr_t length = ask_debugger(SYS_FLEN, &file);
    void *const block = length == UINTPTR_MAX ? NULL : runner_allocate(length);
    const uintptr_t wanted[] = {file, (uintptr_t)block, length};
    const int read = block && ask_debugger(SYS_READ, wanted) == 0;
    ask_debugger(SYS_CLOSE, &file);
    if (!read) return NULL;
    *bytes = length;
    return block;
}

int runner_save(const char *path, const void *bytes, size_t count)
{
    const uintptr_t file = open_file(path, OPEN_WRITE_BYTES);

    if (file == UINTPTR_MAX) return 0;
    const uintptr_t wanted[] = {file, (uintptr_t)bytes, count};
    const int written = ask_debugger(SYS_WRITE, wanted) == 0;
    return ask_debugger(SYS_CLOSE, &file) == 0 && written;
}

/* The program's name may be two words: QEMU's and the caller's. */
void runner_main(void)
{
    static char line[16384];
    static char *words[RUNNER_MOST_WORDS];

    if (ask_debugger(SYS_GET_CMDLINE, (const uintptr_t[]){(uintptr_t)line, sizeof line}) != 0)
        line[0] = '\0';
    runner_exit(runner_run(runner_cut(line, words), words));
}
