/* start_cortex_m.c - from reset to runner_main() on an Arm Cortex-M. */
#include "runner_bare.h"

extern uint32_t runner_stack_top[];
extern const uint32_t runner_data_source[];
extern uint32_t runner_data_start[], runner_data_end[], runner_bss_start[], runner_bss_end[];

void runner_reset(void);
void runner_fault(const uint32_t *frame, uint32_t exception);

/* Prints which exception struck and the address of the instruction that caused it. */
void runner_fault(const uint32_t *frame, uint32_t exception)
{
    static const char digits[] = "0123456789abcdef";
    char text[] = "fault 00 at 00000000\n";

    text[6] = digits[exception >> 4 & 15];
    text[7] = digits[exception & 15];
    for (uint32_t i = 0; i < 8; i++)
        text[12 + i] = digits[frame[6] >> (28 - 4 * i) & 15];
    runner_write(text, sizeof text - 1);
    runner_exit(3);
}

__attribute__((naked)) static void enter_fault(void)
{
    __asm__ volatile("mov r0, sp\n"
                     "mrs r1, ipsr\n"
                     "b runner_fault\n");
}

void runner_reset(void)
{
    volatile uint32_t *const cpacr = (volatile uint32_t *)0xE000ED88u;
    const uint32_t *from = runner_data_source;

    *cpacr |= 0xFu << 20; /* the FPU, and with it Helium */
    __asm__ volatile("dsb\n isb" ::: "memory");
    for (volatile uint32_t *to = runner_data_start; to < runner_data_end;)
        *to++ = *from++;
    for (volatile uint32_t *to = runner_bss_start; to < runner_bss_end;)
        *to++ = 0;
    runner_main();
}

typedef union vector {
    uint32_t *stack;
    void (*handler)(void);
} vector;

/* The stack, reset, and every exception that a program can cause. */
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = runner_stack_top}, {.handler = runner_reset}, {.handler = enter_fault},
    {.handler = enter_fault},    {.handler = enter_fault},  {.handler = enter_fault},
    {.handler = enter_fault},    {.handler = enter_fault},  {.handler = enter_fault},
    {.handler = enter_fault},    {.handler = enter_fault},  {.handler = enter_fault},
    {.handler = enter_fault},    {.handler = enter_fault},  {.handler = enter_fault},
    {.handler = enter_fault},
};
