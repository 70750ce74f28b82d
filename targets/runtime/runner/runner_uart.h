/* runner_uart.h - the serial line of a board: write these two for yours. */
#ifndef BITX_RUNNER_UART_H
#define BITX_RUNNER_UART_H

/* Waits for a byte and returns it, 0 to 255. */
int runner_uart_get(void);

/* Waits until there is room for a byte, and sends it. */
void runner_uart_put(char byte);

#endif /* BITX_RUNNER_UART_H */
