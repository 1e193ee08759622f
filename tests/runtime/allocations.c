/* Loaded before the C library, with whose functions this replaces: the n-th allocation fails. Counted are those of fastbp's
 * extension modules, threads among them, and the memory of NumPy's arrays. (Of NumPy's other allocations some are not checked
 * there: a failure crashes it.) */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t), __libc_free(void *);

static long left; /* allocations up to the one that fails; below 1 none does */
static int refused;

/* Have the n-th allocation from now on fail; 0: none. */
void fail(long n)
{
    refused = 0;
    __atomic_store_n(&left, n, __ATOMIC_SEQ_CST);
}
long allocations_left(void) { return __atomic_load_n(&left, __ATOMIC_SEQ_CST); }
int thread_refused(void) { return refused; }

static int counts_down(void) { return allocations_left() > 0 && __atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0; }

static int fails(void *caller)
{
    Dl_info module;
    return allocations_left() > 0 && dladdr(caller, &module) && strstr(module.dli_fname, "/fastbp/_") && counts_down();
}

#define FAILS fails(__builtin_return_address(0))
void *malloc(size_t size) { return FAILS ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return FAILS ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { return FAILS ? NULL : __libc_realloc(p, size); }
void *aligned_alloc(size_t alignment, size_t size) { return FAILS ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void **p, size_t alignment, size_t size)
{
    void *memory = FAILS ? NULL : __libc_memalign(alignment, size);
    if (memory)
        *p = memory;
    return memory ? 0 : ENOMEM;
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg)
{
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    return FAILS ? refused = 1, EAGAIN : create(thread, attributes, start, arg);
}

/* A PyDataMem_Handler, by which NumPy allocates the memory of arrays. */
static void *new_array(void *context, size_t size)
{
    (void)context;
    return counts_down() ? NULL : __libc_malloc(size);
}
static void *new_zeros(void *context, size_t n, size_t size)
{
    (void)context;
    return counts_down() ? NULL : __libc_calloc(n, size);
}
static void *resized_array(void *context, void *p, size_t size)
{
    (void)context;
    return counts_down() ? NULL : __libc_realloc(p, size);
}
static void free_array(void *context, void *p, size_t size)
{
    (void)context, (void)size;
    __libc_free(p);
}
struct {
    char name[127];
    unsigned char version;
    void *context, *(*malloc)(void *, size_t), *(*calloc)(void *, size_t, size_t), *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *, size_t);
} handler = {"failing", 1, NULL, new_array, new_zeros, resized_array, free_array};
