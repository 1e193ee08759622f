#define _GNU_SOURCE /* for sched_getcpu and CPU sets, on Linux */
#include "team.h"

#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32 /* where there is no fork, and winpthreads' macro leaves the function unused */
#undef pthread_atfork
#define pthread_atfork(before, parent, child) ((void)(child))
#endif

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

/* Wait until all members are started, on a processor of its own from which it is free to go on. */
static void begin(Team *team)
{
#ifdef __GLIBC__
    if (team->cpu >= 0)
        sched_setaffinity(0, sizeof team->allowed, &team->allowed);
#endif
    await_change(team, &team->n_members, 0);
}

static void *member_main(void *arg)
{
    const Member *me = arg;
    flush_subnormals(); /* which threads have from their creator on Linux alone */
    begin(me->team);
    me->team->task(me->team->arg, me->team, me->member, me->team->n_members);
    return NULL;
}

static void find_processors(Team *team)
{
#ifdef __GLIBC__
    team->cpu = sched_getaffinity(0, sizeof team->allowed, &team->allowed) ? -1 : sched_getcpu();
#else
    (void)team;
#endif
}

/* Start the others, as many as there are threads to be had; returns the number of all. */
static int start(Team *team, int n, void *(*main)(void *), int detached, pthread_t *threads, Member *members)
{
    int started = 1;
    for (; started < n; started++) {
        pthread_attr_t attributes;
        members[started] = (Member){team, started};
        pthread_attr_init(&attributes);
        if (detached)
            pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        spread(team, started, &attributes);
        const int failed = pthread_create(&threads[started], &attributes, main, &members[started]);
        pthread_attr_destroy(&attributes);
        if (failed)
            break;
    }
    return started;
}

/* ---- a team that stays ----------------------------------------------------------------------------------------------------- */

/* Of calls that follow each other at once, the next finds the members of the last one: they spin until it comes, and leave when
 * it has not come in time. The process has one such team; a call that finds it taken has another one, for itself. */
static struct {
    Team team;
    int taken;          /* by a call */
    int call;           /* its number: odd while it runs, then even; 0 once the members are to leave */
    int working;        /* members, but for the caller, that are not done with it */
    int present;        /* and that have not left */
    double linger;      /* how long they stay after it */
    fenv_t environment; /* of the caller's arithmetic, which new threads have anyway */
    Member members[MAX_MEMBERS];
} standing = {.team = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER}};

/* A child of fork has none of its members. */
static void forget_standing(void)
{
    memset(&standing, 0, sizeof standing);
    pthread_mutex_init(&standing.team.mutex, NULL);
    pthread_cond_init(&standing.team.wake, NULL);
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_standing); }

