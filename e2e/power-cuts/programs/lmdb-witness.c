// SPDX-License-Identifier: Apache-2.0
/*
 * lmdb-witness put DIRECTORY STEP     commits STEP to the LMDB database there
 * lmdb-witness check DIRECTORY STEP   ends with 0 if it has all from 0 to STEP, each with the value that it was put with
 */
#include <err.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int result, const char *what)
{
	if (result != 0)
		errx(1, "%s: %s", what, mdb_strerror(result));
}

static MDB_val bytes_of(void *data, size_t size)
{
	return (MDB_val){ .mv_size = size, .mv_data = data };
}

int main(int argc, char **argv)
{
	char text[64], wanted[64];
	MDB_val key, value;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int step, put;

	if (argc != 4)
		errx(2, "usage: lmdb-witness put|check DIRECTORY STEP");
	put = strcmp(argv[1], "put") == 0;
	step = atoi(argv[3]);
	must(mdb_env_create(&env), "mdb_env_create");
	must(mdb_env_set_mapsize(env, 1 << 20), "mdb_env_set_mapsize");
	/* With its default, a commit returns when it is on the disk. */
	must(mdb_env_open(env, argv[2], 0, 0644), "mdb_env_open");
	must(mdb_txn_begin(env, NULL, put ? 0 : MDB_RDONLY, &txn), "mdb_txn_begin");
	must(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), "mdb_dbi_open");
	for (int i = put ? step : 0; i <= step; i++) {
		key = bytes_of(&i, sizeof(i));
		snprintf(wanted, sizeof(wanted), "value of %d", i);
		if (put) {
			value = bytes_of(wanted, strlen(wanted));
			must(mdb_put(txn, dbi, &key, &value, 0), "mdb_put");
			continue;
		}
		must(mdb_get(txn, dbi, &key, &value), "mdb_get");
		snprintf(text, sizeof(text), "%.*s", (int)value.mv_size, (const char *)value.mv_data);
		if (strcmp(text, wanted) != 0)
			errx(1, "%d has \"%s\"", i, text);
	}
	if (put)
		must(mdb_txn_commit(txn), "mdb_txn_commit");
	return 0;
}
