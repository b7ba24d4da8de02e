/* What servers answer in XML (S3, by libxml2's reader) and JSON (Swift, Keystone, by jansson).  Any bytes may come: documents with a DTD, names of
 * no use, numbers out of range are refused or passed over; how much is read is bounded by who calls (place_http.c). */
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <libxml/xmlreader.h>
#include <string.h>

#include "place_parts.h"

#define DEPTH_MAX 8
#define PATH_MAX_LEN 256
#define TEXT_MAX 16384

AUTO_FN(xmlTextReaderPtr, xmlFreeTextReader);
AUTO_FN(json_t *, json_decref);

void listing_done(struct listing *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i].name);
	free(l->items);
	free(l->token);
	*l = (struct listing){ 0 };
}

static int add(struct listing *l, const char *name, uint64_t size, struct err *e)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct listed *items = realloc(l->items, room * sizeof *items);

		if (!items)
			return err_set(e, ENOMEM, "%m");
		l->items = items;
		l->room = room;
	}
	char *copy = strdup(name);
	if (!copy)
		return err_set(e, ENOMEM, "%m");
	l->items[l->n++] = (struct listed){ copy, size };
	return 0;
}

static bool parse_size(const char *text, uint64_t *ret)
{
	uint64_t n = 0;
	size_t len = strlen(text);

	if (!len || len > 18)
		return false;
	for (const char *s = text; *s; s++) {
		if (!isdigit((unsigned char)*s))
			return false;
		n = n * 10 + (uint64_t)(*s - '0');
	}
	*ret = n;
	return true;
}

/* ---- XML */

/* Told at each element's end: its path ("ListBucketResult/Contents/Key") and the text that stands directly in it. */
typedef int end_fn(void *arg, const char *path, const char *text, struct err *e);

struct walk {
	char path[PATH_MAX_LEN];
	char *text[DEPTH_MAX];		/* of the elements that are open */
	size_t depth;
	end_fn *end;
	void *arg;
};

static void walk_done(struct walk *w)
{
	for (size_t i = 0; i < DEPTH_MAX; i++)
		xmlFree(w->text[i]);
}

static int walk_begin(struct walk *w, const char *name, struct err *e)
{
	size_t n = strlen(w->path);

	if (w->depth == DEPTH_MAX || n + strlen(name) + 2 > sizeof w->path || strchr(name, '/'))
		return err_set(e, EBADMSG, "the server's XML is nested too deep");
	snprintf(w->path + n, sizeof w->path - n, "%s%s", n ? "/" : "", name);
	w->depth++;
	return 0;
}

static int walk_end(struct walk *w, struct err *e)
{
	char *slash = strrchr(w->path, '/'), *text = w->text[--w->depth];
	int rc = w->end(w->arg, w->path, text ? text : "", e);

	xmlFree(text);
	w->text[w->depth] = NULL;
	*(slash ? slash : w->path) = '\0';
	return rc;
}

static int walk_text(struct walk *w, const char *text, struct err *e)
{
	if (!w->depth)
		return 0;
	char **to = &w->text[w->depth - 1];
	if ((*to ? strlen(*to) : 0) + strlen(text) > TEXT_MAX)
		return err_set(e, EBADMSG, "the server's XML has a text of more than %d bytes", TEXT_MAX);
	*to = (char *)xmlStrcat((xmlChar *)*to, (const xmlChar *)text);
	return *to ? 0 : err_set(e, ENOMEM, "%m");
}

static int walk_node(struct walk *w, xmlTextReaderPtr r, struct err *e)
{
	const char *name = (const char *)xmlTextReaderConstLocalName(r), *value = (const char *)xmlTextReaderConstValue(r);

	switch (xmlTextReaderNodeType(r)) {
	case XML_READER_TYPE_ELEMENT:
		if (walk_begin(w, name ? name : "", e) < 0)
			return -e->code;
		return xmlTextReaderIsEmptyElement(r) ? walk_end(w, e) : 0;
	case XML_READER_TYPE_END_ELEMENT:
		return w->depth ? walk_end(w, e) : err_set(e, EBADMSG, "the server's XML ends what did not begin");
	case XML_READER_TYPE_TEXT:
	case XML_READER_TYPE_CDATA:
		return walk_text(w, value ? value : "", e);
	case XML_READER_TYPE_DOCUMENT_TYPE:
	case XML_READER_TYPE_ENTITY_REFERENCE:
		return err_set(e, EBADMSG, "the server's XML has a document type or entities");
	default:
		return 0;
	}
}

static void quiet(void *arg, const char *msg, xmlParserSeverities severity, xmlTextReaderLocatorPtr at)
{
}

static int xml_walk(const char *text, size_t len, end_fn *end, void *arg, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct walk w = { .end = end, .arg = arg };
	int more, rc = 0;

	pthread_once(&once, xmlInitParser);
	if (!len || len > INT32_MAX || memmem(text, len, "<!DOCTYPE", 9))
		return err_set(e, EBADMSG, "the server's answer is no XML for us");
	AUTO(xmlFreeTextReader) xmlTextReaderPtr r = xmlReaderForMemory(text, (int)len, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!r)
		return err_set(e, ENOMEM, "%m");
	xmlTextReaderSetErrorHandler(r, quiet, NULL);
	while (rc == 0 && (more = xmlTextReaderRead(r)) == 1)
		rc = walk_node(&w, r, e);
	walk_done(&w);
	if (rc < 0)
		return rc;
	return more < 0 ? err_set(e, EBADMSG, "the server's answer is broken XML") : 0;
}

struct s3_list {
	struct listing *l;
	char *key;
	uint64_t size;
	bool root, sized;
};

static int keep(char **to, const char *text, struct err *e)
{
	free(*to);
	*to = strdup(text);
	return *to ? 0 : err_set(e, ENOMEM, "%m");
}

