/* Update rules, and what else pulls at weights or bounds them. */

/* g + the gradient of l1 |w| + l2/2 w^2, with 0 for the subgradient at w = 0 */
INLINE VEC NAME(penalized)(VEC g, VEC w, REAL l1, REAL l2)
{
    const VEC one = NAME(broadcast)(1);
    VEC sign = NAME(select)(w > 0, one, (VEC){0}) - NAME(select)(w < 0, one, (VEC){0});
    return g + w * l2 + sign * l1;
}

/* The proximal operator of t |w|, also called soft threshold: sign(w) max(|w| - t, 0) */
INLINE VEC NAME(soft_threshold)(VEC w, VEC t)
{
    VEC size = NAME(abs)(w) - t;
    size = NAME(select)(size < 0, (VEC){0}, size);
    return NAME(select)(w < 0, -size, size);
}

/* New w from gradient g and state s. Unless `plain`, weight decay comes before the step, and after it the proximal
 * operator of L1 in the rule's own metric; a velocity is then what w has moved by. */
INLINE VEC NAME(rule)(const Rule rule, const int plain, const Update *u, VEC w, VEC g, VEC *s)
{
    /* below the root of the smallest number, g^2 may be 0 where g is not: a smaller epsilon would not bound the step */
    const REAL rate = (REAL)u->learning_rate, momentum = (REAL)u->momentum;
    const REAL epsilon = u->epsilon < (double)SMALLEST_ROOT ? SMALLEST_ROOT : (REAL)u->epsilon;
    VEC next = plain ? w : w - w * (REAL)u->decay, root = NAME(broadcast)(1), *velocity = NULL;
    switch (rule) {
    case NO_RULE:
        break;
    case GRADIENT_DESCENT: /* w <- w - eta g */
        next = next - g * rate;
        break;
    case MOMENTUM: /* v <- mu v - eta g;  w <- w + v */
        s[0] = s[0] * momentum - g * rate;
        next = next + s[0];
        velocity = s;
        break;
    case NESTEROV: /* one more such step from v: w <- w + mu v - eta g */
        s[0] = s[0] * momentum - g * rate;
        next = next + (s[0] * momentum - g * rate);
        break;
    case ADAM: case ADAMW: /* m <- b1 m + (1 - b1) g;  r <- b2 r + (1 - b2) g^2;  w <- w - eta m / (sqrt r + eps) */
        s[0] = s[0] * (REAL)u->beta_1 + g * (REAL)(1 - u->beta_1);
        s[1] = s[1] * (REAL)u->beta_2 + g * g * (REAL)(1 - u->beta_2);
        root = NAME(sqrt)(s[1]) + epsilon;
        next = next - s[0] * rate / root;
        break;
    case ADAGRAD: /* r <- r + g^2;  w <- w - eta g / (sqrt r + eps) */
        s[0] = s[0] + g * g;
        root = NAME(sqrt)(s[0]) + epsilon;
        next = next - g * rate / root;
        break;
    case RMSPROP: case RMSPROP_MOMENTUM: case RMSPROP_CENTERED:
        /* r <- b2 r + (1 - b2) g^2;  v <- mu v - eta g / (sqrt r + eps);  w <- w + v; centered, r is less the square of
         * m <- b2 m + (1 - b2) g */
        s[0] = s[0] * (REAL)u->beta_2 + g * g * (REAL)(1 - u->beta_2);
        VEC r = s[0];
        if (rule == RMSPROP_CENTERED) {
            s[2] = s[2] * (REAL)u->beta_2 + g * (REAL)(1 - u->beta_2);
            r = r - s[2] * s[2];
            r = NAME(select)(r < 0, (VEC){0}, r); /* by rounding */
        }
        root = NAME(sqrt)(r) + epsilon;
        if (rule == RMSPROP) {
            next = next - g * rate / root;
        } else {
            s[1] = s[1] * momentum - g * rate / root;
            next = next + s[1];
            velocity = s + 1;
        }
        break;
    }
    if (!plain && u->proximal * u->l1 != 0) {
        next = NAME(soft_threshold)(next, (REAL)(u->proximal * u->l1) / root);
        if (velocity)
            *velocity = next - w;
    }
    return next;
}

