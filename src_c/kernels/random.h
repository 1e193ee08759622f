/* Random words, the same for all instruction sets and dtypes. */

/* Threefry-2x32 with 13 rounds: a keyed bijection of pairs of words whose values at successive counters pass TestU01's
 * BigCrush (J. Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC 2011). x0 and x1 are words or vectors. */
#define THREEFRY(k0, k1, x0, x1) \
    do { \
        const uint32_t schedule[3] = {k0, k1, 0x1BD11BDA ^ (k0) ^ (k1)}; \
        x0 += schedule[0], x1 += schedule[1]; \
        ROUND(x0, x1, 13) ROUND(x0, x1, 15) ROUND(x0, x1, 26) ROUND(x0, x1, 6) \
        x0 += schedule[1], x1 += schedule[2] + 1; \
        ROUND(x0, x1, 17) ROUND(x0, x1, 29) ROUND(x0, x1, 16) ROUND(x0, x1, 24) \
        x0 += schedule[2], x1 += schedule[0] + 2; \
        ROUND(x0, x1, 13) ROUND(x0, x1, 15) ROUND(x0, x1, 26) ROUND(x0, x1, 6) \
        x0 += schedule[0], x1 += schedule[1] + 3; \
        ROUND(x0, x1, 17) \
    } while (0)
#define ROUND(x0, x1, r) x0 += x1, x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0;

typedef uint32_t words __attribute__((vector_size(VEC_BYTES)));
enum { BLOCK_WORDS = 32, WORD_LANES = VEC_BYTES / 4 };

/* The key of a row: Threefry of (step, row) with the seed as its key. */
INLINE void row_key(const Counter *c, uint32_t key[2])
{
    key[0] = c->step, key[1] = c->row;
    THREEFRY(c->seed[0], c->seed[1], key[0], key[1]);
}

/* Words 32 block .. 32 block + 31 of a row and stream: of Threefry of (16 block + i, stream), i = 0..15, with the row's
 * key, first the sixteen first words, then the sixteen second ones. */
INLINE void random_words(const uint32_t key[2], uint32_t stream, ptrdiff_t block, uint32_t out[BLOCK_WORDS])
{
    static const uint32_t ramp[BLOCK_WORDS / 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int i = 0; i < BLOCK_WORDS / 2; i += WORD_LANES) {
        words x0, x1 = stream - (words){0};
        memcpy(&x0, ramp + i, sizeof x0);
        x0 += (uint32_t)block * (BLOCK_WORDS / 2);
        THREEFRY(key[0], key[1], x0, x1);
        memcpy(out + i, &x0, sizeof x0);
        memcpy(out + BLOCK_WORDS / 2 + i, &x1, sizeof x1);
    }
}
