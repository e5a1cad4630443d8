/* Fixed texts looked for in small text files as they pass: a file that holds one is looked at again, by Python.
 * (secretscan.py: what tells a secret. Which texts, and what they mean, is not known here.) */
#ifndef LC_HINTS_H
#define LC_HINTS_H

#include "lc_common.h"

struct lc_hints {
    const struct lc_text *texts; /* each of 2 bytes at least */
    size_t count;
    uint64_t largest;            /* files of this size and more are passed over */
    uint8_t pairs[65536 / 8];    /* which two bytes a text begins with */
};

void lc_hints_prepare(struct lc_hints *hints);

/* A NUL among the first bytes: no text. */
int lc_hints_is_text(const uint8_t *data, size_t size);

int lc_hints_found(const struct lc_hints *hints, const uint8_t *data, size_t size);

#endif
