#if defined(__arm__) && !defined(__linux__)
#include "include/CKernel.h"

struct ckernel_task ckernel_idle_task;
struct ckernel_state ckernel_state = {.current = &ckernel_idle_task, .chosen = &ckernel_idle_task, .ticksPerSecond = 1000, .slice = 100, .locks = 1};

// What an idle task needs: a frame of an exception, the other registers, and a little for itself.
static uint32_t idle_stack[32] __attribute__((aligned(8)));

// In Swift.
void ckernel_task_entry(struct ckernel_task *task);

/// PendSV: the only place where tasks change. It has the lowest priority of all interrupts, so that it interrupts tasks only.
__attribute__((naked, used)) void ckernel_switch(void) {
    __asm__ volatile(
        "ldr r1, =ckernel_state\n\t"
        "mrs r0, psp\n\t"
        "ldrd r2, r3, [r1]\n\t"
        "ldr r12, [r2, #4]\n\t"
        "stmdb r0!, {r4-r11}\n\t"
        "cmp r0, r12\n\t"
        "blo ckernel_stack_overflow\n\t"
        "str r0, [r2]\n\t"
        "str r3, [r1]\n\t"
        "ldr r0, [r3]\n\t"
        "ldmia r0!, {r4-r11}\n\t"
        "msr psp, r0\n\t"
        "bx lr\n\t"
        ".ltorg");
}

void ckernel_prepare(struct ckernel_task *task, uint32_t *stack, uint32_t words) {
    // Its ring leads to itself: no link is null, not even the idle task's.
    __builtin_memset(task, 0, sizeof *task);
    task->stack = stack;
    task->bucket = CKERNEL_NO_BUCKET;
    task->outcome = 1;
    task->after = task;
    uint32_t *top = stack + words;
    while (stack < top) *stack++ = CKERNEL_UNTOUCHED;
    // The registers that the switch restores, and the frame of an exception.
    task->sp = top - 16;
    top[-8] = (uint32_t)task;
    top[-3] = 0xFFFFFFFF;
    top[-2] = (uint32_t)ckernel_task_entry;
    top[-1] = 1u << 24;
}

// In Swift: goes to the most urgent task.
void ckernel_choose(void);

void ckernel_lock(void) {
    uint32_t key = ckernel_mask();
    ckernel_state.locks++;
    ckernel_unmask(key);
}

void ckernel_unlock(void) {
    uint32_t key = ckernel_mask();
    if (--ckernel_state.locks == 0) ckernel_choose();
    ckernel_unmask_now(key);
}

extern int posix_memalign(void **result, size_t alignment, size_t bytes);
extern void free(void *memory);

void *ckernel_allocate(size_t bytes) {
    void *memory;
    return posix_memalign(&memory, 8, bytes) == 0 ? memory : NULL;
}

void ckernel_free(void *memory) { free(memory); }

void ckernel_start(void) {
    // Both the context switch and the tick come behind all other interrupts (SHPR3).
    *(volatile uint32_t *)0xE000ED20 = 0xFFFF0000;
    ckernel_prepare(&ckernel_idle_task, idle_stack, sizeof idle_stack / 4);
    ckernel_idle_task.priority = 255;
    (void)ckernel_mask();
    ckernel_state.isRunning = true;
    ckernel_state.locks = 0;
    ckernel_choose();
    // The caller goes on as the idle task, on that one's stack; the first switch, which is pending if there are tasks, saves it as such.
    register struct ckernel_task *idle __asm__("r0") = &ckernel_idle_task;
    __asm__ volatile("msr psp, %1\n\tmsr control, %2\n\tisb\n\tcpsie i\n\tb ckernel_task_entry" ::"r"(idle), "r"(idle_stack + sizeof idle_stack / 4), "r"(2));
    __builtin_unreachable();
}
#endif
