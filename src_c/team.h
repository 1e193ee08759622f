/* A team of threads that run one function together.
 *
 * The threads are started for a run and joined at its end (some 20 microseconds each): a process that forks between
 * runs therefore has none to lose, and two runs at once have nothing in common. Where runs of some microseconds follow each
 * other at once, the threads may linger for the next one, so long as it is told, and spin; a fork's child has others. */
#ifndef FASTBP_TEAM_H
#define FASTBP_TEAM_H

#include <stdint.h>

typedef struct Team Team;
typedef void (*TeamTask)(void *arg, Team *team, int member, int n_members);

/* Run task on up to n members; the caller is member 0. The others are there for the next run for `linger` seconds. Returns how many
 * there were. */
int team_run(int n, TeamTask task, void *arg, double linger);
/* Wait until all members are here: spin for some 100 microseconds, then sleep. */
void team_barrier(Team *team);
/* A clock in seconds that does not go back. */
double team_clock(void);

/* Numbers so small that they have fewer digits than others take a processor a hundred times as long as others; deltas of rows that
 * have been learnt well, and what optimizers keep of gradients long ago, become such numbers by and by. While the core trains and
 * predicts they are 0. Returns what the calling thread had before. */
typedef uint64_t FloatMode;
static inline FloatMode flush_subnormals(void)
{
#if defined(__x86_64__)
    const unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040); /* of results and of operands */
    return mode;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1u << 24));
    return mode;
#else
    return 0;
#endif
}
static inline void restore_mode(FloatMode mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

#endif
