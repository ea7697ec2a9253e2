// The start of a Cortex-M4 image on QEMU's mps2-an386: vectors, memory, tick, UARTs, faults.
#include "startup.h"

extern uint32_t __data_start, __data_end, __data_load, __bss_start, __bss_end, __stack_top;
int main(int argc, char **argv);

#define CLOCK_HZ 25000000u
#define REGISTER(address) (*(volatile uint32_t *)(address))

// ARMv7-M Architecture Reference Manual, B3.3: SysTick.
#define SYST_CSR REGISTER(0xE000E010)
#define SYST_RVR REGISTER(0xE000E014)
#define SYST_CVR REGISTER(0xE000E018)
#define NVIC_ISER0 REGISTER(0xE000E100)

// CMSDK APB UART: data, state, control, interrupt status, baud rate divider.
typedef struct {
    volatile uint32_t data, state, control, interrupts, divider;
} uart_t;
#define UART(index) ((uart_t *)(0x40004000 + (index) * 0x1000))
enum { TX_FULL = 1, RX_FULL = 2, TX_ENABLE = 1, RX_ENABLE = 2, RX_INTERRUPT = 8, RX_PENDING = 2 };

// Received bytes, from the interrupt to the loop: one writer, one reader.
enum { FIFO_BYTES = 1024 };
typedef struct {
    uint8_t bytes[FIFO_BYTES];
    volatile uint32_t head, tail, lost;
} fifo_t;
static fifo_t fifos[2];

static volatile uint64_t ticks;
uintptr_t __stack_chk_guard = 0x5A3C96E1;

static void receive(int index) {
    uart_t *uart = UART(index);
    fifo_t *fifo = &fifos[index];
    while (uart->state & RX_FULL) {
        uint8_t byte = (uint8_t)uart->data;
        if (fifo->head - fifo->tail < FIFO_BYTES) {
            fifo->bytes[fifo->head % FIFO_BYTES] = byte;
            fifo->head = fifo->head + 1;
        } else {
            fifo->lost = fifo->lost + 1;
        }
    }
    uart->interrupts = RX_PENDING;
}

static void UART0_Handler(void) { receive(0); }
static void UART1_Handler(void) { receive(1); }
static void SysTick_Handler(void) { ticks = ticks + 1; }

int startup_uart_has_input(int index) { return fifos[index].head != fifos[index].tail; }
uint32_t startup_uart_lost(int index) { return fifos[index].lost; }

int startup_uart_receive(int index) {
    fifo_t *fifo = &fifos[index];
    if (fifo->head == fifo->tail) return -1;
    uint8_t byte = fifo->bytes[fifo->tail % FIFO_BYTES];
    fifo->tail = fifo->tail + 1;
    return byte;
}

int startup_uart_send(int index, uint8_t byte) {
    if (UART(index)->state & TX_FULL) return 0;
    UART(index)->data = byte;
    return 1;
}

uint64_t startup_ticks(void) {
    // A tick between the two halves shows as a difference.
    uint64_t first, second;
    do {
        first = ticks;
        second = ticks;
    } while (first != second);
    return first;
}

void startup_sleep(void) {
    // With interrupts masked one that arrives now only ends the WFI, and is taken behind it: no wake-up is lost.
    __asm__ volatile("cpsid i" ::: "memory");
    if (!startup_uart_has_input(0) && !startup_uart_has_input(1)) __asm__ volatile("dsb\n\twfi" ::: "memory");
    __asm__ volatile("cpsie i\n\tisb" ::: "memory");
}

void startup_exit(int failed) {
    // Arm Semihosting, SYS_EXIT: ADP_Stopped_ApplicationExit or ADP_Stopped_RunTimeErrorUnknown.
    register uint32_t operation __asm__("r0") = 0x18;
    register uint32_t reason __asm__("r1") = failed ? 0x20023 : 0x20026;
    __asm__ volatile("bkpt 0xAB" : : "r"(operation), "r"(reason) : "memory");
    for (;;) __asm__ volatile("wfi");
}

static void say(const char *text) {
    for (; *text; text++) while (!startup_uart_send(0, (uint8_t)*text)) {}
}

static void say_hexadecimal(uint32_t value) {
    for (int shift = 28; shift >= 0; shift -= 4) {
        char digit[2] = {"0123456789abcdef"[value >> shift & 15], 0};
        say(digit);
    }
}

// Says where the fault was, and ends: what comes next would be worse.
__attribute__((used)) static void fault(const uint32_t *frame) {
    say("\nfault=");
    say_hexadecimal(REGISTER(0xE000ED28));
    say(" pc=");
    say_hexadecimal(frame[6]);
    say(" lr=");
    say_hexadecimal(frame[5]);
    say("\n");
    startup_exit(1);
}

__attribute__((naked)) static void Fault_Handler(void) { __asm__ volatile("mrs r0, msp\n\tb fault"); }

void __stack_chk_fail(void) {
    say("\nfault=stack-smashed\n");
    startup_exit(1);
}

__attribute__((noreturn)) void Reset_Handler(void) {
    uint32_t *from = &__data_load;
    for (uint32_t *to = &__data_start; to < &__data_end;) *to++ = *from++;
    for (uint32_t *to = &__bss_start; to < &__bss_end;) *to++ = 0;
    for (int index = 0; index < 2; index++) {
        UART(index)->divider = 16;
        UART(index)->control = TX_ENABLE | RX_ENABLE | RX_INTERRUPT;
    }
    NVIC_ISER0 = 1u << 0 | 1u << 2;
    SYST_RVR = CLOCK_HZ / 1000 - 1;
    SYST_CVR = 0;
    SYST_CSR = 7;
    startup_exit(main(0, 0) != 0);
}

typedef void (*handler_t)(void);
__attribute__((section(".vectors"), used)) static const handler_t vectors[] = {
    (handler_t)&__stack_top, Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
    0, 0, 0, 0, Fault_Handler, Fault_Handler, 0, Fault_Handler, SysTick_Handler,
    // The interrupts of the board: UART 0 receive and transmit, UART 1 receive and transmit.
    UART0_Handler, Fault_Handler, UART1_Handler, Fault_Handler,
};
