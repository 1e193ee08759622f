#define _GNU_SOURCE /* for sched_getcpu and CPU sets, on Linux */
#include "team.h"

#ifdef _WIN32 /* no POSIX threads: one member */

#include <windows.h>

double team_clock(void) { return 1e-3 * (double)GetTickCount64(); }

int team_run(int n, TeamTask task, void *arg)
{
    (void)n;
    task(arg, (Team *)0, 0, 1);
    return 1;
}

void team_barrier(Team *team) { (void)team; }

#else

#include <pthread.h>
#include <sched.h>
#include <time.h>

enum { MAX_MEMBERS = 256, SPINS = 8000 /* some 100 microseconds: waking a sleeper takes as long */ };

struct Team {
    TeamTask task;
    void *arg;
    int n_members; /* 0 until all threads are started */
#ifdef __GLIBC__
    int cpu; /* of the caller, -1 if not known */
    cpu_set_t allowed;
#endif
    int arrived, generation, sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

typedef struct {
    Team *team;
    int member;
} Member;

double team_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Wait until *value differs from old. Whoever changes it calls announce() afterwards. */
static void await_change(Team *team, int *value, int old)
{
    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(value, __ATOMIC_ACQUIRE) != old)
            return;
        pause_cpu();
    }
    pthread_mutex_lock(&team->mutex);
    __atomic_add_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(value, __ATOMIC_SEQ_CST) == old)
        pthread_cond_wait(&team->wake, &team->mutex);
    __atomic_sub_fetch(&team->sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team->mutex);
}

static void announce(Team *team)
{
    if (__atomic_load_n(&team->sleepers, __ATOMIC_SEQ_CST)) {
        pthread_mutex_lock(&team->mutex);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->mutex);
    }
}

void team_barrier(Team *team)
{
    if (team->n_members == 1)
        return;
    int generation = __atomic_load_n(&team->generation, __ATOMIC_RELAXED);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->n_members) {
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->generation, generation + 1, __ATOMIC_SEQ_CST);
        announce(team);
    } else {
        await_change(team, &team->generation, generation);
    }
}

/* Have a member start on a processor of its own, as far as there are any. Linux may start a thread on its creator's
 * processor, where it waits for as long as the creator computes, and then keep both there, because each sleeps while the
 * other runs. */
static void spread(const Team *team, int member, pthread_attr_t *attributes)
{
#ifdef __GLIBC__
    cpu_set_t one;
    int n = team->cpu < 0 ? 0 : CPU_COUNT(&team->allowed), skip = n ? member % n : -1;
    for (int cpu = team->cpu; skip >= 0; cpu = (cpu + 1) % CPU_SETSIZE)
        if (CPU_ISSET(cpu, &team->allowed) && skip-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_attr_setaffinity_np(attributes, sizeof one, &one);
        }
#else
    (void)team, (void)member, (void)attributes;
#endif
}

static void *member_main(void *arg)
{
    Member *me = arg;
    Team *team = me->team;
#ifdef __GLIBC__
    if (team->cpu >= 0)
        sched_setaffinity(0, sizeof team->allowed, &team->allowed); /* free to go on from there */
#endif
    await_change(team, &team->n_members, 0);
    team->task(team->arg, team, me->member, team->n_members);
    return NULL;
}

int team_run(int n, TeamTask task, void *arg)
{
    pthread_t threads[MAX_MEMBERS];
    Member members[MAX_MEMBERS];
    Team team = {.task = task, .arg = arg};
    if (n > MAX_MEMBERS)
        n = MAX_MEMBERS;
    if (n <= 1) {
        team.n_members = 1;
        task(arg, &team, 0, 1);
        return 1;
    }
#ifdef __GLIBC__
    team.cpu = sched_getaffinity(0, sizeof team.allowed, &team.allowed) ? -1 : sched_getcpu();
#endif
    pthread_mutex_init(&team.mutex, NULL);
    pthread_cond_init(&team.wake, NULL);
    int started = 1;
    for (; started < n; started++) {
        pthread_attr_t attributes;
        members[started] = (Member){&team, started};
        pthread_attr_init(&attributes);
        spread(&team, started, &attributes);
        int failed = pthread_create(&threads[started], &attributes, member_main, &members[started]);
        pthread_attr_destroy(&attributes);
        if (failed)
            break; /* no more threads to be had: go on with those there are */
    }
    __atomic_store_n(&team.n_members, started, __ATOMIC_SEQ_CST);
    announce(&team);
    task(arg, &team, 0, started);
    for (int i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&team.wake);
    pthread_mutex_destroy(&team.mutex);
    return started;
}

#endif
