/* Who does what, drawn at random: what run.h asks where it is compiled with -DFASTBP_RANDOM_SCHEDULE. */
#ifndef FASTBP_SCHEDULE_H
#define FASTBP_SCHEDULE_H

#include "run.h"

static uint64_t schedule; /* 0: as in production */

#ifdef FASTBP_RANDOM_SCHEDULE
enum { RANDOM_SCHEDULE = 1 };

/* A random number of its own for each key: all members draw the same, whenever they do. */
static uint64_t drawn(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t x = schedule;
    const uint64_t key[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        x = (x ^ key[i]) * 0x9e3779b97f4a7c15;
        x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
        x ^= x >> 32;
    }
    return x;
}

/* The place of number i among so many that are drawn for n things. */
static int rank_of(int i, int many, ptrdiff_t n, uint64_t kind)
{
    int rank = 0;
    for (int j = 0; j < many; j++) {
        const uint64_t other = drawn(kind, (uint64_t)n, (uint64_t)j), mine = drawn(kind, (uint64_t)n, (uint64_t)i);
        rank += other < mine || (other == mine && j < i);
    }
    return rank;
}

/* Where part i of n things begins: random cuts in their order. A share may be empty. */
static ptrdiff_t cut(ptrdiff_t n, int i, int n_members)
{
    for (int j = 0; 0 < i && i < n_members && j < n_members - 1; j++)
        if (rank_of(j, n_members - 1, n, 1) == i - 1) /* which is as the numbers are, scaled to 0..n */
            return (ptrdiff_t)((drawn(1, (uint64_t)n, (uint64_t)j) >> 32) * (uint64_t)(n + 1) >> 32);
    return i == 0 ? 0 : n;
}

Range share(ptrdiff_t n, int member, int n_members)
{
    const int seat = schedule ? rank_of(member, n_members, n, 2) : member;
    if (!schedule)
        return (Range){n * member / n_members, n * (member + 1) / n_members};
    return (Range){cut(n, seat, n_members), cut(n, seat + 1, n_members)};
}

static ptrdiff_t common_divisor(ptrdiff_t a, ptrdiff_t b) { return b ? common_divisor(b, a % b) : a; }

/* i -> a i + b modulo n, which is a permutation where a and n have no common divisor */
ptrdiff_t nth(ptrdiff_t i, ptrdiff_t n)
{
    if (!schedule)
        return i;
    ptrdiff_t a = 1 + (ptrdiff_t)(drawn(3, (uint64_t)n, 0) % (uint64_t)n);
    while (common_divisor(a, n) != 1)
        a++;
    return (a * i + (ptrdiff_t)(drawn(3, (uint64_t)n, 1) % (uint64_t)n)) % n;
}
#else
enum { RANDOM_SCHEDULE = 0 };
#endif

#endif
