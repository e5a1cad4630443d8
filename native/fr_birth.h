/* How a new file begins: its owner, group, mode and ACLs, from its maker and its folder. */
#ifndef IECHOR_FR_BIRTH_H
#define IECHOR_FR_BIRTH_H

#include "fr_super.h"

#define FR_ACL_MAX 4096

struct birth {
    struct fr_seen owner;
    bool set_gid;    /* the folder hands its group on, and the bit to folders */
    bool differs;    /* the disk alone would not say it right */
    size_t acl_length; /* of the folder's default ACL, 0: none */
    unsigned char acl[FR_ACL_MAX];
};

/* Could what this caller makes differ from the default? (mode: what it asks for; needed: bits the disk must have) */
bool fr_is_looked_at(struct fr_call *call, uint32_t mode, uint32_t needed);
/* -EACCES where the caller may not make files in this folder. needed: as above. */
long fr_begin(struct fr_call *call, int dir, uint32_t needed, struct birth *birth);
/* The permissions it gets: by the umask, or by the folder's default ACL instead. */
uint32_t fr_born_mode(struct fr_call *call, struct birth *birth, uint32_t asked);
/* Records a file that we have just made. mode: as the image shall see it, with its type; asked: before the umask. */
int fr_record_new(struct fr_call *call, int dir, const char *name, struct birth *birth, uint32_t mode, uint32_t asked);

#endif
