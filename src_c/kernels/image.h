/* Images distorted. */

/* A word as a number in [-1, 1) */
INLINE REAL NAME(symmetric)(uint32_t word) { return (REAL)(int32_t)word * (REAL)0x1p-31; }

/* One axis' field of displacements, alpha * G(u): element (y, x) at field[y * stride + x] with stride = width + radius.
 * The gaps between rows are zeros while the Gaussian is applied, along y and then along x, to all of it as one row, and
 * so are `radius` rows above and below. Words `first_block` on are u. */
INLINE const REAL *NAME(elastic_field)(const Augmentation *s, const uint32_t key[2], ptrdiff_t first_block, REAL *field,
                                       REAL *scratch)
{
    const ptrdiff_t r = elastic_radius(s), stride = s->width + r, size = s->height * stride, n = s->height * s->width;
    REAL *u = scratch, *down = u + size + 2 * r * stride + r;
    memset(scratch, 0, (size_t)(2 * size + 2 * r * stride + 2 * r) * sizeof(REAL));
    for (ptrdiff_t at = 0; at < n; at += BLOCK_WORDS) {
        uint32_t word[BLOCK_WORDS];
        random_words(key, AUGMENTATION_STREAM, first_block + at / BLOCK_WORDS, word);
        for (int i = 0; i < BLOCK_WORDS; i++)
            field[at + i] = NAME(symmetric)(word[i]);
    }
    u += r * stride;
    for (ptrdiff_t y = 0; y < s->height; y++)
        memcpy(u + y * stride, field + y * s->width, (size_t)s->width * sizeof(REAL));
    memset(field, 0, (size_t)size * sizeof(REAL));
    double total = 0;
    for (ptrdiff_t k = -r; k <= r; k++)
        total += exp(-0.5 * (double)(k * k) / (s->elastic_sigma * s->elastic_sigma));
    for (int pass = 0; pass < 2; pass++)
        for (ptrdiff_t k = -r; k <= r; k++) {
            const double weight = exp(-0.5 * (double)(k * k) / (s->elastic_sigma * s->elastic_sigma)) / total;
            if (pass == 0)
                NAME(add_scaled)(size, (REAL)weight, u + k * stride, down);
            else
                NAME(add_scaled)(size, (REAL)(weight * s->elastic_alpha), down + k, field);
        }
    return field;
}

INLINE void NAME(distort)(const Augmentation *s, const uint32_t key[2], REAL *image, REAL *scratch)
{
    const ptrdiff_t height = s->height, width = s->width, ld = width + 3, stride = width + elastic_radius(s);
    const ptrdiff_t field_blocks = (height * width + BLOCK_WORDS - 1) / BLOCK_WORDS;
    REAL *padded = scratch, *fields = padded + (height + 3) * ld, *rest = fields + 2 * (height * stride + BLOCK_WORDS);
    const REAL *elastic_y = NULL, *elastic_x = NULL;
    uint32_t word[BLOCK_WORDS];
    random_words(key, AUGMENTATION_STREAM, 0, word);
    if (s->elastic_alpha != 0) {
        elastic_y = NAME(elastic_field)(s, key, 1, fields, rest);
        elastic_x = NAME(elastic_field)(s, key, 1 + field_blocks, fields + height * stride + BLOCK_WORDS, rest);
    }
    /* zeros around the image, so that any place within one pixel of it has its four neighbours */
    memset(padded, 0, (size_t)((height + 3) * ld) * sizeof(REAL));
    for (ptrdiff_t y = 0; y < height; y++)
        memcpy(padded + (y + 1) * ld + 1, image + y * width, (size_t)width * sizeof(REAL));
    const double angle = s->rotation * 0.017453292519943295 * (double)NAME(symmetric)(word[2]);
    const double size = 1 + s->scale * (double)NAME(symmetric)(word[3]), shear = s->shear * (double)NAME(symmetric)(word[4]);
    const double c = cos(angle) / size, d = sin(angle) / size;
    /* R(theta) [[1, k], [0, 1]] / s, for (y, x) */
    const REAL yy = (REAL)c, yx = (REAL)(c * shear - d), xy = (REAL)d, xx = (REAL)(d * shear + c);
    const REAL center_y = (REAL)(height - 1) / 2, center_x = (REAL)(width - 1) / 2;
    /* + 1: in the padded image */
    const REAL from_y = center_y + (REAL)s->shift * NAME(symmetric)(word[0]) + 1;
    const REAL from_x = center_x + (REAL)s->shift * NAME(symmetric)(word[1]) + 1;
    const REAL most_y = (REAL)(height + 1), most_x = (REAL)(width + 1);
    for (ptrdiff_t y = 0; y < height; y++) {
        const REAL dy = (REAL)y - center_y;
        for (ptrdiff_t x = 0; x < width; x++) {
            const REAL dx = (REAL)x - center_x;
            REAL at_y = from_y + yy * dy + yx * dx, at_x = from_x + xy * dy + xx * dx;
            if (elastic_y) {
                at_y += elastic_y[y * stride + x];
                at_x += elastic_x[y * stride + x];
            }
            at_y = at_y < 0 ? 0 : at_y > most_y ? most_y : at_y;
            at_x = at_x < 0 ? 0 : at_x > most_x ? most_x : at_x;
            const ptrdiff_t i = (ptrdiff_t)at_y, j = (ptrdiff_t)at_x;
            const REAL v = at_y - (REAL)i, w = at_x - (REAL)j, *p = padded + i * ld + j;
            const REAL upper = p[0] + (p[1] - p[0]) * w, lower = p[ld] + (p[ld + 1] - p[ld]) * w;
            image[y * width + x] = upper + (lower - upper) * v;
        }
    }
}

static void NAME(augment)(ptrdiff_t m, const Augmentation *settings, const Counter *counter, void *a_, ptrdiff_t ld,
                          void *scratch)
{
    Counter c = *counter;
    REAL *a = a_;
    for (ptrdiff_t i = 0; i < m; i++, c.row++, a += ld) {
        uint32_t key[2];
        row_key(&c, key);
        NAME(distort)(settings, key, a, scratch);
    }
}
