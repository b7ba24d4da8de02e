/* Where a download may come from: URLs taken apart by libcurl, hosts and addresses against what the administrator allows, local files below
 * the directories he names. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "parts.h"

AUTO_FN(CURLU *, curl_url_cleanup);
AUTO_FN(char *, curl_free);

void origin_free(struct origin *p)
{
	free(p->path);
	*p = (struct origin){ 0 };
}

/* ---- addresses, all as 16 bytes: IPv4 is ::ffff:a.b.c.d */

static bool parse_ip(const char *text, unsigned char ret[16])
{
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };

	if (inet_pton(AF_INET6, text, ret) == 1)
		return true;
	memcpy(ret, mapped, 12);
	return inet_pton(AF_INET, text, ret + 12) == 1;
}

/* "10.0.0.0/8", "10.0.0.1", "fd00::/8". */
static bool parse_net(const char *text, size_t len, unsigned char ret[16], unsigned *bits)
{
	char copy[INET6_ADDRSTRLEN + 5], *slash, *end;

	if (len >= sizeof copy)
		return false;
	snprintf(copy, sizeof copy, "%.*s", (int)len, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	unsigned width = strchr(copy, ':') ? 128 : 32;

	if (!parse_ip(copy, ret))
		return false;
	*bits = 128;
	if (!slash)
		return true;
	unsigned long n = strtoul(slash + 1, &end, 10);
	if (end == slash + 1 || *end || n > width || slash[1] == '-' || slash[1] == '+' || slash[1] == ' ')
		return false;
	*bits = (unsigned)n + 128 - width;
	return true;
}

static bool in_net(const unsigned char a[16], const unsigned char net[16], unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return memcmp(a, net, bytes) == 0 && (!rest || !((a[bytes] ^ net[bytes]) >> (8 - rest)));
}

/* This machine itself, its link, and what no server has. */
static bool is_own(const unsigned char a[16])
{
	static const char *const nets[] = {
		"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "fec0::/10", "ff00::/8",
	};
	static const unsigned char nat64[12] = { 0, 0x64, 0xff, 0x9b }, mapped[12] = { [10] = 0xff, 0xff };
	unsigned char net[16], inner[16];
	unsigned bits;

	if (memcmp(a, nat64, 12) == 0) {	/* leads to the IPv4 address in it */
		memcpy(inner, mapped, 12);
		memcpy(inner + 12, a + 12, 4);
		return is_own(inner);
	}
	for (size_t i = 0; i < ARRAY_LEN(nets); i++)
		if (parse_net(nets[i], strlen(nets[i]), net, &bits) && in_net(a, net, bits))
			return true;
	return false;
}

static bool address_listed(const char *hosts, const unsigned char a[16])
{
	unsigned char net[16];
	unsigned bits;

	for (const char *p = hosts; *(p += strspn(p, " \t")); p += strcspn(p, " \t"))
		if (parse_net(p, strcspn(p, " \t"), net, &bits) && in_net(a, net, bits))
			return true;
	return false;
}

static int refuse(const unsigned char a[16], const char *hosts, struct err *e)
{
	char text[INET6_ADDRSTRLEN] = "";
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };

	if (memcmp(a, mapped, 12) == 0)
		inet_ntop(AF_INET, a + 12, text, sizeof text);
	else
		inet_ntop(AF_INET6, a, text, sizeof text);
	return *hosts ? err_set(e, EACCES, "%s is none of the hosts the administrator allows (import-hosts)", text) :
		err_set(e, EACCES, "%s is an address of this machine or its link; the administrator can allow it (import-hosts)", text);
}

static int address_check(const struct fetch_conf *conf, const unsigned char a[16], struct err *e)
{
	return (*conf->hosts ? address_listed(conf->hosts, a) : !is_own(a)) ? 0 : refuse(a, conf->hosts, e);
}

