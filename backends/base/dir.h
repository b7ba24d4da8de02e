/* Directories of our own making. */
#pragma once

#include "err.h"

/* Removes it with the plain files in it; 0 when it is not there. */
int dir_remove(const char *path, struct err *e);