/* The sum of squares of factor * (the gradient with that of the penalties), and the largest size of an element */
INLINE double NAME(squares)(const Update *u, ptrdiff_t n, const REAL *w, const REAL *g, REAL factor, REAL *largest)
{
    const REAL l1 = u->proximal == 0 ? (REAL)u->l1 : 0, l2 = (REAL)u->l2;
    const ptrdiff_t block = NAME(BLOCK_DEPTH) * LANES;
    VEC top = {0};
    Total total = {0, 0};
    for (ptrdiff_t begin = 0; begin < n; begin += block) {
        const ptrdiff_t end = n - begin < block ? n : begin + block;
        VEC sum = {0};
        for (ptrdiff_t i = begin; i < end; i += LANES) {
            const NAME(mask) mask = NAME(first)(end - i < LANES ? end - i : LANES);
            const VEC all = NAME(penalized)(NAME(load_masked)(g + i, mask), NAME(load_masked)(w + i, mask), l1, l2);
            const VEC size = NAME(abs)(all), e = all * factor;
            top = NAME(select)(size > top, size, top);
            sum += e * e;
        }
        add_to(&total, (double)NAME(sum)(sum));
    }
    *largest = NAME(largest)(top);
    return value_of(&total);
}

/* Where the squares overflow, or underflow by more than rounding, they are taken again of numbers near 1. */
static double NAME(norm)(const Update *u, ptrdiff_t n, const void *w, const void *g)
{
    REAL largest;
    int exponent;
    double squares = NAME(squares)(u, n, w, g, 1, &largest);
    if ((squares < (double)INFINITY && squares > (double)SMALLEST * 0x1p60) || !(largest > 0 && largest < (REAL)INFINITY))
        return sqrt(squares);
    frexp((double)largest, &exponent);
    exponent = exponent < -BIAS + 24 ? -BIAS + 24 : exponent; /* so that its inverse is finite */
    squares = NAME(squares)(u, n, w, g, (REAL)ldexp(1, -exponent), &largest);
    return ldexp(sqrt(squares), exponent);
}

/* New w from gradient g, to which what the penalties add is added, and state s; the gradient is bounded unless `plain`. Adds w^2 and
 * |w| to what the penalty is made of. */
INLINE VEC NAME(step_with)(const Rule rule, const int plain, const Update *u, VEC w, VEC g, VEC *s, VEC *squares, VEC *sizes)
{
    const REAL l1 = plain || u->proximal == 0 ? (REAL)u->l1 : 0, l2 = (REAL)u->l2;
    const double shrinking = u->scale < 0x1p-100 ? 0x1p-100 : 1; /* in two steps: the factor of a huge norm may be subnormal */
    const REAL scale = (REAL)(u->scale / shrinking), shrink = (REAL)shrinking;
    const VEC clip = NAME(broadcast)((REAL)u->clip);
    if (u->l1 != 0 || u->l2 != 0) {
        *squares += w * w;
        *sizes += NAME(abs)(w);
        g = NAME(penalized)(g, w, l1, l2);
    }
    if (!plain && (u->scale != 1 || u->clip != INFINITY)) {
        g = g * shrink * scale;
        g = NAME(select)(g > clip, clip, g);
        g = NAME(select)(g < -clip, -clip, g);
    }
    return NAME(rule)(rule, plain, u, w, g, s);
}

/* Whether a step is one of the rule alone, but for penalties added to the gradient. */
INLINE int NAME(is_plain)(const Update *u)
{
    return u->scale == 1 && u->clip == INFINITY && u->decay == 0 && u->proximal == 0;
}

/* The penalty of weights whose squares and sizes these sums have */
INLINE double NAME(penalty_of)(const Update *u, VEC squares, VEC sizes)
{
    return u->l1 != 0 || u->l2 != 0 ? 0.5 * u->l2 * (double)NAME(sum)(squares) + u->l1 * (double)NAME(sum)(sizes) : 0;
}

/* The rules with the numbers of their arrays of state, for a switch; ADAMW differs from ADAM in the epsilon that it is given. */
#define FOR_EACH_RULE(CASE) \
    CASE(GRADIENT_DESCENT, 0) CASE(MOMENTUM, 1) CASE(NESTEROV, 1) case ADAMW: CASE(ADAM, 2) CASE(ADAGRAD, 1) CASE(RMSPROP, 1) \
    CASE(RMSPROP_MOMENTUM, 2) CASE(RMSPROP_CENTERED, 3)

/* Returns the bits that new states have among them. Without penalties the loop asks for nothing at each vector: GCC does not take the
 * question out of it by itself. */
