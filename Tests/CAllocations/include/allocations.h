#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

/// How many blocks this process has asked the heap for, all threads; -1 where a sanitizer has the heap.
long allocations_count(void);

#endif
