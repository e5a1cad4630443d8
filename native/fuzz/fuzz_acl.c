/* POSIX ACLs as a hostile command sets them: what is taken has the three digits of a mode in it, chmod changes those and
 * no other, and what a new file inherits never says more than was asked for.
 *
 *   input   2 bytes of mode; the rest is the ACL
 */
#include <string.h>

#include "fr_super.h"
#include "require.h"

static void born(const unsigned char *acl, size_t length, uint32_t asked)
{
    unsigned char *copy = malloc(length + 1);
    uint32_t mode, again = 0;
    bool extended;

    require(copy != NULL);
    memcpy(copy, acl, length);
    mode = fr_acl_born(copy, length, asked);
    require((mode & ~asked & 0777) == 0 && (mode & ~0777U) == (asked & ~0777U));
    require(fr_acl_mode(copy, length, &again, &extended) == 0 && (again & 0777) == (mode & 0777));
    free(copy);
}

static void change_mode(const unsigned char *acl, size_t length, uint32_t mode)
{
    const struct ot_entry entry = {.ino = 1, .mode = 0100644};
    static struct fr_super super;
    struct ot_entry *kept;
    const void *changed;
    size_t changed_length;
    uint32_t told = 0;
    bool extended;

    require(ot_init(&super.table, 1) == 0 && ot_put(&super.table, &entry) == 0);
    kept = ot_find(&super.table, 0, 1);
    if (ot_xattr_set(&super.table, kept, FR_ACL_ACCESS, acl, length) == 0 && length <= 4096) {
        fr_acl_chmod(&super, kept, mode);
        changed = ot_xattr_get(&super.table, kept, FR_ACL_ACCESS, &changed_length);
        require(changed != NULL && changed_length == length);
        require(fr_acl_mode(changed, length, &told, &extended) == 0 && told == (mode & 0777));
        require(extended == fr_acl_is_extended(acl, length));
    }
    ot_free(&super.table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t asked, mode = 07777;
    unsigned char *acl;
    size_t length;
    bool extended;

    if (size < 2)
        return 0;
    asked = (uint32_t)(data[0] | data[1] << 8) & 07777;
    length = size - 2;
    acl = malloc(length + (length == 0));
    require(acl != NULL);
    memcpy(acl, data + 2, length);
    fr_acl_is_extended(acl, length);
    if (fr_acl_mode(acl, length, &mode, &extended) == 0) {
        require((mode & ~0777U) == 07000 && extended == fr_acl_is_extended(acl, length));
        born(acl, length, asked);
        change_mode(acl, length, asked);
    } else {
        require(mode == 07777);
    }
    free(acl);
    return 0;
}
