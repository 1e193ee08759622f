/* A team whose members take turns: each runs alone until it comes to a barrier, then one of those that have not come there, at
 * random. Members that touch the same without a barrier between then meet it in another order than with one member, and the
 * result has other bits. In the place of src_c/team.c. */
#include "team.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_MEMBERS = 8 };

struct Team {
    TeamTask task;
    void *arg;
    int n_members, turn; /* whose it is */
    int waits[MAX_MEMBERS], done[MAX_MEMBERS];
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

typedef struct {
    Team *team;
    int member;
} Member;

double team_clock(void)
{
    static double seconds; /* read by member 0 alone: a millisecond each time, so that runs are repeatable */
    return seconds += 1e-3;
}

/* Give the turn to a member that can go on, if there is one; all can once all wait. */
static void pass_turn(Team *team)
{
    static uint32_t random = 1;
    int able[MAX_MEMBERS], n_able = 0, n_waiting = 0, n_done = 0;
    for (int i = 0; i < team->n_members; i++) {
        n_waiting += team->waits[i], n_done += team->done[i];
        if (!team->waits[i] && !team->done[i])
            able[n_able++] = i;
    }
    if (n_able == 0 && n_waiting > 0 && n_done > 0)
        abort(); /* they would wait for ever */
    for (int i = 0; n_waiting == team->n_members && i < n_waiting; i++)
        team->waits[i] = 0, able[n_able++] = i;
    random = random * 1664525 + 1013904223;
    team->turn = n_able ? able[(random >> 16) % (uint32_t)n_able] : -1;
    pthread_cond_broadcast(&team->changed);
}

static void await_turn(Team *team, int member)
{
    while (team->turn != member)
        pthread_cond_wait(&team->changed, &team->mutex);
}

void team_barrier(Team *team)
{
    if (team->n_members == 1)
        return;
    const int member = team->turn;
    pthread_mutex_lock(&team->mutex);
    team->waits[member] = 1;
    pass_turn(team);
    await_turn(team, member);
    pthread_mutex_unlock(&team->mutex);
}

static void *member_main(void *arg)
{
    Team *team = ((Member *)arg)->team;
    const int member = ((Member *)arg)->member;
    pthread_mutex_lock(&team->mutex);
    await_turn(team, member);
    pthread_mutex_unlock(&team->mutex);
    team->task(team->arg, team, member, team->n_members);
    pthread_mutex_lock(&team->mutex);
    team->done[member] = 1;
    pass_turn(team);
    pthread_mutex_unlock(&team->mutex);
    return NULL;
}

int team_run(int n, TeamTask task, void *arg, double linger)
{
    (void)linger;
    pthread_t threads[MAX_MEMBERS];
    Member members[MAX_MEMBERS];
    Team team = {.task = task, .arg = arg, .n_members = n, .turn = -1};
    pthread_mutex_init(&team.mutex, NULL);
    pthread_cond_init(&team.changed, NULL);
    for (int i = 0; i < n; i++) {
        members[i] = (Member){&team, i};
        if (pthread_create(&threads[i], NULL, member_main, &members[i]))
            return 0;
    }
    pthread_mutex_lock(&team.mutex);
    pass_turn(&team);
    pthread_mutex_unlock(&team.mutex);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&team.changed);
    pthread_mutex_destroy(&team.mutex);
    return n;
}
