/* What every kernel of the layer core shares: how it fails, and how it lets go. No Python here.
 *
 * A kernel returns 0, or -1 with its lc_error filled in; the bindings turn that into OSError. */
#ifndef LC_COMMON_H
#define LC_COMMON_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define LC_PATH_SHOWN 1024 /* bytes of a path that an error keeps */

struct lc_error {
    int err;                   /* errno */
    const char *what;          /* a static sentence, or NULL for strerror(err) */
    int has_path;              /* 0: the trouble is not with a named file */
    size_t path_length;
    char path[LC_PATH_SHOWN];
};

struct lc_text {
    const char *bytes;
    size_t length;
};

/* Returns -1, so that a kernel can say `return lc_fail(...)`. */
static inline int lc_fail(struct lc_error *error, int err, const char *what, const char *path, size_t path_length)
{
    error->err = err;
    error->what = what;
    error->has_path = path != NULL;
    error->path_length = path_length < LC_PATH_SHOWN ? path_length : LC_PATH_SHOWN;
    if (path != NULL)
        memcpy(error->path, path, error->path_length);
    return -1;
}

static inline void lc_close_fd(const int *fd)
{
    if (*fd >= 0) {
        int kept = errno;
        close(*fd);
        errno = kept;
    }
}

#define LC_AUTO_FD __attribute__((cleanup(lc_close_fd))) int

#endif
