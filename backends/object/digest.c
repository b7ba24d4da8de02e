/* SHA-256 of chunks whose packs may be far away: what has the same is the same, and need not be got to be compared. */
#include "core.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

bool digest_of(const void *data, size_t len, unsigned char ret[DIGEST])
{
	unsigned n = 0;

	return EVP_Digest(data, len, ret, &n, EVP_sha256(), NULL) == 1 && n == DIGEST;
}

bool digest_get(struct objects *os, int64_t chunk, unsigned char ret[DIGEST])
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT sha256 FROM digest WHERE chunk = $1");
	struct err e;
	size_t len;

	stmt_int(&s, 1, chunk);
	if (stmt_step(&s, &e) <= 0)
		return false;
	const void *sha = stmt_col_blob(&s, 0, &len);
	if (len != DIGEST)
		return false;
	memcpy(ret, sha, DIGEST);
	return true;
}

int digest_put(struct objects *os, int64_t chunk, const unsigned char sha[DIGEST], struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "INSERT INTO digest (chunk, sha256) VALUES ($1, $2) ON CONFLICT (chunk) DO UPDATE SET sha256 = $2");

	stmt_int(&s, 1, chunk);
	stmt_blob_borrow(&s, 2, sha, DIGEST);
	return stmt_run(&s, e);
}
