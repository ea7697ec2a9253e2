// The heap: first fit over a list of free blocks in the order of their addresses, joined when they are given back.
// Interrupts never use it.
#include "startup.h"

#ifndef HEAP_BYTES
#define HEAP_BYTES 32768
#endif

typedef struct block {
    size_t bytes;  // with this header
    struct block *next;
} block_t;

enum { ALIGNMENT = 8, HEADER = 8 };

static struct {
    _Alignas(ALIGNMENT) uint8_t bytes[HEAP_BYTES];
} pool __attribute__((section(".heap.pool")));

static block_t *free_list;
static size_t free_bytes, least_free;

size_t startup_heap_free(void) { return free_bytes; }
size_t startup_heap_least_free(void) { return least_free; }

void startup_heap_prepare(void) {
    free_list = (block_t *)pool.bytes;
    free_list->bytes = HEAP_BYTES;
    free_list->next = 0;
    free_bytes = least_free = HEAP_BYTES;
}

static void *take(size_t bytes) {
    if (bytes > HEAP_BYTES - HEADER) return 0;
    bytes = (bytes + HEADER + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (bytes < sizeof(block_t)) bytes = sizeof(block_t);
    for (block_t **link = &free_list; *link; link = &(*link)->next) {
        block_t *block = *link;
        if (block->bytes < bytes) continue;
        if (block->bytes - bytes >= sizeof(block_t) + ALIGNMENT) {
            block_t *rest = (block_t *)((uint8_t *)block + bytes);
            rest->bytes = block->bytes - bytes;
            rest->next = block->next;
            *link = rest;
            block->bytes = bytes;
        } else {
            *link = block->next;
        }
        free_bytes -= block->bytes;
        if (free_bytes < least_free) least_free = free_bytes;
        return (uint8_t *)block + HEADER;
    }
    return 0;
}

static void *allocate(size_t bytes) {
    startup_heap_lock();
    void *block = take(bytes);
    startup_heap_unlock();
    return block;
}

size_t startup_heap_capacity(const void *pointer) { return ((const block_t *)((const uint8_t *)pointer - HEADER))->bytes - HEADER; }

int posix_memalign(void **result, size_t alignment, size_t bytes) {
    // Swift asks for 16 where it does not know better; no type on this processor needs more than 8.
    *result = alignment <= 16 ? allocate(bytes) : 0;
    return *result ? 0 : 12;
}

void free(void *pointer) {
    if (!pointer) return;
    startup_heap_lock();
    block_t *block = (block_t *)((uint8_t *)pointer - HEADER);
    free_bytes += block->bytes;
    block_t *before = 0, *after = free_list;
    while (after && after < block) {
        before = after;
        after = after->next;
    }
    block->next = after;
    if (after && (uint8_t *)block + block->bytes == (uint8_t *)after) {
        block->bytes += after->bytes;
        block->next = after->next;
    }
    if (before && (uint8_t *)before + before->bytes == (uint8_t *)block) {
        before->bytes += block->bytes;
        before->next = block->next;
    } else if (before) {
        before->next = block;
    } else {
        free_list = block;
    }
    startup_heap_unlock();
}

// mbedTLS asks for these; the block that a hash works in comes from here.
void *calloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) return 0;
    uint8_t *block = allocate(total);
    if (block) __builtin_memset(block, 0, total);
    return block;
}
