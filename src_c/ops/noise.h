/* What is random in training: dropout and noise. */

static void NAME(dropout)(ptrdiff_t m, ptrdiff_t n, double rate, const Counter *counter, ptrdiff_t first, void *a_,
                          ptrdiff_t ld)
{
    const uint32_t threshold = (uint32_t)(rate * 0x1p32);
    const REAL scale = (REAL)(1 / (1 - rate));
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2], word[BLOCK_WORDS];
        row_key(&c, key);
        for (ptrdiff_t at = first / BLOCK_WORDS * BLOCK_WORDS; at < first + n; at += BLOCK_WORDS) {
            random_words(key, c.stream, at / BLOCK_WORDS, word);
            REAL *to = a + (at - first);
            const ptrdiff_t begin = at < first ? first - at : 0, end = first + n - at;
            if (begin == 0 && end >= BLOCK_WORDS)
                for (int j = 0; j < BLOCK_WORDS; j++)
                    to[j] = word[j] < threshold ? 0 : to[j] * scale;
            else
                for (ptrdiff_t j = begin; j < end && j < BLOCK_WORDS; j++)
                    to[j] = word[j] < threshold ? 0 : to[j] * scale;
        }
    }
}

/* Box-Muller: word i gives the radius sqrt(-2 ln u), word 16 + i the angle, of two normal numbers. The angle is one in
 * [-pi/4, pi/4), for whose sine and cosine Taylor's series are short, and a quarter turn for each of four values of two
 * bits of the word. */
INLINE void NAME(normal_numbers)(const uint32_t word[BLOCK_WORDS], REAL out[BLOCK_WORDS])
{
    enum { HALF = BLOCK_WORDS / 2 };
    REAL u[HALF], angle[HALF], turn_y[HALF], sign_x[HALF], sign_y[HALF];
    for (int i = 0; i < HALF; i++) {
        u[i] = (REAL)(int32_t)(word[i] >> 1) * (REAL)0x1p-31 + (REAL)0x1p-32;
        angle[i] = ((REAL)(int32_t)(word[HALF + i] >> 2) * (REAL)0x1p-30 - (REAL)0.5) * (REAL)1.5707963267948966;
        turn_y[i] = (REAL)(int32_t)(word[HALF + i] & 1);
        sign_x[i] = word[HALF + i] & 2 ? -1 : 1;
        sign_y[i] = turn_y[i] != 0 ? -sign_x[i] : sign_x[i];
    }
    for (int i = 0; i < HALF; i += LANES) {
        const VEC x = NAME(load)(angle + i), z = x * x;
        const VEC r = NAME(sqrt)(NAME(vlog)(NAME(load)(u + i)) * (REAL)-2);
        VEC sine = NAME(broadcast)(1), cosine = sine;
        for (int t = REAL_BITS == 32 ? 5 : 9; t > 0; t--) {
            sine = (REAL)1 - sine * z * (REAL)(1.0 / (2 * t * (2 * t + 1)));
            cosine = (REAL)1 - cosine * z * (REAL)(1.0 / (2 * t * (2 * t - 1)));
        }
        sine *= x;
        const IVEC turned = NAME(load)(turn_y + i) != 0; /* by a quarter: (c, s) -> (-s, c) */
        NAME(store)(out + i, r * NAME(load)(sign_y + i) * NAME(select)(turned, sine, cosine));
        NAME(store)(out + HALF + i, r * NAME(load)(sign_x + i) * NAME(select)(turned, cosine, sine));
    }
}

static void NAME(add_noise)(ptrdiff_t m, ptrdiff_t n, double sigma, const Counter *counter, void *a_, ptrdiff_t ld)
{
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2], word[BLOCK_WORDS];
        REAL normal[BLOCK_WORDS];
        row_key(&c, key);
        for (ptrdiff_t at = 0; at < n; at += BLOCK_WORDS) {
            random_words(key, NOISE_STREAM, at / BLOCK_WORDS, word);
            NAME(normal_numbers)(word, normal);
            NAME(add_scaled)(n - at < BLOCK_WORDS ? n - at : BLOCK_WORDS, (REAL)sigma, normal, a + at);
        }
    }
}

static void NAME(undo_scale)(ptrdiff_t n, double rate, const void *a_, void *out_)
{
    const REAL *a = a_, scale = (REAL)(1 / (1 - rate));
    REAL *out = out_;
    for (ptrdiff_t j = 0; j < n; j++)
        out[j] = a[j] / scale;
}

static void NAME(scale_kept)(ptrdiff_t m, ptrdiff_t n, double rate, void *a_, ptrdiff_t ld)
{
    const REAL scale = (REAL)(1 / (1 - rate));
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, a += ld)
        for (ptrdiff_t j = 0; j < n; j++)
            a[j] *= scale;
}