/* Whether there is another call after this one. */
static int stays(int call)
{
    double end = 0;
    await_change(&standing.team, &standing.call, call); /* until all are done */
    for (;;) {
        for (int i = 0; i < 64; i++) {
            const int now = __atomic_load_n(&standing.call, __ATOMIC_ACQUIRE);
            if (now != call + 1)
                return now != 0;
            pause_cpu();
        }
        const double t = team_clock();
        int idle = call + 1;
        if (end == 0)
            end = t + standing.linger;
        else if (t > end && __atomic_compare_exchange_n(&standing.call, &idle, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return 0;
    }
}

static void *standing_main(void *arg)
{
    const Member *me = arg;
    Team *team = &standing.team;
    begin(team);
    for (int call = 1;; call += 2) {
        fesetenv(&standing.environment);
        team->task(team->arg, team, me->member, team->n_members);
        if (__atomic_sub_fetch(&standing.working, 1, __ATOMIC_SEQ_CST) == 0)
            announce(team);
        if (!stays(call))
            break;
    }
    __atomic_sub_fetch(&standing.present, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Whether a team of n is there, and has this call; it is told all that it needs to know. */
static int call_standing(int n)
{
    Team *team = &standing.team;
    int call = __atomic_load_n(&standing.call, __ATOMIC_ACQUIRE);
    const int fits = call > 0 && call < 1 << 30 && team->n_members == n;
#ifdef __GLIBC__
    cpu_set_t allowed;
    const int there = fits && team->cpu >= 0 && sched_getaffinity(0, sizeof allowed, &allowed) == 0 &&
                      CPU_EQUAL(&allowed, &team->allowed);
#else
    const int there = fits;
#endif
    standing.working = n - 1;
    if (there && __atomic_compare_exchange_n(&standing.call, &call, call + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return 1;
    __atomic_store_n(&standing.call, 0, __ATOMIC_RELEASE);
    return 0;
}

/* team_run by the standing team; 0 where it is taken. */
static int run_standing(int n, TeamTask task, void *arg, double linger)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_t threads[MAX_MEMBERS];
    Team *team = &standing.team;
    if (__atomic_exchange_n(&standing.taken, 1, __ATOMIC_ACQUIRE))
        return 0;
    team->task = task;
    team->arg = arg;
    fegetenv(&standing.environment);
    if (!call_standing(n)) {
        pthread_once(&once, watch_forks);
        while (__atomic_load_n(&standing.present, __ATOMIC_ACQUIRE)) /* they are on their way */
            sched_yield();
        team->n_members = 0;
        team->arrived = team->generation = 0;
        __atomic_store_n(&standing.call, 1, __ATOMIC_RELEASE);
        standing.working = standing.present = n - 1;
        find_processors(team);
        const int started = start(team, n, standing_main, 1, threads, standing.members);
        __atomic_sub_fetch(&standing.working, n - started, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&standing.present, n - started, __ATOMIC_RELAXED);
        __atomic_store_n(&team->n_members, started, __ATOMIC_SEQ_CST);
        announce(team);
    }
    const int n_members = team->n_members, call = __atomic_load_n(&standing.call, __ATOMIC_RELAXED);
    task(arg, team, 0, n_members);
    for (int left; (left = __atomic_load_n(&standing.working, __ATOMIC_ACQUIRE)) > 0;)
        await_change(team, &standing.working, left);
    standing.linger = linger;
    __atomic_store_n(&standing.call, linger > 0 && n_members > 1 ? call + 1 : 0, __ATOMIC_SEQ_CST);
    announce(team);
    __atomic_store_n(&standing.taken, 0, __ATOMIC_RELEASE);
    return n_members;
}

/* ---- any team -------------------------------------------------------------------------------------------------------------- */

static int run_team(int n, TeamTask task, void *arg, double linger)
{
    pthread_t threads[MAX_MEMBERS];
    Member members[MAX_MEMBERS];
    Team team = {.task = task, .arg = arg};
    int started = 0;
    if (n > MAX_MEMBERS)
        n = MAX_MEMBERS;
    if (n <= 1) {
        team.n_members = 1;
        task(arg, &team, 0, 1);
        return 1;
    }
    if (linger > 0 || __atomic_load_n(&standing.call, __ATOMIC_RELAXED) > 0)
        started = run_standing(n, task, arg, linger);
    if (started)
        return started;
    find_processors(&team);
    pthread_mutex_init(&team.mutex, NULL);
    pthread_cond_init(&team.wake, NULL);
    started = start(&team, n, member_main, 0, threads, members);
    __atomic_store_n(&team.n_members, started, __ATOMIC_SEQ_CST);
    announce(&team);
    task(arg, &team, 0, started);
    for (int i = 1; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&team.wake);
    pthread_mutex_destroy(&team.mutex);
    return started;
}

/* Members flush subnormal numbers as the calling thread does. */
int team_run(int n, TeamTask task, void *arg, double linger)
{
    const FloatMode mode = flush_subnormals();
    const int started = run_team(n, task, arg, linger);
    restore_mode(mode);
    return started;
}
