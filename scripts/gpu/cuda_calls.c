/* Counts the calls of the CUDA runtime that libtorch makes in a process, for LD_PRELOAD.
 *
 * Calls that make the host wait for the device (synchronisations) and calls that start work there (kernels,
 * copies) go through functions of libcudart, which libtorch links dynamically. Each function that is defined
 * here increments its counter and calls the real function. The counters are in the file that CUDA_CALLS_FILE
 * names, as 64-bit numbers in the order of `counter`, so that another process can read them while this one
 * runs. Calls inside cuDNN and cuBLAS are not counted: they do not wait in a training step.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum counter { STREAM_SYNCHRONIZE, DEVICE_SYNCHRONIZE, EVENT_SYNCHRONIZE, MEMCPY, MEMCPY_ASYNC, LAUNCH, COUNTERS };

/* The declaration of CUDA's headers. */
struct dim3 {
    unsigned int x, y, z;
};

static _Atomic uint64_t elsewhere[COUNTERS];
static _Atomic uint64_t *counters = elsewhere;

__attribute__((constructor)) static void open_counters(void) {
    const char *path = getenv("CUDA_CALLS_FILE");
    int file = path ? open(path, O_RDWR | O_CREAT, 0644) : -1;
    if (file < 0 || ftruncate(file, sizeof elsewhere) != 0) {
        return;
    }
    void *memory = mmap(NULL, sizeof elsewhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) {
        counters = memory;
    }
}

/* The function that would have been called without this library. */
static void *real(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        fprintf(stderr, "cuda_calls: there is no %s\n", name);
        abort();
    }
    return function;
}

#define COUNTED(counter, name, parameters, arguments)                                                        \
    int name parameters {                                                                                    \
        static int(*_Atomic function) parameters;                                                            \
        if (!function) {                                                                                     \
            function = real(#name);                                                                          \
        }                                                                                                    \
        atomic_fetch_add_explicit(&counters[counter], 1, memory_order_relaxed);                              \
        return function arguments;                                                                           \
    }

COUNTED(STREAM_SYNCHRONIZE, cudaStreamSynchronize, (void *stream), (stream))
COUNTED(DEVICE_SYNCHRONIZE, cudaDeviceSynchronize, (void), ())
COUNTED(EVENT_SYNCHRONIZE, cudaEventSynchronize, (void *event), (event))
COUNTED(MEMCPY, cudaMemcpy, (void *to, const void *from, size_t size, int kind), (to, from, size, kind))
COUNTED(MEMCPY_ASYNC, cudaMemcpyAsync, (void *to, const void *from, size_t size, int kind, void *stream),
        (to, from, size, kind, stream))
COUNTED(LAUNCH, cudaLaunchKernel,
        (const void *kernel, struct dim3 grid, struct dim3 block, void **arguments, size_t shared, void *stream),
        (kernel, grid, block, arguments, shared, stream))
COUNTED(LAUNCH, __cudaLaunchKernel,
        (void *kernel, struct dim3 grid, struct dim3 block, void **arguments, size_t shared, void *stream),
        (kernel, grid, block, arguments, shared, stream))
COUNTED(LAUNCH, cudaLaunchKernelExC, (const void *config, const void *function_, void **arguments),
        (config, function_, arguments))
