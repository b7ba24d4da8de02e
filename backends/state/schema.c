/* The schema, as numbered migrations: each runs once, in order, and is never edited after it has landed.
 * Whatever a row must obey is a constraint here.  `object` is one line for every thing the tree shows as an object, whatever
 * its kind (the numbers are those of fs/root.c); what is particular to a kind is in the table of its name, and what the
 * tree shows of it is read through the view of that name with _v. */
#include <errno.h>
#include <stdio.h>

#include "db.h"

const char *const state_migrations[] = {
/* 1: the machine, and the first kinds */
"CREATE TABLE object (\n"
"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
"  kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 255),\n"
"  parent INTEGER REFERENCES object(id),\n"
"  tenant INTEGER REFERENCES object(id),\n"
"  name TEXT NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255 AND instr(name, '/') = 0 AND name NOT LIKE '.%'),\n"
"  uuid TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),\n"
"  status TEXT NOT NULL CHECK (status <> ''),\n"
"  deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1)),\n"
"  protected INTEGER NOT NULL DEFAULT 0 CHECK (protected IN (0, 1)),\n"
"  description TEXT NOT NULL DEFAULT '' CHECK (length(description) <= 65535),\n"
"  created INTEGER NOT NULL,\n"
"  changed INTEGER NOT NULL,\n"
"  error TEXT NOT NULL DEFAULT '',\n"
"  failed TEXT NOT NULL DEFAULT '',\n"	/* the verb that led to the error status */
"  progress INTEGER NOT NULL DEFAULT 100 CHECK (progress BETWEEN 0 AND 100),\n"
"  CHECK (deleted = 0 OR protected = 0));\n"
"CREATE UNIQUE INDEX object_name ON object(parent, kind, name) WHERE deleted = 0;\n"
"CREATE INDEX object_parent ON object(parent, kind, id);\n"
"CREATE INDEX object_tenant ON object(tenant);\n"
"CREATE INDEX object_kind ON object(kind, id);\n"
"INSERT INTO object (id, kind, name, uuid, status, created, changed)\n"
"  VALUES (1, 0, 'cloud', '00000000-0000-0000-0000-000000000001', 'ACTIVE', 0, 0);\n"
"CREATE TABLE collection (parent INTEGER NOT NULL, kind INTEGER NOT NULL, changed INTEGER NOT NULL, PRIMARY KEY (parent, kind));\n"
"CREATE TRIGGER collection_insert AFTER INSERT ON object WHEN NEW.parent IS NOT NULL BEGIN\n"
"  INSERT INTO collection VALUES (NEW.parent, NEW.kind, NEW.changed)\n"
"    ON CONFLICT (parent, kind) DO UPDATE SET changed = excluded.changed; END;\n"
"CREATE TRIGGER collection_update AFTER UPDATE OF name, deleted ON object WHEN NEW.parent IS NOT NULL BEGIN\n"
"  INSERT INTO collection VALUES (NEW.parent, NEW.kind, NEW.changed)\n"
"    ON CONFLICT (parent, kind) DO UPDATE SET changed = excluded.changed; END;\n"
"CREATE TRIGGER collection_delete AFTER DELETE ON object BEGIN\n"
"  DELETE FROM collection WHERE parent = OLD.id; END;\n"
"CREATE TABLE touched (object INTEGER NOT NULL REFERENCES object(id) ON DELETE CASCADE, file TEXT NOT NULL,\n"
"  at INTEGER NOT NULL, PRIMARY KEY (object, file));\n"
/* what is still to be done: at most one task an object */
"CREATE TABLE task (\n"
"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
"  object INTEGER NOT NULL UNIQUE REFERENCES object(id) ON DELETE CASCADE,\n"
"  verb TEXT NOT NULL, args TEXT NOT NULL DEFAULT '', step INTEGER NOT NULL DEFAULT 0 CHECK (step >= 0),\n"
"  created INTEGER NOT NULL, request TEXT NOT NULL, who TEXT NOT NULL, was TEXT NOT NULL);\n"	/* was: status before */
"CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, object INTEGER NOT NULL REFERENCES object(id) ON DELETE CASCADE,\n"
"  at INTEGER NOT NULL, verb TEXT NOT NULL, result TEXT NOT NULL, request TEXT NOT NULL, who TEXT NOT NULL,\n"
"  duration INTEGER NOT NULL, detail TEXT NOT NULL);\n"
"CREATE INDEX history_object ON history(object, id);\n"
/* the lines of `events`: all_end and tenant_end are the sizes of the two files with this line */
"CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, gen INTEGER NOT NULL, tenant INTEGER NOT NULL, line TEXT NOT NULL,\n"
"  all_end INTEGER NOT NULL, tenant_end INTEGER NOT NULL);\n"
"CREATE INDEX event_tenant ON event(tenant, gen, tenant_end);\n"
"CREATE INDEX event_all ON event(gen, all_end);\n"

"CREATE TABLE tenant (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)), purge TEXT NOT NULL DEFAULT '');\n"
"CREATE TABLE flavor (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  vcpus INTEGER CHECK (vcpus BETWEEN 1 AND 1024), ram INTEGER CHECK (ram BETWEEN 1 AND 16777216),\n"
"  disk INTEGER NOT NULL DEFAULT 0 CHECK (disk BETWEEN 0 AND 1048576),\n"
"  ephemeral INTEGER NOT NULL DEFAULT 0 CHECK (ephemeral BETWEEN 0 AND 1048576),\n"
"  swap INTEGER NOT NULL DEFAULT 0 CHECK (swap BETWEEN 0 AND 1048576),\n"
"  public INTEGER NOT NULL DEFAULT 1 CHECK (public IN (0, 1)));\n"
"CREATE TABLE host (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  uri TEXT, enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),\n"
"  maintenance INTEGER NOT NULL DEFAULT 0 CHECK (maintenance IN (0, 1)),\n"
"  up INTEGER NOT NULL DEFAULT 0 CHECK (up IN (0, 1)), vcpus INTEGER NOT NULL DEFAULT 0, ram INTEGER NOT NULL DEFAULT 0,\n"
"  disk INTEGER NOT NULL DEFAULT 0,\n"
"  vcpus_used INTEGER NOT NULL DEFAULT 0 CHECK (vcpus_used >= 0), ram_used INTEGER NOT NULL DEFAULT 0 CHECK (ram_used >= 0),\n"
"  disk_used INTEGER NOT NULL DEFAULT 0 CHECK (disk_used >= 0), hypervisor TEXT NOT NULL DEFAULT '', simulated INTEGER NOT NULL DEFAULT 0,\n"
"  why TEXT NOT NULL DEFAULT '');\n"
"CREATE TABLE key (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE, data TEXT);\n"
"CREATE TABLE image (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  format TEXT, size INTEGER CHECK (size BETWEEN 0 AND 1099511627776), hash TEXT, virtual_size INTEGER,\n"
"  checksum TEXT, visibility TEXT NOT NULL DEFAULT 'shared' CHECK (visibility IN ('private', 'shared', 'community', 'public')),\n"
"  min_disk INTEGER NOT NULL DEFAULT 0 CHECK (min_disk >= 0), min_ram INTEGER NOT NULL DEFAULT 0 CHECK (min_ram >= 0));\n"
"CREATE TABLE network (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE, cidr TEXT,\n"
"  external INTEGER NOT NULL DEFAULT 0 CHECK (external IN (0, 1)), shared INTEGER NOT NULL DEFAULT 0 CHECK (shared IN (0, 1)),\n"
"  mtu INTEGER NOT NULL DEFAULT 1500 CHECK (mtu BETWEEN 68 AND 65535), dns_domain TEXT NOT NULL DEFAULT 'openstacklocal');\n"
"CREATE TABLE subnet (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE, cidr TEXT, gateway TEXT,\n"
"  dhcp INTEGER NOT NULL DEFAULT 1 CHECK (dhcp IN (0, 1)), dns TEXT NOT NULL DEFAULT '');\n"
"CREATE TABLE server (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  flavor INTEGER REFERENCES flavor(id), image INTEGER REFERENCES image(id), key INTEGER REFERENCES key(id) ON DELETE SET NULL,\n"
"  key_data TEXT, host_asked INTEGER REFERENCES host(id), host INTEGER REFERENCES host(id), user_data TEXT,\n"
"  config_drive INTEGER NOT NULL DEFAULT 0 CHECK (config_drive IN (0, 1)),\n"
"  vcpus INTEGER NOT NULL DEFAULT 0, ram INTEGER NOT NULL DEFAULT 0, disk INTEGER NOT NULL DEFAULT 0,\n"
"  power TEXT NOT NULL DEFAULT 'NOSTATE', launched INTEGER, schedule TEXT NOT NULL DEFAULT '');\n"
"CREATE INDEX server_flavor ON server(flavor); CREATE INDEX server_image ON server(image);\n"
"CREATE INDEX server_key ON server(key); CREATE INDEX server_host ON server(host); CREATE INDEX server_asked ON server(host_asked);\n"
"CREATE TABLE nic (id INTEGER PRIMARY KEY AUTOINCREMENT, server INTEGER NOT NULL REFERENCES server(id) ON DELETE CASCADE,\n"
"  network INTEGER NOT NULL REFERENCES network(id), address TEXT, name TEXT NOT NULL, UNIQUE (server, name));\n"
"CREATE INDEX nic_network ON nic(network);\n"
"CREATE TABLE port (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE, network INTEGER REFERENCES network(id),\n"
"  subnet INTEGER REFERENCES subnet(id), mac TEXT UNIQUE, address TEXT,\n"
"  server INTEGER REFERENCES server(id), nic INTEGER NOT NULL DEFAULT 0, UNIQUE (network, address));\n"
"CREATE INDEX port_server ON port(server, nic); CREATE INDEX port_subnet ON port(subnet);\n"
"CREATE TABLE pair (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE, value TEXT);\n"

/* what a tenant has, counted in the transaction that changes it; a thing counts from its creation until its row is gone */
"CREATE TABLE quota (tenant INTEGER NOT NULL REFERENCES object(id) ON DELETE CASCADE, name TEXT NOT NULL,\n"
"  value INTEGER NOT NULL CHECK (value >= -1), PRIMARY KEY (tenant, name));\n"
"CREATE TABLE usage (tenant INTEGER NOT NULL REFERENCES object(id) ON DELETE CASCADE, name TEXT NOT NULL,\n"
"  used INTEGER NOT NULL CHECK (used >= 0), PRIMARY KEY (tenant, name));\n"
"CREATE TABLE counted (kind INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL);\n"
"INSERT INTO counted VALUES (4, 'key-pairs'), (6, 'networks'), (7, 'subnets'), (8, 'ports'), (9, 'instances');\n"
"CREATE TRIGGER usage_insert AFTER INSERT ON object WHEN NEW.status <> 'DRAFT' AND NEW.tenant IS NOT NULL BEGIN\n"
"  INSERT INTO usage SELECT NEW.tenant, name, 1 FROM counted WHERE kind = NEW.kind\n"
"    ON CONFLICT (tenant, name) DO UPDATE SET used = used + 1; END;\n"
"CREATE TRIGGER usage_create AFTER UPDATE OF status ON object\n"
"  WHEN OLD.status = 'DRAFT' AND NEW.status <> 'DRAFT' AND NEW.tenant IS NOT NULL BEGIN\n"
"  INSERT INTO usage SELECT NEW.tenant, name, 1 FROM counted WHERE kind = NEW.kind\n"
"    ON CONFLICT (tenant, name) DO UPDATE SET used = used + 1; END;\n"
"CREATE TRIGGER usage_delete AFTER DELETE ON object WHEN OLD.status <> 'DRAFT' AND OLD.tenant IS NOT NULL BEGIN\n"
"  UPDATE usage SET used = used - 1 WHERE tenant = OLD.tenant AND name = (SELECT name FROM counted WHERE kind = OLD.kind); END;\n"
"CREATE TRIGGER usage_server AFTER UPDATE OF vcpus, ram ON server BEGIN\n"
"  INSERT INTO usage SELECT tenant, 'cores', NEW.vcpus - OLD.vcpus FROM object WHERE id = NEW.id\n"
"    ON CONFLICT (tenant, name) DO UPDATE SET used = used + excluded.used;\n"
"  INSERT INTO usage SELECT tenant, 'ram', NEW.ram - OLD.ram FROM object WHERE id = NEW.id\n"
"    ON CONFLICT (tenant, name) DO UPDATE SET used = used + excluded.used; END;\n"
"CREATE TRIGGER usage_server_gone BEFORE DELETE ON server BEGIN\n"
"  UPDATE usage SET used = used - OLD.vcpus WHERE name = 'cores' AND tenant = (SELECT tenant FROM object WHERE id = OLD.id);\n"
"  UPDATE usage SET used = used - OLD.ram WHERE name = 'ram' AND tenant = (SELECT tenant FROM object WHERE id = OLD.id); END;\n"

/* what a host's servers take of it */
"CREATE TRIGGER host_server AFTER UPDATE OF host, vcpus, ram, disk ON server BEGIN\n"
"  UPDATE host SET vcpus_used = vcpus_used - OLD.vcpus, ram_used = ram_used - OLD.ram, disk_used = disk_used - OLD.disk WHERE id = OLD.host;\n"
"  UPDATE host SET vcpus_used = vcpus_used + NEW.vcpus, ram_used = ram_used + NEW.ram, disk_used = disk_used + NEW.disk WHERE id = NEW.host;\n"
"END;\n"
"CREATE TRIGGER host_server_gone AFTER DELETE ON server BEGIN\n"
"  UPDATE host SET vcpus_used = vcpus_used - OLD.vcpus, ram_used = ram_used - OLD.ram, disk_used = disk_used - OLD.disk WHERE id = OLD.host;\n"
"END;\n"

"CREATE VIEW host_v AS SELECT h.*,\n"
"  CASE WHEN maintenance = 1 THEN 'maintenance' WHEN up = 1 THEN 'up' ELSE 'down' END AS state FROM host h;\n"
"CREATE VIEW image_v AS SELECT image.*, visibility = 'public' AS open FROM image;\n"
"CREATE VIEW network_v AS SELECT network.*, (shared = 1 OR external = 1) AS open FROM network;\n"
"CREATE VIEW server_v AS SELECT s.*, (SELECT group_concat(text, char(10)) FROM\n"
"  (SELECT CASE WHEN o.name GLOB '*[^A-Za-z0-9._:@%+-]*' THEN '''' || replace(o.name, '''', '''\\''''') || '''' ELSE o.name END\n"
"   || ' ' || p.address AS text FROM port p JOIN object o ON o.id = p.network WHERE p.server = s.id ORDER BY p.nic))\n"
"  AS addresses FROM server s;\n"
"CREATE VIEW port_v AS SELECT p.*, o.name AS subnet_name FROM port p JOIN object o ON o.id = p.subnet;\n",
/* 2: cores and ram are given back (a cascade begins when the object's row, and with it the tenant, is gone already), and may shrink */
"DROP TRIGGER usage_server; DROP TRIGGER usage_server_gone;\n"
"CREATE TRIGGER usage_server AFTER UPDATE OF vcpus, ram ON server BEGIN\n"
"  INSERT INTO usage SELECT o.tenant, n.name, 0 FROM object o, (SELECT 'cores' AS name UNION ALL SELECT 'ram') n WHERE o.id = NEW.id\n"
"    ON CONFLICT (tenant, name) DO NOTHING;\n"
"  UPDATE usage SET used = used + NEW.vcpus - OLD.vcpus WHERE name = 'cores' AND tenant = (SELECT tenant FROM object WHERE id = NEW.id);\n"
"  UPDATE usage SET used = used + NEW.ram - OLD.ram WHERE name = 'ram' AND tenant = (SELECT tenant FROM object WHERE id = NEW.id); END;\n"
"CREATE TRIGGER usage_server_gone BEFORE DELETE ON object WHEN EXISTS (SELECT 1 FROM server WHERE id = OLD.id) BEGIN\n"
"  UPDATE usage SET used = used - (SELECT vcpus FROM server WHERE id = OLD.id) WHERE tenant = OLD.tenant AND name = 'cores';\n"
"  UPDATE usage SET used = used - (SELECT ram FROM server WHERE id = OLD.id) WHERE tenant = OLD.tenant AND name = 'ram'; END;\n"
"UPDATE usage SET used = (SELECT coalesce(sum(s.vcpus), 0) FROM server s JOIN object o ON o.id = s.id WHERE o.tenant = usage.tenant)\n"
"  WHERE name = 'cores';\n"
"UPDATE usage SET used = (SELECT coalesce(sum(s.ram), 0) FROM server s JOIN object o ON o.id = s.id WHERE o.tenant = usage.tenant)\n"
"  WHERE name = 'ram';\n",
/* 3: whether anything runs below a collection or a tenant is one look at an index; the steps of finished tasks */
"ALTER TABLE task ADD COLUMN parent INTEGER; ALTER TABLE task ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;\n"
"ALTER TABLE task ADD COLUMN tenant INTEGER;\n"
"UPDATE task SET parent = (SELECT parent FROM object WHERE id = object), kind = (SELECT kind FROM object WHERE id = object),\n"
"  tenant = (SELECT tenant FROM object WHERE id = object);\n"
"CREATE INDEX task_tenant ON task(tenant); CREATE INDEX task_parent ON task(parent, kind);\n"
"ALTER TABLE history ADD COLUMN steps TEXT NOT NULL DEFAULT '';\n",
/* 4: what a guest was given of its key outlives the key; the password it tells back */
"ALTER TABLE server ADD COLUMN key_name TEXT; ALTER TABLE server ADD COLUMN password TEXT;\n"
"UPDATE server SET key_name = (SELECT name FROM object WHERE id = server.key) WHERE key_data IS NOT NULL;\n",
/* 5: where an image is imported from */
"ALTER TABLE image ADD COLUMN url TEXT CHECK (length(url) <= 4096);\n"
"CREATE INDEX image_url ON image(url);\n"
"DROP VIEW image_v; CREATE VIEW image_v AS SELECT image.*, visibility = 'public' AS open FROM image;\n",
/* 6: where a guest's screen is, and what it asks for */
"ALTER TABLE server ADD COLUMN vnc TEXT; ALTER TABLE server ADD COLUMN vnc_password TEXT;\n",
/* 7: containers; their objects are in STORE/objects */
"CREATE TABLE container (id INTEGER PRIMARY KEY REFERENCES object(id) ON DELETE CASCADE,\n"
"  read_acl TEXT NOT NULL DEFAULT '' CHECK (length(read_acl) <= 8192), write_acl TEXT NOT NULL DEFAULT '' CHECK (length(write_acl) <= 8192),\n"
"  versioning INTEGER NOT NULL DEFAULT 0 CHECK (versioning IN (0, 1)), compression INTEGER NOT NULL DEFAULT 1 CHECK (compression IN (0, 1)),\n"
"  quota_bytes INTEGER NOT NULL DEFAULT -1 CHECK (quota_bytes >= -1), quota_count INTEGER NOT NULL DEFAULT -1 CHECK (quota_count >= -1));\n",
};

