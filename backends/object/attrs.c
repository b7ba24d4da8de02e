/* Extended attributes: what Swift keeps of an object beside its bytes, under the names its own tar import uses, and with its limits.  user.etag
 * and user.delete_at stand in the object's row, the others in a table of theirs; in versions all of them are one JSON object. */
#include "names.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include <sys/xattr.h>

#include "../base/utf8.h"
#include "../base/text.h"

#define META_NAME 128		/* Swift's limits; bytes */
#define META_VALUE 256
#define META_COUNT 90
#define META_TOTAL 4096
#define HEADER_VALUE 8192	/* of those that are headers of their own */

/* Attributes that Swift has a header for: they do not count as metadata. */
static const char *const headers[] = { "user.mime_type", "user.content_encoding", "user.content_disposition" };

static bool is_header(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(headers); i++)
		if (strcmp(name, headers[i]) == 0)
			return true;
	return false;
}

/* The key that Swift would count: what follows user.meta., else user. */
static const char *meta_key(const char *name)
{
	return strncmp(name, "user.meta.", 10) == 0 ? name + 10 : name + 5;
}

static int is_ours(const char *name, struct err *e)
{
	return strncmp(name, "user.", 5) == 0 ? 0 : err_set(e, EOPNOTSUPP, "objects have extended attributes user.…, and no '%s'", name);
}

static int no_attr(const char *name, struct err *e)
{
	return err_set(e, ENODATA, "there is no attribute '%s'", name);
}

static int64_t give(const void *v, size_t len, char *buf, size_t size, struct err *e)
{
	if (size && len > size)
		return err_set(e, ERANGE, "%zu bytes do not fit into %zu", len, size);
	if (size && len)
		memcpy(buf, v, len);
	return (int64_t)len;
}

/* ---- asking */

static int64_t get_stored(struct db *db, int64_t id, const char *name, char *buf, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT value FROM attr WHERE entry=$1 AND name=$2");
	size_t len;

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, name);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : no_attr(name, e);
	const void *v = stmt_col_blob(&s, 0, &len);
	return give(v, len, buf, size, e);
}

/* user.etag and user.delete_at: columns of the row. */
static int64_t get_column(struct db *db, int64_t id, const char *name, char *buf, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT etag,delete_at FROM entry WHERE id=$1");
	int col = strcmp(name, "user.etag") == 0 ? 0 : 1;

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc < 0)
		return rc;
	if (rc == 0 || stmt_col_null(&s, col))
		return no_attr(name, e);
	const char *v = stmt_col_text(&s, col);
	return give(v, strlen(v), buf, size, e);
}

static bool is_column(const char *name)
{
	return strcmp(name, "user.etag") == 0 || strcmp(name, "user.delete_at") == 0;
}

int64_t attr_get(struct objects *os, int64_t id, const char *name, char *buf, size_t size, struct err *e)
{
	int rc = is_ours(name, e);

	if (rc < 0)
		return rc;
	struct db *db = index_begin(os, e);
	if (!db)
		return -e->code;
	int64_t n = is_column(name) ? get_column(db, id, name, buf, size, e) : get_stored(db, id, name, buf, size, e);
	index_end(os, false);
	return n;
}

static void put_name(FILE *out, const char *name)
{
	fwrite(name, 1, strlen(name) + 1, out);
}

static int list_names(struct db *db, int64_t id, FILE *out, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT delete_at IS NOT NULL,attrs FROM entry WHERE id=$1");
	AUTO(stmt_done) struct stmt a = stmt_prepare(db, "SELECT name FROM attr WHERE entry=$1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "there is no object %" PRId64, id);
	if (stmt_col_int(&s, 0))
		put_name(out, "user.delete_at");
	if (!stmt_col_int(&s, 1))
		return 0;
	stmt_int(&a, 1, id);
	while ((rc = stmt_step(&a, e)) > 0)
		put_name(out, stmt_col_text(&a, 0));
	return rc;
}

int64_t attr_list(struct objects *os, int64_t id, char *buf, size_t size, struct err *e)
{
	AUTO(free) char *all = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&all, &len);

	if (!out)
		return err_set(e, ENOMEM, "list attributes: %m");
	struct db *db = index_begin(os, e);
	int rc = db ? list_names(db, id, out, e) : -e->code;
	if (db)
		index_end(os, false);
	fclose(out);
	return rc < 0 ? rc : give(all, len, buf, size, e);
}

