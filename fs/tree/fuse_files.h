/* FUSE's operations on directories of ordinary files (files.h).  They ask nothing of the state, so that they cost what the service costs. */
#pragma once

#include "fuse_parts.h"

void files_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void files_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void files_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi);
void files_readlink(fuse_req_t req, fuse_ino_t ino);
void files_access(fuse_req_t req, fuse_ino_t ino, int mask);
void files_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void files_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void files_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void files_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void files_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void files_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void files_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void files_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void files_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
/* Also where only one of the two stands below such a directory. */
void files_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags);
void files_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void files_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void files_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void files_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void files_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void files_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void files_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void files_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
/* Both are such files. */
void files_copy(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
		struct fuse_file_info *fi_out, size_t len, int flags);
void files_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void files_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void files_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void files_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void files_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void files_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void files_statfs(fuse_req_t req, fuse_ino_t ino);

/* For answers of the ordinary tree: the top as an entry.  False: r->e says why. */
bool files_entry(struct req *r, struct node top, struct fuse_entry_param *ep);
/* Readers of attributes that are still waited for are answered. */
void files_end(struct fs *fs);
