// What the image needs before and below Swift: see startup.c and heap.c.
#ifndef APUS_STARTUP_H
#define APUS_STARTUP_H
#include <stddef.h>
#include <stdint.h>

/// Milliseconds since the start, counted by SysTick; never torn by a tick.
uint64_t startup_ticks(void);

/// The tick and the position within it, mixed: see Board.jitter.
uint32_t startup_cycles(void);

/// What interrupts the processor at the start, at each tick of a loop's image, and at a fault.
void Reset_Handler(void) __attribute__((noreturn));
void startup_tick(void);
void Fault_Handler(void);

/// Says that a task has outgrown its stack, and ends.
void startup_stack_overflow(void) __attribute__((noreturn));

/// Called around each use of the heap: where tasks share it, it locks the scheduler.
void startup_heap_lock(void);
void startup_heap_unlock(void);

/// Makes the heap: called once, at the start.
void startup_heap_prepare(void);

/// Bytes of the heap that are free now, and the least that ever were.
size_t startup_heap_free(void);
size_t startup_heap_least_free(void);

/// As the C library's; null where count times bytes is more than there can be.
void *calloc(size_t count, size_t bytes);

/// Ends the emulator (or stops in a debugger) with success or failure, by semihosting.
void startup_exit(int failed) __attribute__((noreturn));

/// Enables the external interrupts whose bits are set, of the first 32.
void startup_enable_interrupts(uint32_t mask);

/// Sleeps until an interrupt, unless startup_wake() was called since the last sleep ended.
void startup_sleep(void);

/// Sleeps for up to so many ticks, or until an interrupt, with SysTick stretched over all of them: for Scheduler.start.
uint32_t startup_sleep_through(uint32_t ticks);

extern volatile uint32_t startup_is_awake;

/// Makes the next startup_sleep() return at once: there is work for the loop. Interrupts call it, and the loop may.
static inline __attribute__((always_inline)) void startup_wake(void) { startup_is_awake = 1; }

static inline __attribute__((always_inline)) void startup_mask_interrupts(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static inline __attribute__((always_inline)) void startup_unmask_interrupts(void) { __asm__ volatile("cpsie i" ::: "memory"); }
#endif
