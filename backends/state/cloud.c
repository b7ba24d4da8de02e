#include "cloud.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void nic_read(struct stmt *s, struct nic_row *n)
{
	*n = (struct nic_row){ .id = stmt_col_int(s, 0), .server = stmt_col_int(s, 1), .network = stmt_col_int(s, 2) };
	snprintf(n->address, sizeof n->address, "%s", stmt_col_text(s, 3));
	snprintf(n->name, sizeof n->name, "%s", stmt_col_text(s, 4));
}

int nic_list(struct db *db, int64_t server, nic_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT id, server, network, address, name FROM nic WHERE server = $1 ORDER BY id");
	struct nic_row n;
	int rc;

	stmt_int(&s, 1, server);
	while ((rc = stmt_step(&s, e)) > 0) {
		nic_read(&s, &n);
		if (fn(arg, &n))
			return 0;
	}
	return rc;
}

int nic_by_id(struct db *db, int64_t id, struct nic_row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT id, server, network, address, name FROM nic WHERE id = $1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc > 0)
		nic_read(&s, ret);
	return rc;
}

int nic_add(struct db *db, int64_t server, int64_t network, const char *address, const char *name, struct err *e)
{
	AUTO(stmt_done) struct stmt q = stmt_prepare(db, "SELECT 1 FROM nic WHERE server = $1 AND name = $2");
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO nic (server, network, address, name) VALUES ($1, $2, $3, $4)");

	stmt_int(&q, 1, server);
	stmt_text(&q, 2, name);
	int rc = stmt_step(&q, e);
	if (rc)
		return rc < 0 ? rc : err_set(e, EEXIST, "there is already a link '%s'", name);
	stmt_int(&s, 1, server);
	stmt_int(&s, 2, network);
	stmt_text(&s, 3, *address ? address : NULL);
	stmt_text(&s, 4, name);
	return stmt_run(&s, e);
}

int nic_clear(struct db *db, int64_t server, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "DELETE FROM nic WHERE server = $1");

	stmt_int(&s, 1, server);
	return stmt_run(&s, e);
}

int nic_delete(struct db *db, int64_t server, const char *name, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "DELETE FROM nic WHERE server = $1 AND name = $2");

	stmt_int(&s, 1, server);
	stmt_text(&s, 2, name);
	int rc = stmt_run(&s, e);
	return rc < 0 ? rc : db_changes(db) > 0;
}

int port_list(struct db *db, int64_t server, int64_t network, port_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, server ?
		"SELECT p.id, p.network, p.subnet, p.server, p.nic, p.mac, p.address, o.name, o.uuid FROM port p "
		"LEFT JOIN object o ON o.id = p.server WHERE p.server = $1 ORDER BY p.nic" :
		"SELECT p.id, p.network, p.subnet, p.server, p.nic, p.mac, p.address, o.name, o.uuid FROM port p "
		"LEFT JOIN object o ON o.id = p.server WHERE p.network = $1 ORDER BY p.id");
	int rc;

	stmt_int(&s, 1, server ? server : network);
	while ((rc = stmt_step(&s, e)) > 0) {
		struct port_row p = { .id = stmt_col_int(&s, 0), .network = stmt_col_int(&s, 1), .subnet = stmt_col_int(&s, 2),
			.server = stmt_col_int(&s, 3), .nic = (int)stmt_col_int(&s, 4) };

		snprintf(p.mac, sizeof p.mac, "%s", stmt_col_text(&s, 5));
		snprintf(p.address, sizeof p.address, "%s", stmt_col_text(&s, 6));
		snprintf(p.server_name, sizeof p.server_name, "%s", stmt_col_text(&s, 7));
		snprintf(p.server_uuid, sizeof p.server_uuid, "%s", stmt_col_text(&s, 8));
		if (fn(arg, &p))
			return 0;
	}
	return rc;
}

int port_set(struct db *db, int64_t id, int64_t network, int64_t subnet, int64_t server, int nic, const char *mac, const char *address,
	     struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"UPDATE port SET network = $2, subnet = $3, server = $4, nic = $5, mac = $6, address = $7 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, network);
	stmt_int(&s, 3, subnet);
	stmt_int(&s, 4, server);
	stmt_int(&s, 5, nic);
	stmt_text(&s, 6, mac);
	stmt_text(&s, 7, address);
	return stmt_run(&s, e);
}

int port_owner(struct db *db, int64_t network, const char *address, int64_t *server, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT p.server FROM port p JOIN object o ON o.id = p.server "
		"WHERE p.network = $1 AND p.address = $2 AND o.deleted = 0");

	stmt_int(&s, 1, network);
	stmt_text(&s, 2, address);
	int rc = stmt_step(&s, e);
	if (rc > 0)
		*server = stmt_col_int(&s, 0);
	return rc;
}

