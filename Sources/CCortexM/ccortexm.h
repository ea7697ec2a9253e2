// The Cortex-M instructions that Swift has no spelling for.
#ifndef APUS_CCORTEXM_H
#define APUS_CCORTEXM_H

#if defined(__arm__)
#include <stdint.h>

/// Masks interrupts and returns the earlier PRIMASK.
static inline uint32_t cortexm_mask_interrupts(void) {
    uint32_t earlier;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(earlier) : : "memory");
    return earlier;
}

/// Puts back what cortexm_mask_interrupts returned.
static inline void cortexm_restore_interrupts(uint32_t earlier) {
    __asm__ volatile("msr primask, %0" : : "r"(earlier) : "memory");
}

/// Sleeps until an interrupt is pending, also a masked one.
static inline void cortexm_wait_for_interrupt(void) { __asm__ volatile("dsb\n\twfi" : : : "memory"); }
#endif

#endif
