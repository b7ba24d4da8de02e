/* The index's schema, as numbered migrations: each runs once and is never edited after it has landed.  docs/objects.md explains it. */
#include "parts.h"

const char *const index_migrations[] = {
/* 1 */
"CREATE TABLE chunk (\n"
"  id INTEGER PRIMARY KEY,\n"
"  h INTEGER NOT NULL, h2 INTEGER NOT NULL,\n"	/* XXH3-128 of its bytes, seeded: high and low half */
"  len INTEGER NOT NULL CHECK (len > 0),\n"
"  pack INTEGER NOT NULL, at INTEGER NOT NULL, stored INTEGER NOT NULL,\n"	/* pack 0: in `fresh` */
"  refs INTEGER NOT NULL CHECK (refs >= 0),\n"
"  bad INTEGER NOT NULL DEFAULT 0 CHECK (bad IN (0, 1)));\n"
"CREATE INDEX chunk_hash ON chunk(h);\n"
"CREATE INDEX chunk_pack ON chunk(pack);\n"
"CREATE INDEX chunk_dead ON chunk(id) WHERE refs = 0;\n"
"CREATE TABLE fresh (id INTEGER PRIMARY KEY REFERENCES chunk(id), data BLOB NOT NULL);\n"	/* small ones, not yet in a pack */
"CREATE TABLE pack (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, live INTEGER NOT NULL DEFAULT 0);\n"
"CREATE TABLE node (\n"	/* of a manifest */
"  id INTEGER PRIMARY KEY,\n"
"  level INTEGER NOT NULL, span INTEGER NOT NULL CHECK (span > 0),\n"
"  refs INTEGER NOT NULL CHECK (refs >= 0),\n"
"  data BLOB NOT NULL);\n"
"CREATE INDEX node_dead ON node(id) WHERE refs = 0;\n"
"CREATE TABLE space (\n"
"  id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, root INTEGER NOT NULL,\n"
"  bytes INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0), count INTEGER NOT NULL DEFAULT 0 CHECK (count >= 0),\n"
"  quota_bytes INTEGER NOT NULL DEFAULT -1, quota_count INTEGER NOT NULL DEFAULT -1,\n"
"  versioning INTEGER NOT NULL DEFAULT 0, compression INTEGER NOT NULL DEFAULT 1,\n"
"  versions INTEGER NOT NULL DEFAULT 0, version_bytes INTEGER NOT NULL DEFAULT 0);\n"
"CREATE INDEX space_tenant ON space(tenant);\n"
"CREATE TABLE entry (\n"
"  id INTEGER PRIMARY KEY,\n"
"  space INTEGER NOT NULL, parent INTEGER NOT NULL,\n"	/* parent 0: the top of its space, or removed and still open */
"  key INTEGER NOT NULL,\n"	/* 62 bits of the name's hash; the next free one where two names share it: what directories are sought and listed by */
"  name TEXT NOT NULL,\n"
"  type INTEGER NOT NULL CHECK (type BETWEEN 1 AND 3),\n"
"  mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,\n"
"  mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,\n"
"  size INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0, root INTEGER NOT NULL DEFAULT 0,\n"
"  uncut INTEGER NOT NULL DEFAULT 0, attrs INTEGER NOT NULL DEFAULT 0,\n"
"  delete_at INTEGER, etag TEXT, target TEXT);\n"
"CREATE UNIQUE INDEX entry_name ON entry(parent, key) WHERE parent > 0;\n"
"CREATE INDEX entry_uncut ON entry(id) WHERE uncut = 1;\n"
"CREATE INDEX entry_removed ON entry(id) WHERE parent = 0 AND type = 1;\n"
"CREATE INDEX entry_expiry ON entry(delete_at) WHERE delete_at IS NOT NULL;\n"
"CREATE TABLE attr (entry INTEGER NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (entry, name)) WITHOUT ROWID;\n"
"CREATE TABLE version (\n"
"  id INTEGER PRIMARY KEY,\n"
"  space INTEGER NOT NULL, name TEXT NOT NULL, time INTEGER NOT NULL,\n"	/* name: the object's path then */
"  size INTEGER NOT NULL, mtime INTEGER NOT NULL, root INTEGER NOT NULL, marker INTEGER NOT NULL DEFAULT 0,\n"
"  etag TEXT, attrs TEXT NOT NULL DEFAULT '');\n"	/* attrs: its extended attributes, as JSON */
"CREATE UNIQUE INDEX version_name ON version(space, name, time);\n"
/* counts are kept by the tables themselves */
"CREATE TRIGGER entry_insert AFTER INSERT ON entry WHEN NEW.type = 1 BEGIN\n"
"  UPDATE space SET count = count + 1, bytes = bytes + NEW.size WHERE id = NEW.space; END;\n"
"CREATE TRIGGER entry_delete AFTER DELETE ON entry WHEN OLD.type = 1 AND OLD.parent > 0 BEGIN\n"
"  UPDATE space SET count = count - 1, bytes = bytes - OLD.size WHERE id = OLD.space; END;\n"
"CREATE TRIGGER entry_size AFTER UPDATE OF size ON entry WHEN NEW.type = 1 AND NEW.parent > 0 AND NEW.size <> OLD.size BEGIN\n"
"  UPDATE space SET bytes = bytes + NEW.size - OLD.size WHERE id = NEW.space; END;\n"
"CREATE TRIGGER entry_unnamed AFTER UPDATE OF parent ON entry WHEN NEW.type = 1 AND NEW.parent = 0 AND OLD.parent > 0 BEGIN\n"
"  UPDATE space SET count = count - 1, bytes = bytes - OLD.size WHERE id = OLD.space; END;\n"
"CREATE TRIGGER version_insert AFTER INSERT ON version BEGIN\n"
"  UPDATE space SET versions = versions + 1, version_bytes = version_bytes + NEW.size WHERE id = NEW.space; END;\n"
"CREATE TRIGGER version_delete AFTER DELETE ON version BEGIN\n"
"  UPDATE space SET versions = versions - 1, version_bytes = version_bytes - OLD.size WHERE id = OLD.space; END;\n",
/* 2: a new object that is cut before its row is ever committed, and a chunk that is not in a pack yet, touch these indexes no more */
"DROP INDEX entry_uncut;\n"
"UPDATE entry SET uncut = 2 WHERE uncut = 1;\n"
"CREATE INDEX entry_uncut ON entry(id) WHERE uncut = 2;\n"
"DROP INDEX chunk_pack;\n"
"CREATE INDEX chunk_pack ON chunk(pack) WHERE pack > 0;\n",
/* 3: numbers of the directories that old versions are shown in; parent of a space's top: minus the space */
"CREATE TABLE vdir (id INTEGER PRIMARY KEY, space INTEGER NOT NULL, parent INTEGER NOT NULL, name TEXT NOT NULL);\n"
"CREATE UNIQUE INDEX vdir_name ON vdir(parent, name);\n"
"CREATE INDEX vdir_parent ON vdir(parent);\n"
"CREATE INDEX vdir_space ON vdir(space);\n",
/* 4: hashes.c, which makes these rows in its own time, says up to which chunk they are made: meta 'hashed' */
"CREATE TABLE hash (h INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (h, id)) WITHOUT ROWID;\n"
"INSERT INTO hash (h, id) SELECT h, id FROM chunk ORDER BY h, id;\n"
"DROP INDEX chunk_hash;\n"
"INSERT INTO meta (name, value) SELECT 'hashed', max(id) + 1 FROM chunk HAVING max(id) IS NOT NULL;\n",
/* 5: packs in a place */
"ALTER TABLE pack ADD COLUMN place TEXT;\n"	/* its name there, before it is put */
"ALTER TABLE pack ADD COLUMN away INTEGER NOT NULL DEFAULT 0;\n"	/* 1: it is there, whole */
"CREATE TABLE digest (chunk INTEGER PRIMARY KEY, sha256 BLOB NOT NULL);\n"
"CREATE TRIGGER chunk_gone AFTER DELETE ON chunk BEGIN DELETE FROM digest WHERE chunk = OLD.id; END;\n",
};
const size_t n_index_migrations = ARRAY_LEN(index_migrations);