int port_address_free(struct db *db, int64_t network, const char *address, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT 1 FROM port WHERE network = $1 AND address = $2");

	stmt_int(&s, 1, network);
	stmt_text(&s, 2, address);
	int rc = stmt_step(&s, e);
	return rc < 0 ? rc : rc == 0;
}

int port_mac_free(struct db *db, const char *mac, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT 1 FROM port WHERE mac = $1");

	stmt_text(&s, 1, mac);
	int rc = stmt_step(&s, e);
	return rc < 0 ? rc : rc == 0;
}

int host_list(struct db *db, host_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT o.id, o.name, h.why, h.enabled, h.maintenance, CASE WHEN o.status = 'ACTIVE' THEN h.up ELSE 0 END, h.simulated, h.vcpus, "
		"h.ram, h.disk, h.vcpus_used, h.ram_used, h.disk_used FROM host_v h CROSS JOIN object o "	/* hosts are few, objects many */
		"WHERE o.id = h.id AND o.deleted = 0 AND o.status <> 'DRAFT' ORDER BY h.id");
	int rc;

	while ((rc = stmt_step(&s, e)) > 0) {
		struct host_row h = { .id = stmt_col_int(&s, 0), .enabled = stmt_col_int(&s, 3), .maintenance = stmt_col_int(&s, 4),
			.up = stmt_col_int(&s, 5), .simulated = stmt_col_int(&s, 6), .vcpus = stmt_col_int(&s, 7), .ram = stmt_col_int(&s, 8),
			.disk = stmt_col_int(&s, 9), .vcpus_used = stmt_col_int(&s, 10), .ram_used = stmt_col_int(&s, 11),
			.disk_used = stmt_col_int(&s, 12) };

		snprintf(h.name, sizeof h.name, "%s", stmt_col_text(&s, 1));
		snprintf(h.why, sizeof h.why, "%s", stmt_col_text(&s, 2));
		if (fn(arg, &h))
			return 0;
	}
	return rc;
}

int host_set_up(struct db *db, int64_t id, bool up, const char *why, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE host SET up = $2, why = $3 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, up);
	stmt_text(&s, 3, why);
	return stmt_run(&s, e);
}

int host_set_facts(struct db *db, int64_t id, int64_t vcpus, int64_t ram, int64_t disk, const char *hypervisor, bool simulated,
		   struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"UPDATE host SET vcpus = $2, ram = $3, disk = $4, hypervisor = $5, simulated = $6 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, vcpus);
	stmt_int(&s, 3, ram);
	stmt_int(&s, 4, disk);
	stmt_text(&s, 5, hypervisor);
	stmt_int(&s, 6, simulated);
	return stmt_run(&s, e);
}

static int servers(struct db *db, const char *sql, int64_t of, server_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	int rc;

	stmt_int(&s, 1, of);
	while ((rc = stmt_step(&s, e)) > 0)
		if (fn(arg, stmt_col_int(&s, 0), stmt_col_text(&s, 1), stmt_col_int(&s, 2)))
			return 0;
	return rc;
}

int server_on_host(struct db *db, int64_t host, server_fn *fn, void *arg, struct err *e)
{
	return servers(db, "SELECT o.id, o.status, o.deleted FROM server s JOIN object o ON o.id = s.id WHERE s.host = $1 ORDER BY o.id", host, fn,
		       arg, e);
}

int server_of_image(struct db *db, int64_t image, server_fn *fn, void *arg, struct err *e)
{
	return servers(db, "SELECT o.id, o.status, o.deleted FROM server s JOIN object o ON o.id = s.id LEFT JOIN host h ON h.id = s.host "
		       "WHERE s.image = $1 AND o.status <> 'DRAFT' AND coalesce(h.simulated, 0) = 0 ORDER BY o.id", image, fn, arg, e);
}

int image_url_wanted(struct db *db, const char *url, bool *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT 1 FROM image i JOIN object o ON o.id = i.id "
		"WHERE i.url = $1 AND o.deleted = 0 AND o.status IN ('queued', 'importing') LIMIT 1");

	stmt_text(&s, 1, url);
	int rc = stmt_step(&s, e);
	if (rc >= 0)
		*ret = rc > 0;
	return rc < 0 ? rc : 0;
}

int meta_get(struct db *db, const char *name, char **ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT value FROM meta WHERE name = $1");

	stmt_text(&s, 1, name);
	int rc = stmt_step(&s, e);
	if (rc < 0)
		return rc;
	*ret = strdup(rc ? stmt_col_text(&s, 0) : "");
	return *ret ? 0 : err_set(e, ENOMEM, "%m");
}

int meta_set(struct db *db, const char *name, const char *value, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO meta VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value");

	stmt_text(&s, 1, name);
	stmt_text(&s, 2, value);
	return stmt_run(&s, e);
}
