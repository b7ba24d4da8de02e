/* Digests of files, by libcrypto. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/auto.h"
#include "../base/text.h"
#include "disk.h"

#define PIECE (1 << 20)

AUTO_FN(EVP_MD_CTX *, EVP_MD_CTX_free);

/* Feeds the whole file; *size is what was read. */
static int feed(EVP_MD_CTX *ctx, int fd, const char *path, uint64_t *size, struct err *e)
{
	AUTO(free) char *buf = malloc(PIECE);
	uint64_t bytes = 0;

	if (!buf)
		return err_set(e, ENOMEM, "digest of '%s': %m", path);
	for (;;) {
		ssize_t n = read(fd, buf, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "read '%s': %m", path);
		if (n == 0)
			break;
		if (EVP_DigestUpdate(ctx, buf, (size_t)n) != 1)
			return err_set(e, EIO, "digest of '%s' failed", path);
		bytes += (uint64_t)n;
	}
	*size = bytes;
	return 0;
}

static int digest(const char *path, const char *algo, char *hex, uint64_t *size, struct err *e)
{
	const EVP_MD *md = EVP_get_digestbyname(algo);
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!md)
		return err_set(e, EINVAL, "no digest '%s'; there are md5 sha1 sha256 sha512", algo);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "open '%s': %m", path);
	AUTO(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	if (!ctx || EVP_DigestInit_ex(ctx, md, NULL) != 1)
		return err_set(e, EINVAL, "digest '%s' is not available here", algo);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	int rc = feed(ctx, fd, path, size, e);

	if (rc < 0)
		return rc;
	if (EVP_DigestFinal_ex(ctx, sum, &len) != 1)
		return err_set(e, EIO, "digest of '%s' failed", path);
	hex_text(hex, sum, len);
	return 0;
}

int disk_digest(const char *path, const char *algo, char *hex, struct err *e)
{
	uint64_t size;

	return digest(path, algo, hex, &size, e);
}

int disk_md5(const char *path, char hex[33], uint64_t *size, struct err *e)
{
	return digest(path, "md5", hex, size, e);
}
