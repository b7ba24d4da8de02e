/* README of the tree and docs/tree.md: made from the tables. */
#pragma once

#include "tree.h"

void help_root(struct fs *fs, FILE *out);
void help_collection(struct fs *fs, const struct kind *k, FILE *out);
void help_view(const struct kind *k, FILE *out);
/* The whole of docs/tree.md. */
void help_tree(struct fs *fs, FILE *out);
