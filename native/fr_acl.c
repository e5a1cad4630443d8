/* POSIX ACLs in the table, acl(5): what they make of a mode, what chmod makes of them, what a new file inherits.
 * Packed as setxattr(2) has them: u32 version 2, then entries {u16 tag, u16 permissions, u32 id}, little endian.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fr_super.h"

enum { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

#define HEADER 4U
#define ENTRY 8U
#define ACL_MAX 4096U

int fr_acl_mode(const unsigned char *acl, size_t length, uint32_t *mode, bool *extended)
{
    uint32_t user = 8, group = 8, mask = 8, other = 8;

    if (length < HEADER || (length - HEADER) % ENTRY != 0 || memcmp(acl, "\2\0\0\0", HEADER) != 0)
        return -EINVAL;
    *extended = false;
    for (size_t i = HEADER; i < length; i += ENTRY) {
        uint32_t bits = acl[i + 2];

        if (bits > 7 || acl[i + 1] != 0 || acl[i + 3] != 0)
            return -EINVAL;
        if (acl[i] == USER_OBJ)
            user = bits;
        else if (acl[i] == GROUP_OBJ)
            group = bits;
        else if (acl[i] == OTHER)
            other = bits;
        else if (acl[i] == MASK)
            mask = bits;
        else if (acl[i] != USER && acl[i] != GROUP)
            return -EINVAL;
        *extended = *extended || (acl[i] & (USER | GROUP | MASK)) != 0;
    }
    if (user > 7 || group > 7 || other > 7 || (*extended && mask > 7))
        return -EINVAL;
    *mode = (*mode & ~0777U) | user << 6 | (mask < 8 ? mask : group) << 3 | other;
    return 0;
}

static bool has_mask(const unsigned char *acl, size_t length)
{
    for (size_t i = HEADER; i + ENTRY <= length; i += ENTRY)
        if (acl[i] == MASK)
            return true;
    return false;
}

/* The place of the permissions that the mode's three digits stand for; NULL for other entries. */
static unsigned char *digit(unsigned char *entry, bool masked, unsigned *shift)
{
    if (entry[0] == USER_OBJ)
        *shift = 6;
    else if (entry[0] == (masked ? MASK : GROUP_OBJ))
        *shift = 3;
    else if (entry[0] == OTHER)
        *shift = 0;
    else
        return NULL;
    return entry + 2;
}

void fr_acl_chmod(struct fr_super *super, struct ot_entry *entry, uint32_t mode)
{
    unsigned char copy[ACL_MAX];
    size_t length;
    const void *acl = ot_xattr_get(&super->table, entry, FR_ACL_ACCESS, &length);
    bool masked;

    if (acl == NULL || length > sizeof copy)
        return;
    memcpy(copy, acl, length);
    masked = has_mask(copy, length);
    for (size_t i = HEADER; i + ENTRY <= length; i += ENTRY) {
        unsigned shift;
        unsigned char *bits = digit(copy + i, masked, &shift);

        if (bits != NULL)
            *bits = (mode >> shift) & 7;
    }
    ot_xattr_set(&super->table, entry, FR_ACL_ACCESS, copy, length);
}

uint32_t fr_acl_born(unsigned char *acl, size_t length, uint32_t asked)
{
    bool masked = has_mask(acl, length), extended;
    uint32_t mode = asked;

    for (size_t i = HEADER; i + ENTRY <= length; i += ENTRY) {
        unsigned shift;
        unsigned char *bits = digit(acl + i, masked, &shift);

        if (bits != NULL)
            *bits = (unsigned char)(*bits & (asked >> shift) & 7);
    }
    return fr_acl_mode(acl, length, &mode, &extended) == 0 ? mode : asked;
}

bool fr_acl_is_extended(const unsigned char *acl, size_t length)
{
    uint32_t mode = 0;
    bool extended = false;

    return fr_acl_mode(acl, length, &mode, &extended) == 0 && extended;
}