INLINE IVEC NAME(update_by)(const Rule rule, const int n_states, const int plain, const int penalized, const Update *update,
                            ptrdiff_t n, REAL *w, const REAL *g, REAL *const *states, double *penalty)
{
    Update u = *update; /* which no store to the arrays may change */
    const ptrdiff_t whole = n - n % LANES;
    VEC squares = {0}, sizes = {0}, s[MAX_STATES] = {0};
    IVEC bits = {0};
    REAL *state[MAX_STATES];
    if (!penalized)
        u.l1 = u.l2 = 0;
    for (int j = 0; j < n_states; j++)
        state[j] = states[j];
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        for (int j = 0; j < n_states; j++)
            s[j] = NAME(load)(state[j] + i);
        NAME(store)(w + i, NAME(step_with)(rule, plain, &u, NAME(load)(w + i), NAME(load)(g + i), s, &squares, &sizes));
        for (int j = 0; j < n_states; j++) {
            NAME(store)(state[j] + i, s[j]);
            bits |= (IVEC)s[j];
        }
    }
    if (whole < n) {
        const NAME(mask) mask = NAME(first)(n - whole);
        const VEC wi = NAME(load_masked)(w + whole, mask), gi = NAME(load_masked)(g + whole, mask);
        for (int j = 0; j < n_states; j++)
            s[j] = NAME(load_masked)(state[j] + whole, mask);
        NAME(store_masked)(w + whole, mask, NAME(step_with)(rule, plain, &u, wi, gi, s, &squares, &sizes));
        for (int j = 0; j < n_states; j++) {
            NAME(store_masked)(state[j] + whole, mask, s[j]);
            bits |= (IVEC)s[j];
        }
    }
    *penalty += NAME(penalty_of)(&u, squares, sizes);
    return bits;
}

/* n_steps updates of n weights from gradients of 0; then states and w take their factors. */
INLINE void NAME(rest_by)(const Rule rule, const int n_states, const Update *update, const StepSettings *steps, ptrdiff_t n_steps,
                          const double *factors, ptrdiff_t n, REAL *w, REAL *const *states)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const NAME(mask) mask = NAME(first)(n - i < LANES ? n - i : LANES);
        VEC wi = NAME(load_masked)(w + i, mask), s[MAX_STATES] = {0};
        Update u = *update;
        for (int j = 0; j < n_states; j++)
            s[j] = NAME(load_masked)(states[j] + i, mask);
        for (ptrdiff_t t = 0; t < n_steps; t++) {
            u.learning_rate = steps[t].learning_rate, u.epsilon = steps[t].epsilon, u.decay = steps[t].decay;
            wi = NAME(rule)(rule, 0, &u, wi, (VEC){0}, s);
        }
        NAME(store_masked)(w + i, mask, wi * (REAL)factors[MAX_STATES]);
        for (int j = 0; j < n_states; j++)
            NAME(store_masked)(states[j] + i, mask, s[j] * (REAL)factors[j]);
    }
}

static void NAME(update_at_rest)(const Update *u, const StepSettings *steps, ptrdiff_t n_steps, const double *factors, ptrdiff_t n, void *w,
                                 void *const *states)
{
    switch (u->rule) {
#define CASE(RULE, N_STATES) \
    case RULE: \
        NAME(rest_by)(RULE, N_STATES, u, steps, n_steps, factors, n, w, (REAL *const *)states); \
        break;
        FOR_EACH_RULE(CASE)
#undef CASE
    case NO_RULE:
        break;
    }
}

static void NAME(average)(double share_, ptrdiff_t n, const void *w_, void *average_)
{
    const REAL share = (REAL)share_, *w = w_;
    REAL *average = average_;
    const ptrdiff_t whole = n - n % LANES;
    for (ptrdiff_t i = 0; i < whole; i += LANES) {
        const VEC a = NAME(load)(average + i);
        NAME(store)(average + i, a + (NAME(load)(w + i) - a) * share);
    }
    if (whole < n) {
        const NAME(mask) mask = NAME(first)(n - whole);
        const VEC a = NAME(load_masked)(average + whole, mask);
        NAME(store_masked)(average + whole, mask, a + (NAME(load_masked)(w + whole, mask) - a) * share);
    }
}

static int NAME(update)(const Update *u, ptrdiff_t n, void *w_, const void *g_, void *const *states_, double *penalty)
{
    const int plain = NAME(is_plain)(u), penalized = u->l1 != 0 || u->l2 != 0;
    const ptrdiff_t block = NAME(BLOCK_DEPTH) * LANES; /* of the sums that make the penalty */
    Total penalties = {0, 0};
    IVEC bits = {0};
    for (ptrdiff_t at = 0; at < n; at += block) {
        const ptrdiff_t size = n - at < block ? n - at : block;
        double part = 0;
        REAL *w = (REAL *)w_ + at, *states[MAX_STATES];
        const REAL *g = (const REAL *)g_ + at;
        for (int j = 0; j < MAX_STATES; j++)
            states[j] = states_[j] ? (REAL *)states_[j] + at : NULL;
        switch (u->rule) {
#define CASE(RULE, N_STATES) \
    case RULE: \
        if (plain && !penalized) \
            bits |= NAME(update_by)(RULE, N_STATES, 1, 0, u, size, w, g, states, &part); \
        else if (plain) \
            bits |= NAME(update_by)(RULE, N_STATES, 1, 1, u, size, w, g, states, &part); \
        else \
            bits |= NAME(update_by)(RULE, N_STATES, 0, 1, u, size, w, g, states, &part); \
        break;
            FOR_EACH_RULE(CASE)
#undef CASE
        case NO_RULE:
            NAME(update_by)(NO_RULE, 0, 1, 1, u, size, w, g, states, &part);
            break;
        }
        if (u->average != 0)
            NAME(average)(u->average, size, w, states[AVERAGE]);
        add_to(&penalties, part);
    }
    *penalty += value_of(&penalties);
    return !NAME(any)(bits << 1 < 0); /* of 2 and more, of infinity and NaN the exponent's first bit is set */
}

