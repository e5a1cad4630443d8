/* The owner table's packed form from anybody: it is refused, or what is stored again means the same.
 *
 * Then the first bytes of the input are calls, as the supervisor makes them for a hostile command.
 */
#include <stdlib.h>
#include <string.h>

#include "ownertable.h"
#include "require.h"

static void load_and_store(const uint8_t *data, size_t size)
{
    struct ot_table table, again;
    void *first = NULL, *second = NULL;
    size_t first_size = 0, second_size = 0;

    require(ot_init(&table, 1) == 0 && ot_init(&again, 1) == 0);
    if (ot_load(&table, 0, data, size) == 0) {
        require(ot_store(&table, 0, NULL, 0, &first, &first_size) == 0);
        require(ot_load(&again, 0, first, first_size) == 0);
        require(ot_store(&again, 0, NULL, 0, &second, &second_size) == 0);
        require(first_size == second_size && memcmp(first, second, first_size) == 0);
    }
    free(first);
    free(second);
    ot_free(&table);
    ot_free(&again);
}

static void call(const uint8_t *data, size_t size)
{
    struct ot_table table;
    void *packed = NULL;
    size_t packed_size = 0;
    char names[64];

    require(ot_init(&table, 1) == 0);
    for (size_t at = 0; at + 4 <= size; at += 4) {
        uint64_t ino = 1 + data[at + 1] % 16U;
        struct ot_entry entry = {.ino = ino, .uid = data[at + 2], .gid = data[at + 3], .mode = 0100644};
        struct ot_entry *found = ot_find(&table, 0, ino);
        char name[16] = "user.x";

        name[5] = (char)('a' + data[at + 2] % 8);
        switch (data[at] % 8) {
        case 0:
            require(ot_put(&table, &entry) == 0);
            require(ot_find(&table, 0, ino) != NULL);
            break;
        case 1:
            ot_remove(&table, 0, ino);
            break;
        case 2:
            ot_also(&table, ino, 1 + data[at + 2] % 16U);
            break;
        case 3:
            if (found != NULL)
                ot_xattr_set(&table, found, name, data + at, data[at + 3] % 4U);
            break;
        case 4:
            if (found != NULL)
                ot_xattr_remove(&table, found, name);
            break;
        case 5:
            if (found != NULL)
                ot_xattr_names(&table, found, names, sizeof names);
            break;
        case 6:
            if (found != NULL && !(found->flags & OT_DEAD)) {
                found->flags |= OT_DEAD;
                table.dead++;
            }
            break;
        default:
            ot_drop_dead(&table);
        }
    }
    require(ot_store(&table, 0, NULL, 0, &packed, &packed_size) == 0);
    free(packed);
    ot_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load_and_store(data, size);
    call(data, size);
    return 0;
}
