// Swift counts references with atomic instructions, which it writes out at every place: half of an image. These images are built for
// one thread, and count by calls of these, which are atomic below: the UART's interrupts use the FIFOs that the loop uses too.
#include "startup.h"

extern void *swift_retain(void *object);
extern void swift_release(void *object);

__attribute__((noinline, used)) void *swift_nonatomic_retain(void *object) { return swift_retain(object); }
__attribute__((noinline, used)) void swift_nonatomic_release(void *object) { swift_release(object); }

__attribute__((noinline, used)) void *swift_nonatomic_retain_n(void *object, uint32_t count) {
    while (count-- > 0) swift_retain(object);
    return object;
}
__attribute__((noinline, used)) void swift_nonatomic_release_n(void *object, uint32_t count) {
    while (count-- > 0) swift_release(object);
}
