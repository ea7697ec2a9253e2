// The vectors of an image that has a loop and no tasks.
#include "startup.h"

extern uint32_t __stack_top;
// In Swift: the module Board.
void UART1_Receive_Handler(void);
void UART1_Transmit_Handler(void);

void startup_heap_lock(void) {}
void startup_heap_unlock(void) {}

typedef void (*handler_t)(void);
__attribute__((section(".vectors"), used)) static const handler_t vectors[] = {
    (handler_t)&__stack_top, Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,
    0, 0, 0, 0, Fault_Handler, Fault_Handler, 0, Fault_Handler, startup_tick,
    // The interrupts of the board: UART 0 receive and transmit, UART 1 receive and transmit.
    Fault_Handler, Fault_Handler, UART1_Receive_Handler, UART1_Transmit_Handler,
};
