#ifndef APUS_CKERNEL_CORTEXM_H
#define APUS_CKERNEL_CORTEXM_H
#if defined(__arm__) && !defined(__linux__)
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Delays of up to 2^CKERNEL_NEAR_BITS ticks have a bucket for each power of two; longer ones share two.
#define CKERNEL_NEAR_BITS 14
enum { CKERNEL_PRIORITIES = 32, CKERNEL_BUCKETS = CKERNEL_NEAR_BITS + 2, CKERNEL_NO_BUCKET = 255 };
/// What the words of a stack are that were never used.
#define CKERNEL_UNTOUCHED 0x5AA55AA5u

/// A task. What Swift calls a Waiter is the same: a task waits for one thing at a time.
struct ckernel_task {
    /// Where its registers lie while it does not run, and the lowest word of its stack; the context switch knows these places.
    uint32_t *sp, *stack;
    // Bytes are near the beginning: there short instructions reach them.
    uint8_t bucket;
    /// Its priority now, with what it inherits; its own; its place in the list of an object.
    uint8_t priority, basePriority, rank;
    uint8_t outcome;
    bool isListed, isLeader, isDelayed, isSuspended, isReady, isCancelled, hasEnded;
    /// How many ticks it has left before others of its priority have their turn, and how many it gets.
    uint16_t slice, wholeSlice;
    /// Its neighbours in the list of the object that it waits for.
    struct ckernel_task *_Nullable next, *_Nullable previous, *_Nullable nextLeader, *_Nullable previousLeader;
    /// Its neighbours in the ring of the tasks of its priority that could run.
    struct ckernel_task *after, *before;
    /// Its neighbours in the ring of its bucket of deadlines.
    struct ckernel_task *later, *earlier;
    uint64_t deadline;
    /// The object that it waits for (a KernelObject), and the same again if that is a Mutex.
    void *_Nullable object, *_Nullable mutex;
    /// What it wants of the object, and where.
    void *_Nullable slot;
    /// The last mutex that it locked, which knows the one before.
    void *_Nullable held;
    /// What is to be told of its end (a KernelObject): those who join it.
    void *_Nullable joiners;
    /// The KernelTask, which owns this; null for the idle task.
    void *_Nullable owner;
};

struct ckernel_state {
    /// Who runs, and who is to run next: the context switch knows these places.
    struct ckernel_task *current, *chosen;
    /// A bit for each priority that has a ring, the highest priority in the highest bit.
    uint32_t ready;
    /// How often the scheduler is locked: once until it starts.
    uint8_t locks;
    bool isRunning;
    /// How many ticks a turn has, for tasks that were told no other number.
    uint16_t slice;
    uint64_t now;
    uint32_t ticksPerSecond;
    /// Ended tasks, whose memory the idle task gives back.
    struct ckernel_task *_Nullable ended;
    /// What the idle task does with interrupts masked, if not to wait for the next one; and what that sleeps with: see Scheduler.start.
    void (*_Nullable idle)(uint32_t key);
    uint32_t (*_Nullable sleep)(uint32_t ticks);
    /// What ends the wait of a task that is in the list of an object, what frees the mutexes of a task that ends, and what tells those who join it.
    /// Each is noted by who makes it necessary, so that an image without such things has no code for them.
    void (*_Nullable leave)(struct ckernel_task *task, uint8_t outcome);
    void (*_Nullable release)(struct ckernel_task *task);
    void (*_Nullable tell)(void *joiners);
    struct ckernel_task *_Nullable buckets[CKERNEL_BUCKETS];
    struct ckernel_task *_Nullable heads[CKERNEL_PRIORITIES];
};

extern struct ckernel_state ckernel_state;
extern struct ckernel_task ckernel_idle_task;

/// The state of the kernel, of which there is one.
static inline __attribute__((always_inline)) struct ckernel_state *ckernel(void) { return &ckernel_state; }

static inline __attribute__((always_inline)) struct ckernel_task *_Nullable *_Nonnull ckernel_heads(void) { return ckernel_state.heads; }
static inline __attribute__((always_inline)) struct ckernel_task *_Nullable *_Nonnull ckernel_buckets(void) { return ckernel_state.buckets; }
static inline __attribute__((always_inline)) struct ckernel_task *ckernel_idle_place(void) { return &ckernel_idle_task; }

/// Masks interrupts, and returns whether they were.
static inline __attribute__((always_inline)) uint32_t ckernel_mask(void) {
    uint32_t key;
    __asm__ volatile("mrs %0, primask\n\tcpsid i" : "=r"(key)::"memory");
    return key;
}

static inline __attribute__((always_inline)) void ckernel_unmask(uint32_t key) { __asm__ volatile("msr primask, %0" ::"r"(key) : "memory"); }

/// As ckernel_unmask; what is pending is taken before the next instruction.
static inline __attribute__((always_inline)) void ckernel_unmask_now(uint32_t key) { __asm__ volatile("msr primask, %0\n\tisb" ::"r"(key) : "memory"); }

static inline __attribute__((always_inline)) bool ckernel_in_interrupt(void) {
    uint32_t number;
    __asm__ volatile("mrs %0, ipsr" : "=r"(number));
    return number != 0;
}

/// Has the context switch happen when no interrupt is being handled.
static inline __attribute__((always_inline)) void ckernel_pend_switch(void) { *(volatile uint32_t *)0xE000ED04 = 1u << 28; }

/// Sleeps until an interrupt is pending, masked or not.
static inline __attribute__((always_inline)) void ckernel_wait_for_interrupt(void) { __asm__ volatile("dsb\n\twfi\n\tisb" ::: "memory"); }

/// What the image does about a task that has outgrown its stack: called by the context switch, it does not return.
void ckernel_stack_overflow(void);

/// Keeps other tasks from running, as often as it is called; interrupts are handled.
void ckernel_lock(void);
void ckernel_unlock(void);

/// Memory of the heap, which the image supplies; null when there is none.
void *_Nullable ckernel_allocate(size_t bytes);
void ckernel_free(void *memory);

/// Leaves `main` for the tasks: the first context switch.
void ckernel_start(void) __attribute__((noreturn));

/// Makes `task` one that has not run yet, on a stack of so many words; it will begin with `ckernel_task_entry`.
void ckernel_prepare(struct ckernel_task *task, uint32_t *stack, uint32_t words);

#pragma clang assume_nonnull end
#endif
#endif
