#include "dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int dir_remove(const char *path, struct err *e)
{
	DIR *d = opendir(path);
	struct dirent *ent;
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_set(e, errno, "open %s: %m", path);
	while (rc == 0 && (ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 && unlinkat(dirfd(d), ent->d_name, 0) < 0 && errno != ENOENT)
			rc = err_set(e, errno, "remove %s/%s: %m", path, ent->d_name);
	closedir(d);
	if (rc == 0 && rmdir(path) < 0 && errno != ENOENT)
		rc = err_set(e, errno, "remove %s: %m", path);
	return rc;
}
