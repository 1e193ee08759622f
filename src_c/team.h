/* A team of threads that run one function together.
 *
 * The threads are started for a run and joined at its end (some 20 microseconds each): a process that forks between
 * runs therefore has none to lose, and two runs at once have nothing in common. Where runs of some microseconds follow each
 * other at once, the threads may linger for the next one, so long as it is told, and spin; a fork's child has others. */
#ifndef FASTBP_TEAM_H
#define FASTBP_TEAM_H

typedef struct Team Team;
typedef void (*TeamTask)(void *arg, Team *team, int member, int n_members);

/* Run task on up to n members; the caller is member 0. The others are there for the next run for `linger` seconds. Returns how many
 * there were. */
int team_run(int n, TeamTask task, void *arg, double linger);
/* Wait until all members are here: spin for some 100 microseconds, then sleep. */
void team_barrier(Team *team);
/* A clock in seconds that does not go back. */
double team_clock(void);

#endif
