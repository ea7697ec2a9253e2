// The C library's are made for speed, and take ten times as much flash.
#include <stddef.h>
#include <stdint.h>

__attribute__((no_builtin("memcpy"))) void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)target | (uintptr_t)source) & 3) == 0) {
        for (; count >= 4; count -= 4, target += 4, source += 4) *(uint32_t *)target = *(const uint32_t *)source;
    }
    while (count--) *target++ = *source++;
    return to;
}

__attribute__((no_builtin("memset"))) void *memset(void *to, int byte, size_t count) {
    for (uint8_t *target = to; count--;) *target++ = (uint8_t)byte;
    return to;
}