static int s3_list_end(void *arg, const char *path, const char *text, struct err *e)
{
	struct s3_list *s = arg;

	if (strcmp(path, "ListBucketResult/Contents/Key") == 0)
		return keep(&s->key, text, e);
	if (strcmp(path, "ListBucketResult/Contents/Size") == 0) {
		s->sized = parse_size(text, &s->size);
	} else if (strcmp(path, "ListBucketResult/Contents") == 0) {
		if (!s->key || !s->sized)
			return err_set(e, EBADMSG, "the server's list has an entry without key or size");
		int rc = add(s->l, s->key, s->size, e);
		free(steal_ptr(&s->key));
		s->sized = false;
		return rc;
	} else if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
		s->l->more = strcmp(text, "true") == 0;
	} else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
		return keep(&s->l->token, text, e);
	} else if (strcmp(path, "ListBucketResult") == 0) {
		s->root = true;
	}
	return 0;
}

int s3_list_parse(const char *text, size_t len, struct listing *ret, struct err *e)
{
	AUTO(listing_done) struct listing l = { 0 };
	struct s3_list s = { .l = &l };
	int rc = xml_walk(text, len, s3_list_end, &s, e);

	free(s.key);
	if (rc < 0)
		return rc;
	if (!s.root)
		return err_set(e, EBADMSG, "the server's answer is no list of a bucket");
	if (l.more && (!l.token || !*l.token))
		return err_set(e, EBADMSG, "the server's list goes on, it does not say where");
	*ret = l;
	l = (struct listing){ 0 };
	return 0;
}

struct wanted {
	const char *path;
	char *to;
	size_t size;
};

struct s3_words {
	const char *root;
	const struct wanted *wanted;
	size_t n;
	bool found;
};

static int s3_words_end(void *arg, const char *path, const char *text, struct err *e)
{
	struct s3_words *w = arg;

	for (size_t i = 0; i < w->n; i++)
		if (strcmp(path, w->wanted[i].path) == 0)
			snprintf(w->wanted[i].to, w->wanted[i].size, "%s", text);
	w->found |= strcmp(path, w->root) == 0;
	return 0;
}

bool s3_error_parse(const char *text, size_t len, char *code, size_t code_size, char *message, size_t message_size)
{
	const struct wanted wanted[] = { { "Error/Code", code, code_size }, { "Error/Message", message, message_size } };
	struct s3_words w = { .root = "Error", .wanted = wanted, .n = 2 };

	*code = *message = '\0';
	if (xml_walk(text, len, s3_words_end, &w, &(struct err){ 0 }) < 0 || !w.found) {
		*code = *message = '\0';
		return false;
	}
	return true;
}

int s3_upload_parse(const char *text, size_t len, char **ret, struct err *e)
{
	char id[1024] = "";
	const struct wanted wanted[] = { { "InitiateMultipartUploadResult/UploadId", id, sizeof id } };
	struct s3_words w = { .root = "InitiateMultipartUploadResult", .wanted = wanted, .n = 1 };

	if (xml_walk(text, len, s3_words_end, &w, e) < 0)
		return -e->code;
	if (!w.found || !*id || strlen(id) == sizeof id - 1)
		return err_set(e, EBADMSG, "the server's answer names no upload");
	*ret = strdup(id);
	return *ret ? 0 : err_set(e, ENOMEM, "%m");
}

/* ---- JSON */

int swift_list_parse(const char *text, size_t len, struct listing *ret, struct err *e)
{
	json_error_t je;
	AUTO(json_decref) json_t *root = json_loadb(text, len, 0, &je);
	AUTO(listing_done) struct listing l = { 0 };
	json_t *one;
	size_t i;

	if (!json_is_array(root))
		return err_set(e, EBADMSG, "the server's answer is no list of a container");
	json_array_foreach(root, i, one) {
		const json_t *name = json_object_get(one, "name"), *bytes = json_object_get(one, "bytes");

		if (json_object_get(one, "subdir"))
			continue;
		if (!json_is_string(name) || !json_is_integer(bytes) || json_integer_value(bytes) < 0)
			return err_set(e, EBADMSG, "the server's list has an entry without name or bytes");
		if (add(&l, json_string_value(name), (uint64_t)json_integer_value(bytes), e) < 0)
			return -e->code;
	}
	*ret = l;
	l = (struct listing){ 0 };
	return 0;
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static const char *endpoint_of(const json_t *service, const char *region)
{
	json_t *one;
	size_t i;

	if (strcmp(text_of(service, "type"), "object-store") != 0)
		return NULL;
	json_array_foreach(json_object_get(service, "endpoints"), i, one)
		if (strcmp(text_of(one, "interface"), "public") == 0 && *text_of(one, "url") &&
		    (!*region || strcmp(text_of(one, "region"), region) == 0 || strcmp(text_of(one, "region_id"), region) == 0))
			return text_of(one, "url");
	return NULL;
}

int keystone_parse(const char *text, size_t len, const char *region, char **ret, struct err *e)
{
	json_error_t je;
	AUTO(json_decref) json_t *root = json_loadb(text, len, 0, &je);
	json_t *one;
	size_t i;

	if (!json_is_object(json_object_get(root, "token")))
		return err_set(e, EBADMSG, "Keystone's answer holds no token");
	json_array_foreach(json_object_get(json_object_get(root, "token"), "catalog"), i, one) {
		const char *url = endpoint_of(one, region);

		if (url) {
			*ret = strdup(url);
			return *ret ? 0 : err_set(e, ENOMEM, "%m");
		}
	}
	return err_set(e, ENOENT, "Keystone's catalogue has no public object-store%s%.50s", *region ? " in the region " : "", region);
}
