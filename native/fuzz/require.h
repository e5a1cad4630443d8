/* What every target asks of the code under test. libFuzzer and drive.c take an abort for a crash, and keep the input. */
#ifndef IECHOR_REQUIRE_H
#define IECHOR_REQUIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool held)
{
    if (!held)
        abort();
}

#endif