static double NAME(tie)(ptrdiff_t m, ptrdiff_t n, double strength, const void *a_, ptrdiff_t lda, const void *b_,
                        ptrdiff_t ldb, void *g_, ptrdiff_t ldg)
{
    const NAME(mask) mask = NAME(first)(n);
    const REAL *a = a_, *b = b_;
    REAL *g = g_;
    Total total = {0, 0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC squares = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++, a += lda, b += ldb, g += ldg) {
            const VEC e = NAME(load_masked)(a, mask) - NAME(load_masked)(b, mask);
            squares += e * e;
            NAME(store_masked)(g, mask, NAME(load_masked)(g, mask) + e * (REAL)strength);
        }
        add_to(&total, (double)NAME(sum)(squares));
    }
    return value_of(&total);
}

/* Norms of the columns of factor * W (m, n), n <= lanes */
INLINE VEC NAME(column_norms)(ptrdiff_t m, NAME(mask) mask, const REAL *w, ptrdiff_t ld, VEC factor)
{
    VEC total = {0};
    for (ptrdiff_t i = 0, end; i < m; i = end) {
        VEC squares = {0};
        end = m - i < NAME(BLOCK_DEPTH) ? m : i + NAME(BLOCK_DEPTH);
        for (ptrdiff_t r = i; r < end; r++) {
            const VEC row = NAME(load_masked)(w + r * ld, mask) * factor;
            squares += row * row;
        }
        total += squares;
    }
    return NAME(sqrt)(total);
}

/* The power of two below the largest size of an element of each column of W (m, n), n <= lanes; 1 where that is 0 or not finite */
INLINE VEC NAME(column_powers)(ptrdiff_t m, NAME(mask) mask, const REAL *w, ptrdiff_t ld)
{
    const INT exponent_bits = (INT)(REAL_BITS == 32 ? 0xff : 0x7ff) << MANTISSA;
    const VEC one = NAME(broadcast)(1);
    VEC largest = {0};
    for (ptrdiff_t i = 0; i < m; i++) {
        const VEC size = NAME(abs)(NAME(load_masked)(w + i * ld, mask));
        largest = NAME(select)(size > largest, size, largest);
    }
    return (VEC)((IVEC)NAME(select)((largest >= SMALLEST) & (largest < (REAL)INFINITY), largest, one) & exponent_bits);
}

/* Where squares may overflow or underflow, the columns are divided by powers of two first. */
static int NAME(bound_columns)(ptrdiff_t m, ptrdiff_t n, void *w_, ptrdiff_t ld, double most_)
{
    const REAL most = (REAL)most_, large = 0x1p60;
    const NAME(mask) mask = NAME(first)(n);
    const VEC one = NAME(broadcast)(1);
    REAL *w = w_;
    VEC scale = one, norm = NAME(column_norms)(m, mask, w, ld, scale);
    REAL norms[LANES], scales[LANES], factors[LANES];
    int any = 0;
    NAME(store)(norms, norm);
    for (ptrdiff_t j = 0; j < n; j++)
        any |= !(norms[j] < large);
    if (any || most < 1 / large) {
        scale = one / NAME(column_powers)(m, mask, w, ld);
        NAME(store)(norms, NAME(column_norms)(m, mask, w, ld, scale));
        any = 0;
    }
    NAME(store)(scales, scale);
    NAME(store)(factors, one);
    for (ptrdiff_t j = 0; j < n; j++) {
        const int above = norms[j] > scales[j] * most;
        factors[j] = above ? most / norms[j] : 1;
        scales[j] = above ? scales[j] : 1;
        any |= above;
    }
    if (!any)
        return 0;
    for (ptrdiff_t i = 0; i < m; i++) {
        const VEC row = NAME(load_masked)(w + i * ld, mask) * NAME(load)(scales) * NAME(load)(factors);
        NAME(store_masked)(w + i * ld, mask, row);
    }
    return 1;
}