/* ---- setting */

/* What can be said of it without looking at the object. */
static int checked(const char *name, const char *value, size_t size, struct err *e)
{
	const char *key = meta_key(name);
	size_t len = strlen(key);

	if (!len)
		return err_set(e, EINVAL, "an attribute has a name behind '%s'", name);
	for (size_t i = 0, n; i < len; i += n)
		if (!(n = utf8_len((const unsigned char *)key + i, len - i)))
			return err_set(e, EILSEQ, "the name of an attribute is UTF-8");
	if (is_header(name)) {
		for (size_t i = 0; i < size; i++)
			if (iscntrl((unsigned char)value[i]))
				return err_set(e, EINVAL, "'%s' is a line of text: its byte %zu is a control character", name, i + 1);
		return size <= HEADER_VALUE ? 0 : err_set(e, E2BIG, "'%s' has at most %d bytes, these are %zu", name, HEADER_VALUE, size);
	}
	if (len > META_NAME)
		return err_set(e, ERANGE, "the name of metadata has at most %d bytes, this one has %zu", META_NAME, len);
	return size <= META_VALUE ? 0 : err_set(e, E2BIG, "the value of metadata has at most %d bytes, these are %zu", META_VALUE, size);
}

/* Does it stand there, and may it by the sums of all? */
static int fits(struct db *db, int64_t id, const char *name, size_t size, bool *there, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT name,length(value) FROM attr WHERE entry=$1");
	size_t count = 1, total = strlen(meta_key(name)) + size;
	int rc;

	stmt_int(&s, 1, id);
	while ((rc = stmt_step(&s, e)) > 0) {
		const char *n = stmt_col_text(&s, 0);

		if (strcmp(n, name) == 0) {
			*there = true;
		} else if (!is_header(n)) {
			count++;
			total += strlen(meta_key(n)) + (size_t)stmt_col_int(&s, 1);
		}
	}
	if (rc < 0 || is_header(name))
		return rc;
	if (count > META_COUNT)
		return err_set(e, ENOSPC, "an object has at most %d metadata", META_COUNT);
	return total <= META_TOTAL ? 0 : err_set(e, ENOSPC, "the metadata of an object have at most %d bytes in all, these would be %zu", META_TOTAL,
						 total);
}

static int put(struct objects *os, struct db *db, int64_t id, const char *name, const void *value, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO attr VALUES($1,$2,$3)ON CONFLICT(entry,name)DO UPDATE SET value=excluded.value");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, name);
	stmt_blob(&s, 3, size ? value : "", size);
	return names_step(os, &s, e);
}

static int set_stored(struct objects *os, struct db *db, const struct entry *n, const char *name, const char *value, size_t size, int flags,
		      struct err *e)
{
	bool there = false;
	int rc = n->attrs ? fits(db, n->id, name, size, &there, e) : 0;

	if (rc < 0)
		return rc;
	if (there && (flags & XATTR_CREATE))
		return err_set(e, EEXIST, "the attribute '%s' is there already", name);
	if (!there && (flags & XATTR_REPLACE))
		return no_attr(name, e);
	if ((rc = index_mark(os, e)) < 0)
		return rc;
	rc = put(os, db, n->id, name, value, size, e);
	if (rc == 0)
		rc = RUN_SQL(os, db, e, "UPDATE entry SET attrs=1,ctime=$2 WHERE id=$1", n->id, now_ns());
	return names_mark_end(os, rc, e);
}