int origin_address(const struct fetch_conf *conf, const struct sockaddr *sa, struct err *e)
{
	unsigned char a[16] = { [10] = 0xff, 0xff };

	if (sa->sa_family == AF_INET)
		memcpy(a + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(a, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	else
		return err_set(e, EACCES, "an address that is neither IPv4 nor IPv6");
	return address_check(conf, a, e);
}

/* ---- names */

static bool is_name(const char *text, size_t len)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

	return n >= len && len > 0 && strcspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") < len;
}

int origin_hosts_check(const char *hosts, struct err *e)
{
	unsigned char net[16];
	unsigned bits;

	for (const char *p = hosts; *(p += strspn(p, " \t")); p += strcspn(p, " \t")) {
		size_t n = strcspn(p, " \t");

		if (!is_name(p, n) && !parse_net(p, n, net, &bits))
			return err_set(e, EINVAL, "import-hosts: '%.*s' is not a name, an address or a network", (int)n, p);
	}
	return 0;
}

/* "mirror.example.org"; ".example.org" is all below it. */
static bool name_listed(const char *hosts, const char *host)
{
	size_t len = strlen(host);

	if (len && host[len - 1] == '.')
		len--;
	for (const char *p = hosts; *(p += strspn(p, " \t")); p += strcspn(p, " \t")) {
		size_t n = strcspn(p, " \t");

		if (*p == '.' ? len > n && strncasecmp(host + len - n, p, n) == 0 : len == n && strncasecmp(host, p, n) == 0)
			return true;
	}
	return false;
}

static bool any_address_listed(const char *hosts)
{
	unsigned char net[16];
	unsigned bits;

	for (const char *p = hosts; *(p += strspn(p, " \t")); p += strcspn(p, " \t"))
		if (parse_net(p, strcspn(p, " \t"), net, &bits))
			return true;
	return false;
}

static int host_check(const struct fetch_conf *conf, const char *host, struct origin *p, struct err *e)
{
	unsigned char a[16];
	char bare[INET6_ADDRSTRLEN + 2];
	size_t n = strlen(host);

	p->trusted = name_listed(conf->hosts, host);
	if (*host == '[' && n < sizeof bare)	/* an IPv6 address */
		snprintf(bare, sizeof bare, "%.*s", (int)(n - 2), host + 1);
	else
		snprintf(bare, sizeof bare, "%s", n < sizeof bare ? host : "");
	if (p->trusted)
		return 0;
	if (parse_ip(bare, a))
		return address_check(conf, a, e);
	if (*conf->hosts && !any_address_listed(conf->hosts))
		return err_set(e, EACCES, "%.100s is none of the hosts the administrator allows (import-hosts)", host);
	return 0;
}

/* ---- directories */

/* What is left of `path` below the directory named in p..p+n; NULL: it is not below. */
static const char *below(const char *path, const char *p, size_t n)
{
	while (n && p[n - 1] == '/')
		n--;
	if (strncmp(path, p, n) != 0 || path[n] != '/')
		return NULL;
	return path + n + strspn(path + n, "/");
}

/* Tells a path below an allowed directory that is no link out of it; rest is what openat2 is given. */
static const char *allowed(const struct fetch_conf *conf, const char *path, char *dir, size_t size, size_t *from)
{
	for (const char *p = conf->dirs + *from; *p; ) {
		size_t n = strcspn(p, ":");
		const char *rest = n && n < size ? below(path, p, n) : NULL;

		snprintf(dir, size, "%.*s", (int)n, p);
		p += n + (p[n] == ':');
		*from = (size_t)(p - conf->dirs);
		if (rest && *rest)
			return rest;
	}
	return NULL;
}

static int local_check(const struct fetch_conf *conf, const char *path, struct err *e)
{
	char dir[1024];
	size_t from = 0;

	if (!*conf->dirs)
		return err_set(e, EACCES, "files of this machine are not taken: the administrator allows no directory (import-dirs)");
	if (conf->avoid && below(path, conf->avoid, strlen(conf->avoid)))
		return err_set(e, EACCES, "%.150s is in this cloud itself", path);
	return allowed(conf, path, dir, sizeof dir, &from) ? 0 :
		err_set(e, EACCES, "%.150s is below none of the directories the administrator allows (import-dirs)", path);
}

int origin_open(const struct fetch_conf *conf, const char *path, int *ret, struct err *e)
{
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	char dir[1024];
	size_t from = 0;
	struct stat st;

	err_set(e, EACCES, "%.150s is below none of the directories the administrator allows (import-dirs)", path);
	for (const char *rest; (rest = allowed(conf, path, dir, sizeof dir, &from)); ) {
		AUTO(close) int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		AUTO(close) int fd = at < 0 ? -1 : (int)syscall(SYS_openat2, at, rest, &how, sizeof how);

		if (fd < 0) {
			if (errno == EXDEV)
				err_set(e, EACCES, "%.150s leads out of %.100s", path, dir);
			else
				err_set(e, errno, "open %.150s: %m", path);
			continue;
		}
		if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			return err_set(e, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, "%.150s is not a regular file", path);
		*ret = steal_fd(&fd);
		*e = (struct err){ 0 };
		return 0;
	}
	return -e->code;
}

/* ---- URLs */

static int url_parse(const char *url, CURLU **ret, struct err *e)
{
	AUTO(curl_url_cleanup) CURLU *u = curl_url();
	size_t n = strlen(url);

	if (!u)
		return err_set(e, ENOMEM, "%m");
	if (n > FETCH_URL_MAX)
		return err_set(e, EINVAL, "a URL of %zu bytes; at most %d", n, FETCH_URL_MAX);
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)url[i] <= 0x20 || url[i] == 0x7f)
			return err_set(e, EINVAL, "a URL holds no blanks and control characters; %%20 is a blank");
	CURLUcode rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (rc)
		return err_set(e, EINVAL, "'%.100s' is not a URL: %s", strchr(url, '@') ? "it" : url, curl_url_strerror(rc));
	*ret = steal_ptr(&u);
	return 0;
}

