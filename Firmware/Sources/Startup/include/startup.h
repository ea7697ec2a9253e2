// What the image needs before and below Swift: see startup.c and heap.c.
#ifndef APUS_STARTUP_H
#define APUS_STARTUP_H
#include <stddef.h>
#include <stdint.h>

/// Milliseconds since the start, counted by SysTick; read it with interrupts masked, or use startup_ticks().
uint64_t startup_ticks(void);

/// Bytes of the heap that are free now, and the least that ever were.
size_t startup_heap_free(void);
size_t startup_heap_least_free(void);

/// Ends the emulator (or stops in a debugger) with success or failure, by semihosting.
void startup_exit(int failed) __attribute__((noreturn));

/// The next byte that UART `index` (0 or 1) has received, or -1.
int startup_uart_receive(int index);
/// Sends a byte if the UART has room; returns whether it had.
int startup_uart_send(int index, uint8_t byte);
/// How many received bytes were lost because nobody read them in time.
uint32_t startup_uart_lost(int index);
/// Whether UART `index` has received something that was not read.
int startup_uart_has_input(int index);

/// Sleeps until an interrupt, unless a UART has received something.
void startup_sleep(void);
#endif
