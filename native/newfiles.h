/* Small files of an unpacked layer, made from a stretch of its tar. */
#ifndef LC_NEWFILES_H
#define LC_NEWFILES_H

#include "bytes.h"

#define LC_NEWFILE 36      /* bytes of a wanted file: start, size, mtime, mode, uid, gid ("<QQqIII") */
#define LC_NEWFILE_MADE 12 /* of what came of it: inode, st_mode ("<QI") */
#define LC_NEWFILE_KEEP UINT32_MAX /* as an owner: leave it as it is */

/* wanted: LC_NEWFILE bytes each, with the place of the content in `data` and the times in ns. names: of one component,
 * each ended by NUL. */
struct lc_newfiles {
    struct lc_text data, wanted, names;
};

/* Makes each in `folder_fd`, where it must not be; long zeros are a hole. made: LC_NEWFILE_MADE bytes for each; the
 * inode is 0 where the kernel refused the owner, and then mode and time are not set either. */
int lc_make_files(int folder_fd, const struct lc_newfiles *files, struct lc_bytes *made, struct lc_error *error);

#endif
