// What the instruction benchmark of the kernel measures with: see scripts/bench-kernel-arm.py.
#ifndef APUS_MARKERS_H
#define APUS_MARKERS_H
#include <stddef.h>
#include <stdint.h>

// Each is one `bx lr`: the measurement begins behind `bench_begin_N` and ends before `bench_end_N`.
#define MEASUREMENT(number) void bench_begin_##number(void); void bench_end_##number(void);
MEASUREMENT(1) MEASUREMENT(2) MEASUREMENT(3) MEASUREMENT(4) MEASUREMENT(5) MEASUREMENT(6) MEASUREMENT(7) MEASUREMENT(8) MEASUREMENT(9)
MEASUREMENT(10) MEASUREMENT(11) MEASUREMENT(12) MEASUREMENT(13) MEASUREMENT(14) MEASUREMENT(15) MEASUREMENT(16) MEASUREMENT(17) MEASUREMENT(18)

/// Stops the free-running tick and enables interrupt 20 at a priority above the context switch's.
void bench_prepare(void);
/// Has the tick interrupt, or interrupt 20, happen before it returns.
void bench_tick(void);
void bench_interrupt(void);

/// Memory for the tasks, of which there are many.
enum { BENCH_TASK_BYTES = 512 };
void *_Nonnull bench_memory(int task);
#endif