static int set_expiry(struct objects *os, struct db *db, const struct entry *n, int64_t at, int flags, struct err *e)
{
	if (n->type != ENTRY_FILE)
		return err_set(e, EINVAL, "only objects expire, no directories");
	if (n->delete_at && (flags & XATTR_CREATE))
		return err_set(e, EEXIST, "the attribute 'user.delete_at' is there already");
	if (!n->delete_at && (flags & XATTR_REPLACE))
		return no_attr("user.delete_at", e);
	if (!n->parent)
		return 0;	/* it has no name any more */
	return RUN_SQL(os, db, e, "UPDATE entry SET delete_at=$2,ctime=$3 WHERE id=$1", n->id, at, now_ns());
}

/* Decimal seconds: when, or after when. */
static int parse_time(const char *name, const char *value, size_t size, int64_t *ret, struct err *e)
{
	int64_t now = now_ns() / 1000000000, v = 0;
	bool after = strcmp(name, "user.delete_after") == 0;

	for (size_t i = 0; i < size && v >= 0; i++)
		v = value[i] >= '0' && value[i] <= '9' && v < INT64_C(100000000000) ? v * 10 + value[i] - '0' : -1;
	if (!size || v < 0 || v > INT64_C(253402300799))	/* the end of 9999 */
		return err_set(e, EINVAL, "'%s' is a time in seconds, a decimal number", name);
	*ret = after ? now + v : v;
	return *ret > now ? 0 : err_set(e, EINVAL, "'%s' is in the past", name);
}

static int set_in(struct objects *os, struct db *db, int64_t id, const char *name, const char *value, size_t size, int flags, int64_t at,
		  struct err *e)
{
	struct entry n;
	int rc = entry_get(db, id, &n, e);

	if (rc < 0)
		return rc;
	if (n.type == ENTRY_LINK)
		return err_set(e, EPERM, "a symbolic link has no attributes");
	if (at)
		return set_expiry(os, db, &n, at, flags, e);
	rc = index_room(os, e);
	return rc < 0 ? rc : set_stored(os, db, &n, name, value, size, flags, e);
}

int attr_set(struct objects *os, int64_t id, const char *name, const char *value, size_t size, int flags, struct err *e)
{
	bool expiry = strcmp(name, "user.delete_at") == 0 || strcmp(name, "user.delete_after") == 0;
	int64_t at = 0;
	int rc = is_ours(name, e);

	if (rc < 0)
		return rc;
	if (strcmp(name, "user.etag") == 0)
		return err_set(e, EPERM, "user.etag is the MD5 of the content and cannot be set");
	if (expiry)
		rc = parse_time(name, value, size, &at, e);
	else
		rc = checked(name, value, size, e);
	if (rc < 0)
		return rc;
	struct db *db = index_begin(os, e);
	if (!db)
		return -e->code;
	rc = set_in(os, db, id, name, value, size, flags, at, e);
	names_end(os);
	return rc;
}

/* ---- removing */

static int delete_stored(struct objects *os, struct db *db, int64_t id, const char *name, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "DELETE FROM attr WHERE entry=$1 AND name=$2");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, name);
	int rc = names_step(os, &s, e);
	if (rc == 0 && !db_changes(db))
		return no_attr(name, e);
	return rc < 0 ? rc : RUN_SQL(os, db, e, "UPDATE entry SET attrs=EXISTS(SELECT 1 FROM attr WHERE entry=$1),ctime=$2 WHERE id=$1", id,
				     now_ns());
}

static int remove_expiry(struct objects *os, struct db *db, int64_t id, struct err *e)
{
	int rc = RUN_SQL(os, db, e, "UPDATE entry SET delete_at=NULL,ctime=$2 WHERE id=$1 AND delete_at IS NOT NULL", id, now_ns());

	return rc == 0 && !db_changes(db) ? no_attr("user.delete_at", e) : rc;
}

int attr_remove(struct objects *os, int64_t id, const char *name, struct err *e)
{
	int rc = is_ours(name, e);

	if (rc < 0)
		return rc;
	if (strcmp(name, "user.etag") == 0)
		return err_set(e, EPERM, "user.etag is the MD5 of the content and cannot be removed");
	struct db *db = index_begin(os, e);
	if (!db)
		return -e->code;
	if (strcmp(name, "user.delete_at") == 0)
		rc = remove_expiry(os, db, id, e);
	else if ((rc = index_mark(os, e)) == 0)
		rc = names_mark_end(os, delete_stored(os, db, id, name, e), e);
	names_end(os);
	return rc;
}

