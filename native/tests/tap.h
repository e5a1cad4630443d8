/* A test in C says what it found in TAP (testanything.org): `ok 1 - what`, or `not ok`, and exit code 1. */
#ifndef TAP_H
#define TAP_H

#include <stdio.h>

static int tap_count, tap_failed;

#define OK(condition, ...)                                             \
    do {                                                               \
        int tap_good = (condition) != 0;                               \
        tap_failed += !tap_good;                                       \
        printf("%sok %d - ", tap_good ? "" : "not ", ++tap_count);     \
        printf(__VA_ARGS__);                                           \
        printf("%s\n", tap_good ? "" : " (" #condition ")");           \
    } while (0)

static inline int tap_end(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed > 0;
}

#endif
