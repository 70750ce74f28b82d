/* count_instructions.c - a QEMU plugin: how many instructions the guest had run at each mark.
 *
 * A mark is a call of a function that is given as mark=NAME, or as mark=PREFIX* with all others
 * that begin so.  For each, QEMU's log (-d plugin, which also makes it look up names; -D FILE) gets
 * a line with the count so far and the function's name.  The guest has one processor and one
 * thread.
 *
 * Built on demand by `bitexport bench`.  No package ships a header for plugins, so what is used of
 * QEMU's interface, version 1, is declared here.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

typedef uint64_t plugin_id;
typedef struct qemu_plugin_tb block; /* guest code that is translated at once */
typedef struct qemu_plugin_insn instruction;

enum { ADD_U64 = 0, NO_REGISTERS = 0, MOST_MARKS = 8 };

size_t qemu_plugin_tb_n_insns(const block *code);
instruction *qemu_plugin_tb_get_insn(const block *code, size_t index);
const char *qemu_plugin_insn_symbol(const instruction *one);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*translated)(plugin_id, block *));
void qemu_plugin_register_vcpu_insn_exec_cb(instruction *one, void (*reached)(unsigned, void *),
                                            int registers, void *context);
void qemu_plugin_register_vcpu_insn_exec_inline(instruction *one, int operation, void *counter,
                                                uint64_t operand);
void qemu_plugin_outs(const char *text);

/* What QEMU looks for. */
EXPORTED extern int qemu_plugin_version;
EXPORTED int qemu_plugin_install(plugin_id id, const void *info, int count, char **words);

int qemu_plugin_version = 1;

static char marks[MOST_MARKS][128];
static size_t mark_count;
static uint64_t executed;

/* QEMU keeps a name as long as the program that it looked it up in. */
static void write_count(unsigned processor, void *name)
{
    char line[256];

    (void)processor;
    snprintf(line, sizeof line, "%" PRIu64 " %s\n", executed, (const char *)name);
    qemu_plugin_outs(line);
}

static int is_mark(const char *symbol)
{
    for (size_t i = 0; i < mark_count; i++) {
        const size_t length = strlen(marks[i]);
        if (length > 0 && marks[i][length - 1] == '*' ? strncmp(symbol, marks[i], length - 1) == 0
                                                      : strcmp(symbol, marks[i]) == 0)
            return 1;
    }
    return 0;
}

static void count_block(plugin_id id, block *code)
{
    const size_t count = qemu_plugin_tb_n_insns(code);

    (void)id;
    for (size_t i = 0; i < count; i++) {
        instruction *const one = qemu_plugin_tb_get_insn(code, i);
        const char *const symbol = qemu_plugin_insn_symbol(one);

        /* What is called begins a block. */
        if (i == 0 && symbol && is_mark(symbol))
            qemu_plugin_register_vcpu_insn_exec_cb(one, write_count, NO_REGISTERS, (void *)symbol);
        qemu_plugin_register_vcpu_insn_exec_inline(one, ADD_U64, &executed, 1);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **words)
{
    static const char key[] = "mark=";

    (void)info;
    for (int i = 0; i < count && mark_count < MOST_MARKS; i++)
        if (strncmp(words[i], key, sizeof key - 1) == 0)
            snprintf(marks[mark_count++], sizeof *marks, "%s", words[i] + sizeof key - 1);
    qemu_plugin_register_vcpu_tb_trans_cb(id, count_block);
    return mark_count == 0;
}