/* ---- as JSON, beside an old version: text as it is, other bytes as { "hex": "00ff" }.  Mode and owner are integers without "user." */

static bool is_text(const unsigned char *s, size_t len)
{
	for (size_t i = 0, n; i < len; i += n)
		if (!s[i] || !(n = utf8_len(s + i, len - i)))
			return false;
	return true;
}

static json_t *value_to_json(const unsigned char *v, size_t len)
{
	if (is_text(v, len))
		return json_stringn((const char *)v, len);
	AUTO(free) char *hex = calloc(1, 2 * len + 1);
	if (hex)
		hex_text(hex, v, len);
	return hex ? json_pack("{s:s}", "hex", hex) : NULL;
}

static void auto_json(json_t **j)
{
	json_decref(*j);
}

int attrs_to_json(struct db *db, const struct entry *n, char **ret, struct err *e)
{
	AUTO(json) json_t *j = json_pack("{s:i,s:I,s:I}", "mode", (int)n->mode, "uid", (json_int_t)n->uid, "gid", (json_int_t)n->gid);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT name,value FROM attr WHERE entry=$1");
	int rc = 0;

	stmt_int(&s, 1, n->id);
	while (n->attrs && (rc = stmt_step(&s, e)) > 0) {
		size_t len;
		const void *v = stmt_col_blob(&s, 1, &len);

		if (json_object_set_new(j, stmt_col_text(&s, 0), value_to_json(v, len)) < 0)
			return err_set(e, ENOMEM, "keep a version: out of memory");
	}
	if (rc < 0)
		return rc;
	if (!j || !(*ret = json_dumps(j, JSON_COMPACT)))
		return err_set(e, ENOMEM, "keep a version: out of memory");
	return 0;
}

/* *ret: malloc'ed. */
static int json_bytes(const json_t *v, unsigned char **ret, size_t *len, struct err *e)
{
	const char *hex = json_string_value(json_object_get(v, "hex"));

	*len = json_is_string(v) ? json_string_length(v) : hex ? strlen(hex) / 2 : 0;
	if (!(*ret = malloc(*len + 1)))
		return err_set(e, ENOMEM, "an old version's attributes: out of memory");
	if (json_is_string(v))
		memcpy(*ret, json_string_value(v), *len);
	for (size_t i = 0; hex && i < *len; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &(*ret)[i]) != 1)
			return err_set(e, EBADMSG, "the attributes of an old version are damaged");
	return 0;
}

static int put_json(struct objects *os, struct db *db, int64_t id, const char *name, const json_t *v, struct err *e)
{
	AUTO(free) unsigned char *bytes = NULL;
	size_t len;
	int rc = json_bytes(v, &bytes, &len, e);

	return rc < 0 ? rc : put(os, db, id, name, bytes, len, e);
}

int attrs_from_json(struct objects *os, struct db *db, const char *json, struct entry *n, bool *any, struct err *e)
{
	json_error_t why;
	AUTO(json) json_t *j = json_loads(*json ? json : "{}", 0, &why);
	const char *name;
	json_t *v;

	if (!json_is_object(j))
		return err_set(e, EBADMSG, "the attributes of an old version are damaged: %s", why.text);
	if (json_is_integer(v = json_object_get(j, "mode")))
		n->mode = (mode_t)json_integer_value(v) & 07777;
	if (json_is_integer(v = json_object_get(j, "uid")))
		n->uid = (uid_t)json_integer_value(v);
	if (json_is_integer(v = json_object_get(j, "gid")))
		n->gid = (gid_t)json_integer_value(v);
	json_object_foreach(j, name, v) {
		if (strncmp(name, "user.", 5) != 0)
			continue;
		int rc = put_json(os, db, n->id, name, v, e);

		if (rc < 0)
			return rc;
		*any = true;
	}
	return 0;
}

