// The vectors of an image with tasks.
#include "startup.h"

extern uint32_t __stack_top;
// In Kernel: the tick and the context switch, and the scheduler's lock.
void ckernel_tick(void);
void ckernel_switch(void);
void ckernel_lock(void);
void ckernel_unlock(void);
// The image's own, where it has one: interrupt 20, which software pends, and that of the second timer; and the module Board's.
__attribute__((weak)) void Device_Handler(void);
__attribute__((weak)) void Timer1_Handler(void);
__attribute__((weak)) void UART1_Receive_Handler(void);
__attribute__((weak)) void UART1_Transmit_Handler(void);

void startup_heap_lock(void) { ckernel_lock(); }
void startup_heap_unlock(void) { ckernel_unlock(); }

__attribute__((used)) void ckernel_stack_overflow(void) { startup_stack_overflow(); }

typedef void (*handler_t)(void);
__attribute__((section(".vectors"), used)) static const handler_t vectors[] = {
    (handler_t)&__stack_top, Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
    0, 0, 0, 0, Fault_Handler, Fault_Handler, 0, ckernel_switch, ckernel_tick,
    // The interrupts of the board: UART 0 receive and transmit, UART 1 receive and transmit.
    Fault_Handler, Fault_Handler, UART1_Receive_Handler, UART1_Transmit_Handler,
    [16 + 9] = Timer1_Handler,
    [16 + 20] = Device_Handler,
};
