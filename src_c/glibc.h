/* What is built on a new Linux runs on an old one: functions of which glibc has a newer symbol are called by their oldest, of
 * version 2.17 or before. setup.py has every file of the core begin with this one. (Where threads are a library of their own,
 * Python has loaded it.) */
#if __has_include(<gnu/libc-version.h>) && defined(__x86_64__)
#define FIRST "2.2.5"
#define FIRST_AFFINITY "2.3.4"
#elif __has_include(<gnu/libc-version.h>) && defined(__aarch64__)
#define FIRST "2.17"
#define FIRST_AFFINITY "2.17"
#endif

#ifdef FIRST
#define CALL(name, version) __asm__(".symver " #name "," #name "@GLIBC_" version)
CALL(exp, FIRST);
CALL(log, FIRST);
CALL(pow, FIRST);
CALL(pthread_create, FIRST);
CALL(pthread_join, FIRST);
CALL(pthread_once, FIRST);
CALL(pthread_attr_setaffinity_np, FIRST_AFFINITY);
#undef CALL
#undef FIRST
#undef FIRST_AFFINITY
#endif