void attrs_owner(const char *json, mode_t *mode, uid_t *uid, gid_t *gid)
{
	AUTO(json) json_t *j = json_loads(*json ? json : "{}", 0, NULL);
	const json_t *m = json_object_get(j, "mode");

	if (json_is_integer(m))
		*mode = (mode_t)json_integer_value(m) & 07777;
	*uid = (uid_t)json_integer_value(json_object_get(j, "uid"));
	*gid = (gid_t)json_integer_value(json_object_get(j, "gid"));
}

static int64_t names_of_json(const json_t *j, const char *etag, char *buf, size_t size, struct err *e)
{
	size_t len = 0;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)j, name, v) {
		size_t n = strlen(name) + 1;

		if (strncmp(name, "user.", 5) != 0)
			continue;
		if (size && len + n > size)
			return err_set(e, ERANGE, "%m");
		if (size)
			memcpy(buf + len, name, n);
		len += n;
	}
	if (*etag && size && len + sizeof "user.etag" > size)
		return err_set(e, ERANGE, "%m");
	if (*etag && size)
		memcpy(buf + len, "user.etag", sizeof "user.etag");
	return (int64_t)(len + (*etag ? sizeof "user.etag" : 0));
}

int64_t attrs_read(const char *json, const char *etag, const char *name, char *buf, size_t size, struct err *e)
{
	AUTO(json) json_t *j = json_loads(*json ? json : "{}", 0, NULL);
	AUTO(free) unsigned char *bytes = NULL;
	const void *v = etag;
	size_t len = strlen(etag);

	if (!j)
		return err_set(e, EBADMSG, "the attributes of an old version are damaged");
	if (!name)
		return names_of_json(j, etag, buf, size, e);
	if (strcmp(name, "user.etag") != 0) {
		const json_t *x = json_object_get(j, name);

		if (strncmp(name, "user.", 5) != 0 || !x || json_bytes(x, &bytes, &len, e) < 0)
			return e->code ? -e->code : err_set(e, ENODATA, "it had no %s", name);
		v = bytes;
	} else if (!len) {
		return err_set(e, ENODATA, "its MD5 was not known when it was replaced");
	}
	if (size && len > size)
		return err_set(e, ERANGE, "%m");
	if (size)
		memcpy(buf, v, len);
	return (int64_t)len;
}

/* ---- what a name says */

const char *attr_mime(const char *name)
{
	static const struct { const char *end, *type; } types[] = {
		{ "avi", "video/x-msvideo" }, { "bmp", "image/bmp" }, { "bz2", "application/x-bzip2" }, { "css", "text/css" },
		{ "csv", "text/csv" }, { "deb", "application/vnd.debian.binary-package" }, { "flac", "audio/flac" }, { "gif", "image/gif" },
		{ "gz", "application/gzip" }, { "htm", "text/html" }, { "html", "text/html" }, { "ico", "image/vnd.microsoft.icon" },
		{ "iso", "application/x-iso9660-image" }, { "jpeg", "image/jpeg" }, { "jpg", "image/jpeg" }, { "js", "text/javascript" },
		{ "json", "application/json" }, { "md", "text/markdown" }, { "mp3", "audio/mpeg" }, { "mp4", "video/mp4" },
		{ "ogg", "audio/ogg" }, { "pdf", "application/pdf" }, { "png", "image/png" }, { "qcow2", "application/x-qemu-disk" },
		{ "svg", "image/svg+xml" }, { "tar", "application/x-tar" }, { "tgz", "application/gzip" }, { "tif", "image/tiff" },
		{ "tiff", "image/tiff" }, { "txt", "text/plain" }, { "wav", "audio/x-wav" }, { "webm", "video/webm" }, { "webp", "image/webp" },
		{ "xml", "application/xml" }, { "xz", "application/x-xz" }, { "yaml", "application/yaml" }, { "yml", "application/yaml" },
		{ "zip", "application/zip" }, { "zst", "application/zstd" },
	};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_LEN(types); i++)
		if (strcasecmp(dot + 1, types[i].end) == 0)
			return types[i].type;
	return "application/octet-stream";
}
