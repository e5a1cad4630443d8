/* SHA-256 (FIPS 180-4), by whatever this CPU does fastest. All kernels give the same bits. */
#ifndef LC_SHA256_H
#define LC_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define LC_SHA256_SIZE 32

typedef void (*lc_sha256_blocks)(uint32_t state[8], const uint8_t *data, size_t count);

/* The same blocks into two states: one schedule, and the rounds of one fill the waits of the other. */
typedef void (*lc_sha256_both)(uint32_t one[8], uint32_t two[8], const uint8_t *data, size_t count);

struct lc_sha256_kernel {
    const char *name;
    lc_sha256_blocks blocks;
    lc_sha256_both both;
    int (*runs_here)(void);
};

/* The kernels of this build, fastest first; the last one, "scalar", runs everywhere. Ends with a NULL name. */
extern const struct lc_sha256_kernel lc_sha256_kernels[];

/* The kernel `name`, or for NULL the fastest one; NULL if there is none of that name or this CPU cannot run it. */
const struct lc_sha256_kernel *lc_sha256_choose(const char *name);

struct lc_sha256 {
    const struct lc_sha256_kernel *kernel;
    uint64_t length;
    uint32_t state[8];
    uint8_t rest[64];
};

void lc_sha256_start(struct lc_sha256 *hash, const struct lc_sha256_kernel *kernel);
void lc_sha256_update(struct lc_sha256 *hash, const void *data, size_t size);
/* As two updates, and faster where both have had whole blocks so far. */
void lc_sha256_update_both(struct lc_sha256 *one, struct lc_sha256 *two, const void *data, size_t size);
void lc_sha256_finish(struct lc_sha256 *hash, uint8_t digest[LC_SHA256_SIZE]);

#endif
