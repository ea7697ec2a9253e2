#include "Markers.h"

// The number behind each makes it one of its own, which the linker does not join with others.
#undef MEASUREMENT
#define MEASUREMENT(number) \
    __attribute__((naked, noinline, used)) void bench_begin_##number(void) { __asm__ volatile("bx lr\n\t.short 0xB" #number); } \
    __attribute__((naked, noinline, used)) void bench_end_##number(void) { __asm__ volatile("bx lr\n\t.short 0xE" #number); }
MEASUREMENT(1) MEASUREMENT(2) MEASUREMENT(3) MEASUREMENT(4) MEASUREMENT(5) MEASUREMENT(6) MEASUREMENT(7) MEASUREMENT(8) MEASUREMENT(9)
MEASUREMENT(10) MEASUREMENT(11) MEASUREMENT(12) MEASUREMENT(13) MEASUREMENT(14) MEASUREMENT(15) MEASUREMENT(16) MEASUREMENT(17) MEASUREMENT(18)

#define REGISTER(address) (*(volatile uint32_t *)(address))

void bench_prepare(void) {
    REGISTER(0xE000E010) = 0;              // SYST_CSR
    REGISTER(0xE000ED04) = 1u << 25;       // ICSR: no tick is pending
    REGISTER(0xE000E414) = 0x000000E0;     // NVIC_IPR5: interrupt 20
    REGISTER(0xE000E100) = 1u << 20;       // NVIC_ISER0
}

__attribute__((naked, noinline)) void bench_tick(void) {
    __asm__ volatile("ldr r0, =0xE000ED04\n\tmov r1, #0x4000000\n\tstr r1, [r0]\n\tdsb\n\tisb\n\tbx lr\n\t.ltorg");
}

__attribute__((naked, noinline)) void bench_interrupt(void) {
    __asm__ volatile("ldr r0, =0xE000E200\n\tmov r1, #0x100000\n\tstr r1, [r0]\n\tdsb\n\tisb\n\tbx lr\n\t.ltorg");
}

void *bench_memory(int task) {
    static uint8_t memory[110][BENCH_TASK_BYTES] __attribute__((aligned(8), section(".heap.tasks")));
    return memory[task];
}
