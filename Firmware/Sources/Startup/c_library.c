// What the C library's conversions of floats, and cJSON, ask of a heap. The library's own is never linked: there is one heap.
#include "startup.h"

int posix_memalign(void **result, size_t alignment, size_t bytes);
void *calloc(size_t count, size_t bytes);
void free(void *pointer);
size_t startup_heap_capacity(const void *pointer);

void *malloc(size_t bytes) {
    void *block;
    return posix_memalign(&block, 8, bytes) == 0 ? block : 0;
}

void *realloc(void *pointer, size_t bytes) {
    size_t capacity = pointer ? startup_heap_capacity(pointer) : 0;
    if (pointer && bytes <= capacity) return pointer;
    void *block = malloc(bytes);
    if (!block) return 0;
    if (pointer) __builtin_memcpy(block, pointer, capacity);
    free(pointer);
    return block;
}

struct _reent;
void *_malloc_r(struct _reent *state, size_t bytes) { return malloc(bytes); }
void *_calloc_r(struct _reent *state, size_t count, size_t bytes) { return calloc(count, bytes); }
void *_realloc_r(struct _reent *state, void *pointer, size_t bytes) { return realloc(pointer, bytes); }
void _free_r(struct _reent *state, void *pointer) { free(pointer); }

// The conversions give up when there is no heap left for a number of many digits. Without these, the C library would print that to a file.
void abort(void) { __builtin_trap(); }
void __assert_func(const char *file, int line, const char *function, const char *condition) { __builtin_trap(); }

// What reads and writes texts can do so with files too, which there are none of.
int _read(int file, void *bytes, size_t count) { return -1; }
int _write(int file, const void *bytes, size_t count) { return -1; }
int _lseek(int file, int offset, int from) { return -1; }
int _close(int file) { return -1; }