const size_t n_state_migrations = ARRAY_LEN(state_migrations);

static int version(struct db *db, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT value FROM meta WHERE name = 'schema'");
	int rc = stmt_step(&s, e);

	*ret = rc > 0 ? stmt_col_int(&s, 0) : 0;
	return rc < 0 ? rc : 0;
}

static int script(struct db *db, const char *sql, struct err *e)
{
	sqlite3 *h = db_handle(db);

	if (sqlite3_exec(h, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	err_set(e, EIO, "migrate the state: %s", sqlite3_errmsg(h));
	sqlite3_exec(h, "ROLLBACK", NULL, NULL, NULL);
	return -e->code;
}

int schema_migrate(struct db *db, const char *const *migrations, size_t n, struct err *e)
{
	int64_t have = 0, want = (int64_t)n;
	int rc = script(db, "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)", e);

	if (rc == 0)
		rc = version(db, &have, e);
	if (rc < 0)
		return rc;
	if (have > want)
		return err_set(e, EINVAL, "the store has schema version %ld and this cirrusfs knows %ld: it was written by a newer "
			       "cirrusfs; use that one", (long)have, (long)want);
	for (; rc == 0 && have < want; have++) {
		char done[160];

		snprintf(done, sizeof done, "INSERT INTO meta VALUES ('schema', %ld) ON CONFLICT (name) DO UPDATE SET "
			 "value = excluded.value; COMMIT", (long)have + 1);
		rc = script(db, "BEGIN IMMEDIATE", e);
		if (rc == 0)
			rc = script(db, migrations[have], e);
		if (rc == 0)
			rc = script(db, done, e);
	}
	return rc;
}
