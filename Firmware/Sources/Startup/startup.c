// The start of a Cortex-M4 image on QEMU's mps2-an386: memory, tick, sleep, faults. The vectors are in LoopVectors and TaskVectors.
#include "startup.h"

extern uint32_t __data_start, __data_end, __data_load, __bss_start, __bss_end, __stack_start, __stack_top;
int main(int argc, char **argv);

#define CLOCK_HZ 25000000u
#define REGISTER(address) (*(volatile uint32_t *)(address))

// ARMv7-M Architecture Reference Manual, B3.2 to B3.4: SysTick, fault status, interrupt enable.
#define SYST_CSR REGISTER(0xE000E010)
#define SYST_RVR REGISTER(0xE000E014)
#define SYST_CVR REGISTER(0xE000E018)
#define SYST_ICSR REGISTER(0xE000ED04)
// The processor's clock, and an interrupt at zero; counting or not.
enum { PENDSTSET = 1 << 26, STOPPED = 6, RUNNING = 7 };
#define CFSR REGISTER(0xE000ED28)
#define NVIC_ISER0 REGISTER(0xE000E100)

// The console, a CMSDK APB UART.
#define CONSOLE_DATA REGISTER(0x40004000)
#define CONSOLE_STATE REGISTER(0x40004004)
#define CONSOLE_CONTROL REGISTER(0x40004008)
#define CONSOLE_DIVIDER REGISTER(0x40004010)
enum { TX_FULL = 1, TX_ENABLE = 1, RX_ENABLE = 2 };

static volatile uint64_t ticks;
volatile uint32_t startup_is_awake;
uintptr_t __stack_chk_guard = 0x5A3C96E1;

void startup_tick(void) { ticks = ticks + 1; }

uint64_t startup_ticks(void) {
    // A tick between the two halves shows as a difference.
    uint64_t first, second;
    do {
        first = ticks;
        second = ticks;
    } while (first != second);
    return first;
}

uint32_t startup_cycles(void) { return (uint32_t)ticks * (CLOCK_HZ / 1000) - SYST_CVR; }

void startup_enable_interrupts(uint32_t mask) { NVIC_ISER0 = mask; }

void startup_sleep(void) {
    // With interrupts masked, one that arrives behind the check ends the WFI at once and is taken behind it: no wake-up is lost.
    startup_mask_interrupts();
    if (!startup_is_awake) __asm__ volatile("dsb\n\twfi" ::: "memory");
    startup_unmask_interrupts();
    __asm__ volatile("isb" ::: "memory");
    // What was taken just now is seen by the turn that follows.
    startup_is_awake = 0;
}

uint32_t startup_sleep_through(uint32_t ticks) {
    const uint32_t period = CLOCK_HZ / 1000;
    const uint32_t most = 0xFFFFFF / period;
    if (ticks > most) ticks = most;
    // Stopped; a tick that has come already is counted by its interrupt as ever.
    SYST_CSR = STOPPED;
    uint32_t rest = SYST_CVR;
    if (rest == 0 || SYST_ICSR & PENDSTSET) {
        SYST_CSR = RUNNING;
        return 0;
    }
    uint32_t whole = rest + (ticks - 1) * period;
    SYST_RVR = whole - 1;
    SYST_CVR = 0;
    SYST_CSR = RUNNING;
    __asm__ volatile("dsb\n\twfi\n\tisb" ::: "memory");
    SYST_CSR = STOPPED;
    // What has been counted since the start, or since it came to zero, if it has: it may be a while until the processor is awake.
    uint32_t left = SYST_CVR, gone = left == 0 ? 0 : whole - left, passed, next;
    if (SYST_ICSR & PENDSTSET) {
        passed = ticks - 1 + gone / period;
        next = period - gone % period;
    } else {
        // Something else came first: the ticks before it have passed, and the one that is under way goes on.
        passed = gone < rest ? 0 : (gone - rest) / period + 1;
        next = gone < rest ? rest - gone : period - (gone - rest) % period;
    }
    SYST_RVR = next > 1 ? next - 1 : 1;
    SYST_CVR = 0;
    SYST_CSR = RUNNING;
    // It is loaded at once; what follows it is a whole tick.
    while (SYST_CVR == 0) {}
    SYST_RVR = period - 1;
    return passed;
}

void startup_exit(int failed) {
    // Arm Semihosting, SYS_EXIT: ADP_Stopped_ApplicationExit or ADP_Stopped_RunTimeErrorUnknown.
    register uint32_t operation __asm__("r0") = 0x18;
    register uint32_t reason __asm__("r1") = failed ? 0x20023 : 0x20026;
    __asm__ volatile("bkpt 0xAB" : : "r"(operation), "r"(reason) : "memory");
    for (;;) __asm__ volatile("wfi");
}

__attribute__((noinline)) static void say(const char *text) {
    for (; *text; text++) {
        while (CONSOLE_STATE & TX_FULL) {}
        CONSOLE_DATA = (uint8_t)*text;
    }
}

__attribute__((noinline)) static void say_hexadecimal(uint32_t value) {
    for (int shift = 28; shift >= 0; shift -= 4) {
        char digit[2] = {"0123456789abcdef"[value >> shift & 15], 0};
        say(digit);
    }
}

// Says where the fault was, and ends: what comes next would be worse.
__attribute__((used)) static void fault(const uint32_t *frame) {
    say("\nfault=");
    say_hexadecimal(CFSR);
    if (frame < &__stack_start) {
        // The stack is the lowest part of the RAM: what outgrows it has left no frame.
        say(" stack-overflow");
    } else {
        say(" pc=");
        say_hexadecimal(frame[6]);
        say(" lr=");
        say_hexadecimal(frame[5]);
    }
    say("\n");
    startup_exit(1);
}

__attribute__((naked)) void Fault_Handler(void) {
    // Tasks have the process stack, the rest has the main stack.
    __asm__ volatile("tst lr, #4\n\tite eq\n\tmrseq r0, msp\n\tmrsne r0, psp\n\tldr r1, =__stack_top\n\tmov sp, r1\n\tb fault");
}

void startup_stack_overflow(void) {
    say("\nfault=task-stack-overflow\n");
    startup_exit(1);
}

void __stack_chk_fail(void) {
    say("\nfault=stack-smashed\n");
    startup_exit(1);
}

__attribute__((noreturn)) void Reset_Handler(void) {
    uint32_t *from = &__data_load;
    for (uint32_t *to = &__data_start; to < &__data_end;) *to++ = *from++;
    for (uint32_t *to = &__bss_start; to < &__bss_end;) *to++ = 0;
    startup_heap_prepare();
    CONSOLE_DIVIDER = 16;
    CONSOLE_CONTROL = TX_ENABLE | RX_ENABLE;
    SYST_RVR = CLOCK_HZ / 1000 - 1;
    SYST_CVR = 0;
    SYST_CSR = RUNNING;
    startup_exit(main(0, 0) != 0);
}