static char *piece(CURLU *u, CURLUPart what, unsigned flags)
{
	char *s = NULL;

	return curl_url_get(u, what, &s, flags) == CURLUE_OK ? s : NULL;
}

static int local_origin(const struct fetch_conf *conf, CURLU *u, struct origin *p, struct err *e)
{
	AUTO(curl_free) char *path = piece(u, CURLUPART_PATH, CURLU_URLDECODE);
	AUTO(curl_free) char *query = piece(u, CURLUPART_QUERY, 0);

	if (!path || *path != '/' || query)
		return err_set(e, EINVAL, "a file is given as file:///DIRECTORY/NAME; %%3F is a question mark");
	if (local_check(conf, path, e) < 0)
		return -e->code;
	p->local = true;
	p->path = strdup(path);
	return p->path ? 0 : err_set(e, ENOMEM, "%m");
}

int origin_of(const struct fetch_conf *conf, const char *url, struct origin *ret, struct err *e)
{
	AUTO(curl_url_cleanup) CURLU *u = NULL;
	struct origin p = { 0 };

	if (url_parse(url, &u, e) < 0)
		return -e->code;
	AUTO(curl_free) char *scheme = piece(u, CURLUPART_SCHEME, 0);
	AUTO(curl_free) char *host = piece(u, CURLUPART_HOST, 0);
	bool http = scheme && strcmp(scheme, "http") == 0;

	p.tls = scheme && strcmp(scheme, "https") == 0;
	int rc = 0;
	if (scheme && strcmp(scheme, "file") == 0)
		rc = local_origin(conf, u, &p, e);
	else if (!http && !p.tls)
		rc = err_set(e, EINVAL, "'%.20s' is none of: http https file", scheme ? scheme : "");
	else if (!host || !*host)
		rc = err_set(e, EINVAL, "the URL names no host");
	else
		rc = host_check(conf, host, &p, e);
	if (rc < 0)
		return rc;
	*ret = p;
	return 0;
}

int fetch_shown(const char *url, char **ret, struct err *e)
{
	AUTO(curl_url_cleanup) CURLU *u = curl_url();
	char *s = NULL;

	if (!u)
		return err_set(e, ENOMEM, "%m");
	bool good = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
	AUTO(curl_free) char *password = good ? piece(u, CURLUPART_PASSWORD, 0) : NULL;
	AUTO(curl_free) char *whole = NULL;

	if (password && curl_url_set(u, CURLUPART_PASSWORD, "***", 0) == CURLUE_OK)
		whole = piece(u, CURLUPART_URL, 0);
	s = strdup(whole ? whole : password ? "" : url);
	if (!s)
		return err_set(e, ENOMEM, "%m");
	*ret = s;
	return password != NULL;
}

void fetch_name(const char *url, char *ret, size_t size)
{
	AUTO(curl_url_cleanup) CURLU *u = curl_url();

	snprintf(ret, size, "the URL");
	if (!u || curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME))
		return;
	curl_url_set(u, CURLUPART_USER, NULL, 0);
	curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
	curl_url_set(u, CURLUPART_QUERY, NULL, 0);
	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	AUTO(curl_free) char *s = piece(u, CURLUPART_URL, 0);
	if (s)
		snprintf(ret, size, "%.*s%s", (int)size - 4, s, strlen(s) > size - 4 ? "..." : "");
}
