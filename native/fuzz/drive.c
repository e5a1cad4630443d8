/* Where there is no libFuzzer (gcc): the targets' inputs are made by chance alone, from the files given or from nothing.
 *
 *   TARGET -max_total_time=SECONDS [-seed=N] [FILE…]     as libFuzzer has it; a crash leaves its input in "crash-input"
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LONGEST 4096
#define SEEDS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t input[LONGEST], seeds[SEEDS][LONGEST];
static size_t input_size, seed_size[SEEDS], seed_count;
static uint64_t state = 88172645463325252ULL;
static int place; /* where we were started: a target may go elsewhere */

static uint64_t chance(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static void read_seed(const char *path)
{
    FILE *file = fopen(path, "rb");

    if (file == NULL || seed_count == SEEDS)
        return;
    seed_size[seed_count] = fread(seeds[seed_count], 1, LONGEST, file);
    seed_count++;
    fclose(file);
}

static void make_input(void)
{
    size_t changes = 1 + chance(8);

    if (seed_count != 0 && chance(8) != 0) {
        size_t seed = chance(seed_count);

        input_size = seed_size[seed];
        memcpy(input, seeds[seed], input_size);
    } else {
        input_size = chance(300);
        for (size_t i = 0; i < input_size; i++)
            input[i] = (uint8_t)chance(256);
    }
    for (; changes > 0 && input_size > 0; changes--) {
        static const uint8_t ODD[] = {0, 1, 0x7f, 0x80, 0xff};
        size_t at = chance(input_size);

        switch (chance(4)) {
        case 0:
            input[at] ^= (uint8_t)(1U << chance(8));
            break;
        case 1:
            input[at] = ODD[chance(sizeof ODD)];
            break;
        case 2:
            input_size = at + 1;
            break;
        default:
            if (input_size + 8 <= LONGEST)
                for (int i = 0; i < 8; i++)
                    input[input_size++] = (uint8_t)chance(256);
        }
    }
}

static void keep_input(int number)
{
    int fd = openat(place, "crash-input", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

    if (fd < 0 || write(fd, input, input_size) != (ssize_t)input_size)
        perror("the input is not kept");
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    time_t end = time(NULL) + 5;
    uint64_t runs = 0;

    place = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    signal(SIGABRT, keep_input);
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "-max_total_time=", 16) == 0)
            end = time(NULL) + atoi(argv[i] + 16);
        else if (strncmp(argv[i], "-seed=", 6) == 0)
            state += strtoull(argv[i] + 6, NULL, 10) * 7919;
        else
            read_seed(argv[i]);
    for (; time(NULL) < end; runs++) {
        make_input();
        LLVMFuzzerTestOneInput(input, input_size);
    }
    printf("Done %llu runs\n", (unsigned long long)runs);
    return 0;
}
