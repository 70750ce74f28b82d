/* uart_cmsdk.c - the UART of Arm's MPS2 and MPS3 boards: CMSDK APB UART (Arm DDI 0479), polled.
 *
 * The linker script says where it lies (runner_uart_base).  115200 baud at 25 MHz, 8 bits, no
 * parity.
 */
#include "runner_uart.h"

#include <stdint.h>

typedef struct uart {
    volatile uint32_t data, state, control, interrupts, divisor;
} uart;

enum { IS_FULL = 1, HAS_BYTE = 2 }; /* state */
enum { SENDS = 1, RECEIVES = 2 };   /* control */
enum { CLOCK = 25000000, BAUD = 115200 };

extern uart runner_uart_base;

static uart *line(void)
{
    uart *const it = &runner_uart_base;

    if (it->control != (SENDS | RECEIVES)) {
        it->divisor = CLOCK / BAUD;
        it->control = SENDS | RECEIVES;
    }
    return it;
}

int runner_uart_get(void)
{
    uart *const it = line();

    while (!(it->state & HAS_BYTE))
        continue;
    return (int)(it->data & 0xFF);
}

void runner_uart_put(char byte)
{
    uart *const it = line();

    while (it->state & IS_FULL)
        continue;
    it->data = (uint8_t)byte;
}
