// What the kernel's ports need below Swift: the record of a thread and futexes on Linux, registers and the context switch on a Cortex-M.
#ifndef APUS_CKERNEL_H
#define APUS_CKERNEL_H
#include "CKernelCortexM.h"
#include "CKernelLinux.h"
#endif
