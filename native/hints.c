#define _GNU_SOURCE
#include "hints.h"

#define HEAD 1024

static unsigned pair_at(const void *data)
{
    uint16_t pair;
    memcpy(&pair, data, sizeof pair);
    return pair;
}

void lc_hints_prepare(struct lc_hints *hints)
{
    memset(hints->pairs, 0, sizeof hints->pairs);
    for (size_t i = 0; i < hints->count; i++) {
        unsigned pair = pair_at(hints->texts[i].bytes);
        hints->pairs[pair / 8] |= (uint8_t)(1u << pair % 8);
    }
}

int lc_hints_is_text(const uint8_t *data, size_t size)
{
    return memchr(data, '\0', size < HEAD ? size : HEAD) == NULL;
}

static int begins(const struct lc_hints *hints, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < hints->count; i++)
        if (hints->texts[i].length <= size && memcmp(data, hints->texts[i].bytes, hints->texts[i].length) == 0)
            return 1;
    return 0;
}

int lc_hints_found(const struct lc_hints *hints, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        unsigned pair = pair_at(data + i);
        if (hints->pairs[pair / 8] >> pair % 8 & 1 && begins(hints, data + i, size - i))
            return 1;
    }
    return 0;
}
